//! Images from a real registry: pulled, unpacked, named, removed.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::PathBuf,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statvfs::statvfs,
};
use serde_json::json;
use windlass_oci::{
    error::chain,
    image::{ImageName, LayerLimits},
};

use crate::{
    Test,
    fixture::{Machine, run},
    registry::{Item, Registry, layer},
};

pub(crate) const TESTS: &[Test] = &[
    ("pulled_image_runs", pulled_image_runs),
    ("layers_are_unpacked_as_meant", layers_are_unpacked_as_meant),
    ("hostile_layers_are_refused", hostile_layers_are_refused),
    ("index_by_platform", index_by_platform),
    ("names_digests_and_removal", names_digests_and_removal),
    ("a_full_disk_is_left_as_it_was", a_full_disk_is_left_as_it_was),
    ("a_crash_leaves_no_half_layer", a_crash_leaves_no_half_layer),
];

fn name(name: &str) -> ImageName {
    name.parse().unwrap()
}

/// The layer directories of an image, the lowest first.
fn layer_dirs(machine: &Machine, image: &str) -> Vec<PathBuf> {
    let id = machine.runtime.images().get(image).unwrap().id;
    let (_, mut dirs) = machine.runtime.images().pin("test", &id).unwrap();
    machine.runtime.images().unpin("test");
    dirs.reverse();
    dirs
}

fn pulled_image_runs() {
    run(async {
        let registry = Registry::start().await;
        let machine = Machine::with_mirrors(registry.as_docker_hub());
        let busybox = fs::read("/bin/busybox").unwrap();
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(busybox.len() as u64);
        archive.append_data(&mut header, "bin/sh", busybox.as_slice()).unwrap();
        let second = layer(&[Item::File("greeting", "hello")]);
        let config = json!({"Entrypoint": ["sh", "-c", "read g < /greeting; echo $g"]});
        registry.push_image("library/hello", "1", &[archive.into_inner().unwrap(), second], config).await;
        let image = machine.runtime.images().pull(&name("hello:1"), &[]).await.unwrap();
        let spec =
            windlass_oci::container::ContainerSpec { image_id: image.id, log_path: machine.log_path(), ..Default::default() };
        assert_eq!(machine.run_spec(spec).await, (0, "stdout F hello\n".to_owned()));
    });
}

