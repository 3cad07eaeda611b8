//! Counts the TCP connections that a pod is serving.

use std::{collections::BTreeSet, fs, io};

// States of `enum` in the kernel's include/net/tcp_states.h, as /proc/net/tcp prints them.
const ESTABLISHED: &str = "01";
const SYN_RECV: &str = "03";
/// The client has said all it will; the answer may still be on its way.
const CLOSE_WAIT: &str = "08";
const LISTEN: &str = "0A";

/// Counts in the network namespace that the calling thread is in.
pub(super) fn count() -> io::Result<usize> {
    // Not /proc/net, which is the namespace of the process's first thread.
    let tables =
        [fs::read_to_string("/proc/thread-self/net/tcp")?, fs::read_to_string("/proc/thread-self/net/tcp6").unwrap_or_default()];
    Ok(inbound(&tables))
}

fn inbound(tables: &[String]) -> usize {
    let sockets = || tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(socket);
    let listening: BTreeSet<&str> = sockets().filter(|&(_, state)| state == LISTEN).map(|(port, _)| port).collect();
    sockets().filter(|(port, state)| matches!(*state, ESTABLISHED | SYN_RECV | CLOSE_WAIT) && listening.contains(port)).count()
}

/// Local port and state of a line such as `0: 0100007F:1F90 00000000:0000 0A …`.
fn socket(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.split_whitespace().skip(1);
    let local = fields.next()?;
    let state = fields.nth(1)?;
    Some((local.rsplit_once(':')?.1, state))
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
}
