//! What names and labels may look like, and upstream's sentence for each way they may not.

const QUALIFIED_NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
     alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
     must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation \
     is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const DNS_1123_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
     start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_1123_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
     '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS_1035_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
     alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
     '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// Longest DNS label, label value, and name part of a qualified name.
pub const LABEL_MAX_BYTES: usize = 63;
/// Longest DNS subdomain.
pub const SUBDOMAIN_MAX_BYTES: usize = 253;

/// Mistakes in a qualified name, as label keys, annotation keys and finalizers are: `name` or `prefix/name`.
pub fn qualified_name_mistakes(name: &str) -> Vec<String> {
    let mut mistakes = Vec::new();
    let local = match name.split('/').collect::<Vec<_>>().as_slice() {
        [local] => *local,
        [prefix, local] => {
            if prefix.is_empty() {
                mistakes.push("prefix part must be non-empty".to_owned());
            } else {
                mistakes.extend(dns_1123_subdomain_mistakes(prefix).into_iter().map(|mistake| format!("prefix part {mistake}")));
            }
            *local
        }
        _ => {
            let example = QUALIFIED_NAME.trim_start_matches("must ");
            return vec![format!(
                "a qualified name must {example} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if local.is_empty() {
        mistakes.push("name part must be non-empty".to_owned());
    } else if local.len() > LABEL_MAX_BYTES {
        mistakes.push(format!("name part {}", too_long(LABEL_MAX_BYTES)));
    }
    if !is_qualified(local) {
        mistakes.push(format!("name part {QUALIFIED_NAME}"));
    }
    mistakes
}

/// Mistakes in the value of a label.
pub fn label_value_mistakes(value: &str) -> Vec<String> {
    let mut mistakes = Vec::new();
    if value.len() > LABEL_MAX_BYTES {
        mistakes.push(too_long(LABEL_MAX_BYTES));
    }
    if !value.is_empty() && !is_qualified(value) {
        mistakes.push(LABEL_VALUE.to_owned());
    }
    mistakes
}

/// Mistakes in a DNS label, as names of namespaces and containers are.
pub fn dns_1123_label_mistakes(name: &str) -> Vec<String> {
    mistakes(name, LABEL_MAX_BYTES, is_dns_1123_label, DNS_1123_LABEL)
}

/// Mistakes in a DNS subdomain, as most names are.
pub fn dns_1123_subdomain_mistakes(name: &str) -> Vec<String> {
    mistakes(name, SUBDOMAIN_MAX_BYTES, |name| name.split('.').all(is_dns_1123_label), DNS_1123_SUBDOMAIN)
}

/// Mistakes in a DNS label of the older standard, as names of Services were: no digit at the start.
pub fn dns_1035_label_mistakes(name: &str) -> Vec<String> {
    let fits = |name: &str| is_dns_1123_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase());
    mistakes(name, LABEL_MAX_BYTES, fits, DNS_1035_LABEL)
}

/// Upstream's sentence for a text of too many bytes.
pub fn too_long(max_bytes: usize) -> String {
    format!("must be no more than {max_bytes} bytes")
}

fn mistakes(name: &str, max_bytes: usize, fits: impl Fn(&str) -> bool, sentence: &str) -> Vec<String> {
    let long = (name.len() > max_bytes).then(|| too_long(max_bytes));
    let odd = (!fits(name)).then(|| sentence.to_owned());
    long.into_iter().chain(odd).collect()
}

fn is_dns_1123_label(label: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    surrounded(label, inner, |c| inner(c) || c == b'-')
}

fn is_qualified(name: &str) -> bool {
    surrounded(name, |c| c.is_ascii_alphanumeric(), |c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}

/// Whether the first and last byte are of one class, and all between them of another.
fn surrounded(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    match text.as_bytes() {
        [] => false,
        [one] => edge(*one),
        [first, middle @ .., last] => edge(*first) && edge(*last) && middle.iter().all(|c| inner(*c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels() {
        let long = "a".repeat(64);
        for good in ["app", "app.kubernetes.io/name", "A_b-9.z", "1"] {
            assert_eq!(qualified_name_mistakes(good), Vec::<String>::new(), "{good}");
        }
        for (bad, count) in [("", 2), ("-a", 1), ("a b", 1), ("/a", 1), ("A.B/c", 1), ("a/b/c", 1), (&long, 1)] {
            assert_eq!(qualified_name_mistakes(bad).len(), count, "{bad}: {:?}", qualified_name_mistakes(bad));
        }
        assert_eq!(label_value_mistakes(""), Vec::<String>::new());
        assert_eq!(label_value_mistakes(&long), ["must be no more than 63 bytes"]);
        assert_eq!(label_value_mistakes("a b").len(), 1);
        assert_eq!(dns_1123_label_mistakes("web-1"), Vec::<String>::new());
        assert_eq!(dns_1123_label_mistakes("web.1").len(), 1);
        assert_eq!(dns_1123_subdomain_mistakes("web.1"), Vec::<String>::new());
        assert_eq!(dns_1123_subdomain_mistakes("web..1").len(), 1);
        assert_eq!(dns_1035_label_mistakes("1web").len(), 1);
    }
}