fn layers_are_unpacked_as_meant() {
    run(async {
        let registry = Registry::start().await;
        let machine = Machine::with_mirrors(registry.as_docker_hub());
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(9));
        let lower = layer(&[
            Item::Dir("srv", 0o700),
            Item::File("srv/gone", "x"),
            Item::File("srv/target", "linked"),
            Item::Dir("usr/lib", 0o755),
            Item::Symlink("lib", "usr/lib"),
            Item::File("old/a", "a"),
            Item::File(&long, "deep"),
            Item::Owned("owned", 1234, 65_000),
            Item::Xattr("marked", "user.note", "kept"),
            Item::Device("null", 1, 3),
        ]);
        let upper = layer(&[
            Item::File("srv/.wh.gone", ""),
            Item::HardLink("srv/again", "srv/target"),
            Item::HardLink("again", "srv/again"),
            Item::File("lib/new", "through the link"),
            Item::File("old/.wh..wh..opq", ""),
            Item::File("old/b", "b"),
            Item::File("twice", "first"),
            Item::File("twice", "second"),
        ]);
        registry.push_image("library/layers", "latest", &[lower, upper], json!({})).await;
        machine.runtime.images().pull(&name("layers"), &[]).await.unwrap();
        let [lower, upper] = layer_dirs(&machine, "layers").try_into().unwrap();
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();

        assert_eq!(read(lower.join(&long)), "deep");
        let owned = fs::metadata(lower.join("owned")).unwrap();
        assert_eq!((owned.uid(), owned.gid(), owned.mode() & 0o7777, owned.mtime()), (1234, 65_000, 0o644, 1_000_000));
        assert!(fs::metadata(lower.join("null")).unwrap().file_type().is_char_device());

        let whiteout = fs::metadata(upper.join("srv/gone")).unwrap();
        assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
        // A directory that the layer does not name is as the lower layer has it.
        assert_eq!(fs::metadata(upper.join("srv")).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(read(upper.join("srv/again")), "linked");
        assert_eq!(fs::metadata(upper.join("srv/again")).unwrap().ino(), fs::metadata(upper.join("again")).unwrap().ino());
        assert_eq!(read(upper.join("usr/lib/new")), "through the link");
        assert!(!upper.join("lib").exists());
        assert_eq!(read(upper.join("twice")), "second");

        let id = machine.runtime.images().get("layers").unwrap().id;
        let busybox = machine.script("").await.image_id;
        assert_ne!(id, busybox);
        // The kernel reads the layers as they were meant.
        let merged = machine.dir.path().join("merged");
        fs::create_dir(&merged).unwrap();
        let options = format!("lowerdir={}:{}", upper.display(), lower.display());
        let flags = nix::mount::MsFlags::MS_RDONLY;
        nix::mount::mount(Some("overlay"), &merged, Some("overlay"), flags, Some(options.as_str())).unwrap();
        let names = |dir: &str| {
            let mut names: Vec<_> =
                fs::read_dir(merged.join(dir)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names("srv"), ["again", "target"]);
        assert_eq!(names("old"), ["b"]);
        assert_eq!(read(merged.join("lib/new")), "through the link");
        nix::mount::umount(&merged).unwrap();
    });
}

fn hostile_layers_are_refused() {
    run(async {
        let registry = Registry::start().await;
        let mut machine = Machine::with_mirrors(registry.as_docker_hub());
        machine.config.layer_limits = LayerLimits { bytes: 1 << 20, entries: 100 };
        machine.reopen();
        let outside = machine.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let outside_text = outside.to_str().unwrap();
        let many = (0..101).map(|i| format!("f{i}")).collect::<Vec<_>>();
        let many: Vec<Item<'_>> = many.iter().map(|name| Item::File(name, "")).collect();
        let big = "0".repeat(2 << 20);
        for (case, items, text) in [
            ("dots", vec![Item::File("../../evil", "x")], "path leads out of the root"),
            ("inner-dots", vec![Item::File("a/../../evil", "x")], "path leads out of the root"),
            ("link-dots", vec![Item::HardLink("passwd", "../../../etc/passwd")], "hard link leads out of the root"),
            ("link-nowhere", vec![Item::HardLink("passwd", "etc/passwd")], "failed to create \"passwd\""),
            ("many", many, "layer has more than 100 entries"),
            ("big", vec![Item::File("zeros", &big)], "layer has more than 1048576 bytes"),
        ] {
            registry.push_image(&format!("evil/{case}"), "latest", &[layer(&items)], json!({})).await;
            let error = machine.runtime.images().pull(&name(&format!("evil/{case}")), &[]).await.unwrap_err();
            assert!(chain(&error).contains(text), "{case}: {}", chain(&error));
            assert!(chain(&error).contains("failed to extract layer sha256:"), "{case}: {}", chain(&error));
        }
        // These are harmless inside the root, and must stay there.
        let through = layer(&[
            Item::Symlink("out", outside_text),
            Item::File("out/planted", "x"),
            Item::Symlink("up", "../../../../../../../../.."),
            Item::File("up/planted-above", "x"),
            Item::File("/absolute", "x"),
            Item::Symlink("swap", "/etc"),
            Item::Dir("swap", 0o755),
            Item::File("swap/hosts", "x"),
            Item::Xattr("redirect", "trusted.overlay.redirect", "/etc"),
            Item::File(".wh...", ""),
            Item::File(".wh..", ""),
            Item::File(".wh.", ""),
        ]);
        registry.push_image("evil/links", "latest", &[through], json!({})).await;
        machine.runtime.images().pull(&name("evil/links"), &[]).await.unwrap();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        let dirs = layer_dirs(&machine, "evil/links");
        assert!(dirs[0].join("planted-above").exists() && dirs[0].join("swap/hosts").exists());
        assert!(dirs[0].join(outside_text.trim_start_matches('/')).join("planted").exists());
        let layers = machine.runtime.images().layers_dir();
        assert_eq!(fs::read_dir(layers).unwrap().filter(|e| e.as_ref().unwrap().path().extension().is_none()).count(), 1);
    });
}

fn index_by_platform() {
    run(async {
        let registry = Registry::start().await;
        let machine = Machine::with_mirrors(registry.as_docker_hub());
        let mut manifests = Vec::new();
        let own = oci_spec::image::Arch::default().to_string();
        for arch in ["s390x", own.as_str()] {
            let digest = registry.push_image("multi/arch", arch, &[layer(&[Item::File(arch, "")])], json!({})).await;
            let url = format!("{}/v2/multi/arch/manifests/{digest}", registry.base);
            let accept = "application/vnd.oci.image.manifest.v1+json";
            let manifest = reqwest::Client::new().get(url).header("accept", accept).send().await.unwrap().bytes().await.unwrap();
            manifests.push(json!({
                "mediaType": accept, "digest": digest, "size": manifest.len(),
                "platform": {"os": "linux", "architecture": arch},
            }));
        }
        let index = |manifests| json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests});
        let index_digest = registry.push_manifest("multi/arch", "all", &index(json!(manifests))).await;
        let image = machine.runtime.images().pull(&name("multi/arch:all"), &[]).await.unwrap();
        assert!(layer_dirs(&machine, "multi/arch:all")[0].join(&own).exists());
        assert_eq!(image.digests, [format!("docker.io/multi/arch@{index_digest}")]);
        let foreign = registry.push_manifest("multi/arch", "foreign", &index(json!([manifests[0]]))).await;
        let error = machine.runtime.images().pull(&name("multi/arch:foreign"), &[]).await.unwrap_err();
        let text = "failed to pull and unpack image \"docker.io/multi/arch:foreign\": no match for platform in manifest ";
        assert_eq!(chain(&error), format!("{text}{foreign}: not found"));
    });
}

