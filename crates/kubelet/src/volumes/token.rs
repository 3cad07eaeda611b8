//! Service account tokens of projected volumes: asked for, kept, and renewed well before they expire.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection, Volume},
};
use kube::{Api, Client, api::PostParams};

use super::payload::Tokens;

/// A token is renewed when this much of its life is over, as upstream.
const RENEW_AT_PERCENT: i64 = 80;
/// No token is used for longer than this without being renewed, whatever its life.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);
/// Pause after a renewal that failed while the old token still holds.
const RETRY: SignedDuration = SignedDuration::from_secs(10);
/// Life of a token whose volume names none.
const DEFAULT_SECONDS: i64 = 3600;

#[derive(Debug, Clone)]
struct Token {
    token: String,
    renew_at: Timestamp,
    expires_at: Timestamp,
}

/// The tokens of one pod.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    tokens: HashMap<(String, String), Token>,
}

/// The token projections of a pod, with the volumes they are in.
fn projections(volumes: &[Volume]) -> impl Iterator<Item = (&Volume, &ServiceAccountTokenProjection)> {
    volumes.iter().flat_map(|volume| {
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        sources.filter_map(move |source| Some((volume, source.service_account_token.as_ref()?)))
    })
}

impl Cache {
    /// Tokens for every projection of the pod; those that are due are asked for anew.
    ///
    /// # Errors
    /// When a token is missing or expired and none is given.
    pub(crate) async fn get(&mut self, client: &Client, pod: &Pod, now: Timestamp) -> Result<Tokens, String> {
        let spec = pod.spec.as_ref();
        let volumes = spec.and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
        let account =
            spec.and_then(|spec| spec.service_account_name.as_deref()).filter(|name| !name.is_empty()).unwrap_or("default");
        for (volume, source) in projections(volumes) {
            let key = (volume.name.clone(), source.path.clone());
            if self.tokens.get(&key).is_some_and(|token| now < token.renew_at) {
                continue;
            }
            match request(client, pod, account, source, now).await {
                Ok(token) => drop(self.tokens.insert(key, token)),
                Err(error) => match self.tokens.get_mut(&key).filter(|token| now < token.expires_at) {
                    Some(token) => {
                        tracing::warn!(error, account, "renewing a service account token");
                        token.renew_at = now + RETRY;
                    }
                    None => return Err(format!("failed to fetch token: {error}")),
                },
            }
        }
        Ok(self.tokens.iter().map(|(key, token)| (key.clone(), token.token.clone())).collect())
    }

    /// When the next token is due.
    pub(crate) fn renew_at(&self) -> Option<Timestamp> {
        self.tokens.values().map(|token| token.renew_at).min()
    }
}

async fn request(
    client: &Client,
    pod: &Pod,
    account: &str,
    source: &ServiceAccountTokenProjection,
    now: Timestamp,
) -> Result<Token, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let seconds = source.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
    let body = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(source.audience.clone().into_iter().collect()),
            expiration_seconds: Some(seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        }),
        ..TokenRequest::default()
    };
    let answer = accounts.create_subresource::<_, TokenRequest>("token", account, &PostParams::default(), &body).await;
    let status = answer.map_err(|error| match error {
        kube::Error::Api(status) => status.message,
        error => error.to_string(),
    })?;
    let status = status.status.ok_or("the answer has no token")?;
    let expires_at = status.expiration_timestamp.ok_or("the answer does not say when the token expires")?.0;
    let life = expires_at.duration_since(now);
    let renew_at = now + (life * i32::try_from(RENEW_AT_PERCENT).unwrap_or(80) / 100).min(MAX_AGE);
    Ok(Token { token: status.token.ok_or("the answer has no token")?, renew_at, expires_at })
}
