//! Which addresses may be contacted: public unicast ones, and what the operator lists.
//!
//! The tables are IANA's special-purpose registries (RFC 6890 and its updates).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::Deserialize;

/// What an operator lists: addresses, on one port or on all of them. Written as `10.0.0.0/8`,
/// `10.0.0.0/8:5000`, `10.1.2.3`, `10.1.2.3:5000`, `fd00::/8`, `[fd00::]/8:5000`, `::1` or
/// `[::1]:5000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AllowedRange {
    net: IpNet,
    port: Option<u16>,
}

/// A text that is no such range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no range of addresses; write it as 10.0.0.0/8, 10.0.0.0/8:5000, 10.1.2.3:5000 or \
     [::1]:5000"
)]
pub struct AllowedRangeError(String);

impl FromStr for AllowedRange {
    type Err = AllowedRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).ok_or_else(|| AllowedRangeError(text.to_owned()))
    }
}

impl TryFrom<String> for AllowedRange {
    type Error = AllowedRangeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

fn read(text: &str) -> Option<AllowedRange> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(AllowedRange { net: address.into(), port: None });
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(AllowedRange {
            net: address.ip().into(),
            port: Some(port_of(address.port())?),
        });
    }
    let Some((address, rest)) = text.split_once('/') else {
        let address: IpAddr = text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
        return Some(AllowedRange { net: address.into(), port: None });
    };
    let (length, port) = match rest.split_once(':') {
        Some((length, port)) => (length, Some(port_of(port.parse().ok()?)?)),
        None => (rest, None),
    };
    // The brackets of IPv6 stand around the address, or around the whole range.
    let (address, length) = match address.strip_prefix('[') {
        None => (address, length),
        Some(inner) => match inner.strip_suffix(']') {
            Some(address) => (address, length),
            None => (inner, length.strip_suffix(']')?),
        },
    };
    let net = IpNet::new(address.parse().ok()?, length.parse().ok()?).ok()?;
    Some(AllowedRange { net, port })
}

fn port_of(port: u16) -> Option<u16> {
    (port != 0).then_some(port)
}

/// The address rule of one client.
#[derive(Debug, Clone, Default)]
pub struct Allow {
    ranges: Vec<AllowedRange>,
}

impl Allow {
    /// Public addresses and those in `ranges`.
    pub fn new(ranges: Vec<AllowedRange>) -> Self {
        Self { ranges }
    }

    /// The ports that the rule tells apart from all others.
    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        self.ranges.iter().filter_map(|range| range.port).collect()
    }

    /// Whether the address may be contacted on the port. Forms that stand for an IPv4 address
    /// (mapped, NAT64) are judged as that address.
    pub fn permits(&self, address: IpAddr, port: u16) -> bool {
        let judged = embedded_v4(address).map_or(address, IpAddr::V4);
        self.lists(address, port) || is_public_unicast(judged)
    }

    /// Whether the operator listed the address and port: what plain HTTP needs.
    pub fn lists(&self, address: IpAddr, port: u16) -> bool {
        let listed = |one: &IpAddr| {
            self.ranges.iter().any(|range| {
                range.net.contains(one) && range.port.is_none_or(|listed| listed == port)
            })
        };
        listed(&address) || embedded_v4(address).is_some_and(|v4| listed(&IpAddr::V4(v4)))
    }
}

/// The IPv4 address behind `::ffff:a.b.c.d` and `64:ff9b::a.b.c.d`.
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return Some(v4);
    }
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

