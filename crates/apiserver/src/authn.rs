//! Who is asking: static tokens and service account tokens.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderMap, header::AUTHORIZATION};
use windlass_api::status::Status;

use crate::{impersonate, server::Server, token};

/// Whoever sent a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user who may do everything, for parts of this process.
    pub(crate) fn trusted(name: &str) -> Self {
        let groups = vec!["system:masters".to_owned(), "system:authenticated".to_owned()];
        Self { name: name.to_owned(), groups, ..Self::default() }
    }

    /// Whoever sends no credentials.
    pub(crate) fn anonymous() -> Self {
        let groups = vec!["system:unauthenticated".to_owned()];
        Self { name: "system:anonymous".to_owned(), groups, ..Self::default() }
    }

    /// Whether the user is in this group.
    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

/// 401, the same for a missing and for a wrong token.
pub(crate) fn unauthorized() -> Status {
    Status::request(401, "Unauthorized", "Unauthorized")
}

/// The user of a request that came over a socket; anonymous without a token.
///
/// # Errors
/// 401 for a token that is not one of ours; what impersonation says.
pub(crate) async fn authenticate(server: &Server, headers: &HeaderMap) -> Result<Arc<User>, Status> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(Arc::new(User::anonymous())) };
    let text = value.to_str().map_err(|_| unauthorized())?;
    let (scheme, credential) = text.split_once(' ').ok_or_else(unauthorized)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unauthorized());
    }
    let user = bearer(server, credential.trim()).await.ok_or_else(unauthorized)?;
    impersonate::impersonated(server, user, headers).await
}

/// The user whom a bearer token names.
pub(crate) async fn bearer(server: &Server, credential: &str) -> Option<Arc<User>> {
    // Every token is compared, whichever fits, so that the time taken says nothing.
    let mut found = None;
    for known in &server.tokens {
        if same(known.token.as_bytes(), credential.as_bytes()) {
            found = Some(Arc::clone(&known.user));
        }
    }
    match found {
        Some(user) => Some(user),
        None => token::verify(server, credential, &[]).await.ok().map(|verified| verified.user),
    }
}

/// A static token with its user made ready.
#[derive(Debug, Clone)]
pub(crate) struct KnownToken {
    pub(crate) token: String,
    pub(crate) user: Arc<User>,
}

fn same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differences) == 0
}
