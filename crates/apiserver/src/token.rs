//! Service account tokens: JSON Web Tokens that this server signs and believes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use windlass_api::kind;

use crate::{authn::User, metadata, pki::Pki, registry::record, server::Server};

/// Who issues the tokens, and whom they are for where a request does not say.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Signatures cost a fifth of a millisecond to check; every pod of a busy machine fits.
const MAX_KNOWN: usize = 1024;

/// Length of a coordinate of a point on the curve P-256.
const COORDINATE_BYTES: usize = 32;

/// How long before and after its time a token holds, and an object that is being deleted still counts after its own. As upstream.
const LEEWAY_SECONDS: i64 = 60;

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: Vec<String>,
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) iss: String,
    pub(crate) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) kubernetes: Bound,
    pub(crate) nbf: i64,
    pub(crate) sub: String,
}

/// What a token is bound to: it ends with each of these.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) namespace: String,
    /// Without a pod: the node that it ends with. With one: where the pod is; of a node that is gone only the name is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Named>,
    pub(crate) serviceaccount: Named,
}

/// An object by name and uid.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
}

/// A token that holds.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    pub(crate) user: Arc<User>,
    pub(crate) audiences: Vec<String>,
}

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("invalid bearer token")]
    Invalid,
    #[error("token audiences {} is invalid for the target audiences {}", quoted(.0), quoted(.1))]
    Audience(Vec<String>, Vec<String>),
    #[error("service account token has expired")]
    Expired,
    #[error("service account token is not valid yet")]
    NotYet,
    #[error("service account token has been invalidated")]
    Invalidated,
    #[error("serviceaccounts {0:?} not found")]
    NoAccount(String),
    #[error("service account {0}/{1} has been deleted")]
    AccountDeleted(String, String),
    /// What it is bound to, as the message words it, is another one by now: its uid, what claims, and the uid that is claimed.
    #[error("{0} UID ({1}) does not match {2} ({3})")]
    Another(&'static str, String, &'static str, String),
}

/// As Go quotes a list.
fn quoted(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

/// The keys, and tokens whose signature was seen to hold.
pub(crate) struct Signer {
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// The public key in DER.
    public: Vec<u8>,
    known: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    /// Takes the service account keys.
    pub(crate) fn new(pki: &Pki) -> Result<Self, jsonwebtoken::errors::Error> {
        let body: String = pki.service_account_public_key.lines().filter(|line| !line.starts_with("-----")).collect();
        Ok(Self {
            public: STANDARD.decode(body)?,
            encoding: EncodingKey::from_ec_pem(pki.service_account_key.as_bytes())?,
            decoding: DecodingKey::from_ec_pem(pki.service_account_public_key.as_bytes())?,
            known: Mutex::default(),
        })
    }

    /// Signs a token.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
        let header = Header { kid: Some(self.key_id()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.encoding)
    }

    /// The name of the key, made of its digest as upstream does.
    fn key_id(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.public))
    }

    /// The public key as a JSON Web Key.
    pub(crate) fn public_key(&self) -> Value {
        // A P-256 key ends with its point: a byte that says that it is not compressed, x and y.
        let (rest, y) = self.public.split_at(self.public.len().saturating_sub(COORDINATE_BYTES));
        let x = &rest[rest.len().saturating_sub(COORDINATE_BYTES)..];
        json!({
            "use": "sig", "kty": "EC", "kid": self.key_id(), "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    fn claims(&self, token: &str) -> Option<Arc<Claims>> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(claims) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&digest) {
            return Some(Arc::clone(claims));
        }
        // Times are compared with the server's clock below, and audiences by whoever asks.
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_issuer(&[ISSUER]);
        let claims = Arc::new(jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).ok()?.claims);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(digest, Arc::clone(&claims));
        Some(claims)
    }
}

