//! The socket: TLS, HTTP/1.1 and HTTP/2, and an orderly end.

use std::{io::Cursor, net::TcpListener, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{pki::Pki, server::Error};

/// A client that says hello and then nothing holds no connection for longer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without a request is closed after this; upstream gives 90 seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// What requests under way get when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// As upstream: one connection of client-go carries all its watches.
const MAX_STREAMS: u32 = 1000;

/// Accepts until `stop`; then cancels `stopping`, which ends watches, and waits for the rest.
pub(crate) async fn serve(
    router: Router,
    pki: &Pki,
    listener: TcpListener,
    stop: CancellationToken,
    stopping: &CancellationToken,
) -> Result<(), Error> {
    let acceptor = TlsAcceptor::from(Arc::new(tls(pki)?));
    listener.set_nonblocking(true).map_err(Error::Listen)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(Error::Listen)?;
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
    let builder = Arc::new(builder);
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    loop {
        let socket = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    // Out of file descriptors, mostly: a short pause lets connections end.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (acceptor, builder, watcher) = (acceptor.clone(), Arc::clone(&builder), graceful.watcher());
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let _ = socket.set_nodelay(true);
            let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await else { return };
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    stopping.cancel();
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests still under way were cut off");
    }
    Ok(())
}

fn tls(pki: &Pki) -> Result<ServerConfig, Error> {
    let unusable = |error: &dyn std::fmt::Display| Error::Certificate(error.to_string());
    let chain = rustls_pemfile::certs(&mut Cursor::new(&pki.server_certificate)).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| unusable(&error))?;
    let key = rustls_pemfile::private_key(&mut Cursor::new(&pki.server_key)).map_err(|error| unusable(&error))?;
    let key = key.ok_or_else(|| Error::Certificate("no private key".to_owned()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| unusable(&error))?.with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
