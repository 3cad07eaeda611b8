//! `kubectl --as`: acting as somebody else, by whoever may.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderMap, HeaderValue};
use windlass_api::status::Status;

use crate::{
    authn::User,
    authz::{self, Attributes},
    path::{self, Place},
    query::bad_request,
    server::Server,
};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Prefix of the headers that carry what else is known of a user.
const EXTRA: &str = "impersonate-extra-";

/// Whom the headers ask to be taken for.
#[derive(Debug, Default)]
struct Wanted {
    name: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// The user to answer: the one whom the headers name, where `user` may be taken for them, and `user` where they name nobody.
///
/// # Errors
/// 400 for headers that say more about a user than who it is, 403 where RBAC does not give `impersonate` on each thing named.
pub(crate) async fn impersonated(server: &Server, user: Arc<User>, headers: &HeaderMap) -> Result<Arc<User>, Status> {
    let wanted = Wanted::read(headers);
    if wanted.name.is_empty() {
        let named = wanted.objects();
        if named.is_empty() {
            return Ok(user);
        }
        return Err(bad_request(format!("requested [{}] without impersonating a user", named.join(" "))));
    }
    for place in wanted.places() {
        authz::check(server, &Attributes { user: &user, verb: "impersonate", place: &place }).await?;
    }
    Ok(Arc::new(wanted.into_user()))
}

impl Wanted {
    fn read(headers: &HeaderMap) -> Self {
        let first = |name: &str| headers.get(name).map(text).unwrap_or_default();
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (header, value) in headers {
            if let Some(key) = header.as_str().strip_prefix(EXTRA) {
                extra.entry(path::decode(key)).or_default().push(text(value));
            }
        }
        Self {
            name: first("impersonate-user"),
            uid: first("impersonate-uid"),
            groups: headers.get_all("impersonate-group").iter().map(text).collect(),
            extra,
        }
    }

    /// Namespace and name of the service account that is named.
    fn account(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.name.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
    }

    fn extras(&self) -> impl Iterator<Item = (&str, &str)> {
        self.extra.iter().flat_map(|(key, values)| values.iter().map(move |value| (key.as_str(), value.as_str())))
    }

    /// What the right to impersonate is asked for, one by one.
    fn places(&self) -> Vec<Place> {
        let place = |group: &str, plural: &str, name: &str| Place {
            group: group.to_owned(),
            version: "v1".to_owned(),
            plural: plural.to_owned(),
            name: name.to_owned(),
            ..Place::default()
        };
        let mut places = vec![match self.account() {
            Some((namespace, name)) => Place { namespace: namespace.to_owned(), ..place("", "serviceaccounts", name) },
            None => place("", "users", &self.name),
        }];
        places.extend(self.groups.iter().map(|group| place("", "groups", group)));
        places.extend(
            self.extras().map(|(key, value)| Place { subresource: key.to_owned(), ..place(AUTHENTICATION, "userextras", value) }),
        );
        if !self.uid.is_empty() {
            places.push(place(AUTHENTICATION, "uids", &self.uid));
        }
        places
    }

    /// The same as upstream prints it, which is as references to objects: kind, namespace, name, uid, version, revision, path.
    fn objects(&self) -> Vec<String> {
        let mut objects: Vec<String> = self.groups.iter().map(|group| format!("{{Group  {group}    }}")).collect();
        objects.extend(self.extras().map(|(key, value)| format!("{{UserExtra  {value}  {AUTHENTICATION}/v1  {key}}}")));
        if !self.uid.is_empty() {
            objects.push(format!("{{UID  {}  {AUTHENTICATION}/v1  }}", self.uid));
        }
        objects
    }

    /// As upstream: an account without groups has those of accounts, and everybody is authenticated who is not said to be otherwise.
    fn into_user(self) -> User {
        let mut groups = self.groups.clone();
        if let (Some((namespace, _)), true) = (self.account(), groups.is_empty()) {
            groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        }
        let has = |name: &str| groups.iter().any(|group| group == name);
        let missing = match self.name.as_str() {
            "system:anonymous" => (!has(UNAUTHENTICATED)).then_some(UNAUTHENTICATED),
            _ => (!has(AUTHENTICATED) && !has(UNAUTHENTICATED)).then_some(AUTHENTICATED),
        };
        groups.extend(missing.map(str::to_owned));
        User { name: self.name, uid: self.uid, groups, extra: self.extra }
    }
}

/// Go takes the bytes of a header as they are.
fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
