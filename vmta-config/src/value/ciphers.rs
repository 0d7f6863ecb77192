//! Cipher lists as OpenSSL writes them (`openssl ciphers`), and what they leave of the suites there are.

use super::{ParseError, Value};
use crate::lex::{Cursor, shorten};

/// A suite of TLS 1.2 under OpenSSL's name.
struct Suite {
    name: &'static str,
    /// Selected by any of these, besides its name.
    keywords: &'static [&'static str],
    strength: u32,
}

const fn suite(name: &'static str, keywords: &'static [&'static str], strength: u32) -> Suite {
    Suite { name, keywords, strength }
}

/// In OpenSSL's order.
const SUITES: [Suite; 6] = [
    suite("ECDHE-ECDSA-AES256-GCM-SHA384", &["aECDSA", "ECDSA", "AES", "AES256", "AESGCM", "FIPS"], 256),
    suite("ECDHE-RSA-AES256-GCM-SHA384", &["aRSA", "AES", "AES256", "AESGCM", "FIPS"], 256),
    suite("ECDHE-ECDSA-CHACHA20-POLY1305", &["aECDSA", "ECDSA", "CHACHA20"], 256),
    suite("ECDHE-RSA-CHACHA20-POLY1305", &["aRSA", "CHACHA20"], 256),
    suite("ECDHE-ECDSA-AES128-GCM-SHA256", &["aECDSA", "ECDSA", "AES", "AES128", "AESGCM", "FIPS"], 128),
    suite("ECDHE-RSA-AES128-GCM-SHA256", &["aRSA", "AES", "AES128", "AESGCM", "FIPS"], 128),
];
/// What all of them are.
const ALL: [&str; 8] = ["ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "TLSv1.2"];
/// Suites of TLS 1.3, which are listed one by one.
const SUITES_1_3: [&str; 3] =
    ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"];

impl Suite {
    /// `word` is a name, a keyword, or several with `+` between them.
    fn is(&self, word: &str) -> bool {
        word.split('+').all(|part| {
            let mut names = [self.name].into_iter().chain(ALL).chain(self.keywords.iter().copied());
            names.any(|name| name.eq_ignore_ascii_case(part))
        })
    }
}

/// Suites as a list is worked through, in their order, and whether they have been chosen.
struct Choosing(Vec<(&'static Suite, bool)>);

impl Choosing {
    fn take_out(&mut self, which: impl Fn(&Suite, bool) -> bool) -> Vec<&'static Suite> {
        self.0.extract_if(.., |(suite, chosen)| which(suite, *chosen)).map(|(suite, _)| suite).collect()
    }

    fn add(&mut self, word: &str) {
        let added = self.take_out(|suite, chosen| !chosen && suite.is(word));
        self.0.extend(added.into_iter().map(|suite| (suite, true)));
    }

    fn move_to_end(&mut self, which: impl Fn(&Suite) -> bool) {
        let moved = self.take_out(|suite, chosen| chosen && which(suite));
        self.0.extend(moved.into_iter().map(|suite| (suite, true)));
    }

    /// They may be added again, and come first then.
    fn remove(&mut self, word: &str) {
        let removed = self.take_out(|suite, chosen| chosen && suite.is(word));
        self.0.splice(..0, removed.into_iter().map(|suite| (suite, false)));
    }

    /// The rest of `word` behind an `@`; false where it has no effect.
    fn command(&mut self, word: &str) -> Result<bool, String> {
        match word {
            "STRENGTH" => [256, 128].iter().for_each(|n| self.move_to_end(|suite| suite.strength == *n)),
            _ if word.starts_with("SECLEVEL=") => return Ok(false),
            _ => return Err(format!("`@{}` is neither @STRENGTH nor @SECLEVEL=N", shorten(word))),
        }
        Ok(true)
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([':', ',', ';', ' ']).filter(|word| !word.is_empty())
}

/// The suites of TLS 1.2 that a list leaves, and the words in it that select nothing.
fn up_to_1_2(text: &str) -> Result<(Vec<&'static str>, Vec<&str>), String> {
    let mut choosing = Choosing(SUITES.iter().map(|suite| (suite, false)).collect());
    let mut idle = Vec::new();
    for word in words(text) {
        match (word.as_bytes()[0], &word[word.chars().next().map_or(0, char::len_utf8)..]) {
            (b'!', rest) => drop(choosing.take_out(|suite, _| suite.is(rest))),
            (b'-', rest) => choosing.remove(rest),
            (b'+', rest) => choosing.move_to_end(|suite| suite.is(rest)),
            (b'@', rest) if choosing.command(rest)? => {}
            (b'@', _) => idle.push(word),
            _ if SUITES.iter().any(|suite| suite.is(word)) => choosing.add(word),
            _ => idle.push(word),
        }
    }
    Ok((choosing.0.into_iter().filter(|(_, chosen)| *chosen).map(|(suite, _)| suite.name).collect(), idle))
}

/// The same for TLS 1.3.
fn of_1_3(text: &str) -> (Vec<&'static str>, Vec<&str>) {
    let (mut suites, mut idle) = (Vec::new(), Vec::new());
    for word in words(text) {
        match SUITES_1_3.iter().find(|name| name.eq_ignore_ascii_case(word)) {
            Some(name) if suites.contains(name) => {}
            Some(name) => suites.push(*name),
            None => idle.push(word),
        }
    }
    (suites, idle)
}

/// The suites there are, in words.
pub(crate) fn known(v1_3: bool) -> String {
    let names = if v1_3 { SUITES_1_3.to_vec() } else { SUITES.iter().map(|suite| suite.name).collect() };
    format!("the suites there are: {}", names.join(", "))
}

/// A cipher list that leaves something; `""` clears.
pub(super) fn ciphers(c: &mut Cursor, v1_3: bool) -> Result<Value, ParseError> {
    let word = c.word("a cipher list")?;
    if word.text.is_empty() {
        return Ok(Value::Cleared);
    }
    let (suites, idle) = match v1_3 {
        true => of_1_3(&word.text),
        false => up_to_1_2(&word.text)
            .map_err(|why| ParseError::new(word.at.clone(), why).help("for example: HIGH:!aRSA:@STRENGTH"))?,
    };
    if suites.is_empty() {
        let message = format!("`{}` leaves no cipher suite", shorten(&word.text));
        return Err(ParseError::new(word.at, message).help(known(v1_3)));
    }
    let idle = idle.into_iter().map(str::to_owned).collect();
    Ok(Value::Ciphers(suites, idle))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters stand for [`SUITES`]: E and R for the kind of certificate, with 2 for AES-256, c for ChaCha20, 1 for AES-128.
    fn left(text: &str) -> (String, Vec<&str>) {
        let (suites, idle) = up_to_1_2(text).unwrap();
        let letters = ["E2", "R2", "Ec", "Rc", "E1", "R1"];
        let letter = |name: &&str| letters[SUITES.iter().position(|s| s.name == *name).unwrap()];
        (suites.iter().map(letter).collect::<Vec<_>>().join(" "), idle)
    }

    /// As `openssl ciphers` of OpenSSL 3 lists them, less the suites there are not here.
    #[test]
    fn lists_mean_what_they_mean_to_openssl() {
        for (text, suites) in [
            ("HIGH:!ADH:@STRENGTH", "E2 R2 Ec Rc E1 R1"),
            ("DEFAULT", "E2 R2 Ec Rc E1 R1"),
            ("ALL:!aRSA", "E2 Ec E1"),
            ("ECDHE+AESGCM:ECDHE+CHACHA20", "E2 R2 E1 R1 Ec Rc"),
            ("EECDH+aRSA+AESGCM:EDH+aRSA", "R2 R1"),
            ("ECDHE-RSA-AES128-GCM-SHA256", "R1"),
            ("AES128:AES256:@STRENGTH", "E2 R2 E1 R1"),
            ("AES128:AES256", "E1 R1 E2 R2"),
            ("HIGH:+AES256", "Ec Rc E1 R1 E2 R2"),
            ("HIGH:-AES256:ALL", "Ec Rc E1 R1 E2 R2"),
            ("HIGH:-AES256:-CHACHA20:ALL", "E1 R1 Ec Rc E2 R2"),
            ("ALL:-aRSA:aRSA", "E2 Ec E1 R2 Rc R1"),
            ("!AES:ALL", "Ec Rc"),
            ("CHACHA20:!CHACHA20:AES256:CHACHA20", "E2 R2"),
            ("FIPS:!AES128", "E2 R2"),
            ("ECDSA,HIGH;!AES128", "E2 Ec R2 Rc"),
        ] {
            assert_eq!(left(text).0, suites, "{text}");
        }
    }

    #[test]
    fn words_that_select_nothing_are_told_of() {
        let text = "ECDHE-RSA-AES256-GCM-SHA384:AES128-SHA:MEDIUM:!RC4:-SEED:+3DES:RSA+AESGCM:@SECLEVEL=2";
        assert_eq!(left(text), ("R2".to_owned(), vec!["AES128-SHA", "MEDIUM", "RSA+AESGCM", "@SECLEVEL=2"]));
        // No other case could mean anything else.
        assert_eq!(left("high:!chacha20:!arsa").0, "E2 E1");
        assert_eq!(left("RC4-SHA:!ALL"), (String::new(), vec!["RC4-SHA"]));
        assert!(up_to_1_2("HIGH:@WEAKNESS").is_err());
        assert_eq!(left("ä:!ä:@SECLEVEL=ä:!"), (String::new(), vec!["ä", "@SECLEVEL=ä"]));
        let text = "TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_GCM_SHA256:HIGH";
        assert_eq!(of_1_3(text), (vec!["TLS_AES_128_GCM_SHA256"], vec!["TLS_AES_128_CCM_SHA256", "HIGH"]));
    }

    #[test]
    fn something_must_be_left() {
        let read = |text, v1_3| ciphers(&mut Cursor::new(text), v1_3);
        let error = read("RC4-SHA:DES-CBC3-SHA", false).unwrap_err();
        assert_eq!(error.message, "`RC4-SHA:DES-CBC3-SHA` leaves no cipher suite");
        assert!(error.help.unwrap().contains("ECDHE-RSA-AES256-GCM-SHA384, ECDHE-ECDSA-CHACHA20-POLY1305"));
        let error = read("TLS_AES_128_CCM_SHA256", true).unwrap_err();
        assert!(error.help.unwrap().contains("TLS_CHACHA20_POLY1305_SHA256"));
        assert_eq!(read("\"\"", false).unwrap(), Value::Cleared);
    }
}
