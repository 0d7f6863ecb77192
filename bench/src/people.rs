//! People who do not exist: addresses, names and values for demonstrations and measurements. The same seed gives
//! the same people, so a delivery can be checked against the list it came from without keeping the list.

use std::io::{self, Write};

use crate::draw;

const FIRST: [&str; 48] = [
    "Ada", "Alan", "Amara", "André", "Anna", "Ben", "Björn", "Carla", "Chen", "Clara", "Daniel", "Diego",
    "Elena", "Emil", "Eva", "Fatima", "Felix", "Grace", "Hana", "Hugo", "Ida", "Ines", "Ivan", "Jan",
    "Joana", "Jonas", "Julia", "Kai", "Karl", "Lea", "Lena", "Leo", "Liam", "Lucía", "Marc", "María", "Maya",
    "Mia", "Nina", "Noah", "Olga", "Paul", "Rosa", "Sara", "Theo", "Uma", "Yara", "Zoë",
];
const FIRST_PLAIN: [&str; 48] = [
    "ada", "alan", "amara", "andre", "anna", "ben", "bjorn", "carla", "chen", "clara", "daniel", "diego",
    "elena", "emil", "eva", "fatima", "felix", "grace", "hana", "hugo", "ida", "ines", "ivan", "jan",
    "joana", "jonas", "julia", "kai", "karl", "lea", "lena", "leo", "liam", "lucia", "marc", "maria", "maya",
    "mia", "nina", "noah", "olga", "paul", "rosa", "sara", "theo", "uma", "yara", "zoe",
];
const LAST: [&str; 40] = [
    "Abe", "Alvarez", "Andersen", "Becker", "Berg", "Bianchi", "Brown", "Costa", "Diaz", "Dubois", "Evans",
    "Fischer", "Garcia", "Gruber", "Haas", "Hansen", "Ito", "Jansen", "Kaya", "Keller", "Kim", "Kovacs",
    "Lang", "Larsen", "Lopez", "Martin", "Meyer", "Moreau", "Novak", "Okoye", "Patel", "Rossi", "Sato",
    "Schmid", "Silva", "Smith", "Tanaka", "Vogel", "Weber", "Yilmaz",
];
const CITY: [&str; 24] = [
    "Amsterdam",
    "Athens",
    "Berlin",
    "Bern",
    "Bordeaux",
    "Brno",
    "Cairo",
    "Dublin",
    "Geneva",
    "Hamburg",
    "Kyoto",
    "Lagos",
    "Lima",
    "Lisbon",
    "Lyon",
    "Madrid",
    "Milan",
    "Oslo",
    "Porto",
    "Prague",
    "Quito",
    "Tokyo",
    "Vienna",
    "Zürich",
];
/// Letters of voucher codes: none that can be mistaken for another.
const CODE: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// The columns of [`write_csv`], in their order.
pub const COLUMNS: [&str; 6] = ["email", "first_name", "last_name", "city", "code", "points"];

/// Domains with their shares, e.g. `gmail.example` 40 and `orange.example` 10.
#[derive(Clone, Debug)]
pub struct People {
    pub seed: u64,
    domains: Vec<String>,
    /// For each domain the sum of the shares up to and with its own.
    ends: Vec<u64>,
    dealt: bool,
}

/// One of them. The local part of the address ends in the person's number and is therefore unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person<'a> {
    pub first: &'static str,
    pub last: &'static str,
    pub city: &'static str,
    pub domain: &'a str,
    /// Eight letters and digits.
    pub code: [u8; 8],
    /// 0 to 9999.
    pub points: u32,
    pub number: u64,
    first_plain: &'static str,
}

impl People {
    /// `domains` with the share of people that each gets; shares of zero are nobody's.
    pub fn new(seed: u64, domains: &[(&str, u32)]) -> People {
        let (mut names, mut ends, mut sum) = (Vec::new(), Vec::new(), 0);
        for (name, share) in domains.iter().filter(|d| d.1 > 0) {
            sum += u64::from(*share);
            names.push((*name).to_string());
            ends.push(sum);
        }
        assert!(!names.is_empty(), "people need a domain to live at");
        People { seed, domains: names, ends, dealt: false }
    }

    /// At `d0.example`, `d1.example` and so on, one after another, so that `domains` people live at as many domains.
    pub fn dealt(seed: u64, domains: u32) -> People {
        let names: Vec<String> = (0..domains).map(|n| format!("d{n}.example")).collect();
        let shares: Vec<(&str, u32)> = names.iter().map(|n| (n.as_str(), 1)).collect();
        People { dealt: true, ..People::new(seed, &shares) }
    }

