//! Which images go when the disk gets full: those that no container uses, unused the longest first.

use jiff::{SignedDuration, Timestamp};

/// As upstream: from this part of the disk on, images are removed …
const HIGH_PERCENT: u64 = 85;
/// … until this part of it is in use.
const LOW_PERCENT: u64 = 80;
/// An image that came less than this ago stays: its container may be about to start.
const MIN_AGE: SignedDuration = SignedDuration::from_mins(2);

/// Bytes of the file system that holds the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// In all.
    pub total: u64,
    /// Not in use.
    pub available: u64,
}

impl Disk {
    /// Bytes to free; 0 unless it is fuller than it should be.
    fn excess(self) -> u64 {
        let used = self.total.saturating_sub(self.available);
        if self.total == 0 || used * 100 / self.total < HIGH_PERCENT {
            return 0;
        }
        used.saturating_sub(self.total * LOW_PERCENT / 100)
    }
}

/// An image on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: String,
    /// In bytes.
    pub size: u64,
    /// By a container, running or ended.
    pub in_use: bool,
    /// Since when it is known to be there.
    pub first_seen: Timestamp,
    /// When a container was last seen to use it; `first_seen` when none was.
    pub last_used: Timestamp,
}

/// What to remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Bytes to free: 0 when the disk is not too full.
    pub bytes: u64,
    /// The images that may go, in this order, until so many bytes are free.
    pub candidates: Vec<Image>,
}

/// Plans the removal of images at `now`.
pub fn plan(images: Vec<Image>, disk: Disk, now: Timestamp) -> Plan {
    let bytes = disk.excess();
    if bytes == 0 {
        return Plan::default();
    }
    let mut candidates = images;
    candidates.retain(|image| !image.in_use && now.duration_since(image.first_seen) >= MIN_AGE);
    candidates.sort_by(|a, b| (a.last_used, a.first_seen, &a.id).cmp(&(b.last_used, b.first_seen, &b.id)));
    Plan { bytes, candidates }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, first_seen: i64, last_used: i64) -> Image {
        let at = |second| Timestamp::from_second(second).unwrap();
        Image { id: id.to_owned(), size: 10, in_use: false, first_seen: at(first_seen), last_used: at(last_used) }
    }

    #[test]
    fn a_full_disk_is_emptied_to_eighty_percent() {
        let excess = |available| Disk { total: 1000, available }.excess();
        assert_eq!([200, 151, 150, 0].map(excess), [0, 0, 50, 200]);
    }

    #[test]
    fn what_is_unused_the_longest_goes_first_and_what_is_new_or_in_use_stays() {
        let used = Image { in_use: true, ..image("used", 0, 0) };
        let images =
            vec![image("late", 0, 500), image("new", 881, 881), used, image("early", 20, 400), image("earlier", 10, 400)];
        let now = Timestamp::from_second(1000).unwrap();
        let plan = plan(images.clone(), Disk { total: 1000, available: 100 }, now);
        let ids: Vec<&str> = plan.candidates.iter().map(|image| image.id.as_str()).collect();
        assert_eq!((plan.bytes, ids), (100, vec!["earlier", "early", "late"]));
        assert_eq!(super::plan(images, Disk { total: 1000, available: 200 }, now), Plan::default());
    }
}
