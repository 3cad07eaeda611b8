//! How a registry is convinced to answer: its challenge, then a token or a password.

use http_auth::{ChallengeRef, parse_challenges};
use reqwest::{
    RequestBuilder, StatusCode, Url,
    header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Deserialize;

use super::registry::{Credential, RegistryError, body_at_most, do_request};

/// A token is a few kilobytes; a server that sends more than this is not a token server.
const TOKEN_BODY_BYTES: usize = 1 << 20;

/// What a token server answers; older ones say `token`, OAuth 2 ones `access_token`.
#[derive(Deserialize)]
struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
}

/// The `Authorization` that answers the challenge of a 401.
pub(crate) async fn answer(
    client: &reqwest::Client,
    refused: &reqwest::Response,
    repository: &str,
    credential: Option<&Credential>,
) -> Result<HeaderValue, RegistryError> {
    let denied = || RegistryError::Denied("insufficient_scope: authorization failed".to_owned());
    let headers: Vec<String> =
        refused.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned).collect();
    let challenges: Vec<ChallengeRef<'_>> = headers.iter().filter_map(|h| parse_challenges(h).ok()).flatten().collect();
    let of_scheme = |scheme: &str| challenges.iter().find(|c| c.scheme.eq_ignore_ascii_case(scheme));
    if let Some(bearer) = of_scheme("Bearer") {
        let token = fetch_token(client, bearer, repository, credential).await?;
        return header(&format!("Bearer {token}"));
    }
    match (of_scheme("Basic"), credential) {
        (Some(_), Some(credential)) => header(&http_auth::basic::encode_credentials(&credential.username, &credential.password)),
        (Some(_), None) => Err(RegistryError::Denied("authorization failed: no basic auth credentials".to_owned())),
        (None, _) => Err(denied()),
    }
}

async fn fetch_token(
    client: &reqwest::Client,
    challenge: &ChallengeRef<'_>,
    repository: &str,
    credential: Option<&Credential>,
) -> Result<String, RegistryError> {
    let param =
        |name: &str| challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_unescaped());
    let realm = param("realm").unwrap_or_default();
    let mut url = Url::parse(&realm).map_err(|_| RegistryError::Denied(format!("invalid token realm {realm:?}")))?;
    // Always the pull scope of this repository: a server's own idea of the scope may be wider.
    url.query_pairs_mut().append_pair("scope", &format!("repository:{repository}:pull"));
    if let Some(service) = param("service") {
        url.query_pairs_mut().append_pair("service", &service);
    }
    let request: RequestBuilder = match credential {
        Some(credential) => client.get(url.clone()).basic_auth(&credential.username, Some(&credential.password)),
        None => client.get(url.clone()),
    };
    let response = do_request(request, "Get", &url).await?;
    let status = response.status();
    if status != StatusCode::OK {
        return Err(RegistryError::Token {
            anonymous: if credential.is_some() { "oauth" } else { "anonymous" },
            url: url.to_string(),
            status,
        });
    }
    let body = body_at_most(response, TOKEN_BODY_BYTES, &url).await?;
    let parsed: Option<TokenResponse> = serde_json::from_slice(&body).ok();
    parsed
        .and_then(|t| t.token.or(t.access_token))
        .filter(|token| !token.is_empty())
        .ok_or_else(|| RegistryError::Denied("authorization server did not include a token in the response".to_owned()))
}

fn header(value: &str) -> Result<HeaderValue, RegistryError> {
    let mut header = HeaderValue::from_str(value).map_err(|_| RegistryError::Denied(format!("unusable {AUTHORIZATION}")))?;
    header.set_sensitive(true);
    Ok(header)
}
