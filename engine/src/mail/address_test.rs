//! Addresses that are accepted, and those that are not, with the reason given.

use super::*;
use proptest::prelude::*;

fn error(text: &str) -> AddressError {
    check(text.as_bytes()).expect_err(text)
}

#[test]
fn ordinary_addresses_split_at_their_at_sign() {
    for (text, local, domain) in [
        ("ann@example.com", "ann", "example.com"),
        ("Ann.O'Neil+news@Mail.Example.COM", "Ann.O'Neil+news", "Mail.Example.COM"),
        ("{a|b}~!#$%&*/=?^_`@x-y.example", "{a|b}~!#$%&*/=?^_`", "x-y.example"),
        ("root@localhost", "root", "localhost"),
        ("a@1.example", "a", "1.example"),
        ("a@xn--bcher-kva.example", "a", "xn--bcher-kva.example"),
        (r#""john doe"@example.com"#, r#""john doe""#, "example.com"),
        (r#""a@b\"c\\ "@example.com"#, r#""a@b\"c\\ ""#, "example.com"),
        (r#"""@example.com"#, r#""""#, "example.com"),
        ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
        ("a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]"),
        ("jürgen@bücher.example", "jürgen", "bücher.example"),
        ("用户@例子.测试", "用户", "例子.测试"),
    ] {
        let parsed = check(text.as_bytes()).expect(text);
        assert_eq!((parsed.local(), parsed.domain()), (local, domain));
        let owned = Address::parse(text).expect(text);
        assert_eq!((owned.local(), owned.domain(), owned.as_str()), (local, domain, text));
    }
}

#[test]
fn every_fault_has_its_own_reason() {
    use AddressError::*;
    assert_eq!(error(""), Empty);
    assert_eq!(error("ann"), NoAt);
    assert_eq!(error("@example.com"), EmptyLocal);
    assert_eq!(error("ann@"), EmptyDomain);
    assert_eq!(error(".ann@example.com"), LocalDot { at: 0 });
    assert_eq!(error("ann.@example.com"), LocalDot { at: 3 });
    assert_eq!(error("a..b@example.com"), LocalDot { at: 2 });
    assert_eq!(error("a b@example.com"), LocalByte { at: 1, byte: b' ' });
    assert_eq!(error(" a@example.com"), LocalByte { at: 0, byte: b' ' });
    assert_eq!(error("<a@example.com>"), LocalByte { at: 0, byte: b'<' });
    assert_eq!(error("a@b@example.com"), DomainByte { at: 3, byte: b'@' });
    assert_eq!(error("a@example.com "), DomainByte { at: 13, byte: b' ' });
    assert_eq!(error("a@exa_mple.com"), DomainByte { at: 5, byte: b'_' });
    assert_eq!(error("a@.example.com"), EmptyLabel { at: 2 });
    assert_eq!(error("a@example.com."), EmptyLabel { at: 14 });
    assert_eq!(error("a@-x.example"), LabelHyphen { at: 2 });
    assert_eq!(error("a@192.0.2.1"), NumericDomain);
    assert_eq!(error("a@[192.0.2]"), BadLiteral);
    assert_eq!(error("a@[2001:db8::1]"), BadLiteral);
    assert_eq!(error("a@[192.0.2.1"), BadLiteral);
    assert_eq!(error("a@[x:y]"), BadLiteral);
    assert_eq!(error(r#""a@example.com"#), QuoteOpen);
    assert_eq!(error(r#""a"b@example.com"#), QuoteOpen);
    assert_eq!(error(r#""a\"#), QuoteOpen);
    assert_eq!(error("a\u{200b}b@example.com"), Invisible('\u{200b}'));
    assert_eq!(error("a\u{a0}b@example.com"), Invisible('\u{a0}'));
    assert_eq!(check(b"a\xff@example.com"), Err(NotUtf8));
}

#[test]
fn line_breaks_never_pass_quoted_or_not() {
    for text in [
        "a\r\nb@example.com",
        "a@exam\nple.com",
        "\"a\r\nb\"@example.com",
        "\"a\\\nb\"@example.com",
        "a\0@x.y",
    ] {
        assert!(check(text.as_bytes()).is_err(), "{text:?}");
    }
}

#[test]
fn lengths_are_counted_in_octets() {
    let local = "a".repeat(64);
    assert!(Address::parse(&format!("{local}@example.com")).is_ok());
    assert_eq!(error(&format!("{local}a@example.com")), AddressError::LocalTooLong(65));
    let domain = format!("{}.{}.{}.example", "b".repeat(63), "c".repeat(63), "d".repeat(49));
    assert_eq!(domain.len() + 65, 250);
    assert!(Address::parse(&format!("{local}@{domain}")).is_ok());
    assert_eq!(error(&format!("{local}@{domain}.abcd")), AddressError::TooLong(255));
    assert_eq!(error(&format!("a@{}.example", "b".repeat(64))), AddressError::LabelTooLong { at: 2 });
}

#[test]
fn a_domain_has_one_normal_form() {
    let mut out = String::from("left over");
    for (written, normal) in [
        ("Example.COM", "example.com"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("例子.测试", "xn--fsqu00a.xn--0zwm56d"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:DB8:0:0::1]", "[ipv6:2001:db8::1]"),
    ] {
        normalise_domain(written, &mut out).expect(written);
        assert_eq!(out, normal);
    }
    assert!(normalise_domain("a..b", &mut out).is_err());
    assert!(normalise_domain("a\u{200b}\u{200b}.\u{ff0e}", &mut out).is_err());
}

#[test]
fn a_suffix_stands_behind_single_labels_only() {
    let qualified = |text: &str, suffix| {
        let address = check(text.as_bytes()).expect(text).qualified(suffix);
        address.map(|address| address.map(|address| address.as_str().to_owned()))
    };
    let to = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(qualified("jim@host", "example.com"), to("jim@host.example.com"));
    assert_eq!(qualified("\"a@b.c\"@host", "example.com"), to("\"a@b.c\"@host.example.com"));
    assert_eq!(qualified("jim@bücher", "example.com"), to("jim@bücher.example.com"));
    assert_eq!(qualified("jim@host", ""), Ok(None));
    for text in ["jim@host.example", "jim@[IPv6:::1]", "jim@例子。测试"] {
        assert_eq!(qualified(text, "example.com"), Ok(None), "{text}");
    }
    let suffix = ["b".repeat(60).as_str(); 4].join(".");
    assert_eq!(qualified("johnny@host", &suffix), Err(AddressError::TooLong(255)));
}

#[test]
fn smtputf8_is_needed_for_the_local_part_only() {
    assert!(check("jürgen@example.com".as_bytes()).expect("valid").needs_smtputf8());
    assert!(!check("jurgen@bücher.example".as_bytes()).expect("valid").needs_smtputf8());
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(parsed) = check(&bytes) {
            prop_assert_eq!(parsed.as_str().as_bytes(), &bytes[..]);
            prop_assert!(!bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
        }
    }

    #[test]
    fn a_checked_domain_normalises_and_stays(local in "[a-z0-9.!\"]{1,10}", domain in "\\PC{1,20}") {
        if let Ok(parsed) = check(format!("{local}@{domain}").as_bytes()) {
            let (mut once, mut twice) = (String::new(), String::new());
            normalise_domain(parsed.domain(), &mut once).expect("checked");
            normalise_domain(&once, &mut twice).expect("normal");
            prop_assert_eq!(once, twice);
        }
    }
}
