//! Which pod has which address: one small file for each, named by the address, holding the pod's uid.

use std::{
    collections::BTreeMap,
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use crate::Cidr;

/// The first address is the range itself, the second the machine's, the last would be a broadcast.
const FIRST: u32 = 2;

/// Addresses of pods, on disk and in memory.
///
/// The files matter only as long as the machine's namespaces live, so they need not survive a power cut: they are renamed
/// into place, so that a crash leaves either nothing or a whole one, and never synced.
#[derive(Debug)]
pub(super) struct PodAddresses {
    directory: PathBuf,
    range: Cidr,
    by_pod: BTreeMap<String, Ipv4Addr>,
    by_address: BTreeMap<Ipv4Addr, String>,
    /// Where to look next: an address that was given back rests for as long as possible,
    /// because somebody may still be sending to the pod that had it.
    next: u32,
}

impl PodAddresses {
    pub(super) fn open(directory: &Path, range: Cidr) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut addresses =
            Self { directory: directory.to_owned(), range, by_pod: BTreeMap::new(), by_address: BTreeMap::new(), next: FIRST };
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let address = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<Ipv4Addr>().ok());
            let uid = fs::read_to_string(&path)?;
            match address {
                Some(address) if range.contains(address) && !uid.is_empty() && !addresses.by_pod.contains_key(&uid) => {
                    addresses.next = addresses.next.max(address.to_bits() - range.base().to_bits() + 1);
                    addresses.insert(uid, address);
                }
                // Half-written by a run that was killed, or of another range.
                _ => fs::remove_file(&path)?,
            }
        }
        Ok(addresses)
    }

    /// The pod's address: the one it has, or a free one.
    pub(super) fn assign(&mut self, uid: &str) -> io::Result<Ipv4Addr> {
        if let Some(address) = self.find(uid) {
            return Ok(address);
        }
        let address = self.free().ok_or_else(|| {
            let (range, pods) = (self.range, self.by_pod.len());
            io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("no pod address is free in {range}: {pods} pods have one each"),
            )
        })?;
        let partial = self.directory.join("partial");
        fs::write(&partial, uid)?;
        fs::rename(&partial, self.directory.join(address.to_string()))?;
        self.insert(uid.to_owned(), address);
        self.next = address.to_bits() - self.range.base().to_bits() + 1;
        Ok(address)
    }

    pub(super) fn find(&self, uid: &str) -> Option<Ipv4Addr> {
        self.by_pod.get(uid).copied()
    }

    pub(super) fn release(&mut self, uid: &str) -> io::Result<()> {
        let Some(address) = self.find(uid) else { return Ok(()) };
        fs::remove_file(self.directory.join(address.to_string()))?;
        self.by_pod.remove(uid);
        self.by_address.remove(&address);
        Ok(())
    }

    pub(super) fn all(&self) -> Vec<(String, Ipv4Addr)> {
        self.by_pod.iter().map(|(uid, &address)| (uid.clone(), address)).collect()
    }

    fn insert(&mut self, uid: String, address: Ipv4Addr) {
        self.by_address.insert(address, uid.clone());
        self.by_pod.insert(uid, address);
    }

    /// The first free address from `next` on, around the end of the range.
    fn free(&self) -> Option<Ipv4Addr> {
        let last = u32::try_from(self.range.size()).unwrap_or(u32::MAX).saturating_sub(1);
        let next = if (FIRST..last).contains(&self.next) { self.next } else { FIRST };
        (next..last).chain(FIRST..next).map(|index| self.range.nth(index)).find(|address| !self.by_address.contains_key(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range() -> Cidr {
        Cidr::new(Ipv4Addr::new(10, 244, 0, 0), 29)
    }

    fn last_octets(addresses: &PodAddresses) -> Vec<(String, u8)> {
        addresses.all().into_iter().map(|(uid, address)| (uid, address.octets()[3])).collect()
    }

    #[test]
    fn a_pod_keeps_its_address_over_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut addresses = PodAddresses::open(directory.path(), range()).unwrap();
        let (a, b) = (addresses.assign("a").unwrap(), addresses.assign("b").unwrap());
        assert_ne!(a, b);
        let mut again = PodAddresses::open(directory.path(), range()).unwrap();
        assert_eq!(again.assign("b").unwrap(), b);
        assert_eq!(again.assign("a").unwrap(), a);
    }

    #[test]
    fn an_address_given_back_is_the_last_to_be_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut addresses = PodAddresses::open(directory.path(), range()).unwrap();
        for uid in ["a", "b"] {
            addresses.assign(uid).unwrap();
        }
        addresses.release("a").unwrap();
        for uid in ["c", "d", "e", "f"] {
            addresses.assign(uid).unwrap();
        }
        let expected = [("b", 3), ("c", 4), ("d", 5), ("e", 6), ("f", 2)].map(|(uid, octet)| (uid.to_owned(), octet));
        assert_eq!(last_octets(&addresses), expected);
    }

    #[test]
    fn exhaustion_names_the_range_and_passes_when_one_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut addresses = PodAddresses::open(directory.path(), range()).unwrap();
        for uid in ["a", "b", "c", "d", "e"] {
            addresses.assign(uid).unwrap();
        }
        let error = addresses.assign("f").unwrap_err();
        assert_eq!(error.to_string(), "no pod address is free in 10.244.0.0/29: 5 pods have one each");
        addresses.release("c").unwrap();
        assert_eq!(addresses.assign("f").unwrap(), Ipv4Addr::new(10, 244, 0, 4));
    }

    #[test]
    fn what_a_killed_run_left_half_done_is_swept() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("partial"), "a").unwrap();
        fs::write(directory.path().join("10.244.0.2"), "").unwrap();
        fs::write(directory.path().join("192.168.0.2"), "b").unwrap();
        let addresses = PodAddresses::open(directory.path(), range()).unwrap();
        assert_eq!(last_octets(&addresses), []);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
