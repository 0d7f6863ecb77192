//! The certificates that clients are shown: read when a configuration is put into effect, so that a renewed one
//! comes in by a reload and a wrong one leaves the old configuration in place. With them come the certificates that clients are
//! known by.

mod clients;

use crate::smtp::certificates::Certificates;
use crate::smtp::tls::{Suites, TlsServerConfig};
use pkcs8::der::Decode;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use vmta_config::{ApiListenerSettings, Certificate, Config, ListenerSettings};

/// TLS of all listeners; those with the same settings share it.
#[derive(Debug, Default)]
pub struct ServerTls(HashMap<Shown, TlsServerConfig>);

/// What is shown to a client, and the versions and suites that may be spoken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shown {
    certificate: Certificate,
    v1_2: bool,
    v1_3: bool,
    suites: Suites,
    clients: Clients,
}

/// What certificates of clients are good for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Clients {
    /// They are not asked for.
    Unknown,
    /// Users log in with them, and these authorities, if any, check them.
    Users { ca_file: Option<String> },
}

impl Shown {
    /// A version has to be allowed by the listener and for all listeners.
    fn on(listener: &ListenerSettings, config: &Config) -> Option<Shown> {
        let global = config.global();
        let certificate =
            listener.tls_certificate.as_ref().or(global.smtp_server_tls_certificate.as_ref())?;
        Some(Shown {
            certificate: certificate.clone(),
            v1_2: listener.tls_v1_2 && global.smtp_server_tls_v1_2,
            v1_3: listener.tls_v1_3 && global.smtp_server_tls_v1_3,
            suites: Suites {
                v1_2: listener.tls_ciphers.clone().or(global.smtp_server_tls_ciphers.clone()),
                v1_3: listener.tls_ciphers_1_3.clone().or(global.smtp_server_tls_ciphers_1_3.clone()),
            },
            clients: Clients::Users {
                ca_file: listener.tls_ca_file.clone().or(global.smtp_server_tls_ca_file.clone()),
            },
        })
    }

    fn over_http(listener: &ApiListenerSettings) -> Option<Shown> {
        let certificate = listener.tls_certificate.clone()?;
        let suites = Suites { v1_2: listener.tls_ciphers.clone(), v1_3: listener.tls_ciphers_1_3.clone() };
        Some(Shown {
            certificate,
            v1_2: listener.tls_v1_2,
            v1_3: listener.tls_v1_3,
            suites,
            clients: Clients::Unknown,
        })
    }
}

impl ServerTls {
    /// Reads every certificate that a listener shows, and those of users.
    ///
    /// # Errors
    /// In words that name the file, when one cannot be used.
    pub fn read(config: &Config) -> Result<ServerTls, String> {
        let users = clients::users(config)?;
        let mut all = HashMap::new();
        let over_smtp =
            config.listeners().iter().filter_map(|listener| Shown::on(&listener.settings, config));
        let over_http =
            config.api_listeners().iter().filter_map(|listener| Shown::over_http(&listener.settings));
        for shown in over_smtp.chain(over_http) {
            if let Entry::Vacant(new) = all.entry(shown) {
                let file = new.key().certificate.file.clone();
                let clients = clients::checking(&new.key().clients, &users)?;
                let tls = server_config(new.key(), clients).map_err(|why| format!("{file}: {why}"))?;
                new.insert(tls);
            }
        }
        Ok(ServerTls(all))
    }

    /// What a listener shows; `None` where it has no certificate.
    pub fn of(&self, listener: &ListenerSettings, config: &Config) -> Option<TlsServerConfig> {
        self.0.get(&Shown::on(listener, config)?).cloned()
    }

    /// The same for a listener of HTTP.
    pub fn of_http(&self, listener: &ApiListenerSettings) -> Option<Arc<ServerConfig>> {
        self.0.get(&Shown::over_http(listener)?).map(|tls| tls.rustls().clone())
    }
}

fn server_config(shown: &Shown, clients: Option<Certificates>) -> Result<TlsServerConfig, String> {
    let pem = std::fs::read(&shown.certificate.file).map_err(|e| e.to_string())?;
    let chain = certificates(&pem, "it holds certificate, chain and key, in PEM")?;
    let key = private_key(&pem, shown.certificate.password.as_deref())?;
    let unusable = |e: rustls::Error| format!("the certificate cannot be used: {e}");
    let provider = Arc::new(shown.suites.provider());
    let key = CertifiedKey::from_der(chain, key, &provider).map_err(unusable)?;
    let versions = versions(shown, &provider, &key)?;
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
    let (builder, key) = (builder.map_err(unusable)?, Arc::new(SingleCertAndKey::from(key)));
    Ok(match clients {
        Some(clients) => TlsServerConfig::asking(builder, Arc::new(clients), key),
        None => Arc::new(builder.with_no_client_auth().with_cert_resolver(key)).into(),
    })
}

/// All certificates of a file, of which there is at least one; `wanted` says what belongs there.
fn certificates(pem: &[u8], wanted: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|e| format!("the certificate cannot be read: {e}"))?;
    match all.is_empty() {
        true => Err(format!("there is no certificate in it; {wanted}")),
        false => Ok(all),
    }
}

/// The versions that may be spoken, with a suite that goes with the key.
fn versions(
    shown: &Shown,
    provider: &CryptoProvider,
    key: &CertifiedKey,
) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let allowed = [(shown.v1_3, &rustls::version::TLS13), (shown.v1_2, &rustls::version::TLS12)];
    let versions: Vec<_> = allowed.into_iter().filter(|(allowed, _)| *allowed).map(|(_, v)| v).collect();
    if versions.is_empty() {
        return Err("neither TLS 1.2 nor TLS 1.3 is allowed".to_owned());
    }
    let kind = key.key.algorithm();
    let fits = |suite: &SupportedCipherSuite| {
        versions.contains(&suite.version()) && suite.usable_for_signature_algorithm(kind)
    };
    match provider.cipher_suites.iter().any(fits) {
        true => Ok(versions),
        false => {
            Err(format!("none of the cipher suites that are allowed goes with its key, which is {kind:?}"))
        }
    }
}

fn private_key(pem: &[u8], password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
    if let Ok(key) = PrivateKeyDer::from_pem_slice(pem) {
        return Ok(key);
    }
    let encrypted = std::str::from_utf8(pem).ok().and_then(|text| {
        let from = text.find("-----BEGIN ENCRYPTED PRIVATE KEY-----")?;
        pkcs8::SecretDocument::from_pem(&text[from..]).ok()
    });
    let (_, encrypted) = encrypted.ok_or("there is no private key in it, in PEM")?;
    let password = password.ok_or("its key is encrypted; write the password behind the file")?;
    let opened = pkcs8::EncryptedPrivateKeyInfoRef::from_der(encrypted.as_bytes())
        .and_then(|key| key.decrypt(password).map_err(|_| pkcs8::der::ErrorKind::Failed.into()));
    let opened = opened.map_err(|_| "its key cannot be decrypted with the password given")?;
    Ok(PrivatePkcs8KeyDer::from(opened.as_bytes().to_vec()).into())
}

#[cfg(test)]
mod tests;
