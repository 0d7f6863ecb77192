//! Replies of remote servers: the same however they are cut, nothing in them that a log or terminal would act on, and the
//! offer of an EHLO reply read the same when it is written again.

use posthaste::smtp::extensions::Extensions;
use posthaste::smtp::reply::{MAX_LINES, MAX_REPLY, MAX_TEXT, Reply, ReplyError, ReplyParser};

use super::input::{Input, pieces};

type Said = (Reply, Vec<Vec<u8>>);

fn read(pieces: &[&[u8]]) -> (Vec<Said>, Option<ReplyError>) {
    let (mut parser, mut said) = (ReplyParser::default(), Vec::new());
    for mut piece in pieces.iter().copied() {
        while !piece.is_empty() {
            match parser.feed(piece) {
                Ok((used, complete)) => {
                    assert!(used > 0 && used <= piece.len());
                    assert!(complete || used == piece.len());
                    piece = &piece[used..];
                    if complete {
                        said.push((parser.reply(), parser.lines().map(<[u8]>::to_vec).collect()));
                    }
                }
                Err(error) => return (said, Some(error)),
            }
        }
    }
    (said, None)
}

pub fn reply(data: &[u8]) {
    let mut input = Input::new(data);
    let cuts = input.text();
    let wire = input.rest();
    let whole = read(&[wire]);
    assert_eq!(whole, read(&pieces(wire, cuts)), "cut otherwise");
    // What was read is what stands there, line by line.
    let mut lines = wire.split(|b| *b == b'\n');
    for (reply, texts) in &whole.0 {
        assert!((200..600).contains(&reply.code), "{reply:?}");
        assert!(reply.enhanced.is_none_or(|(class, ..)| u16::from(class) == reply.class()), "{reply:?}");
        assert!(reply.text().len() <= MAX_TEXT && reply.text().bytes().all(|b| (b' '..=b'~').contains(&b)));
        assert!(reply.text().starts_with(&reply.code.to_string()), "{reply:?}");
        assert!(
            texts.len() <= usize::from(MAX_LINES) && texts.iter().map(Vec::len).sum::<usize>() < MAX_REPLY
        );
        for (index, text) in texts.iter().enumerate() {
            let line = lines.next().expect("a line");
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let last = index + 1 == texts.len();
            let mark: &[u8] = if last { b" " } else { b"-" };
            let whole = [reply.code.to_string().as_bytes(), mark, text].concat();
            assert!(line == whole || (last && text.is_empty() && line == &whole[..3]), "{line:?} {whole:?}");
        }
    }
}

pub fn keywords(data: &[u8]) {
    let offer = Extensions::parse(data.split(|b| *b == b'\n'));
    let words: Vec<&str> = offer.list.split(',').filter(|word| !word.is_empty()).collect();
    assert!(words.len() <= 64 && words.iter().all(|word| word.len() <= 64), "{offer:?}");
    let plain =
        |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'-' | b'=' | b'_' | b',');
    assert!(offer.list.bytes().all(plain), "{offer:?}");
    for (keyword, set) in [
        ("PIPELINING", offer.pipelining),
        ("CHUNKING", offer.chunking),
        ("8BITMIME", offer.eight_bit_mime),
        ("SMTPUTF8", offer.smtputf8),
        ("STARTTLS", offer.starttls),
        ("DSN", offer.dsn),
        ("SIZE", offer.size.is_some()),
    ] {
        assert_eq!(words.contains(&keyword), set, "{keyword} in {offer:?}");
    }
    assert!(offer.admits(0));
    assert!(!offer.admits(u32::MAX) || offer.admits(1 << 20));
    let again = [&["greeting"], &words[..]].concat();
    let again = Extensions::parse(again.into_iter().map(str::as_bytes));
    assert_eq!(again, Extensions { size: again.size, ..offer });
}