/// Checks a token; `audiences` is whom it must be for, this server where it is empty.
///
/// # Errors
/// When the signature, the time, the audience, or an object that it is bound to does not hold.
pub(crate) async fn verify(server: &Server, token: &str, audiences: &[String]) -> Result<Verified, Error> {
    let claims = server.signer.claims(token).ok_or(Error::Invalid)?;
    let now = server.clock.now().as_second();
    if now > claims.exp.saturating_add(LEEWAY_SECONDS) {
        return Err(Error::Expired);
    }
    if now.saturating_add(LEEWAY_SECONDS) < claims.nbf {
        return Err(Error::NotYet);
    }
    let own = [ISSUER.to_owned()];
    let wanted = if audiences.is_empty() { &own[..] } else { audiences };
    let shared: Vec<String> = wanted.iter().filter(|wanted| claims.aud.contains(wanted)).cloned().collect();
    if shared.is_empty() {
        return Err(Error::Audience(claims.aud.clone(), wanted.to_vec()));
    }
    let bound = &claims.kubernetes;
    let account = &bound.serviceaccount;
    match look_up(server, "serviceaccounts", &bound.namespace, account).await {
        Found::Nothing => return Err(Error::NoAccount(account.name.clone())),
        Found::Another(uid) => return Err(Error::Another("service account", uid, "claim", account.uid.clone())),
        Found::Deleted => return Err(Error::AccountDeleted(bound.namespace.clone(), account.name.clone())),
        Found::Same => {}
    }
    // Where a pod is says its node, but does not end with it.
    let node = bound.node.as_ref().filter(|_| bound.pod.is_none());
    let needed = [
        (bound.secret.as_ref(), "secrets", "secret", "service account secret ref claim"),
        (bound.pod.as_ref(), "pods", "pod", "service account pod ref claim"),
        (node, "nodes", "node", "service account node ref claim"),
    ];
    for (named, plural, what, claim) in needed {
        let Some(named) = named else { continue };
        let namespace = if plural == "nodes" { "" } else { &bound.namespace };
        match look_up(server, plural, namespace, named).await {
            Found::Nothing | Found::Deleted => return Err(Error::Invalidated),
            Found::Another(uid) => return Err(Error::Another(what, uid, claim, named.uid.clone())),
            Found::Same => {}
        }
    }
    Ok(Verified { user: Arc::new(user(bound, &claims.jti)), audiences: shared })
}

/// What has become of an object.
enum Found {
    Same,
    Nothing,
    /// Another one of that name, with this uid.
    Another(String),
    /// It is to be gone for a while already.
    Deleted,
}

async fn look_up(server: &Server, plural: &str, namespace: &str, named: &Named) -> Found {
    let Some(kind) = kind::find("", "v1", plural) else { return Found::Nothing };
    let Ok(Some(entry)) = server.registry.find(kind, namespace, &named.name).await else { return Found::Nothing };
    let Ok(object) = record::decode(&entry) else { return Found::Nothing };
    let uid = metadata::text(&object, "uid");
    if uid != named.uid {
        return Found::Another(uid.to_owned());
    }
    let end = metadata::text(&object, "deletionTimestamp").parse::<jiff::Timestamp>();
    if end.is_ok_and(|end| end.as_second() + LEEWAY_SECONDS < server.clock.now().as_second()) {
        Found::Deleted
    } else {
        Found::Same
    }
}

fn user(bound: &Bound, jti: &str) -> User {
    let namespace = &bound.namespace;
    let mut extra = BTreeMap::from([("authentication.kubernetes.io/credential-id".to_owned(), vec![format!("JTI={jti}")])]);
    if let Some(pod) = &bound.pod {
        extra.insert("authentication.kubernetes.io/pod-name".to_owned(), vec![pod.name.clone()]);
        extra.insert("authentication.kubernetes.io/pod-uid".to_owned(), vec![pod.uid.clone()]);
    }
    if let Some(node) = &bound.node {
        extra.insert("authentication.kubernetes.io/node-name".to_owned(), vec![node.name.clone()]);
        if !node.uid.is_empty() {
            extra.insert("authentication.kubernetes.io/node-uid".to_owned(), vec![node.uid.clone()]);
        }
    }
    User {
        name: format!("system:serviceaccount:{namespace}:{}", bound.serviceaccount.name),
        uid: bound.serviceaccount.uid.clone(),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ],
        extra,
    }
}
