//! The header by which a proxy says for whom it connects: the PROXY protocol of HAProxy, version 1 (a line) and 2 (bytes).

use memchr::memmem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, with its line end.
const LINE: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes before the addresses in version 2.
const FIXED: usize = 16;
/// Longest header that is read.
pub const LONGEST: usize = 4096;

/// What a connection began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The header has not come to its end.
    More,
    /// No header, or one that is wrong.
    Wrong(&'static str),
    /// Whom the proxy speaks for; it takes up so many bytes.
    Whole { ends: Option<Ends>, length: usize },
}

/// Both sides of the connection that the proxy has accepted. Where there is none the proxy speaks for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub client: SocketAddr,
    pub local: SocketAddr,
}

/// Reads the header that a connection begins with.
pub fn read(bytes: &[u8]) -> Header {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] == SIGNATURE[..known] {
        return if known < SIGNATURE.len() { Header::More } else { version_2(bytes) };
    }
    let start = b"PROXY ";
    let known = bytes.len().min(start.len());
    if bytes[..known] != start[..known] {
        return Header::Wrong("no PROXY header");
    }
    match memmem::find(&bytes[..bytes.len().min(LINE)], b"\r\n") {
        Some(end) => version_1(&bytes[..end]),
        None if bytes.len() >= LINE => Header::Wrong("a PROXY header of more than 107 bytes"),
        None => Header::More,
    }
}

fn version_1(line: &[u8]) -> Header {
    let wrong = Header::Wrong("a PROXY header that is not PROXY TCP4|TCP6 client local port port");
    let Ok(text) = std::str::from_utf8(line) else { return wrong };
    let words: Vec<&str> = text.split(' ').collect();
    let length = line.len() + 2;
    let (client, local) = match words[..] {
        ["PROXY", "UNKNOWN", ..] => return Header::Whole { ends: None, length },
        ["PROXY", "TCP4", client, local, client_port, local_port] => {
            (address::<Ipv4Addr>(client, client_port), address::<Ipv4Addr>(local, local_port))
        }
        ["PROXY", "TCP6", client, local, client_port, local_port] => {
            (address::<Ipv6Addr>(client, client_port), address::<Ipv6Addr>(local, local_port))
        }
        _ => return wrong,
    };
    match (client, local) {
        (Some(client), Some(local)) => Header::Whole { ends: Some(Ends { client, local }), length },
        _ => wrong,
    }
}

fn address<A: std::str::FromStr + Into<IpAddr>>(ip: &str, port: &str) -> Option<SocketAddr> {
    let plain = port.bytes().all(|b| b.is_ascii_digit());
    Some(SocketAddr::new(ip.parse::<A>().ok()?.into(), port.parse().ok().filter(|_| plain)?))
}

fn version_2(bytes: &[u8]) -> Header {
    let [.., version_and_command, family, high, low] = *match bytes.first_chunk::<FIXED>() {
        Some(fixed) => fixed,
        None => return Header::More,
    };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if version_and_command >> 4 != 2 {
        return Header::Wrong("a PROXY header of another version than 1 and 2");
    }
    if length > LONGEST {
        return Header::Wrong("a PROXY header of more than 4096 bytes");
    }
    let Some(addresses) = bytes.get(FIXED..length) else { return Header::More };
    match (version_and_command & 0xf, family) {
        (0, _) => Header::Whole { ends: None, length },
        (1, 0x11) => match addresses.first_chunk::<12>() {
            Some(&[a, b, c, d, e, f, g, h, ports @ ..]) => {
                ends([a, b, c, d].into(), [e, f, g, h].into(), ports, length)
            }
            None => Header::Wrong("a PROXY header too short for its addresses"),
        },
        (1, 0x21) => match (addresses.first_chunk::<16>(), addresses.get(16..)) {
            (Some(client), Some(rest)) => match (rest.first_chunk::<16>(), rest.get(16..20)) {
                (Some(local), Some(&[a, b, c, d])) => {
                    ends((*client).into(), (*local).into(), [a, b, c, d], length)
                }
                _ => Header::Wrong("a PROXY header too short for its addresses"),
            },
            _ => Header::Wrong("a PROXY header too short for its addresses"),
        },
        // Of something else than TCP: the proxy's own address counts, as the protocol has it.
        (1, _) => Header::Whole { ends: None, length },
        _ => Header::Wrong("a PROXY header with a command that is not known"),
    }
}

