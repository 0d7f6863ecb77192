//! Configuration files, on disk and, where an `include` names a URL, over HTTP (reference 1.3).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{RootCerts, TlsConfig};
use vmta_config::{Files, MAX_FILE, OsFiles, is_url, text_of};

/// For one file, from the look-up of its host's name to its last byte.
const PATIENCE: Duration = Duration::from_secs(15);

/// What `include` can name. Blocks the thread: while a file is fetched, for 15 seconds at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConfigFiles;

impl Files for ConfigFiles {
    fn read(&self, path: &str) -> io::Result<String> {
        if is_url(path) { text_of(fetch(path)?) } else { OsFiles.read(path) }
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<String>> {
        OsFiles.glob(pattern)
    }
}

fn fetch(url: &str) -> io::Result<Vec<u8>> {
    // The certificates that this machine trusts: such files are served inside a company more often than not.
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(PATIENCE))
        // Nobody leads from https to http.
        .https_only(url.starts_with("https://"))
        .max_redirects(3)
        .user_agent(concat!("posthaste/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut response = agent.get(url).call().map_err(ureq::Error::into_io)?;
    response.body_mut().with_config().limit(MAX_FILE).read_to_vec().map_err(ureq::Error::into_io)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    /// Answers one request with `reply`; gives back the request line.
    fn server(reply: String) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let served = thread::spawn(move || {
            let (mut peer, _) = listener.accept().expect("a client");
            let mut lines = BufReader::new(peer.try_clone().expect("a socket")).lines();
            let first = lines.next().expect("a request").expect("text");
            lines.map_while(Result::ok).find(String::is_empty).expect("the end of the request");
            peer.write_all(reply.as_bytes()).expect("written");
            first
        });
        (url, served)
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    #[test]
    fn an_included_url_is_fetched_and_its_lines_are_named() {
        let (url, served) = server(ok("<domain a.example>\nmax-smtp-out 3\nmax-smtp-outt 4\n</domain>\n"));
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("config");
        std::fs::write(&config, format!("include {url}/pmta/sites\n")).expect("written");
        let loaded = vmta_config::load(config.to_str().expect("text"), &ConfigFiles, true);
        assert_eq!(served.join().expect("served"), "GET /pmta/sites HTTP/1.1");
        let told = loaded.diagnostics.iter().map(ToString::to_string).find(|d| d.contains("max-smtp-outt"));
        assert!(told.expect("told").contains(&format!("--> {url}/pmta/sites:3:1")));
        let settings = loaded.config.expect("lenient").queue("a.example", "{default}");
        assert_eq!(settings.max_smtp_out, 3);
    }

    #[test]
    fn what_cannot_be_fetched_says_why() {
        let (url, served) = server("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".into());
        let missing = ConfigFiles.read(&format!("{url}/x")).expect_err("missing").to_string();
        assert!(missing.contains("404"), "{missing}");
        served.join().expect("served");

        let (url, served) = server("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".into());
        ConfigFiles.read(&format!("{url}/x")).expect_err("a body that ends early");
        served.join().expect("served");
        ConfigFiles.read(&format!("{url}/x")).expect_err("nobody listens there any more");
    }
}
