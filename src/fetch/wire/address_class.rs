//! Classifies IP addresses: public, private, or impossible for a device cloud. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Class of an IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressClass {
    /// On the public internet.
    Public,
    /// This machine or the networks around it, where self-hosted devices are.
    Private,
    /// No device cloud can be here. Includes the metadata addresses where hosting platforms serve credentials.
    Never,
}

/// Classifies by IANA's registries of special-purpose addresses (RFC 6890).
pub(crate) fn address_class(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(address) => address_class_v4(address),
        IpAddr::V6(address) => address_class_v6(address),
    }
}

fn address_class_v4(address: Ipv4Addr) -> AddressClass {
    match address.octets() {
        // Metadata services inside other ranges: Alibaba Cloud's, and Azure's wire server.
        [100, 100, 100, 200] | [168, 63, 129, 16] => AddressClass::Never,
        [10, ..] | [127, ..] | [192, 168, ..] => AddressClass::Private,
        [172, 16..=31, ..] => AddressClass::Private,
        // Carrier-grade NAT (RFC 6598), also used by private overlay networks.
        [100, 64..=127, ..] => AddressClass::Private,
        // "This network": on Linux it reaches this machine.
        [0, ..] => AddressClass::Never,
        // Link-local (RFC 3927): the metadata service of most hosting platforms.
        [169, 254, ..] => AddressClass::Never,
        // Protocol assignments, documentation, 6to4 relays, benchmarks.
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => AddressClass::Never,
        [192, 88, 99, _] | [198, 18..=19, ..] => AddressClass::Never,
        // Multicast, reserved, broadcast.
        [224..=255, ..] => AddressClass::Never,
        _ => AddressClass::Public,
    }
}

fn address_class_v6(address: Ipv6Addr) -> AddressClass {
    let [first, second, third, .., high, low] = address.segments();
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    let embedded = Ipv4Addr::new(a, b, c, d);
    match (first, second, third) {
        _ if address == Ipv6Addr::LOCALHOST => AddressClass::Private,
        // Metadata services inside the unique local range: AWS's (and its pod credentials), Google Cloud's.
        (0xfd00, 0xec2, 0) | (0xfd20, 0xce, 0) => AddressClass::Never,
        (0xfc00..=0xfdff, ..) => AddressClass::Private,
        // Embedded IPv4: mapped, or NAT64 (RFC 6052).
        _ if address.to_ipv4_mapped().is_some() => address_class_v4(embedded),
        (0x64, 0xff9b, 0) if address.segments()[3..6] == [0, 0, 0] => address_class_v4(embedded),
        // Embedded IPv4: 6to4 (RFC 3056).
        (0x2002, ..) => {
            let ([a, b], [c, d]) = (second.to_be_bytes(), third.to_be_bytes());
            address_class_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Protocol assignments (including Teredo) and documentation.
        (0x2001, 0..=0x1ff, _) | (0x2001, 0xdb8, _) | (0x3fff, 0..=0xfff, _) => AddressClass::Never,
        (0x2000..=0x3fff, ..) => AddressClass::Public,
        // Unspecified, link-local (a URL cannot name the link), multicast, unassigned.
        _ => AddressClass::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_classified_by_range() {
        let all = |addresses: &[&str], expected: AddressClass| {
            for text in addresses {
                assert_eq!(address_class(text.parse().unwrap()), expected, "{text}");
            }
        };
        all(
            &[
                "1.1.1.1",
                "172.15.0.1",
                "168.63.129.17",
                "172.32.0.1",
                "100.63.255.255",
                "100.128.0.0",
                "192.0.1.1",
                "2606:4700:4700::1111",
                "::ffff:1.1.1.1",
                "64:ff9b::101:101",
                "2002:101:101::1",
                "2001:200::1",
            ],
            AddressClass::Public,
        );
        all(
            &[
                "127.0.0.1",
                "127.255.255.254",
                "10.1.2.3",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.1",
                "100.64.0.1",
                "::1",
                "fc00::1",
                "fd12:3456::1",
                "::ffff:127.0.0.1",
                "::ffff:10.0.0.1",
                "64:ff9b::7f00:1",
                "2002:7f00:1::1",
            ],
            AddressClass::Private,
        );
        all(
            &[
                "0.0.0.0",
                "0.1.2.3",
                "169.254.169.254",
                "100.100.100.200",
                "192.0.0.192",
                "192.0.2.1",
                "198.18.0.1",
                "224.0.0.1",
                "240.0.0.1",
                "255.255.255.255",
                "::",
                "::127.0.0.1",
                "::ffff:169.254.169.254",
                "64:ff9b::a9fe:a9fe",
                "64:ff9b:1::7f00:1",
                "2002:a9fe:a9fe::1",
                "fe80::1",
                "fec0::1",
                "ff02::1",
                "2001::1",
                "2001:db8::1",
                "100::1",
                "fd00:ec2::254",
                "fd00:ec2::23",
                "fd20:ce::254",
                "168.63.129.16",
                "4000::1",
            ],
            AddressClass::Never,
        );
    }
}
