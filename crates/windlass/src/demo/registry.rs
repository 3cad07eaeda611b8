//! A registry that has nothing: what the demo's third image is asked for.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context as _, Result};
use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::get};
use serde_json::json;

/// Bound, not serving yet: its address must be known before the machine starts.
#[derive(Debug)]
pub(crate) struct Registry {
    listener: TcpListener,
    address: SocketAddr,
}

impl Registry {
    pub(crate) fn bind() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on the loopback interface")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves for as long as the runtime lives.
    pub(crate) fn serve(self) {
        let router = Router::new().route("/v2/", get(|| async { Json(json!({})) })).fallback(unknown);
        tokio::spawn(async move {
            match tokio::net::TcpListener::from_std(self.listener) {
                Ok(listener) => {
                    if let Err(error) = axum::serve(listener, router).await {
                        tracing::error!(%error, "the demo's registry ended");
                    }
                }
                Err(error) => tracing::error!(%error, "the demo's registry cannot serve"),
            }
        });
    }
}

async fn unknown() -> impl IntoResponse {
    let body = json!({ "errors": [{ "code": "MANIFEST_UNKNOWN", "message": "manifest unknown" }] });
    (StatusCode::NOT_FOUND, Json(body))
}