    pub fn domains(&self) -> &[String] {
        &self.domains
    }

    pub fn nth(&self, number: u64) -> Person<'_> {
        let h = draw::mix(self.seed ^ draw::mix(number));
        let more = draw::mix(h);
        let pick = |shift: u32, len: usize| usize::try_from((h >> shift) & 0xffff).unwrap_or(0) % len;
        let mut code = [0u8; 8];
        for (i, c) in code.iter_mut().enumerate() {
            *c = CODE[usize::try_from((more >> (i * 5)) & 31).unwrap_or(0)];
        }
        let first = pick(0, FIRST.len());
        Person {
            first: FIRST[first],
            first_plain: FIRST_PLAIN[first],
            last: LAST[pick(16, LAST.len())],
            city: CITY[pick(32, CITY.len())],
            domain: self.domain(number, draw::mix(more)),
            code,
            points: u32::try_from((h >> 48) % 10_000).unwrap_or(0),
            number,
        }
    }

    fn domain(&self, number: u64, drawn: u64) -> &str {
        let shares = self.ends[self.ends.len() - 1];
        let at = if self.dealt { number % shares } else { drawn % shares };
        &self.domains[self.ends.partition_point(|end| *end <= at)]
    }

    /// Writes a CSV of `rows` people (numbers 0 to `rows - 1`) with the header [`COLUMNS`]; about 2 million rows a second.
    pub fn write_csv<W: Write>(&self, mut out: W, rows: u64) -> io::Result<()> {
        let mut block = Vec::with_capacity(1 << 17);
        block.extend_from_slice(COLUMNS.join(",").as_bytes());
        block.push(b'\n');
        for number in 0..rows {
            self.nth(number).append_csv(&mut block);
            if block.len() >= 1 << 16 {
                out.write_all(&block)?;
                block.clear();
            }
        }
        out.write_all(&block)?;
        out.flush()
    }
}

impl Person<'_> {
    pub fn address(&self) -> String {
        let mut bytes = Vec::with_capacity(48);
        self.append_address(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// No value holds a comma, a quote or a line end, so nothing needs quoting.
    fn append_csv(&self, out: &mut Vec<u8>) {
        self.append_address(out);
        for value in [self.first, self.last, self.city] {
            out.push(b',');
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b',');
        out.extend_from_slice(&self.code);
        out.push(b',');
        append_decimal(out, u64::from(self.points));
        out.push(b'\n');
    }

    fn append_address(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.first_plain.as_bytes());
        out.push(b'.');
        out.extend(self.last.bytes().map(|b| b.to_ascii_lowercase()));
        out.push(b'.');
        append_decimal(out, self.number);
        out.push(b'@');
        out.extend_from_slice(self.domain.as_bytes());
    }
}

/// Decimal digits without the formatting machinery, which would cost more than the rest of the row.
pub(crate) fn append_decimal(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(n % 10).unwrap_or(0);
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_same_seed_gives_the_same_people_and_no_two_share_an_address() {
        let people = People::new(1, &[("a.example", 3), ("b.example", 1)]);
        assert_eq!(people.nth(5), People::new(1, &[("a.example", 3), ("b.example", 1)]).nth(5));
        let addresses: HashSet<String> = (0..10_000).map(|n| people.nth(n).address()).collect();
        assert_eq!(addresses.len(), 10_000);
        let at_a = addresses.iter().filter(|a| a.ends_with("@a.example")).count();
        assert!((7_200..7_800).contains(&at_a), "{at_a} of 10,000 live at a.example, 3 in 4 expected");
    }

    #[test]
    fn dealt_people_live_at_every_domain() {
        let people = People::dealt(1, 1000);
        let at: HashSet<&str> = (0..1000).map(|n| people.nth(n).domain).collect();
        assert_eq!((at.len(), people.nth(1001).domain), (1000, "d1.example"));
    }

    #[test]
    fn the_csv_has_a_header_and_a_row_each() {
        let mut csv = Vec::new();
        People::new(9, &[("a.example", 1)]).write_csv(&mut csv, 1000).expect("a Vec takes all");
        let text = String::from_utf8(csv).expect("names are UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1001);
        assert_eq!(lines[0], "email,first_name,last_name,city,code,points");
        assert!(lines.iter().all(|l| l.split(',').count() == COLUMNS.len()));
        assert!(lines[1].split(',').next().is_some_and(|a| a.ends_with(".0@a.example") && a.is_ascii()));
    }
}
