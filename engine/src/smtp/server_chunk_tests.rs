//! Conversations with the server about BDAT (RFC 3030).

use super::server::*;
use super::server_tests::*;

/// A session in a transaction.
fn begun(options: ServerOptions) -> Session {
    let mut session = greeted(options);
    assert_eq!(codes(&tell(&mut session, "MAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\n")), ["250", "250"]);
    session
}

fn message(session: &mut Session) -> Option<Vec<u8>> {
    events(session).into_iter().find_map(|event| match event {
        ServerEvent::Message(_, message) => Some(message),
        _ => None,
    })
}

#[test]
fn a_message_in_chunks() {
    let mut session = begun(open_relay());
    play(
        &mut session,
        "C: BDAT 12
         C: Subject: x
         S: 250 2.0.0 12 octets received
         C: BDAT 0
         S: 250 2.0.0 0 octets received",
    );
    // A dot alone is text, and no command is looked for in the bytes of a chunk.
    session.handle_bytes(NOW, b"BDAT 13 LAST\r\n\r\n.\r\nQUIT\r\n\r\n");
    assert_eq!(said(&mut session), "");
    assert_eq!(message(&mut session).unwrap(), b"Subject: x\r\n\r\n.\r\nQUIT\r\n\r\n");
    session.accepted(NOW, 1);
    assert_eq!(codes(&said(&mut session)), ["250"]);
    assert_eq!(codes(&tell(&mut session, "BDAT 3 LAST\nabcNOOP\n")), ["503", "250"]);
}

#[test]
fn however_the_chunk_is_cut() {
    for pipelined in [false, true] {
        let mut session = begun(open_relay());
        let wire = b"bdat 5\r\nabcdebdat 5 last\r\nfghijMAIL FROM:<x@a.test>\r\n";
        match pipelined {
            true => session.handle_bytes(NOW, wire),
            false => wire.iter().for_each(|b| session.handle_bytes(NOW, &[*b])),
        }
        // The last line end was missing.
        assert_eq!(message(&mut session).unwrap(), b"abcdefghij\r\n");
        session.accepted(NOW, 1);
        assert_eq!(codes(&said(&mut session)), ["250", "250", "250"]);
    }
}

#[test]
fn a_refused_chunk_is_read_to_its_end() {
    let mut session = greeted(open_relay());
    assert_eq!(codes(&tell(&mut session, "BDAT 6\nQUIT\nNOOP\n")), ["503", "250"]);
    let mut session = greeted(open_relay());
    assert_eq!(
        codes(&tell(&mut session, "MAIL FROM:<a@a.test>\nBDAT 6 LAST\nQUIT\nNOOP\n")),
        ["250", "554", "250"]
    );
    let mut session = begun(ServerOptions { max_message_size: 10, ..open_relay() });
    let answers = tell(&mut session, "BDAT 6\nabcd\nBDAT 6 LAST\nQUIT\nBDAT 6 LAST\nQUIT\nRSET\n");
    assert_eq!(codes(&answers), ["250", "552", "503", "250"]);
    assert_eq!(events(&mut session), []);
}

/// A02: there is no end mark to be mistaken; what is no line end is refused all the same, for the sake of those behind us.
#[test]
fn bare_line_ends() {
    for bad in ["a\rb\r\n", "a\nb\r\n", "a\0b\r\n", "a\r\n\r"] {
        let mut session = begun(open_relay());
        session.handle_bytes(NOW, format!("BDAT {} LAST\r\n{bad}NOOP\r\n", bad.len()).as_bytes());
        assert_eq!(codes(&said(&mut session)), ["550", "250"], "{bad:?}");
        assert_eq!(events(&mut session), []);
    }
}

#[test]
fn what_is_no_bdat_ends_the_session() {
    for argument in ["", " x", " 5 FIRST", " 5 LAST x", " -1", " 123456789012345678901"] {
        let mut session = begun(open_relay());
        assert_eq!(codes(&tell(&mut session, &format!("BDAT{argument}\n"))), ["501"], "{argument}");
        assert!(session.is_closed());
    }
    let mut session = begun(ServerOptions { chunking: false, ..open_relay() });
    assert_eq!(codes(&tell(&mut session, "BDAT 5\n")), ["502"]);
    assert!(session.is_closed());
}

#[test]
fn other_commands_between_chunks() {
    for (command, code) in [("RCPT TO:<c@b.test>", "503"), ("DATA", "503"), ("MAIL FROM:<>", "503")] {
        let mut session = begun(open_relay());
        assert_eq!(
            codes(&tell(&mut session, &format!("BDAT 3\nabc{command}\n"))),
            ["250", code],
            "{command}"
        );
        assert_eq!(codes(&tell(&mut session, "BDAT 2 LAST\n\n")), [""; 0]);
        assert_eq!(message(&mut session).unwrap(), b"abc\r\n");
    }
    let mut session = begun(open_relay());
    tell(&mut session, "BDAT 3\nabcRSET\nMAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nBDAT 5 LAST\n");
    session.handle_bytes(NOW, b"xyz\r\n");
    assert_eq!(message(&mut session).unwrap(), b"xyz\r\n", "what came before RSET is gone");
}

/// RFC 3030 section 3: binary parts come in, and are encoded where lines have to be lines.
#[test]
fn binary_parts_are_encoded() {
    let message = |encoding: &str, body: &[u8]| {
        let head = "From: a@a.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
                    --b\r\n\r\ntext\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: ";
        [head.as_bytes(), encoding.as_bytes(), b"\r\n\r\n", body, b"\r\n--b--\r\n"].concat()
    };
    let bytes: Vec<u8> = (0..=255).collect();
    let send = |body: &str, message: &[u8]| {
        let mut session = greeted(open_relay());
        let opened = tell(&mut session, &format!("MAIL FROM:<a@a.test> BODY={body}\nRCPT TO:<b@b.test>\n"));
        assert_eq!(codes(&opened), ["250", "250"]);
        session.handle_bytes(NOW, format!("BDAT {} LAST\r\n", message.len()).as_bytes());
        session.handle_bytes(NOW, message);
        match events(&mut session).pop() {
            Some(ServerEvent::Message(_, message)) => Ok(String::from_utf8(message).expect("text")),
            _ => Err(said(&mut session)),
        }
    };
    let taken = send("BINARYMIME", &message("binary", &bytes)).expect("taken");
    assert!(taken.contains("Content-Transfer-Encoding: base64\r\n\r\nAAECAwQFBgcICQoLDA0ODx"), "{taken}");
    assert!(taken.contains("--b\r\n\r\ntext\r\n--b\r\n") && taken.ends_with("\r\n--b--\r\n"), "{taken}");
    // What is lines already stays as it is.
    let lines = message("binary", b"lines\r\n");
    assert_eq!(send("BINARYMIME", &lines).map(String::into_bytes), Ok(lines));
    assert!(send("8BITMIME", &message("binary", &bytes)).is_err_and(|said| said.starts_with("550 5.5.2")));
    assert!(send("BINARYMIME", b"Subject: x\r\n\r\na\nb\0").is_err_and(|said| said.starts_with("554 5.6.1")));
    let mut session = greeted(open_relay());
    tell(&mut session, "MAIL FROM:<a@a.test> BODY=BINARYMIME\nRCPT TO:<b@b.test>\n");
    assert_eq!(codes(&tell(&mut session, "DATA\n")), ["503"]);
    let mut session = greeted(ServerOptions { chunking: false, ..open_relay() });
    assert_eq!(codes(&tell(&mut session, "MAIL FROM:<a@a.test> BODY=BINARYMIME\n")), ["501"]);
}
