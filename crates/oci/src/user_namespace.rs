//! A user namespace of the machine's own, in which an ordinary user may do what containers need.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitCode, Stdio},
};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::{Gid, Uid, User, getgid, getuid},
};

use crate::{internal::IDS, process::own_capabilities};

/// Number of `CAP_SYS_ADMIN` in `linux/capability.h`.
const SYS_ADMIN: u64 = 1 << 21;

/// Settings of the kernel that keep user namespaces from ordinary users, and the value with which they do.
const SETTINGS: [(&str, &str); 3] = [
    ("kernel.unprivileged_userns_clone", "0"),
    ("user.max_user_namespaces", "0"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1"),
];

/// What ids there are in the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids {
    /// The user is root, and its subordinate ids are the ids above.
    Subordinate,
    /// The user is root, and there is nobody else; why.
    One(String),
}

/// Why there is no namespace.
#[derive(Debug, thiserror::Error)]
pub enum UserNamespaceError {
    /// The kernel refuses to make one.
    #[error("this host lets an ordinary user make no user namespace{}", forbidding().map(|setting| format!(" ({setting})")).unwrap_or_default())]
    Forbidden(#[source] io::Error),
    /// Ids could not be mapped.
    #[error("cannot map ids into the user namespace")]
    Map(#[source] io::Error),
}

/// Whether this process needs one to mount and to make namespaces.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn is_needed() -> io::Result<bool> {
    Ok(own_capabilities()? & SYS_ADMIN == 0)
}

/// The setting of this host that keeps user namespaces, or their use, from ordinary users; `name is value`.
#[must_use]
pub fn forbidding() -> Option<String> {
    let value = |name: &str| fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok();
    let forbids = |(name, forbidden): &(&str, &str)| value(name).is_some_and(|value| value.trim() == *forbidden);
    SETTINGS.iter().find(|setting| forbids(setting)).map(|(name, value)| format!("{name} is {value}"))
}

/// Moves this process, which has a single thread, into a new user namespace, where it is root.
///
/// # Errors
/// When the kernel refuses.
pub fn enter() -> Result<Ids, UserNamespaceError> {
    let (uid, gid) = (getuid(), getgid());
    let ranges = ranges(uid);
    // Only a process outside can map more than one id: it starts before, and acts after.
    let mapper = ranges.as_ref().map_err(Clone::clone).and_then(|ranges| Mapper::start(ranges, uid, gid));
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| UserNamespaceError::Forbidden(errno.into()))?;
    match mapper.and_then(Mapper::finish) {
        Ok(()) => Ok(Ids::Subordinate),
        Err(reason) => {
            map_one(uid, gid).map_err(UserNamespaceError::Map)?;
            Ok(Ids::One(reason))
        }
    }
}

/// What ids there are in the namespace that this process is in; `None` in the first one.
#[must_use]
pub fn current() -> Option<Ids> {
    crate::process::in_user_namespace().then(|| match crate::process::may_set_groups() {
        true => Ids::Subordinate,
        false => Ids::One("as when it was started".to_owned()),
    })
}

