//! What listeners show to clients, and what cannot be shown.

use super::*;
use rcgen::{CertificateParams, KeyPair};

fn shown(pem: &str, password: Option<&str>) -> Result<TlsServerConfig, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let file = file.path().to_str().unwrap().to_owned();
    let certificate = Certificate { file, password: password.map(str::to_owned) };
    serve(certificate, true, Suites::default())
}

fn serve(certificate: Certificate, v1_3: bool, suites: Suites) -> Result<TlsServerConfig, String> {
    server_config(&Shown { certificate, v1_2: true, v1_3, suites, clients: Clients::Unknown }, None)
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
    let pem = include_str!("encrypted.pem");
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
    assert!(shown(&format!("{other}{}", key.serialize_pem()), None).unwrap_err().contains("cannot be used"));
    let certificate = Certificate { file: "/nowhere/x.pem".to_owned(), password: None };
    assert!(serve(certificate, true, Suites::default()).is_err());
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
        serve(certificate, v1_3, suites)
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
        let loaded = vmta_config::load("c", &vmta_config::MemoryFiles::new([("c", text.as_str())]), false);
        let config = loaded.config.unwrap();
        let global = config.global();
        let (v1_2, v1_3) = (&global.smtp_server_tls_ciphers, &global.smtp_server_tls_ciphers_1_3);
        Suites { v1_2: v1_2.clone(), v1_3: v1_3.clone() }.provider().cipher_suites.len()
    };
    assert_eq!(read(""), crate::smtp::tls::provider().cipher_suites.len());
    assert_eq!(read("smtp-server-tls-ciphers ECDHE-RSA-AES128-GCM-SHA256"), 4);
    assert_eq!(read("smtp-server-tls-v1.3-ciphersuites TLS_AES_128_GCM_SHA256"), 7);
}

/// What comes of a configuration of these lines besides a listener and its certificate.
fn read(directory: &tempfile::TempDir, lines: &str) -> Result<Option<bool>, String> {
    let (certificate, key) = pair();
    let own = directory.path().join("own.pem");
    std::fs::write(&own, certificate + &key.serialize_pem()).unwrap();
    let text = format!(
        "{lines}\nsmtp-server-tls-certificate {}\nlog-file /l\n<spool /s>\n</spool>\n<smtp-listener 127.0.0.1:25>\n\
         </smtp-listener>\n",
        own.display()
    );
    let loaded = vmta_config::load("c", &vmta_config::MemoryFiles::new([("c", text.as_str())]), false);
    let config = loaded.config.unwrap();
    let tls = ServerTls::read(&config)?.of(&config.listeners()[0].settings, &config).unwrap();
    Ok(tls.certificates().map(Certificates::log_in))
}

#[test]
fn clients_are_asked_for_certificates_where_it_is_of_use() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("two.pem"), pair().0 + &pair().0).unwrap();
    std::fs::write(path("one.pem"), pair().0).unwrap();
    std::fs::write(path("none.pem"), "nothing").unwrap();
    let odd = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    std::fs::write(path("odd.pem"), odd).unwrap();
    let user = |name: &str, file: &str| {
        let file = path(file);
        format!(
            "<smtp-user {name}>\nauthentication-method certificate\ntls-certificate {file}\n</smtp-user>\n"
        )
    };
    let read = |lines: &str| read(&directory, lines);
    assert_eq!(read(""), Ok(None));
    assert_eq!(read("<smtp-user ann>\npassword x\n</smtp-user>"), Ok(None));
    assert_eq!(read(&user("ann", "two.pem")), Ok(Some(true)));
    assert_eq!(read(&format!("smtp-server-tls-ca-file {}", path("one.pem"))), Ok(Some(false)));
    for (lines, why) in [
        (user("ann", "odd.pem"), "c:1: tls-certificate FILE: a certificate in it cannot be used: "),
        (format!("smtp-server-tls-ca-file {}", path("odd.pem")), "FILE: a certificate in it is no CA's: "),
        (
            user("ann", "none.pem"),
            "c:1: tls-certificate FILE: there is no certificate in it; it holds what the user shows",
        ),
        (user("ann", "lost.pem"), "c:1: tls-certificate FILE: No such file"),
        (
            user("ann", "one.pem") + &user("bob", "one.pem"),
            "c:5: tls-certificate FILE: it is the certificate of user ann too",
        ),
        (
            format!("smtp-server-tls-ca-file {}", path("none.pem")),
            "FILE: there is no certificate in it; it holds those of CAs",
        ),
    ] {
        let told = read(&lines).unwrap_err();
        let told = ["none", "lost", "one", "odd"]
            .iter()
            .fold(told, |t, name| t.replace(&path(&format!("{name}.pem")), "FILE"));
        assert!(told.starts_with(why), "{told}");
    }
}
