//! Who somebody is: `selfsubjectreviews`, `tokenreviews`.

use serde_json::{Value, json};

use crate::{authn::User, server::Server, token};

/// The user who asks.
pub(super) fn own(user: &User) -> Value {
    json!({ "userInfo": info(user) })
}

/// The user whom a token names.
pub(super) async fn of_token(server: &Server, spec: &Value) -> Value {
    let credential = spec["token"].as_str().unwrap_or_default();
    let audiences: Vec<String> =
        spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if let Some(user) = server.tokens.iter().find(|known| known.token == credential).map(|known| &known.user) {
        return json!({ "authenticated": true, "user": info(user) });
    }
    match token::verify(server, credential, &audiences).await {
        Ok(verified) => {
            let audiences = verified.audiences;
            json!({ "authenticated": true, "user": info(&verified.user), "audiences": audiences })
        }
        Err(error @ token::Error::Invalid) => json!({ "user": {}, "error": error.to_string() }),
        // As upstream, where two look at it.
        Err(error) => json!({ "user": {}, "error": format!("[{}, {error}]", token::Error::Invalid) }),
    }
}

fn info(user: &User) -> Value {
    let mut info = json!({ "username": user.name, "groups": user.groups });
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}
