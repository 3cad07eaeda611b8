//! Who is at work: the store itself does not know whose write it takes.

use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Actor {
    /// The API server by itself.
    Server,
    /// The controllers and the scheduler.
    Controllers,
    /// A hollow node.
    Node,
    /// The user.
    User,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Controllers => "controllers",
            Self::Node => "node",
            Self::User => "user",
        })
    }
}

thread_local! {
    /// A world lives on one thread, and a write happens within one poll of the request that asked for it.
    static AT_WORK: Cell<Actor> = const { Cell::new(Actor::Server) };
}

impl Actor {
    /// Whoever is at work on this thread.
    pub(crate) fn at_work() -> Self {
        AT_WORK.get()
    }

    /// The future, with this actor at work whenever it is polled.
    pub(crate) fn does<F: Future + Unpin>(self, work: F) -> Work<F> {
        Work { actor: self, work }
    }
}

/// See [`Actor::does`].
#[derive(Debug)]
pub(crate) struct Work<F> {
    actor: Actor,
    work: F,
}

impl<F: Future + Unpin> Future for Work<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let before = AT_WORK.replace(self.actor);
        let outcome = Pin::new(&mut self.work).poll(context);
        AT_WORK.set(before);
        outcome
    }
}
