//! TLS as bytes in and bytes out: a rustls connection with neither socket nor clock.
//!
//! Towards receiving sites TLS is opportunistic by default (RFC 7435): any certificate will do, and whether it would
//! have passed verification is found out after the handshake and recorded. The session cache belongs to the
//! configuration object and is keyed by host name.

use super::certificates::Certificates;
use crate::base::Wall;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ResolvesServerCert;
use rustls::time_provider::TimeProvider;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, Connection, DigitallySignedStruct, ProtocolVersion,
};
use rustls::{
    ConfigBuilder, HandshakeKind, RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
    WantsVerifier,
};
use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TlsError {
    #[error("`{0}` cannot be named in a TLS handshake")]
    Name(String),
    #[error("TLS failed: {0}")]
    Failed(String),
}

impl From<rustls::Error> for TlsError {
    fn from(e: rustls::Error) -> TlsError {
        TlsError::Failed(e.to_string())
    }
}

/// What a connection negotiated, for accounting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsSeen {
    /// `TLSv1.2` or `TLSv1.3`.
    pub protocol: &'static str,
    /// The suite under its OpenSSL name, as PowerMTA writes it.
    pub cipher: &'static str,
    /// Whether the certificate is valid for the host's name under the configured roots.
    pub verified: bool,
}

/// Settings and session cache for outbound TLS. One per VMTA, since a session must not link two of them.
#[derive(Debug)]
pub struct TlsClientConfig {
    rustls: Arc<ClientConfig>,
    verifier: Option<Arc<WebPkiServerVerifier>>,
    clock: Arc<Clock>,
}

impl TlsClientConfig {
    /// `roots` decide what is recorded as verified; with none, nothing is.
    pub fn new(roots: RootCertStore) -> Result<TlsClientConfig, TlsError> {
        let provider = Arc::new(provider());
        let verifier = match roots.is_empty() {
            true => None,
            false => Some(
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .build()
                    .map_err(|e| TlsError::Failed(e.to_string()))?,
            ),
        };
        let clock = Arc::new(Clock::default());
        let rustls = ClientConfig::builder_with_details(provider.clone(), clock.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        Ok(TlsClientConfig { rustls: Arc::new(rustls), verifier, clock })
    }

    fn verify(&self, chain: &[CertificateDer<'_>], host: &ServerName<'_>) -> bool {
        let Some((verifier, (leaf, rest))) = self.verifier.as_ref().zip(chain.split_first()) else {
            return false;
        };
        let now = self.clock.current_time().unwrap_or(UnixTime::since_unix_epoch(Duration::ZERO));
        verifier.verify_server_cert(leaf, rest, host, &[], now).is_ok()
    }
}

/// Settings and session cache for TLS of clients, and who they are by their certificates.
#[derive(Clone, Debug)]
pub struct TlsServerConfig {
    rustls: Arc<ServerConfig>,
    certificates: Option<Arc<Certificates>>,
}

/// Asks for no certificates.
impl From<Arc<ServerConfig>> for TlsServerConfig {
    fn from(rustls: Arc<ServerConfig>) -> TlsServerConfig {
        TlsServerConfig { rustls, certificates: None }
    }
}

impl TlsServerConfig {
    /// `rustls` has these `certificates` as its verifier: what it has not watched must not be believed.
    pub fn asking(
        builder: ConfigBuilder<ServerConfig, WantsVerifier>,
        certificates: Arc<Certificates>,
        key: Arc<dyn ResolvesServerCert>,
    ) -> TlsServerConfig {
        let rustls = builder.with_client_cert_verifier(certificates.clone()).with_cert_resolver(key);
        TlsServerConfig { rustls: Arc::new(rustls), certificates: Some(certificates) }
    }

    /// For whoever speaks TLS by himself.
    pub fn rustls(&self) -> &Arc<ServerConfig> {
        &self.rustls
    }

    /// What is done with certificates of clients, where they are asked for.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_deref()
    }
}

/// aws-lc-rs with X25519 first: a hybrid group's first flight does not fit one segment.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

/// Cipher suites under OpenSSL's names; `None` is all there are. Which of them is taken, the client's order says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Suites {
    pub v1_2: Option<Vec<&'static str>>,
    pub v1_3: Option<Vec<&'static str>>,
}

impl Suites {
    /// [`provider`] with these suites alone.
    pub fn provider(&self) -> CryptoProvider {
        let mut provider = provider();
        provider.cipher_suites.retain(|suite| {
            let allowed = if suite.tls13().is_some() { &self.v1_3 } else { &self.v1_2 };
            allowed.as_ref().is_none_or(|names| names.contains(&cipher_name(Some(suite.suite()))))
        });
        provider
    }
}

