//! Definitions as clients write them, good and bad.

use super::*;
use proptest::prelude::*;

fn defined(argument: &str) -> Result<Vec<(String, String)>, String> {
    let mut merge = Merge::default();
    merge.define(argument, "", false).map_err(|e| e.to_string())?;
    merge.push("a@x.example", &RecipientDsn::default()).map_err(|e| e.to_string())?;
    let row = merge.rows().next().ok_or("a row")?;
    let name = |number: u16| merge.names[usize::from(number)].to_string();
    Ok(row.values().map(|(number, value)| (name(number), value.to_owned())).collect())
}

fn one(argument: &str) -> String {
    match defined(argument).as_deref() {
        Ok([(_, value)]) => value.clone(),
        other => panic!("{argument}: {other:?}"),
    }
}

fn refused(argument: &str) -> String {
    defined(argument).expect_err(argument)
}

#[test]
fn values_with_and_without_quotes() {
    let several = defined("FName=\"Jim Beam\"  CID=1234\tempty= *vmta=\"mta1\"").unwrap();
    let expected = [("fname", "Jim Beam"), ("cid", "1234"), ("empty", ""), ("*vmta", "mta1")];
    assert_eq!(several, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(one(r#"x="say \"hi\" \\ there""#), r#"say "hi" \ there"#);
    assert_eq!(one(r"x=C:\temp"), r"C:\temp");
    assert_eq!(one("x=\"\""), "");
    assert_eq!(one("x=a=b"), "a=b");
    assert_eq!(one("x=\"Grüße\""), "Grüße");
}

#[test]
fn line_breaks_are_escaped_and_become_cr_lf() {
    assert_eq!(one(r#"x="one\r\ntwo\nthree""#), "one\r\ntwo\r\nthree");
    assert_eq!(refused(r#"x="one\rtwo""#), "x: \\r stands before \\n");
}

#[test]
fn malformed_quoting() {
    assert_eq!(refused(r#"x="open"#), "x: the quote is not closed");
    assert_eq!(refused(r#"x="open\"#), "x: in quotes, \\ stands before \\, \", r or n");
    assert_eq!(refused(r#"x="a\qb""#), "x: in quotes, \\ stands before \\, \", r or n");
    assert_eq!(refused(r#"x="a"b"#), "x: after a quoted value comes a blank");
    assert_eq!(refused(r#"x=a"b""#), "x: a value with a quote or a blank is written in quotes");
    for argument in ["", "   ", "x", "x=1 y"] {
        assert_eq!(refused(argument), "syntax: XDFN name=value name=\"quoted value\"", "{argument}");
    }
}

#[test]
fn names() {
    for argument in ["1x=1", "=1", "a-b=1", "*=1", "* to=1", "é=1", &format!("{}=1", "x".repeat(129))] {
        assert!(refused(argument).contains("is no name"), "{argument}");
    }
    assert_eq!(refused("a=1 A=2"), "a is defined twice for one recipient");
}

#[test]
fn reserved_variables() {
    assert_eq!(one("*from=<Bounce@x.example>"), "Bounce@x.example");
    assert_eq!(one("*from=\"\""), "");
    assert!(refused("*from=nobody").starts_with("*from: "));
    assert_eq!(refused("*from=ü@x.example"), "*from needs SMTPUTF8");
    assert_eq!(refused("*to=a@x.example"), "*to is read-only");
    assert_eq!(refused("*Date=now"), "*date is read-only");
    assert_eq!(refused("*color=red"), "*color is not a reserved variable");
    let times = "2026-01-01 00:00:00/2026-01-02 00:00:00";
    assert_eq!(one(&format!("*schedule=\"{times}\"")), times);
    assert!(refused("*schedule=tomorrow").starts_with("*schedule: \"tomorrow\" is no time to deliver in"));
    assert_eq!(one("*jobID=1234"), "1234");
    for argument in ["*jobid=\"a b\"", "*jobid=\"\"", "*vmta=\"a b\"", "*envid=\"\"", r#"*envid="a\nb""#] {
        assert!(refused(argument).contains("printable"), "{argument}");
    }
    assert_eq!(one("*envid=\"a b\""), "a b");
    assert_eq!(one("*priority=100"), "100");
    for argument in ["*priority=0", "*priority=101", "*priority=high"] {
        assert_eq!(refused(argument), "*priority is a number from 1 to 100", "{argument}");
    }
    let mut merge = Merge::default();
    assert_eq!(merge.define("a=1 *SubaccountId=5 *priority=5", "", false), Ok(Some("*subaccountid")));
    assert_eq!(merge.without_effect().collect::<Vec<_>>(), ["*subaccountid"]);
}

#[test]
fn lists_of_parts() {
    assert_eq!(one("*parts=\"1-3\""), "1,2,3");
    assert_eq!(one("*parts=1,3,2"), "1,3,2");
    assert_eq!(one("*parts=\"2, 5-6 ,1\""), "2,5,6,1");
    for parts in ["", "0", "101", "3-1", "1,,2", "1-", "a", "1-100,1"] {
        assert!(refused(&format!("*parts=\"{parts}\"")).starts_with("*parts is a list"), "{parts}");
    }
}

#[test]
fn a_single_label_gets_the_suffix() {
    let mut merge = Merge::default();
    assert_eq!(merge.define("*from=b@web", "example.com", false), Ok(None));
    merge.push("a@x.example", &RecipientDsn::default()).unwrap();
    assert_eq!(merge.row(0).values().collect::<Vec<_>>(), [(0, "b@web.example.com")]);
}

#[test]
fn definitions_are_bounded() {
    let mut merge = Merge::default();
    let line = |n: usize| format!("v{n}={}", "x".repeat(1000));
    let refused = (0..100).find_map(|n| merge.define(&line(n), "", false).err());
    assert_eq!(refused, Some(DefinitionError::Recipient));
    assert!(merge.is_spoiled());
    merge.forget_open();
    assert!(!merge.awaits_recipient());
    let mut merge = Merge::default();
    let refused = (0..5000).find_map(|n| {
        let refused = merge.define(&format!("n{n}=1"), "", false).err();
        merge.forget_open();
        refused
    });
    assert_eq!(refused, Some(DefinitionError::Names));
    let mut merge = Merge::default();
    let rows = (0..1000).find_map(|_| {
        (0..60).for_each(|n| drop(merge.define(&line(n), "", false)));
        merge.push("a@x.example", &RecipientDsn::default()).err()
    });
    assert_eq!(rows, Some(DefinitionError::Message));
    assert!(merge.bytes.len() <= MAX_ROWS && merge.len() > 300);
}

/// The value as a careful client writes it.
fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\r\\n"),
            c => out.push(c),
        }
    }
    out + "\""
}

proptest! {
    #[test]
    fn what_is_defined_comes_back(rows in prop::collection::vec(
        (prop::collection::btree_map("[a-z][a-z0-9_]{0,8}", "[^\r\0]{0,40}", 0..5), any::<bool>()), 1..20))
    {
        let mut merge = Merge::default();
        for (n, (values, one_by_one)) in rows.iter().enumerate() {
            let words: Vec<String> = values.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
            let lines = if *one_by_one { words } else { vec![words.join(" ")] };
            for line in lines.iter().filter(|line| !line.is_empty()) {
                prop_assert_eq!(merge.define(line, "", false), Ok(None));
            }
            prop_assert_eq!(merge.push(&format!("r{n}@x.example"), &RecipientDsn::default()), Ok(()));
        }
        prop_assert_eq!(merge.len(), rows.len());
        for (n, (row, (values, _))) in merge.rows().zip(&rows).enumerate() {
            prop_assert_eq!(row.address, format!("r{n}@x.example"));
            let read: Vec<_> = row.values().collect();
            let expected: Vec<_> = values
                .iter()
                .map(|(name, value)| (merge.number(name).expect("known"), value.replace('\n', "\r\n")))
                .collect();
            prop_assert_eq!(read.len(), expected.len());
            for ((number, value), (expected, text)) in read.into_iter().zip(&expected) {
                prop_assert_eq!((number, value), (*expected, text.as_str()));
            }
        }
    }

    #[test]
    fn any_definitions_are_read_without_panic(argument in "[ -~]{0,60}") {
        let mut merge = Merge::default();
        let defined = merge.define(&argument, "suffix.example", true);
        prop_assert_eq!(merge.is_spoiled(), defined.is_err());
        prop_assert!(merge.push("a@x.example", &RecipientDsn::default()).is_ok());
        for (_, value) in merge.row(0).values() {
            prop_assert!(!value.replace("\r\n", "").contains(['\r', '\n']));
        }
    }
}