fn names_digests_and_removal() {
    run(async {
        let registry = Registry::start().await;
        let mut machine = Machine::with_mirrors(registry.as_docker_hub());
        let base = layer(&[Item::File("base", "")]);
        let top = layer(&[Item::File("top", "")]);
        let one = registry.push_image("library/app", "1", std::slice::from_ref(&base), json!({"User": "web"})).await;
        registry.push_image("library/app", "2", &[base.clone(), top], json!({})).await;
        let images = machine.runtime.images().clone();
        // Two at once are one.
        let (name_1, name_2) = (name("app:1"), name("app:2"));
        let (first, again) = tokio::join!(images.pull(&name_1, &[]), images.pull(&name_1, &[]));
        let (first, again) = (first.unwrap(), again.unwrap());
        assert_eq!(first, again);
        assert_eq!((first.tags.clone(), first.user()), (vec!["docker.io/library/app:1".to_owned()], "web"));
        let second = images.pull(&name_2, &[]).await.unwrap();
        let by_digest = images.pull(&name(&format!("app@{one}")), &[]).await.unwrap();
        assert_eq!(by_digest.id, again.id);
        for known in ["app:1", "docker.io/library/app:1", &format!("app@{one}"), &again.id] {
            assert_eq!(images.get(known).unwrap().id, again.id, "{known}");
        }
        let layers = || {
            let entries = fs::read_dir(images.layers_dir()).unwrap();
            entries.count()
        };
        assert_eq!(layers(), 2);
        // Compressed layers go once they are unpacked; configurations stay.
        assert_eq!(fs::read_dir(machine.config.data_dir.join("content/blobs/sha256")).unwrap().count(), 2);
        // The tag moves: the old image loses it.
        registry.push_image("library/app", "1", &[layer(&[Item::File("other", "")])], json!({})).await;
        let moved = images.pull(&name_1, &[]).await.unwrap();
        assert_eq!(images.get(&again.id).unwrap().tags, [""; 0]);
        assert_eq!(images.get("app:1").unwrap().id, moved.id);
        // Shared layers stay while somebody needs them: an image, a container.
        images.remove(&again.id).await.unwrap();
        assert_eq!(layers(), 3);
        images.pin("container", &second.id).unwrap();
        images.remove("app:2").await.unwrap();
        images.remove("app:2").await.unwrap();
        assert_eq!((layers(), images.list().len()), (3, 1));
        images.unpin("container");
        images.remove("nothing").await.unwrap();
        assert_eq!(layers(), 1);
        machine.reopen();
        assert_eq!(machine.runtime.images().list(), [moved]);
    });
}

