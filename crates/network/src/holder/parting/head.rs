//! Asks a client to close, in the head of an answer, without changing its length.

/// What an answer says that ends its connection.
const CLOSE: &[u8] = b"Connection: close";
/// Begins the header that fills the rest of the room: many clients take padding of a value for a part of it.
const FILL: &[u8] = b"\r\nX:";

/// Changes the head of an answer at the beginning of `bytes` so that the client closes the connection after it. False, and nothing has
/// changed, where there is no such head, where it says so already or goes on to another protocol, or where there is no room for it.
///
/// Room is a header that nobody needs any more, or misses: `Connection: keep-alive` above all, then `Keep-Alive`, `Date` and `Server`.
pub(super) fn ask_to_close(bytes: &mut [u8]) -> bool {
    if !is_final_answer(bytes) {
        return false;
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |position| position + 2);
    let mut room = None;
    let mut start = 0;
    while let Some(length) = bytes[start..end].windows(2).position(|window| window == b"\r\n") {
        let line = start..start + length;
        start += length + 2;
        let Some(colon) = bytes[line.clone()].iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = bytes[line.clone()].split_at(colon);
        let rank = match &name.to_ascii_lowercase()[..] {
            b"connection" if !is_plain(value) => return false,
            b"connection" => 4,
            b"upgrade" => return false,
            b"keep-alive" => 3,
            b"date" => 2,
            b"server" => 1,
            _ => continue,
        };
        if line.len() >= CLOSE.len() && room.as_ref().is_none_or(|(best, _)| rank > *best) {
            room = Some((rank, line));
        }
    }
    let Some((_, line)) = room else { return false };
    let (close, rest) = bytes[line].split_at_mut(CLOSE.len());
    close.copy_from_slice(CLOSE);
    match rest.split_at_mut_checked(FILL.len()) {
        Some((fill, rest)) => {
            fill.copy_from_slice(FILL);
            rest.fill(b'-');
        }
        None => rest.fill(b' '),
    }
    true
}

/// `HTTP/1.1 200 ` or the like; an answer of 100 to 199 is followed by another.
fn is_final_answer(bytes: &[u8]) -> bool {
    let Some((version, rest)) = bytes.split_at_checked(9) else { return false };
    let [class, tens, units, b' ', ..] = rest else { return false };
    matches!(version, b"HTTP/1.1 " | b"HTTP/1.0 ")
        && (b'2'..=b'5').contains(class)
        && tens.is_ascii_digit()
        && units.is_ascii_digit()
}

/// Whether a `Connection` header's `: value` says no more than that the connection is kept.
fn is_plain(value: &[u8]) -> bool {
    value.get(1..).is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"keep-alive"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(head: &str) -> Option<String> {
        let mut bytes = head.as_bytes().to_vec();
        let changed = ask_to_close(&mut bytes);
        assert_eq!(bytes.len(), head.len());
        assert_eq!(changed, bytes != head.as_bytes());
        changed.then(|| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_header_that_matters_least_makes_room() {
        let nginx = "HTTP/1.1 200 OK\r\nServer: nginx/1.16.1\r\nDate: Wed, 25 Nov 2026 04:00:00 GMT\r\nContent-Length: 2\r\n";
        let kept = format!("{nginx}Connection: keep-alive\r\n\r\nok");
        assert_eq!(asked(&kept).unwrap(), format!("{nginx}Connection: close\r\nX:-\r\n\r\nok"));
        let plain = format!("{nginx}\r\nok");
        let expected = plain.replace("Date: Wed, 25 Nov 2026 04:00:00 GMT", "Connection: close\r\nX:--------------");
        assert_eq!(asked(&plain).unwrap(), expected);
        // No room for a header more.
        assert_eq!(
            asked("HTTP/1.1 200 OK\r\nServer: Apache/2.4\r\n\r\n").unwrap(),
            "HTTP/1.1 200 OK\r\nConnection: close \r\n\r\n"
        );
        // The rest of the head is in the next packet.
        assert!(asked("HTTP/1.0 404 Not Found\r\nServer: something long\r\nContent-Le").is_some());
    }

    #[test]
    fn what_needs_nothing_or_is_no_head_stays_as_it_is() {
        for head in [
            "",
            "HTTP/1.1 200",
            "HTTP/1.1 100 Continue\r\nDate: Wed, 25 Nov 2026 04:00:00 GMT\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nDate: Wed, 25 Nov 2026 04:00:00 GMT\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 04:00:00 GMT\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2c\r\nDate: Wed, 25 Nov 2026 04:00:00 GMT\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nDate: Wed, 25 Nov 2026 04:00:00 GMT\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 20",
            "Date: Wed, 25 Nov 2026 04:00:00 GMT\r\n\r\n",
        ] {
            assert_eq!(asked(head), None, "{head}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_one_line_changes(lines in proptest::collection::vec("[A-Za-z-]{1,12}: [ -~]{0,40}", 0..6), body in "[ -~\r\n]{0,60}") {
            let head = format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n{body}", lines.join("\r\n"));
            if let Some(changed) = asked(&head) {
                let same = |(a, b): &(u8, u8)| a == b;
                let before = head.bytes().zip(changed.bytes()).take_while(same).count();
                let after = head.bytes().rev().zip(changed.bytes().rev()).take_while(same).count();
                prop_assert!(!head[before..head.len() - after].contains("\r\n"));
                prop_assert!(changed.ends_with(&body));
                prop_assert!(changed.contains("\r\nConnection: close"));
            }
        }
    }
}