/// Paths below `/proc` that something is mounted on, as in a container: in a user namespace the kernel lets nobody mount a `/proc`
/// then that shows what is covered, and no container can be without one.
#[must_use]
pub fn covered_proc() -> Vec<String> {
    covered(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn covered(mountinfo: &str) -> Vec<String> {
    // Directories that are there to be mounted on hide nothing.
    const EMPTY: [&str; 3] = ["/proc/sys/fs/binfmt_misc", "/proc/fs/nfsd", "/proc/openprom"];
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let mut covered: Vec<String> =
        points.filter(|point| point.starts_with("/proc/") && !EMPTY.contains(point)).map(str::to_owned).collect();
    covered.sort_unstable();
    covered.dedup();
    covered
}

/// The one mapping that a process may make for itself; it has to give up its other groups for good.
fn map_one(uid: Uid, gid: Gid) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// First id and number of ids.
type Range = (u32, u32);

/// Subordinate user and group ids.
#[derive(Debug, PartialEq, Eq)]
struct Ranges {
    users: Vec<Range>,
    groups: Vec<Range>,
}

fn ranges(uid: Uid) -> Result<Ranges, String> {
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name).unwrap_or_default();
    let read = |file: &str| {
        let found = parse(&fs::read_to_string(file).unwrap_or_default(), &name, uid);
        if found.is_empty() { Err(format!("{file} has no entry for user {uid}")) } else { Ok(found) }
    };
    Ok(Ranges { users: read("/etc/subuid")?, groups: read("/etc/subgid")? })
}

/// Lines are `user:first:count`, the user by name or number.
fn parse(text: &str, name: &str, uid: Uid) -> Vec<Range> {
    let number = uid.to_string();
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        ((owner == name || owner == number) && !owner.is_empty() && count > 0).then_some((first, count))
    };
    text.lines().filter_map(range).collect()
}

/// Arguments of newuidmap and newgidmap: our own id is root, the subordinate ones follow.
fn triples(own: u32, ranges: &[Range]) -> Vec<String> {
    let mut triples = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
    let mut next: u32 = 1;
    for (first, count) in ranges {
        triples.extend([next.to_string(), first.to_string(), count.to_string()]);
        next = next.saturating_add(*count);
    }
    triples
}

/// A process outside the new namespace that maps ids into it.
struct Mapper(Child);

impl Mapper {
    fn start(ranges: &Ranges, uid: Uid, gid: Gid) -> Result<Self, String> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0(IDS).arg(std::process::id().to_string());
        command.arg(triples(uid.as_raw(), &ranges.users).join(" ")).arg(triples(gid.as_raw(), &ranges.groups).join(" "));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().map(Self).map_err(|error| format!("no process to map ids: {error}"))
    }

    /// The namespace is there.
    fn finish(mut self) -> Result<(), String> {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().map_err(|error| error.to_string())?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
    }
}

/// Entry of the process that maps: the arguments are the process in the namespace and what is mapped.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    let [process, users, groups] = args else { return ExitCode::FAILURE };
    // Its end says that the namespace is there.
    let _ = io::stdin().read_to_end(&mut Vec::new());
    for (program, triples) in [("newuidmap", users), ("newgidmap", groups)] {
        let triples = triples.to_string_lossy();
        match Command::new(program).arg(process).args(triples.split(' ')).status() {
            Ok(status) if status.success() => {}
            Ok(status) => {
                eprintln!("{program}: {status}");
                return ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("{program}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "ada:100000:65536\n1000:300000:10\n:5:5\nbob:200000:65536\nada:x:1\nada:7:0\n";
        assert_eq!(parse(text, "ada", Uid::from_raw(1000)), [(100_000, 65_536), (300_000, 10)]);
        assert_eq!(parse(text, "", Uid::from_raw(1001)), []);
    }

    #[test]
    fn what_covers_parts_of_proc_is_found() {
        let mountinfo = "\
            22 29 0:20 / /proc rw,nosuid - proc proc rw\n\
            33 22 0:30 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n\
            40 22 0:41 / /proc/scsi ro - tmpfs tmpfs ro\n\
            41 22 0:5 /null /proc/keys rw - devtmpfs udev rw\n\
            42 22 0:5 /null /proc/keys rw - devtmpfs udev rw\n\
            43 29 0:42 / /processes rw - tmpfs tmpfs rw\n";
        assert_eq!(covered(mountinfo), ["/proc/keys", "/proc/scsi"]);
    }

    #[test]
    fn the_user_is_root_and_its_ranges_follow() {
        let triples = triples(1000, &[(100_000, 65_536), (300_000, 10)]).join(" ");
        assert_eq!(triples, "0 1000 1 1 100000 65536 65537 300000 10");
    }
}
