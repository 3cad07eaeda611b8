//! A command or a container to talk to, as the runtime gives it.

use std::{io, pin::Pin};

use bytes::Bytes;
use futures::{Sink, future::BoxFuture, stream::BoxStream};

use crate::runtime::Error;

/// Which streams are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error; none with a terminal.
    pub stderr: bool,
    /// For a command: give it a terminal.
    pub tty: bool,
}

/// Where input goes; dropping it is the input's end.
pub type Input = Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>;

/// Where output comes from.
pub type Output = BoxStream<'static, io::Result<Bytes>>;

/// Tells a terminal's programs its columns and rows.
pub type Resize = Box<dyn Fn(u16, u16) -> io::Result<()> + Send + Sync>;

/// A command or a container to talk to. Dropping `end` kills a command; a container goes on.
pub struct Session {
    /// Its input, if it was asked for.
    pub stdin: Option<Input>,
    /// Its output, if it was asked for; a command's always.
    pub stdout: Option<Output>,
    /// Its errors, likewise.
    pub stderr: Option<Output>,
    /// Present with a terminal.
    pub resize: Option<Resize>,
    /// Its end: a command's exit code. To be polled while the outputs are read.
    pub end: BoxFuture<'static, Result<i32, Error>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
