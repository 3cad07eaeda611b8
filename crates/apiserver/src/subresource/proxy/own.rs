//! Which addresses lead back to the server that answered, and how they read from outside, where it is found below a prefix.

/// What a server is called, by itself and by who asks.
#[derive(Debug, Clone)]
pub(super) struct Own {
    /// Where the server is found: the path up to `proxy`, without a slash at its end.
    pub(super) prefix: String,
    /// The server's address and port as it knows itself; empty for the kubelet.
    pub(super) host: String,
    /// The host that was asked, ours; empty where the request names none.
    pub(super) asked: String,
}

impl Own {
    /// The address as it reads from outside; `None` where it stays as it is: another server's, a relative one, or one that
    /// has the prefix already. Only the head of the address is looked at, and nothing in it decoded.
    pub(super) fn led(&self, address: &str) -> Option<String> {
        let (head, host) = self::host(address)?;
        let (head, path) = address.split_at(head);
        let is_asked = !host.is_empty() && host == self.asked;
        let is_own = host.is_empty() || is_asked || host == self.host;
        if !is_own || !path.starts_with('/') {
            return None;
        }
        // As upstream: the name that was asked for is kept, one that only the server knows is not.
        let head = if is_asked { head } else { "" };
        let prefix = if path.starts_with(&self.prefix) { "" } else { &self.prefix };
        let led = format!("{head}{prefix}{path}");
        (led != address).then_some(led)
    }
}

/// Where the path of an address begins, and the host before it; `None` where it is no address.
fn host(address: &str) -> Option<(usize, &str)> {
    if address.bytes().any(|byte| byte.is_ascii_control()) {
        return None;
    }
    let is_scheme = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let scheme = match address.split_once(':') {
        Some((scheme, _)) if is_scheme(scheme) => scheme.len() + 1,
        _ => 0,
    };
    let Some(rest) = address[scheme..].strip_prefix("//") else { return Some((scheme, "")) };
    let length = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..length];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some((scheme + 2 + length, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_server_itself_stay_below() {
        let own = Own { prefix: "/api/P".to_owned(), host: "10.244.0.2:80".to_owned(), asked: "localhost:8001".to_owned() };
        for (address, led) in [
            ("/docs/?a=1#b", "/api/P/docs/?a=1#b"),
            ("/", "/api/P/"),
            ("http://10.244.0.2:80/docs", "/api/P/docs"),
            ("//10.244.0.2:80/docs/", "/api/P/docs/"),
            ("http://10.244.0.2:80/api/P/docs", "/api/P/docs"),
            ("http://localhost:8001/docs", "http://localhost:8001/api/P/docs"),
            ("http:/docs", "/api/P/docs"),
        ] {
            assert_eq!(own.led(address).as_deref(), Some(led), "{address}");
        }
        for address in [
            "",
            "docs/",
            "#top",
            "?page=2",
            "/api/P/docs",
            "http://localhost:8001/api/P/docs",
            "http://10.244.0.2:80",
            "https://example.org/docs",
            "//example.org/docs",
            "http://10.244.0.2:81/docs",
            "javascript:alert(1)",
            "mailto:a@b",
            "data:text/html,<a>",
            "/a\nb",
        ] {
            assert_eq!(own.led(address), None, "{address}");
        }
        let kubelet = Own { host: String::new(), asked: String::new(), ..own };
        assert_eq!(kubelet.led("http://elsewhere/docs"), None);
        assert_eq!(kubelet.led("/logs/").as_deref(), Some("/api/P/logs/"));
    }
}
