//! An engine that clients log in to: through STARTTLS on its first address, through TLS from the first byte on its second.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use bench::ground::Ground;
use bench::site::{DoorConfig, LedgerMode, Persona, Site, SiteConfig, SiteHandle};
use rcgen::{CertificateParams, KeyPair};

/// Who may log in, and the password.
pub const USER: (&str, &str) = ("ann", "secret");

/// A site that takes everything and remembers it, called `site`.
pub fn site() -> SiteHandle {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    Site::start(SiteConfig { doors, ledger: LedgerMode::Entries, ..SiteConfig::default() }).expect("loopback")
}

/// A certificate of nobody's and its key, in PEM.
pub fn certificate() -> String {
    let key = KeyPair::generate().expect("a key");
    let parameters = CertificateParams::new(vec!["mail.sender.example".to_owned()]).expect("a name");
    parameters.self_signed(&key).expect("a certificate").pem() + &key.serialize_pem()
}

/// A ground whose clients must log in, with further lines for their `<source>`; and its second address.
pub fn ground(site: &SiteHandle, source: &str) -> (Ground, SocketAddr) {
    let mut ground = Ground::new().expect("a directory");
    let sealed = TcpListener::bind((ground.listen.ip(), 0)).and_then(|l| l.local_addr()).expect("a port");
    fs::write(ground.path("smtp.pem"), certificate()).expect("written");
    ground.route("site.example", site.addr("site"), "");
    let (pem, users, (user, password)) = (ground.path("smtp.pem"), ground.path("users.csv"), USER);
    ground.add(&format!(
        "smtp-server-tls-certificate {}\n\
         <smtp-listener {sealed}>\n  immediate-tls yes\n</smtp-listener>\n\
         <source 127.0.0.0/8>\n  always-allow-relaying no\n  require-auth yes\n  allow-starttls yes\n{source}\n\
         </source>\n\
         <source {{auth}}>\n  always-allow-relaying yes\n</source>\n\
         <smtp-user {user}>\n  password {password}\n</smtp-user>\n\
         <acct-file {}>\n  records d\n  record-fields d rcpt,rcvSmtpUser\n</acct-file>",
        pem.display(),
        users.display()
    ));
    (ground, sealed)
}

/// The same, which keeps what it was sent.
pub fn site_with_messages() -> SiteHandle {
    let doors = vec![DoorConfig::new("site", Persona::Fast)];
    Site::start(SiteConfig { doors, ledger: LedgerMode::Messages, ..SiteConfig::default() })
        .expect("loopback")
}
