//! STARTTLS as bytes: rustls between the wire and the dialogue, with a certificate that the site signs itself.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};

/// The TLS side of a site with a fresh self-signed certificate for `names`.
pub fn self_signed(names: Vec<String>) -> std::io::Result<Arc<ServerConfig>> {
    let issued = rcgen::generate_simple_self_signed(names).map_err(std::io::Error::other)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(vec![issued.cert.der().clone()], key))
        .map_err(std::io::Error::other)?;
    Ok(Arc::new(config))
}

/// What is between the socket and the dialogue.
#[derive(Debug)]
pub enum Wire {
    Clear,
    Tls(Box<ServerConnection>),
}

impl Wire {
    pub fn secured(config: &Arc<ServerConfig>) -> std::io::Result<Wire> {
        let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
        Ok(Wire::Tls(Box::new(connection)))
    }

    /// Whether a handshake is under way.
    pub fn shaking(&self) -> bool {
        matches!(self, Wire::Tls(c) if c.is_handshaking())
    }

    /// Turns bytes from the socket into bytes for the dialogue; what TLS itself has to answer is appended to `reply`.
    pub fn open(&mut self, mut raw: &[u8], plain: &mut Vec<u8>, reply: &mut Vec<u8>) -> std::io::Result<()> {
        let Wire::Tls(tls) = self else {
            plain.extend_from_slice(raw);
            return Ok(());
        };
        while !raw.is_empty() {
            tls.read_tls(&mut raw)?;
            let state = tls.process_new_packets().map_err(std::io::Error::other)?;
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut plain[start..])?;
        }
        while tls.wants_write() {
            tls.write_tls(reply)?;
        }
        Ok(())
    }

    /// Turns replies into bytes for the socket.
    pub fn seal(&mut self, replies: &mut Vec<u8>, raw: &mut Vec<u8>) -> std::io::Result<()> {
        match self {
            Wire::Clear => raw.append(replies),
            Wire::Tls(tls) => {
                // rustls buffers no more than 64 KiB unsent, so it is emptied as we go.
                for piece in replies.chunks(16 * 1024) {
                    tls.writer().write_all(piece)?;
                    while tls.wants_write() {
                        tls.write_tls(raw)?;
                    }
                }
                replies.clear();
            }
        }
        Ok(())
    }
}
