//! A netlink socket to the packet filter of one network namespace.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, getsockopt, recv, sendto, setsockopt, socket,
            sockopt::{ReceiveTimeout, SndBuf, SndBufForce},
        },
        time::{TimeVal, TimeValLike},
    },
};

use super::batch::{Batch, get_chain};

/// A batch is one message to the socket: a thousand Services take about 1 MB.
const SEND_BUFFER_BYTES: usize = 64 << 20;
/// The kernel answers before `sendto` returns; this only guards against one that never does.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Length of `nlmsghdr`.
const HEADER: usize = 16;

/// Belongs to the namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct NetfilterSocket {
    socket: OwnedFd,
    buffer: Vec<u8>,
    limit: usize,
}

impl NetfilterSocket {
    pub(crate) fn open() -> io::Result<Self> {
        let protocol = SockProtocol::NetlinkNetFilter;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        match setsockopt(&socket, SndBufForce, &SEND_BUFFER_BYTES) {
            // In a user namespace the kernel allows twice `net.core.wmem_max` and no more: some 400 Services in a batch.
            Err(Errno::EPERM) => setsockopt(&socket, SndBuf, &SEND_BUFFER_BYTES)?,
            result => result?,
        }
        let timeout = TimeVal::milliseconds(i64::try_from(ANSWER_TIMEOUT.as_millis()).unwrap_or(i64::MAX));
        setsockopt(&socket, ReceiveTimeout, &timeout)?;
        // The kernel keeps a few bytes for itself.
        let limit = getsockopt(&socket, SndBuf)?.saturating_sub(64);
        Ok(Self { socket, buffer: vec![0; 64 << 10], limit })
    }

    /// The longest batch that can be committed.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    #[cfg(test)]
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub(crate) fn has_chain(&mut self, table: &str, chain: &str) -> io::Result<bool> {
        match self.request(&get_chain(table, chain)) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Carries out a batch: all of it, or none and an error.
    pub(crate) fn commit(&mut self, batch: Batch<'_>) -> io::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let (bytes, answered) = batch.finish();
        self.send(&bytes)?;
        let mut failure = None;
        loop {
            let ended = self.receive(|kind, sequence, body| {
                if kind == ERROR
                    && let Some(error) = error_of(body)
                {
                    failure = failure.take().or(Some(error));
                }
                // An error about the batch as a whole comes with the number of its first message, and alone.
                kind == ERROR && (sequence == answered || sequence == 0)
            })?;
            if ended {
                return failure.map_or(Ok(()), Err);
            }
        }
    }

    /// Sends a request for many objects, and gives the body of each.
    pub(super) fn dump(&mut self, request: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
        self.send(request)?;
        let mut failure = None;
        loop {
            let ended = self.receive(|kind, _, body| {
                match kind {
                    ERROR => failure = error_of(body),
                    DONE => {}
                    _ => each(body),
                }
                matches!(kind, ERROR | DONE)
            })?;
            if ended {
                return failure.map_or(Ok(()), Err);
            }
        }
    }

    /// Sends one request, and waits for its acknowledgement.
    pub(super) fn request(&mut self, request: &[u8]) -> io::Result<()> {
        self.dump(request, |_| {})
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        // An answer that nobody waited for would be taken for this one's.
        while recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT).is_ok() {}
        sendto(self.socket.as_raw_fd(), bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        Ok(())
    }

    /// Reads once, and tells `handle` the type, sequence number and body of each message until it says that it was the last.
    fn receive(&mut self, mut handle: impl FnMut(u16, u32, &[u8]) -> bool) -> io::Result<bool> {
        let length = loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                result => break result?,
            }
        };
        let mut messages = &self.buffer[..length];
        while let Some(header) = messages.first_chunk::<HEADER>() {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
            let kind = u16::from_ne_bytes([header[4], header[5]]);
            let sequence = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
            let Some(body) = messages.get(HEADER..length) else { break };
            if handle(kind, sequence, body) {
                return Ok(true);
            }
            messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(false)
    }
}

/// The error in an `NLMSG_ERROR`, none when it is an acknowledgement.
fn error_of(body: &[u8]) -> Option<io::Error> {
    let code = i32::from_ne_bytes(*body.first_chunk::<4>()?);
    (code != 0).then(|| io::Error::from_raw_os_error(-code))
}
