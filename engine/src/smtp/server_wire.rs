//! A client's wire: one session, and TLS around it from the beginning or once STARTTLS asks for it (RFC 3207).
//!
//! What a client sends behind STARTTLS in the clear ends the session or breaks the handshake; it is never taken for
//! commands (S05).

use super::server::{ServerEvent, Session};
use super::tls::Tls;
use crate::base::Now;

/// The caller's turn is that of a [`Session`], with bytes as they are on the wire.
#[derive(Debug)]
pub struct Wire {
    session: Session,
    tls: Option<Tls>,
    /// Bytes to send once TLS is spoken.
    sealed: Vec<u8>,
    /// TLS has said goodbye.
    ended: bool,
}

impl Wire {
    pub fn new(session: Session) -> Wire {
        Wire { session, tls: None, sealed: Vec::new(), ended: false }
    }

    /// TLS from the first byte (RFC 8314): without a certificate, or one that cannot be used, the session ends.
    pub fn secured(session: Session, now: Now) -> Wire {
        let mut wire = Wire::new(session);
        wire.begin_tls(now);
        wire
    }

    /// The session inside, for its timer and the answers to its events.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Bytes from the client.
    pub fn handle_bytes(&mut self, now: Now, bytes: &[u8]) {
        match &mut self.tls {
            None => self.session.handle_bytes(now, bytes),
            Some(tls) => {
                let mut plain = Vec::new();
                let before = tls.is_handshaking();
                let read = tls.read(bytes, &mut plain, &mut self.sealed);
                match &read {
                    Err(e) => self.session.tell_tls(format_args!("{e}")),
                    Ok(()) if before && !tls.is_handshaking() => {
                        let seen = tls.seen();
                        self.session.tell_tls(format_args!("{} {}", seen.protocol, seen.cipher));
                        if let Some(user) = tls.user(now.wall) {
                            self.session.certified(user);
                        }
                    }
                    Ok(()) => {}
                }
                if !plain.is_empty() {
                    self.session.handle_bytes(now, &plain);
                }
                if read.is_err() {
                    // The alert is on its way; words would not be understood.
                    self.session.output().clear();
                    self.session.close();
                    self.ended = true;
                }
            }
        }
        if self.session.wants_tls() {
            self.sealed.append(self.session.output());
            self.begin_tls(now);
        }
    }

    fn begin_tls(&mut self, now: Now) {
        let config = self.session.options.tls.clone();
        match config.map(Tls::server) {
            Some(Ok(tls)) => {
                self.tls = Some(tls);
                self.session.secured(now);
            }
            Some(Err(_)) | None => self.session.close(),
        }
    }

    /// The next event, in the order they came about.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.session.poll_event()
    }

    /// The bytes to send now. The caller takes them out and sends them in order.
    pub fn output(&mut self) -> &mut Vec<u8> {
        let Some(tls) = &mut self.tls else {
            return self.session.output();
        };
        let said = self.session.output();
        if !said.is_empty() {
            tls.write(said, &mut self.sealed);
            said.clear();
        }
        if self.session.is_closed() && !self.ended {
            self.ended = true;
            tls.close(&mut self.sealed);
        }
        &mut self.sealed
    }
}
