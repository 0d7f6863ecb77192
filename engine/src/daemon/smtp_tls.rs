//! The certificates that clients are shown: read when a configuration is put into effect, so that a renewed one
//! comes in by a reload and a wrong one leaves the old configuration in place.

use crate::smtp::tls::provider;
use pkcs8::der::Decode;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use vmta_config::{ApiListenerSettings, Certificate, Config, ListenerSettings};

/// TLS of all listeners; those with the same settings share it.
#[derive(Debug, Default)]
pub struct ServerTls(HashMap<Shown, Arc<ServerConfig>>);

/// What is shown to a client, and the versions that may be spoken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shown {
    certificate: Certificate,
    v1_2: bool,
    v1_3: bool,
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
        })
    }

    fn over_http(listener: &ApiListenerSettings) -> Option<Shown> {
        let certificate = listener.tls_certificate.clone()?;
        Some(Shown { certificate, v1_2: listener.tls_v1_2, v1_3: listener.tls_v1_3 })
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
    let mut versions = Vec::new();
    if shown.v1_3 {
        versions.push(&rustls::version::TLS13);
    }
    if shown.v1_2 {
        versions.push(&rustls::version::TLS12);
    }
    if versions.is_empty() {
        return Err("neither TLS 1.2 nor TLS 1.3 is allowed".to_owned());
    }
    ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&versions)
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| format!("the certificate cannot be used: {e}"))
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
        server_config(&Shown { certificate, v1_2: true, v1_3: true })
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
        let nowhere = Certificate { file: "/nowhere/x.pem".to_owned(), password: None };
        assert!(server_config(&Shown { certificate: nowhere, v1_2: true, v1_3: true }).is_err());
    }
}