/// What the certificate of `host` should carry: its name, or the address where it is an address literal
/// (RFC 5321 4.1.3), as in `smtp-hosts [192.0.2.1]`.
fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let unnamed = || TlsError::Name(host.to_owned());
    if let Some(literal) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        let tagged = literal.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:"));
        let ip: IpAddr = literal[if tagged { 5 } else { 0 }..].parse().map_err(|_| unnamed())?;
        return Ok(ip.into());
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(host.to_owned()).map_err(|_| unnamed())
}

/// One end of a TLS connection.
#[derive(Debug)]
pub struct Tls {
    connection: Connection,
    client: Option<(Arc<TlsClientConfig>, ServerName<'static>)>,
    /// Of clients, where they are asked for.
    certificates: Option<Arc<Certificates>>,
}

impl Tls {
    /// The client's end; `host` is the name the certificate should carry.
    pub fn client(config: &Arc<TlsClientConfig>, host: &str, wall: Wall) -> Result<Tls, TlsError> {
        config.clock.0.store(wall.as_secs(), Ordering::Relaxed);
        let name = server_name(host)?;
        let mut connection = ClientConnection::new(config.rustls.clone(), name.clone())?;
        connection.set_buffer_limit(None);
        let client = Some((config.clone(), name));
        Ok(Tls { connection: connection.into(), client, certificates: None })
    }

    /// The server's end.
    pub fn server(config: impl Into<TlsServerConfig>) -> Result<Tls, TlsError> {
        let TlsServerConfig { rustls, certificates } = config.into();
        let mut connection = ServerConnection::new(rustls)?;
        connection.set_buffer_limit(None);
        Ok(Tls { connection: connection.into(), client: None, certificates })
    }

    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the handshake resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Takes bytes from the wire; appends what they say to `plain` and what has to be answered to `out`.
    pub fn read(&mut self, mut wire: &[u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), TlsError> {
        while !wire.is_empty() {
            self.connection.read_tls(&mut wire).map_err(|e| TlsError::Failed(e.to_string()))?;
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(e) => {
                    // The alert tells the peer why.
                    self.flush(out);
                    return Err(e.into());
                }
            };
            let at = plain.len();
            plain.resize(at + state.plaintext_bytes_to_read(), 0);
            self.connection
                .reader()
                .read_exact(&mut plain[at..])
                .map_err(|e| TlsError::Failed(e.to_string()))?;
            if state.peer_has_closed() {
                break;
            }
        }
        self.flush(out);
        Ok(())
    }

    /// Encrypts `plain` and appends it to `out`.
    pub fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        // Without a buffer limit, writing into memory cannot fail.
        let _ = self.connection.writer().write_all(plain);
        self.flush(out);
    }

    /// Appends the goodbye of TLS to `out`.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        self.connection.send_close_notify();
        self.flush(out);
    }

    /// Appends what the TLS layer itself has to say.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        while self.connection.wants_write() {
            if self.connection.write_tls(out).is_err() {
                return;
            }
        }
    }

    /// The user that the client is by its certificate, once the handshake is over; or in words why it is nobody. `None` where
    /// no certificate is asked for.
    pub fn user(&self, wall: Wall) -> Option<Result<&str, String>> {
        let certificates = self.certificates.as_ref()?;
        Some(certificates.user(self.connection.peer_certificates().unwrap_or_default(), wall))
    }

    /// What the finished handshake came to.
    pub fn seen(&self) -> TlsSeen {
        let suite = self.connection.negotiated_cipher_suite().map(|s| s.suite());
        let verified = self.client.as_ref().is_some_and(|(config, name)| {
            self.connection.peer_certificates().is_some_and(|chain| config.verify(chain, name))
        });
        let protocol = match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        };
        TlsSeen { protocol, cipher: cipher_name(suite), verified }
    }
}

/// OpenSSL's names of the suites rustls knows.
fn cipher_name(suite: Option<CipherSuite>) -> &'static str {
    match suite {
        Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => "TLS_AES_256_GCM_SHA384",
        Some(CipherSuite::TLS13_AES_128_GCM_SHA256) => "TLS_AES_128_GCM_SHA256",
        Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256) => "TLS_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384) => "ECDHE-ECDSA-AES256-GCM-SHA384",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256) => "ECDHE-ECDSA-AES128-GCM-SHA256",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256) => "ECDHE-ECDSA-CHACHA20-POLY1305",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) => "ECDHE-RSA-AES256-GCM-SHA384",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256) => "ECDHE-RSA-AES128-GCM-SHA256",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256) => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => "unknown",
    }
}

/// The wall clock rustls sees: set by each handshake from the time it was given, so that the core reads none.
#[derive(Debug, Default)]
struct Clock(AtomicI64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.load(Ordering::Relaxed)).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Takes any certificate, but checks that the peer holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
