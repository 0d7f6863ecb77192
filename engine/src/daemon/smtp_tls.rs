//! The certificates that clients are shown: read when a configuration is put into effect, so that a renewed one
//! comes in by a reload and a wrong one leaves the old configuration in place.

use crate::smtp::tls::Suites;
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
pub struct ServerTls(HashMap<Shown, Arc<ServerConfig>>);

/// What is shown to a client, and the versions and suites that may be spoken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shown {
    certificate: Certificate,
    v1_2: bool,
    v1_3: bool,
    suites: Suites,
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
        })
    }

    fn over_http(listener: &ApiListenerSettings) -> Option<Shown> {
        let certificate = listener.tls_certificate.clone()?;
        let suites = Suites { v1_2: listener.tls_ciphers.clone(), v1_3: listener.tls_ciphers_1_3.clone() };
        Some(Shown { certificate, v1_2: listener.tls_v1_2, v1_3: listener.tls_v1_3, suites })
    }
}

impl ServerTls {
    /// Reads every certificate that a listener shows.
    ///
    /// # Errors
    /// In words that name the file, when one cannot be used.
    pub fn read(config: &Config) -> Result<ServerTls, String> {
        let mut all = HashMap::new();
        let over_smtp =
            config.listeners().iter().filter_map(|listener| Shown::on(&listener.settings, config));
        let over_http =
            config.api_listeners().iter().filter_map(|listener| Shown::over_http(&listener.settings));
        for shown in over_smtp.chain(over_http) {
            if let Entry::Vacant(new) = all.entry(shown) {
                let file = new.key().certificate.file.clone();
                let tls = server_config(new.key()).map_err(|why| format!("{file}: {why}"))?;
                new.insert(Arc::new(tls));
            }
        }
        Ok(ServerTls(all))
    }

    /// What a listener shows; `None` where it has no certificate.
    pub fn of(&self, listener: &ListenerSettings, config: &Config) -> Option<Arc<ServerConfig>> {
        self.0.get(&Shown::on(listener, config)?).cloned()
    }

    /// The same for a listener of HTTP.
    pub fn of_http(&self, listener: &ApiListenerSettings) -> Option<Arc<ServerConfig>> {
        self.0.get(&Shown::over_http(listener)?).cloned()
    }
}

fn server_config(shown: &Shown) -> Result<ServerConfig, String> {
    let pem = std::fs::read(&shown.certificate.file).map_err(|e| e.to_string())?;
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|e| format!("the certificate cannot be read: {e}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in it; it holds certificate, chain and key, in PEM".to_owned());
    }
    let key = private_key(&pem, shown.certificate.password.as_deref())?;
    let unusable = |e: rustls::Error| format!("the certificate cannot be used: {e}");
    let provider = Arc::new(shown.suites.provider());
    let key = CertifiedKey::from_der(chain, key, &provider).map_err(unusable)?;
    let versions = versions(shown, &provider, &key)?;
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
    let resolver = Arc::new(SingleCertAndKey::from(key));
    builder.map(|builder| builder.with_no_client_auth().with_cert_resolver(resolver)).map_err(unusable)
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
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn shown(pem: &str, password: Option<&str>) -> Result<ServerConfig, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pem).unwrap();
        let file = file.path().to_str().unwrap().to_owned();
        let certificate = Certificate { file, password: password.map(str::to_owned) };
        server_config(&Shown { certificate, v1_2: true, v1_3: true, suites: Suites::default() })
    }

    fn pair() -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["mx.example".to_owned()]).unwrap().self_signed(&key);
        (certificate.unwrap().pem(), key)
    }

    #[test]
    fn certificate_and_key_in_one_file_in_any_order() {
        let (certificate, key) = pair();
        let key = key.serialize_pem();
        assert!(shown(&format!("{certificate}{key}"), None).is_ok());
        assert!(shown(&format!("{key}\n{certificate}"), None).is_ok());
    }

    #[test]
    fn an_encrypted_key_needs_its_password() {
        // A key of nobody's, sealed by `openssl pkcs8 -topk8 -v2 aes-256-cbc`.
        let pem = include_str!("smtp_tls/encrypted.pem");
        assert!(shown(pem, Some("horse")).is_ok());
        assert!(shown(pem, Some("battery")).unwrap_err().contains("decrypted"));
        assert!(shown(pem, None).unwrap_err().contains("write the password"));
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let (certificate, key) = pair();
        let (other, _) = pair();
        assert!(shown(&key.serialize_pem(), None).unwrap_err().contains("no certificate"));
        assert!(shown(&certificate, None).unwrap_err().contains("no private key"));
        assert!(
            shown(&format!("{other}{}", key.serialize_pem()), None).unwrap_err().contains("cannot be used")
        );
        let certificate = Certificate { file: "/nowhere/x.pem".to_owned(), password: None };
        let nowhere = Shown { certificate, v1_2: true, v1_3: true, suites: Suites::default() };
        assert!(server_config(&nowhere).is_err());
    }

    #[test]
    fn suites_must_go_with_the_key_where_there_is_no_tls_1_3() {
        let (certificate, key) = pair();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certificate + &key.serialize_pem()).unwrap();
        let file = file.path().to_str().unwrap().to_owned();
        let with = |suite, v1_3| {
            let certificate = Certificate { file: file.clone(), password: None };
            let suites = Suites { v1_2: Some(vec![suite]), v1_3: None };
            server_config(&Shown { certificate, v1_2: true, v1_3, suites })
        };
        assert!(with("ECDHE-ECDSA-AES128-GCM-SHA256", false).is_ok());
        assert!(with("ECDHE-RSA-AES128-GCM-SHA256", true).is_ok());
        let error = with("ECDHE-RSA-AES128-GCM-SHA256", false).unwrap_err();
        assert!(error.ends_with("goes with its key, which is ECDSA"), "{error}");
    }

    /// The names of the configuration are those of the suites, all of them.
    #[test]
    fn every_suite_can_be_named() {
        let read = |lines: &str| {
            let text = format!("{lines}\nlog-file /l\n<spool /s>\n</spool>\n");
            let loaded =
                vmta_config::load("c", &vmta_config::MemoryFiles::new([("c", text.as_str())]), false);
            let config = loaded.config.unwrap();
            let global = config.global();
            let (v1_2, v1_3) = (&global.smtp_server_tls_ciphers, &global.smtp_server_tls_ciphers_1_3);
            Suites { v1_2: v1_2.clone(), v1_3: v1_3.clone() }.provider().cipher_suites.len()
        };
        assert_eq!(read(""), crate::smtp::tls::provider().cipher_suites.len());
        assert_eq!(read("smtp-server-tls-ciphers ECDHE-RSA-AES128-GCM-SHA256"), 4);
        assert_eq!(read("smtp-server-tls-v1.3-ciphersuites TLS_AES_128_GCM_SHA256"), 7);
    }
}
