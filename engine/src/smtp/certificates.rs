//! Certificates that clients show in TLS, and who they are by them. A certificate is never asked for in vain: whoever has
//! none, or one that says nothing to us, is served as if it had not been asked.

use super::tls::provider;
use crate::base::Wall;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Whose certificates are whose, and what checks them.
#[derive(Debug)]
pub struct Certificates {
    users: HashMap<CertificateDer<'static>, String>,
    /// Where there are authorities, a certificate is nothing without one of them.
    authorities: Option<Arc<dyn ClientCertVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Certificates {
    /// # Errors
    /// When the authorities cannot be worked with.
    pub fn new(
        users: HashMap<CertificateDer<'static>, String>,
        authorities: RootCertStore,
    ) -> Result<Certificates, rustls::Error> {
        let provider = Arc::new(provider());
        let algorithms = provider.signature_verification_algorithms;
        let authorities = match authorities.is_empty() {
            true => None,
            false => Some(
                WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
                    .build()
                    .map_err(|e| rustls::Error::General(e.to_string()))?,
            ),
        };
        Ok(Certificates { users, authorities, algorithms })
    }

    /// Whether anybody can log in by a certificate.
    pub fn log_in(&self) -> bool {
        !self.users.is_empty()
    }

    /// The user who showed this chain in a handshake that [`Certificates`] has watched; or in words why it is nobody.
    pub(super) fn user(&self, chain: &[CertificateDer<'static>], wall: Wall) -> Result<&str, String> {
        let (leaf, rest) = chain.split_first().ok_or("no certificate was shown")?;
        if let Some(authorities) = &self.authorities {
            let now = UnixTime::since_unix_epoch(Duration::from_secs(wall.as_secs().try_into().unwrap_or(0)));
            authorities
                .verify_client_cert(leaf, rest, now)
                .map_err(|e| format!("the client's certificate is not verified: {e}"))?;
        }
        let user = self.users.get(leaf).ok_or("the client's certificate is no user's")?;
        Ok(user)
    }

    /// Whether it is worth asking if the client has the key: who shows a certificate of nobody's gains nothing by it, and
    /// must not lose TLS by a key that we cannot check.
    fn is_nobodys(&self, certificate: &CertificateDer<'_>) -> bool {
        !self.users.contains_key(certificate)
    }
}

impl ClientCertVerifier for Certificates {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.as_ref().map_or(&[], |authorities| authorities.root_hint_subjects())
    }

    /// What a certificate is worth is found out when the handshake is over, after a resumption as well.
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self.is_nobodys(certificate) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => verify_tls12_signature(message, certificate, signature, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self.is_nobodys(certificate) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => verify_tls13_signature(message, certificate, signature, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
