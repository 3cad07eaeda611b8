//! Counts the TCP connections of a pod: those that it is serving, and those that have not got rid of what it said last.

use std::{collections::BTreeSet, fs, io};

// States of `enum` in the kernel's include/net/tcp_states.h, as /proc/net/tcp prints them.
const ESTABLISHED: &str = "01";
const SYN_RECV: &str = "03";
/// The client has said all it will; the answer may still be on its way.
const CLOSE_WAIT: &str = "08";
const LISTEN: &str = "0A";

// This end has closed, and the other has not yet acknowledged all that was said.
const FIN_WAIT_1: &str = "04";
const LAST_ACK: &str = "09";
const CLOSING: &str = "0B";
/// Who has left that many repetitions unanswered, some seconds long, is not there any more.
const REPETITIONS: u64 = 5;

/// Counts what is served in the network namespace that the calling thread is in.
pub(super) fn count() -> io::Result<usize> {
    Ok(inbound(&tables()?))
}

/// Counts what is still being delivered there.
pub(super) fn count_unfinished() -> io::Result<usize> {
    // For the tables the kernel walks through all of its sockets, some milliseconds long; mostly there are none.
    let sums = ["/proc/thread-self/net/sockstat", "/proc/thread-self/net/sockstat6"];
    if sums.iter().all(|path| fs::read_to_string(path).is_ok_and(|sums| is_without_sockets(&sums))) {
        return Ok(0);
    }
    Ok(unfinished(&tables()?))
}

/// Whether `TCP: inuse 0 …` or the like is all that the kernel has to say of TCP.
fn is_without_sockets(sums: &str) -> bool {
    let mut lines = sums.lines().filter_map(|line| line.strip_prefix("TCP"));
    lines.all(|line| line.split_whitespace().nth(2) == Some("0"))
}

/// Not /proc/net, which is the namespace of the process's first thread.
fn tables() -> io::Result<[String; 2]> {
    let tcp6 = fs::read_to_string("/proc/thread-self/net/tcp6").unwrap_or_default();
    Ok([fs::read_to_string("/proc/thread-self/net/tcp")?, tcp6])
}

fn inbound(tables: &[String]) -> usize {
    let sockets = || tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(socket);
    let listening: BTreeSet<&str> = sockets().filter(|socket| socket.state == LISTEN).map(|socket| socket.port).collect();
    let is_served = |state: &str| matches!(state, ESTABLISHED | SYN_RECV | CLOSE_WAIT);
    sockets().filter(|socket| is_served(socket.state) && listening.contains(socket.port)).count()
}

fn unfinished(tables: &[String]) -> usize {
    let sockets = tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(socket);
    sockets.filter(|socket| matches!(socket.state, FIN_WAIT_1 | LAST_ACK | CLOSING) && socket.repeated < REPETITIONS).count()
}

struct Socket<'a> {
    /// Local.
    port: &'a str,
    state: &'a str,
    /// How often what is not acknowledged was sent again.
    repeated: u64,
}

/// Reads a line such as `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 …`.
fn socket(line: &str) -> Option<Socket<'_>> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, state) = (fields.next()?, fields.nth(1)?);
    let repeated = fields.nth(2).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
    Some(Socket { port: local.rsplit_once(':')?.1, state, repeated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_to_a_listening_port_count() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:0050 00000000:0000 0A 00000000:00000000
   1: 0500F40A:0050 0100F40A:8001 01 00000000:00000000
   2: 0500F40A:0050 0100F40A:8002 08 00000000:00000000
   3: 0500F40A:0050 0100F40A:8003 03 00000000:00000000
   4: 0500F40A:0050 0100F40A:8004 06 00000000:00000000
   5: 0500F40A:9C40 0100600A:01BB 01 00000000:00000000
";
        let tcp6 = "  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000
   1: 0000000000000000FFFF00000500F40A:1F90 0000000000000000FFFF00000100F40A:8001 01 00000000:00000000
";
        assert_eq!(inbound(&[tcp.to_owned(), String::new()]), 3);
        assert_eq!(inbound(&[tcp.to_owned(), tcp6.to_owned()]), 4);
        assert_eq!(inbound(&[String::new(), String::new()]), 0);
    }

    #[test]
    fn what_is_closed_here_and_not_heard_there_is_unfinished() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 0500F40A:0050 0100F40A:8001 04 00010000:00000000 01:00000014 00000001     0
   1: 0500F40A:0050 0100F40A:8002 09 00000001:00000000 01:00000014 00000000     0
   2: 0500F40A:0050 0100F40A:8003 04 00010000:00000000 01:00000014 00000007     0
   3: 0500F40A:0050 0100F40A:8004 05 00000000:00000000 00:00000000 00000000     0
   4: 0500F40A:0050 0100F40A:8005 01 00010000:00000000 01:00000014 00000000     0
";
        assert_eq!(unfinished(&[tcp.to_owned(), String::new()]), 2);
        assert!(is_without_sockets("sockets: used 7\nTCP: inuse 0 orphan 3 tw 0 alloc 5 mem 0\nUDP: inuse 1 mem 0\n"));
        assert!(!is_without_sockets("TCP6: inuse 1\nUDP6: inuse 0\n"));
    }
}
