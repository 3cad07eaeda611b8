//! Bodies on their way through.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::pool::InFlight;

/// What is sent to a backend.
pub(super) type RequestBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// A client's body, passed on as it comes.
pub(super) fn pass_on(body: Incoming) -> RequestBody {
    body.boxed_unsync()
}

/// No body.
pub(super) fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// What is answered to a client.
pub(super) enum ResponseBody {
    /// A backend's, which counts as in flight until it is through.
    Backend {
        body: Incoming,
        _in_flight: InFlight,
    },
    Own(Full<Bytes>),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Backend { body, .. } => Pin::new(body).poll_frame(context),
            Self::Own(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Backend { body, .. } => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Backend { body, .. } => body.size_hint(),
            Self::Own(body) => body.size_hint(),
        }
    }
}
