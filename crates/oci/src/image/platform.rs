//! Which entry of an image index is for this machine.

use oci_spec::image::{Arch, Descriptor, ImageIndex, Os, Platform};

/// The manifest for this machine: same system and architecture, the best variant that it can run.
pub(crate) fn choose(index: &ImageIndex) -> Option<&Descriptor> {
    choose_for(index, &Arch::default())
}

fn choose_for<'a>(index: &'a ImageIndex, arch: &Arch) -> Option<&'a Descriptor> {
    let suits = |platform: &Platform| *platform.os() == Os::Linux && platform.architecture() == arch;
    // A later variant is a superset of an earlier one (arm v7 of v6), except that amd64 beyond the baseline may not run here.
    let rank = |descriptor: &Descriptor| match descriptor.platform().as_ref().and_then(|p| p.variant().as_deref()) {
        None | Some("v1" | "v8") => u8::MAX,
        Some(_) if *arch == Arch::Amd64 => 0,
        Some(variant) => variant.strip_prefix('v').and_then(|v| v.parse().ok()).unwrap_or(0),
    };
    // The first wins among equals, as the order of an index is its publisher's preference.
    index.manifests().iter().rev().filter(|d| d.platform().as_ref().is_some_and(suits)).max_by_key(|d| rank(d))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(entries: &[(&str, Option<&str>)]) -> ImageIndex {
        let manifests: Vec<_> = entries
            .iter()
            .enumerate()
            .map(|(i, (arch, variant))| {
                serde_json::json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
                    "digest": format!("sha256:{i:064}"),
                    "platform": {"os": "linux", "architecture": arch, "variant": variant},
                })
            })
            .collect();
        serde_json::from_value(serde_json::json!({"schemaVersion": 2, "manifests": manifests})).unwrap()
    }

    #[test]
    fn the_baseline_of_the_own_architecture_wins() {
        let amd64 = index(&[("arm64", None), ("amd64", Some("v3")), ("amd64", None), ("amd64", None)]);
        assert_eq!(choose_for(&amd64, &Arch::Amd64).unwrap().digest().digest(), format!("{:064}", 2));
        let arm = index(&[("arm", Some("v6")), ("arm", Some("v7")), ("unknown", None)]);
        assert_eq!(choose_for(&arm, &Arch::ARM).unwrap().digest().digest(), format!("{:064}", 1));
        assert_eq!(choose_for(&arm, &Arch::Amd64), None);
    }
}
