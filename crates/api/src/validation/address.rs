//! IP addresses and ranges, read as leniently as upstream reads them, `010.1.1.1` is `10.1.1.1`, or as strictly.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::quoted;
use super::errors::Errors;
use super::field::Field;

/// Reads an address; leading zeros of an IPv4 byte are decimal.
pub(super) fn parse(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(|address| address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4));
    }
    let bytes: Option<Vec<u8>> = text.split('.').map(decimal).collect();
    let bytes: [u8; 4] = bytes?.try_into().ok()?;
    Some(IpAddr::V4(Ipv4Addr::from(bytes)))
}

fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) { None } else { text.parse().ok() }
}

/// Reads a range such as `10.0.0.0/8`: the address and the length of its prefix.
pub(super) fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let (mapped, address, length) = (address.contains(':'), parse(address)?, decimal::<u8>(length)?);
    let bits = if mapped { 128 } else { 32 };
    (length <= bits).then_some((address, length))
}

const NO_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const NO_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// The text must be an address.
pub(super) fn valid_ip(field: &Field<'_>, errors: &mut Errors) {
    if parse(field.text()).is_none() {
        errors.invalid_as(field.path(), field.text(), NO_IP);
    }
}

/// What is wrong with a text that must be an address, written in the one canonical way.
pub(super) fn canonical_ip(text: &str) -> Vec<String> {
    let Some(address) = parse(text) else { return vec![NO_IP.to_owned()] };
    let is_mapped = text.contains(':') && address.is_ipv4();
    if text.parse::<IpAddr>().is_err() {
        vec!["must not have leading 0s".to_owned()]
    } else if is_mapped {
        vec!["must not be an IPv4-mapped IPv6 address".to_owned()]
    } else {
        canonical(text, &address.to_string())
    }
}

/// What is wrong with a text that must be a range, written in the one canonical way.
pub(super) fn canonical_cidr(text: &str) -> Vec<String> {
    let Some((address, length)) = parse_cidr(text) else { return vec![NO_CIDR.to_owned()] };
    let is_mapped = text.contains(':') && address.is_ipv4();
    let (start, bits) = text.split_once('/').unwrap_or((text, ""));
    let host_bits = |bits: u32| bits.saturating_sub(u32::from(length));
    let first = match address {
        IpAddr::V4(address) => IpAddr::V4(address & Ipv4Addr::from(u32::MAX.checked_shl(host_bits(32)).unwrap_or(0))),
        IpAddr::V6(address) => IpAddr::V6(address & Ipv6Addr::from(u128::MAX.checked_shl(host_bits(128)).unwrap_or(0))),
    };
    if start.parse::<IpAddr>().is_err() || bits != length.to_string() {
        vec!["must not have leading 0s in IP or prefix length".to_owned()]
    } else if is_mapped {
        vec!["must not have an IPv4-mapped IPv6 address".to_owned()]
    } else if address != first {
        vec!["must not have bits set beyond the prefix length".to_owned()]
    } else {
        canonical(text, &format!("{address}/{length}"))
    }
}

fn canonical(text: &str, right: &str) -> Vec<String> {
    if text == right { Vec::new() } else { vec![format!("must be in canonical form ({})", quoted(right))] }
}

/// The text must be a range.
pub(super) fn valid_cidr(field: &Field<'_>, text: &str, errors: &mut Errors) {
    if parse_cidr(text).is_none() {
        errors.invalid_as(field.path(), text, NO_CIDR);
    }
}

/// The text must be an address that another machine can have.
pub(super) fn not_special(field: &Field<'_>, errors: &mut Errors) {
    let Some(address) = parse(field.text()) else {
        return errors.invalid_as(field.path(), field.text(), "must be a valid IP address");
    };
    let (link_local, link_local_multicast) = match address {
        IpAddr::V4(address) => (address.is_link_local(), address.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(address) => (address.is_unicast_link_local(), address.segments()[0] & 0xff0f == 0xff02),
    };
    if address.is_unspecified() {
        errors.invalid(field, format!("may not be unspecified ({})", field.text()));
    }
    if address.is_loopback() {
        errors.invalid(field, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if link_local {
        errors.invalid(field, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if link_local_multicast {
        errors.invalid(field, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// Whether the addresses are one of each family, in any order.
pub(super) fn is_dual_stack<'a>(addresses: impl IntoIterator<Item = &'a str>) -> bool {
    let (mut v4, mut v6) = (false, false);
    for address in addresses {
        match address.split('/').next().and_then(parse) {
            Some(IpAddr::V4(_)) => v4 = true,
            Some(IpAddr::V6(_)) => v6 = true,
            None => return false,
        }
    }
    v4 && v6
}