fn a_full_disk_is_left_as_it_was() {
    run(async {
        let registry = Registry::start().await;
        let zeros = "0".repeat(12 << 20);
        let loose = layer(&[Item::File("zeros", &zeros)]);
        // Little to fetch and much to unpack, then much to fetch: the middle one of three layers is not compressed.
        let little = [loose.clone()];
        registry.push_image("library/unpacked", "1", &little, json!({})).await;
        let much = [layer(&[Item::File("a", "")]), layer(&[Item::File("b", "")]), loose];
        registry.push_image("library/fetched", "1", &much, json!({})).await;
        registry.push_image("library/small", "1", &[layer(&[Item::File("a", "small")])], json!({})).await;
        let mut machine = Machine::with_mirrors(registry.as_docker_hub());
        let disk = machine.dir.path().join("disk");
        fs::create_dir(&disk).unwrap();
        mount(Some("none"), &disk, Some("tmpfs"), MsFlags::empty(), Some("size=10m")).unwrap();
        machine.config.data_dir = disk.join("data");
        machine.reopen();
        let free = || statvfs(&disk).unwrap().blocks_free();
        let before = free();
        for (image, what) in [("unpacked:1", "failed to extract layer"), ("fetched:1", "failed to copy")] {
            let error = machine.runtime.images().pull(&name(image), &[]).await.unwrap_err();
            let text = chain(&error);
            assert!(text.contains(what) && text.contains("no space left on device"), "{text}");
            assert_eq!(free(), before, "{image}");
        }
        // Others still find room.
        machine.runtime.images().pull(&name("small:1"), &[]).await.unwrap();
        umount2(&disk, MntFlags::MNT_DETACH).unwrap();
    });
}

fn a_crash_leaves_no_half_layer() {
    run(async {
        let registry = Registry::start().await;
        let mut machine = Machine::with_mirrors(registry.as_docker_hub());
        registry.push_image("library/app", "1", &[layer(&[Item::File("whole", "")])], json!({})).await;
        let image = machine.runtime.images().pull(&name("app:1"), &[]).await.unwrap();
        let layers = machine.runtime.images().layers_dir().to_owned();
        // What a kill in the middle of things leaves.
        fs::create_dir_all(layers.join("aaaaaaaaaaaaaaaaaaaaaaaa.tmp/fs/half")).unwrap();
        fs::create_dir_all(layers.join("bbbbbbbbbbbbbbbbbbbbbbbb.gone/fs")).unwrap();
        let data = machine.config.data_dir.clone();
        fs::write(data.join("content/ingest/partial"), "x").unwrap();
        fs::write(data.join("images/torn.json"), "{").unwrap();
        fs::write(data.join("images/beside.tmp"), "{").unwrap();
        machine.reopen();
        assert_eq!(machine.runtime.images().list(), [image]);
        assert_eq!(fs::read_dir(&layers).unwrap().count(), 1);
        assert_eq!(fs::read_dir(data.join("content/ingest")).unwrap().count(), 0);
        // An image whose layer is gone counts as not pulled.
        fs::remove_dir_all(&layers).unwrap();
        machine.reopen();
        assert!(machine.runtime.images().list().is_empty());
        machine.runtime.images().pull(&name("app:1"), &[]).await.unwrap();
        assert!(layer_dirs(&machine, "app:1")[0].join("whole").exists());
    });
}
