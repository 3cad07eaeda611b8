//! A log over WebSocket, as it comes.

use axum::{
    extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::SinkExt as _;
use futures::{Stream, StreamExt as _, stream::SplitStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const BASE64: &str = "base64.binary.k8s.io";

/// Sends the log until its end, or until the client goes.
pub(crate) fn answer(
    upgrade: WebSocketUpgrade,
    log: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Response {
    let upgrade = upgrade.protocols(["binary.k8s.io", BASE64]);
    let base64 = upgrade.selected_protocol().is_some_and(|protocol| protocol == BASE64);
    let tracked = tasks.token();
    upgrade.on_upgrade(move |socket| async move {
        let _tracked = tracked;
        let (mut sink, stream) = socket.split();
        let encode = |bytes: Bytes| if base64 { Message::Text(STANDARD.encode(bytes).into()) } else { Message::Binary(bytes) };
        // As upstream: an empty message says that the connection stands.
        let messages = futures::stream::once(async { Ok(Bytes::new()) }).chain(log).map(|bytes| bytes.map(encode));
        let mut messages = std::pin::pin!(messages);
        let sending = async {
            while let Some(Ok(message)) = messages.next().await {
                if sink.send(message).await.is_err() {
                    return;
                }
            }
            let frame = CloseFrame { code: close_code::NORMAL, reason: "".into() };
            // The client may be gone already.
            let _ = sink.send(Message::Close(Some(frame))).await;
        };
        tokio::select! {
            () = sending => {}
            () = gone(stream) => {}
            () = stop.cancelled() => {}
        }
    })
}

/// Ends when the client does; it has nothing to say.
async fn gone(mut stream: SplitStream<WebSocket>) {
    while let Some(Ok(message)) = stream.next().await {
        if matches!(message, Message::Close(_)) {
            return;
        }
    }
}
