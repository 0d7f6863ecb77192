//! The certificates of users and the authorities that check them, from their files.

use super::{Clients, certificates};
use crate::smtp::certificates::Certificates;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use vmta_config::{Authentication, Config};

/// Whose certificates are whose.
pub(super) type Known = HashMap<CertificateDer<'static>, String>;

/// The certificates of all users who log in with one.
pub(super) fn users(config: &Config) -> Result<Known, String> {
    let mut known = Known::new();
    for user in config.smtp_users() {
        let Some(file) = &user.settings.tls_certificate else { continue };
        if user.settings.authentication != Authentication::Certificate {
            continue;
        }
        let wrong = |why: String| format!("{}: tls-certificate {file}: {why}", user.origin);
        for certificate in read(file, "it holds what the user shows, in PEM").map_err(wrong)? {
            // Otherwise its handshakes would fail.
            ParsedCertificate::try_from(&certificate)
                .map_err(|e| wrong(format!("a certificate in it cannot be used: {e}")))?;
            match known.entry(certificate) {
                Entry::Vacant(new) => drop(new.insert(user.name.clone())),
                Entry::Occupied(other) if *other.get() == user.name => {}
                Entry::Occupied(other) => {
                    return Err(wrong(format!("it is the certificate of user {} too", other.get())));
                }
            }
        }
    }
    Ok(known)
}

/// What certificates of clients are checked with; `None` where they are not asked for.
pub(super) fn checking(clients: &Clients, users: &Known) -> Result<Option<Certificates>, String> {
    let Clients::Users { ca_file } = clients else { return Ok(None) };
    if ca_file.is_none() && users.is_empty() {
        return Ok(None);
    }
    let mut authorities = RootCertStore::empty();
    if let Some(file) = ca_file {
        let wrong = |why: String| format!("{file}: {why}");
        for certificate in read(file, "it holds those of CAs, in PEM").map_err(wrong)? {
            authorities
                .add(certificate)
                .map_err(|e| wrong(format!("a certificate in it is no CA's: {e}")))?;
        }
    }
    let checking = Certificates::new(users.clone(), authorities);
    checking.map(Some).map_err(|e| format!("certificates of clients cannot be checked: {e}"))
}

fn read(file: &str, wanted: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    certificates(&std::fs::read(file).map_err(|e| e.to_string())?, wanted)
}
