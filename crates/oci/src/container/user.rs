//! Who a container runs as: the image's user names, looked up in the image.

use std::{io, path::Path};

use super::{Identity, Security};
use crate::tree::Stack;

/// `/etc/passwd` and `/etc/group` beyond this are cut: the largest real ones have tens of kilobytes.
const FILE_BYTES: u64 = 8 << 20;

/// Ids to run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Further groups of the user in `/etc/group`.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

impl User {
    /// Who the first process of a container of that security is.
    pub(crate) fn identity(&self, security: &Security, may_set_groups: bool) -> Identity {
        let of_image = self.groups.iter().filter(|_| !security.strict_groups);
        let mut groups: Vec<u32> = of_image.chain(&security.supplemental_groups).copied().chain([self.gid]).collect();
        groups.sort_unstable();
        groups.dedup();
        if !may_set_groups {
            groups.clear();
        }
        Identity { uid: self.uid, gid: self.gid, groups }
    }
}

/// Why a user could not be found; texts are containerd's.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The name is not in `/etc/passwd`.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// The name is not in `/etc/group`.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// The image could not be read.
    #[error("failed to read the image's users")]
    Io(#[from] io::Error),
}

/// Resolves the image's `user[:group]`, unless ids are given.
pub(crate) fn resolve(image: &Stack, user: &str, run_as_user: Option<u32>, run_as_group: Option<u32>) -> Result<User, UserError> {
    let read = |path: &str| {
        image.read(Path::new(path), FILE_BYTES).map(|b| String::from_utf8_lossy(&b.unwrap_or_default()).into_owned())
    };
    resolve_in(&read("etc/passwd")?, &read("etc/group")?, user, run_as_user, run_as_group)
}

fn resolve_in(
    passwd: &str,
    group: &str,
    user: &str,
    run_as_user: Option<u32>,
    run_as_group: Option<u32>,
) -> Result<User, UserError> {
    let (name, group_name) = match user.split_once(':') {
        _ if run_as_user.is_some() => ("", None),
        Some((name, group)) => (name, Some(group).filter(|g| !g.is_empty())),
        None => (user, None),
    };
    let name = run_as_user.map_or_else(|| if name.is_empty() { "0".to_owned() } else { name.to_owned() }, |uid| uid.to_string());
    let account = passwd.lines().filter_map(Account::parse).find(|a| a.name == name || name.parse() == Ok(a.uid));
    let (uid, own_gid, account_name, home) = match account {
        Some(account) => (account.uid, account.gid, account.name.to_owned(), account.home.to_owned()),
        None => (name.parse().map_err(|_| UserError::NoUser(name.clone()))?, 0, String::new(), "/".to_owned()),
    };
    let gid = match (run_as_group, group_name) {
        (Some(gid), _) => gid,
        (None, Some(wanted)) => {
            let found = group.lines().filter_map(Group::parse).find(|g| g.name == wanted).map(|g| g.gid);
            found.or_else(|| wanted.parse().ok()).ok_or_else(|| UserError::NoGroup(wanted.to_owned()))?
        }
        (None, None) => own_gid,
    };
    let is_member = |g: &Group<'_>| !account_name.is_empty() && g.members.split(',').any(|m| m == account_name);
    let groups = group.lines().filter_map(Group::parse).filter(is_member).map(|g| g.gid).collect();
    Ok(User { uid, gid, groups, home: if home.is_empty() { "/".to_owned() } else { home } })
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let (_comment, home) = (fields.next(), fields.next());
        Some(Self { name, uid, gid, home: home.unwrap_or_default() })
    }
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _password, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        Some(Self { name, gid, members: fields.next().unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnginx:x:101:102:nginx:/var/cache/nginx:/sbin/nologin\nbroken\n";
    const GROUP: &str = "root:x:0:\nnginx:x:102:\ntls:x:300:nginx,other\n";

    fn found(user: &str, run_as_user: Option<u32>, run_as_group: Option<u32>) -> (u32, u32, Vec<u32>, String) {
        let user = resolve_in(PASSWD, GROUP, user, run_as_user, run_as_group).unwrap();
        (user.uid, user.gid, user.groups, user.home)
    }

    #[test]
    fn names_and_numbers_are_resolved() {
        let nginx = (101, 102, vec![300], "/var/cache/nginx".to_owned());
        assert_eq!(found("", None, None), (0, 0, vec![], "/root".to_owned()));
        assert_eq!(found("nginx", None, None), nginx);
        assert_eq!(found("101", None, None), nginx);
        assert_eq!(found("nginx:tls", None, None), (101, 300, vec![300], "/var/cache/nginx".to_owned()));
        assert_eq!(found("7:8", None, None), (7, 8, vec![], "/".to_owned()));
        assert_eq!(found("nginx", Some(1000), None), (1000, 0, vec![], "/".to_owned()));
        assert_eq!(found("root", Some(101), Some(5)), (101, 5, vec![300], "/var/cache/nginx".to_owned()));
    }

    #[test]
    fn groups_of_the_image_are_left_out_where_that_is_asked_for() {
        let user = resolve_in(PASSWD, GROUP, "nginx", None, None).unwrap();
        let groups = |strict_groups, may_set_groups| {
            let security = Security { supplemental_groups: vec![2000, 5], strict_groups, ..Security::default() };
            user.identity(&security, may_set_groups).groups
        };
        assert_eq!(groups(false, true), [5, 102, 300, 2000]);
        assert_eq!(groups(true, true), [5, 102, 2000]);
        assert_eq!(groups(true, false), Vec::<u32>::new());
    }

    #[test]
    fn unknown_names_are_errors() {
        let error = |user| resolve_in(PASSWD, GROUP, user, None, None).unwrap_err().to_string();
        assert_eq!(error("nobody"), "unable to find user nobody: no matching entries in passwd file");
        assert_eq!(error("nginx:nope"), "unable to find group nope: no matching entries in group file");
    }
}
