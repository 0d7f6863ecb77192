//! Clients that others have written send through the engine as they are: with STARTTLS and TLS at once, and logged in. Those
//! that are not installed are left out, and named.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bench::ground::Ground;
use bench::mta::{Kind, Mta, Role};
use bench::site::SiteHandle;
use bench::source::{self, Load, SourceConfig};
use bench::wait::until;
use tests::submission::{USER, ground, site};

const PATIENCE: Duration = Duration::from_secs(60);
const TO: &str = "reader@site.example";

/// A client, what shows that it can run here, and how many messages it sends.
struct Client {
    name: &'static str,
    probe: &'static [&'static str],
    script: &'static str,
    messages: u64,
}

/// `$1` to `$6` are those of a script in `tests/interop`.
const CLIENTS: [Client; 9] = [
    Client {
        name: "Python smtplib",
        probe: &["python3", "-c", "import smtplib"],
        script: "python3 tests/interop/smtplib_client.py \"$@\"",
        messages: 6,
    },
    Client {
        name: "aiosmtplib",
        probe: &["python3", "-c", "import aiosmtplib"],
        script: "python3 tests/interop/aiosmtplib_client.py \"$@\"",
        messages: 100,
    },
    Client {
        name: "Perl Net::SMTP",
        probe: &["perl", "-MNet::SMTP", "-MIO::Socket::SSL", "-MAuthen::SASL", "-e1"],
        script: "perl tests/interop/net_smtp.pl \"$@\"",
        messages: 2,
    },
    Client {
        name: "Nodemailer",
        probe: &["node", "-e", "require('nodemailer')"],
        script: "node tests/interop/nodemailer.js \"$@\"",
        messages: 20,
    },
    Client {
        name: "PHPMailer",
        probe: &["php", "-r", "require '/usr/share/php/libphp-phpmailer/autoload.php';"],
        script: "php tests/interop/phpmailer.php \"$@\"",
        messages: 12,
    },
    Client {
        name: "Jakarta Mail",
        probe: &["sh", "-c", "java -version && test -r /usr/share/java/jakarta-mail.jar"],
        script: "java -cp /usr/share/java/jakarta-mail.jar:/usr/share/java/jakarta-activation.jar tests/interop/JakartaMail.java \"$@\"",
        messages: 4,
    },
    Client {
        name: "swaks",
        probe: &["swaks", "--version"],
        script: "for how in PLAIN LOGIN CRAM-MD5; do
                     swaks -n --server $1:$2 --tls --auth $how --auth-user $4 --auth-password $5 --to $6 --from a@sender.example || exit
                 done
                 swaks -n --server $1:$3 --tlsc --auth-user $4 --auth-password $5 --to $6 --from a@sender.example",
        messages: 4,
    },
    Client {
        name: "curl",
        probe: &["curl", "--version"],
        script: "printf 'Subject: curl\\n\\n.\\ntext\\n' | curl -sSk --crlf --ssl-reqd --url smtp://$1:$2 --user $4:$5 \
                     --mail-from a@sender.example --mail-rcpt $6 --upload-file - &&
                 printf 'Subject: curl\\n\\ntext\\n' | curl -sSk --crlf --url smtps://$1:$3 --user $4:$5 \
                     --mail-from a@sender.example --mail-rcpt $6 --upload-file -",
        messages: 2,
    },
    Client {
        name: "msmtp",
        probe: &["msmtp", "--version"],
        script: "for how in plain cram-md5 scram-sha-256 login; do
                     printf 'Subject: msmtp\\n\\n.\\ntext\\n' | msmtp --host=$1 --port=$2 --tls=on --tls-certcheck=off --auth=$how \
                         --user=$4 --passwordeval=\"echo $5\" --from=a@sender.example $6 || exit
                 done
                 printf 'Subject: msmtp\\n\\ntext\\n' | msmtp --host=$1 --port=$3 --tls=on --tls-starttls=off --tls-certcheck=off \
                     --auth=on --user=$4 --passwordeval=\"echo $5\" --from=a@sender.example $6",
        messages: 5,
    },
];

impl Client {
    fn is_here(&self) -> bool {
        let [program, arguments @ ..] = self.probe else { return false };
        let mut probe = Command::new(program);
        probe.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    }

    fn send(&self, ground: &Ground, tls_port: u16) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let (host, port) = (ground.listen.ip().to_string(), ground.listen.port().to_string());
        let mut command = Command::new("sh");
        command.current_dir(root).args(["-c", self.script, "sh", &host, &port, &tls_port.to_string()]);
        let output = command.args([USER.0, USER.1, TO]).output().expect("a shell");
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{}: {}\n{}{}",
            self.name,
            output.status,
            said(&output.stdout),
            said(&output.stderr)
        );
    }
}

fn delivered(site: &SiteHandle, messages: u64) {
    let all = || (site.stats().recipients() == messages).then_some(());
    until(PATIENCE, all)
        .unwrap_or_else(|_| panic!("{} of {messages} are delivered", site.stats().recipients()));
}

#[test]
fn clients_of_others_send_as_they_are() {
    let site = site();
    let (ground, sealed) = ground(&site, "");
    let engine = ground.start().expect("the engine starts");
    let mut sent = 0;
    for client in &CLIENTS {
        if !client.is_here() {
            eprintln!("left out: {} is not installed", client.name);
            continue;
        }
        client.send(&ground, sealed.port());
        sent += client.messages;
        delivered(&site, sent);
    }
    assert!(engine.stop().expect("it can be waited for").success());
}

/// Postfix in front of us, as an application server has it, logs in every way it can.
#[test]
fn postfix_hands_its_mail_in() {
    let site = site();
    let (ground, _) = ground(&site, "  allow-unencrypted-plain-auth yes");
    let engine = ground.start().expect("the engine starts");
    let mut sent = 0;
    for tls in [false, true] {
        for mechanism in ["plain", "login", "cram-md5", "scram-sha-256"] {
            let role = Role::Submit { to: ground.listen, mechanism, tls };
            let Some(postfix) = Mta::start(Kind::Postfix, role).expect("it starts") else { return };
            let load = Load {
                messages: 10,
                recipients_per_message: 2,
                name: format!("{mechanism}-{tls}"),
                ..Load::default()
            };
            let report = source::start(SourceConfig::new(postfix.addr, load)).expect("a source").join();
            assert_eq!(report.acked.len(), 10);
            sent += 20;
            let all = || (site.stats().recipients() == sent).then_some(());
            until(PATIENCE, all).unwrap_or_else(|_| panic!("{mechanism}, TLS {tls}: {}", postfix.log()));
        }
    }
    assert!(engine.stop().expect("it can be waited for").success());
}
