//! Which addresses mail may go to when DNS, and so a stranger, chose them (fault D07; it is also the guard against being
//! used to reach into the sender's own network). Addresses written in the configuration are not asked about here.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const fn v4(a: u8, b: u8, c: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), length)
}

const fn v6(a: u16, b: u16, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), length)
}

/// Not globally reachable (IANA IPv4 Special-Purpose Address Registry, RFC 6890), with multicast and class E.
const REFUSED_V4: [Ipv4Net; 14] = [
    v4(0, 0, 0, 8),
    v4(10, 0, 0, 8),
    v4(100, 64, 0, 10),
    v4(127, 0, 0, 8),
    v4(169, 254, 0, 16),
    v4(172, 16, 0, 12),
    v4(192, 0, 0, 24),
    v4(192, 0, 2, 24),
    v4(192, 168, 0, 16),
    v4(198, 18, 0, 15),
    v4(198, 51, 100, 24),
    v4(203, 0, 113, 24),
    v4(224, 0, 0, 4),
    v4(240, 0, 0, 4),
];

/// Within 2000::/3, which is all that is globally reachable: Teredo and other protocol assignments, documentation.
const REFUSED_V6: [Ipv6Net; 3] = [v6(0x2001, 0, 23), v6(0x2001, 0xdb8, 32), v6(0x3fff, 0, 20)];
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 3);

/// The ranges that are allowed although they are private.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    allowed: Vec<IpNet>,
}

impl AddressPolicy {
    /// Everything that is globally reachable, and `allowed`.
    pub fn new(allowed: Vec<IpNet>) -> AddressPolicy {
        AddressPolicy { allowed }
    }

    /// Whether a connection to `address` may be made.
    pub fn permits(&self, address: IpAddr) -> bool {
        self.allowed.iter().any(|net| net.contains(&address))
            || match address {
                IpAddr::V4(address) => self.permits_v4(address),
                IpAddr::V6(address) => self.permits_v6(address),
            }
    }

    fn permits_v4(&self, address: Ipv4Addr) -> bool {
        !REFUSED_V4.iter().any(|net| net.contains(&address))
    }

    /// An IPv6 address that stands for an IPv4 address is judged by that one.
    fn permits_v6(&self, address: Ipv6Addr) -> bool {
        let [a, b, c, d, e, f, ..] = address.segments();
        let octets = address.octets();
        let last = IpAddr::from([octets[12], octets[13], octets[14], octets[15]]);
        match [a, b, c, d, e, f] {
            // Mapped (RFC 4291 2.5.5.2) and NAT64 (RFC 6052).
            [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => self.permits(last),
            // 6to4 (RFC 3056).
            [0x2002, ..] => self.permits(IpAddr::from([octets[2], octets[3], octets[4], octets[5]])),
            _ => GLOBAL_V6.contains(&address) && !REFUSED_V6.iter().any(|net| net.contains(&address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_internet_is_permitted() {
        let policy = AddressPolicy::default();
        for address in [
            "8.8.8.8",
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2607:f8b0::1",
            "2a00:1450::1b",
            "::ffff:8.8.8.8",
        ] {
            assert!(policy.permits(address.parse().expect(address)), "{address}");
        }
    }

    #[test]
    fn what_is_not_the_internet_is_refused() {
        let policy = AddressPolicy::default();
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff:fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!policy.permits(address.parse().expect(address)), "{address}");
        }
    }

    #[test]
    fn listed_ranges_are_allowed() {
        let policy = AddressPolicy::new(vec!["127.0.0.0/8".parse().expect("a range")]);
        assert!(policy.permits("127.1.2.3".parse().expect("an address")));
        assert!(policy.permits("::ffff:127.1.2.3".parse().expect("an address")));
        assert!(!policy.permits("10.0.0.1".parse().expect("an address")));
    }
}
