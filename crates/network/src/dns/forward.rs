//! Questions about other names go to the host's resolvers, as they came, from the host's network namespace.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use hickory_server::proto::op::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    time::timeout,
};

use crate::holder::{HostSocket, HostThread, Protocol};

/// One resolver's time; a stub resolver asks again after five seconds, so two of them fit.
const PATIENCE: Duration = Duration::from_secs(2);
/// As `resolv.conf` has it: more are not read.
const MAX_RESOLVERS: usize = 3;
const DATAGRAM_BYTES: usize = 65_535;

pub(super) struct Forwarder {
    resolv_conf: PathBuf,
    /// Makes sockets where the resolvers can be reached.
    host: HostThread,
}

impl Forwarder {
    pub(super) fn of(host: HostThread) -> Self {
        Self { resolv_conf: PathBuf::from("/etc/resolv.conf"), host }
    }

    /// Asks the resolvers in turn, over the transport that the question came by.
    ///
    /// # Errors
    /// When there are none, or none answers.
    pub(super) async fn ask(&self, question: &[u8], tcp: bool) -> io::Result<Message> {
        // Read each time: a laptop changes networks, and a question to the outside takes longer than this.
        let text = tokio::fs::read_to_string(&self.resolv_conf).await?;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no resolvers");
        for resolver in resolvers(&text) {
            let answer = async {
                if tcp { ask_tcp(&self.host, resolver, question).await } else { ask_udp(&self.host, resolver, question).await }
            };
            match timeout(PATIENCE, answer).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failure)
    }
}

fn resolvers(resolv_conf: &str) -> Vec<SocketAddr> {
    let addresses = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok())?
    });
    addresses.take(MAX_RESOLVERS).map(|address| SocketAddr::new(address, 53)).collect()
}

async fn ask_udp(host: &HostThread, resolver: SocketAddr, question: &[u8]) -> io::Result<Message> {
    let any: IpAddr = if resolver.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A port of its own for each question, and answers from the resolver only.
    let HostSocket::Udp(socket) = host.bind(Protocol::Udp, (any, 0).into()).await? else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let socket = UdpSocket::from_std(socket)?;
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut answer = vec![0; DATAGRAM_BYTES];
    loop {
        let length = socket.recv(&mut answer).await?;
        if let Some(message) = read_answer(question, &answer[..length]) {
            return Ok(message);
        }
    }
}

async fn ask_tcp(host: &HostThread, resolver: SocketAddr, question: &[u8]) -> io::Result<Message> {
    let mut stream = host.outbound(resolver).await?.connect(resolver).await?;
    let length = u16::try_from(question.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    read_answer(question, &answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The answer, if it is one to this question: the same number in its first two bytes.
fn read_answer(question: &[u8], answer: &[u8]) -> Option<Message> {
    if question.get(..2) != answer.get(..2) {
        return None;
    }
    Message::from_vec(answer).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_the_c_library_reads_them() {
        let text = "# made by hand\nsearch example.com\nnameserver 192.0.2.1\n nameserver 2001:db8::1\nnameserver\n\
                    nameserver bogus\nnameserver 192.0.2.2 # trailing\nnameserver 192.0.2.3\n";
        let found: Vec<_> = resolvers(text).iter().map(SocketAddr::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
    }
}