fn ends(client: IpAddr, local: IpAddr, ports: [u8; 4], length: usize) -> Header {
    let [a, b, c, d] = ports;
    let (client_port, local_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let ends =
        Ends { client: SocketAddr::new(client, client_port), local: SocketAddr::new(local, local_port) };
    Header::Whole { ends: Some(ends), length }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_and_no_header_is_longer_than_what_came(
            start in prop::sample::select(vec![&b"PROXY TCP4 "[..], &SIGNATURE[..], b""]),
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [start, &rest].concat();
            if let Header::Whole { length, .. } = read(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }

    fn whole(client: &str, local: &str, length: usize) -> Header {
        let (client, local) = (client.parse().unwrap(), local.parse().unwrap());
        Header::Whole { ends: Some(Ends { client, local }), length }
    }

    fn second(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = (addresses.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, addresses].concat()
    }

    #[test]
    fn lines_of_version_1() {
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\nEHLO";
        assert_eq!(read(line), whole("192.0.2.1:56324", "198.51.100.1:25", line.len() - 4));
        for end in 0..line.len() - 5 {
            assert_eq!(read(&line[..end]), Header::More, "{end}");
        }
        let line = b"PROXY TCP6 2001:db8::1 ::1 1 25\r\n";
        assert_eq!(read(line), whole("[2001:db8::1]:1", "[::1]:25", line.len()));
        assert_eq!(read(b"PROXY UNKNOWN\r\n"), Header::Whole { ends: None, length: 15 });
        assert_eq!(read(b"PROXY UNKNOWN a b c\r\n"), Header::Whole { ends: None, length: 21 });
        for wrong in [
            "EHLO x\r\n",
            "PROXY TCP4 2001:db8::1 ::1 1 25\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 99999 25\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +1 25\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
        ] {
            assert!(matches!(read(wrong.as_bytes()), Header::Wrong(_)), "{wrong}");
        }
        assert!(matches!(read(format!("PROXY {}", "x".repeat(200)).as_bytes()), Header::Wrong(_)));
    }

    #[test]
    fn bytes_of_version_2() {
        let v4 = second(0x21, 0x11, &[192, 0, 2, 1, 198, 51, 100, 1, 220, 4, 0, 25, 3, 0, 0]);
        assert_eq!(read(&v4), whole("192.0.2.1:56324", "198.51.100.1:25", v4.len()));
        for end in 0..v4.len() {
            assert_eq!(read(&v4[..end]), Header::More, "{end}");
        }
        let mut addresses = vec![0; 36];
        (addresses[15], addresses[31], addresses[33], addresses[35]) = (1, 2, 7, 25);
        let v6 = second(0x21, 0x21, &addresses);
        assert_eq!(read(&v6), whole("[::1]:7", "[::2]:25", v6.len()));
        let local = second(0x20, 0, &[]);
        assert_eq!(read(&local), Header::Whole { ends: None, length: 16 });
        assert_eq!(read(&second(0x21, 0x31, &[0; 216])), Header::Whole { ends: None, length: 232 });
        for wrong in [second(0x11, 0x11, &[0; 12]), second(0x22, 0x11, &[0; 12]), second(0x21, 0x11, &[0; 5])]
        {
            assert!(matches!(read(&wrong), Header::Wrong(_)), "{wrong:?}");
        }
        assert!(matches!(read(&second(0x21, 0x11, &[0; 5000])), Header::Wrong(_)));
    }
}
