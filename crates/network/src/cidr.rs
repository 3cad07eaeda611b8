//! A range of IPv4 addresses in CIDR notation.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

/// An IPv4 range such as `10.244.0.0/24`; host bits are always zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cidr {
    base: Ipv4Addr,
    prefix: u8,
}

/// The text is no CIDR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv4 range such as 10.244.0.0/24")]
pub struct CidrError(String);

impl Cidr {
    /// The range of `prefix` bits (at most 32) that holds `address`.
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self { base: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix }
    }

    /// Bits that all addresses share.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The first address, whose host bits are zero.
    #[must_use]
    pub fn base(self) -> Ipv4Addr {
        self.base
    }

    /// One bit for each that all addresses share.
    #[must_use]
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix))
    }

    /// How many addresses there are.
    #[must_use]
    pub fn size(self) -> u64 {
        1 << (32 - self.prefix)
    }

    /// The address at `index`, counted from the base; it wraps at the end of the range.
    #[must_use]
    pub fn nth(self, index: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() | (index & !mask(self.prefix)))
    }

    /// Whether the range holds `address`.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.base.to_bits()
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let prefix: u8 = prefix.parse().ok()?;
            Some(Self::new(address.parse().ok()?, (prefix <= 32).then_some(prefix)?))
        });
        parsed.ok_or_else(|| CidrError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_in_and_comes_out() {
        for (text, expected) in [
            ("10.244.0.0/24", Some("10.244.0.0/24")),
            ("10.244.0.7/24", Some("10.244.0.0/24")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("1.2.3.4/32", Some("1.2.3.4/32")),
            ("1.2.3.4/33", None),
            ("1.2.3.4", None),
            ("x/8", None),
        ] {
            assert_eq!(text.parse::<Cidr>().ok().map(|cidr| cidr.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn membership_and_counting() {
        let cidr = Cidr::new(Ipv4Addr::new(10, 96, 0, 0), 12);
        assert!(cidr.contains(Ipv4Addr::new(10, 111, 255, 255)));
        assert!(!cidr.contains(Ipv4Addr::new(10, 112, 0, 0)));
        assert_eq!(cidr.size(), 1 << 20);
        assert_eq!(cidr.nth(257), Ipv4Addr::new(10, 96, 1, 1));
        assert_eq!(cidr.mask(), Ipv4Addr::new(255, 240, 0, 0));
    }
}