fn is_public_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        // This network, private, loopback.
        [0 | 10 | 127, ..] => false,
        // Shared address space of carrier-grade NAT.
        [100, second, ..] if second & 0xc0 == 64 => false,
        // Link-local, cloud metadata services among them.
        [169, 254, ..] => false,
        [172, second, ..] if second & 0xf0 == 16 => false,
        // Protocol assignments, documentation, the former 6to4 relays, private.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [192, 168, ..] => false,
        // Benchmarking, documentation.
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => false,
        // Multicast, reserved, broadcast.
        [first, ..] => first < 224,
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Teredo, ORCHID and other protocol assignments: 2001::/23.
        [0x2001, second, ..] if second < 0x200 => false,
        // Documentation; 6to4, which stands for an IPv4 address.
        [0x2001, 0xdb8, ..] | [0x2002, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // The only global unicast range in use is 2000::/3; ::, ::1, fc00::/7, fe80::/10, fec0::/10
        // and ff00::/8 are all outside.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &[&str] = &[
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.1.2.3",
        "::ffff:169.254.169.254",
        "64:ff9b::127.0.0.1",
        "64:ff9b::192.168.0.1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "3fff::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ];

    const PUBLIC: &[&str] = &[
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.20.0.1",
        "223.255.255.254",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2001:200::1",
        "2606:4700::6810:84e5",
        "2a00:1450:4001::200e",
    ];

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn only_public_unicast_without_a_list() {
        let allow = Allow::default();
        for address in REFUSED {
            assert!(!allow.permits(ip(address), 443), "{address}");
        }
        for address in PUBLIC {
            assert!(allow.permits(ip(address), 443), "{address}");
        }
    }

    #[test]
    fn a_port_opens_itself_alone() {
        let allow = |text: &str| Allow::new(vec![text.parse().expect(text)]);
        for (text, address) in [
            ("10.0.0.0/8:5000", "10.1.2.3"),
            ("10.1.2.3:5000", "10.1.2.3"),
            ("[::1]:5000", "::1"),
            ("[fd00::]/8:5000", "fd00::1"),
            ("[fd00::/8]:5000", "fd00::1"),
            ("fd00::/8:5000", "fd00::1"),
        ] {
            let allow = allow(text);
            assert!(allow.permits(ip(address), 5000) && allow.lists(ip(address), 5000), "{text}");
            assert!(!allow.permits(ip(address), 5001), "{text}");
            assert!(!allow.permits(ip("10.9.9.9"), 22) && !allow.permits(ip("fd00::1"), 22));
            // What is public needs no rule, and a rule takes nothing away.
            assert!(allow.permits(ip("8.8.8.8"), 22), "{text}");
            assert_eq!(allow.ports(), BTreeSet::from([5000]));
        }
        for text in ["10.1.2.3", "::1", "[::1]", "10.0.0.0/8", "fd00::/8", "[fd00::]/8"] {
            assert!(allow(text).ports().is_empty(), "{text}");
        }
        for text in [
            "",
            "x",
            "10.0.0.0/33",
            "10.0.0.0/8:",
            "10.0.0.0/8:0",
            "10.0.0.1:0",
            "[::1",
            "::1]:5",
            "10.0.0.0/8:70000",
            "[fd00::/8:5000",
            "localhost:5000",
            "10.0.0.0/8:5000:1",
        ] {
            text.parse::<AllowedRange>().expect_err(text);
        }
    }

    #[test]
    fn the_list_opens_what_it_names() {
        let nets = ["127.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect(net));
        let allow = Allow::new(nets.to_vec());
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "fd00::1"] {
            assert!(allow.permits(ip(address), 80), "{address}");
        }
        for address in ["10.0.0.1", "::1", "169.254.169.254", "fe80::1"] {
            assert!(!allow.permits(ip(address), 80), "{address}");
        }
        assert!(allow.lists(ip("::ffff:127.0.0.1"), 1) && !allow.lists(ip("8.8.8.8"), 1));
    }

    proptest::proptest! {
        #[test]
        fn a_mapped_address_is_judged_as_itself(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let allow = Allow::default();
            let mapped = IpAddr::V6(v4.to_ipv6_mapped());
            let plain = allow.permits(IpAddr::V4(v4), 443);
            proptest::prop_assert_eq!(plain, allow.permits(mapped, 443));
            proptest::prop_assert!(!plain || !v4.is_private());
        }
    }
}
