//! `sendmail -bs`: SMTP on standard input and output, spoken by the running engine.

use super::sysexits::{Failure, Sysexit};
use ipnet::IpNet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;
use vmta_config::Config;

const PATIENCE: Duration = Duration::from_secs(10);

/// Carries bytes between the caller and the engine until the engine closes.
pub fn relay(config: &Config) -> Result<(), Failure> {
    let address = address(config).ok_or_else(|| {
        let text = "the configuration has no `smtp-listener` that can be spoken to from here without TLS";
        Sysexit::Unavailable.because(text)
    })?;
    let socket = TcpStream::connect_timeout(&address, PATIENCE).map_err(|e| {
        Sysexit::TempFail
            .because(format!("nobody answers at {address}, where the engine takes mail: {e}; is it running?"))
    })?;
    let broken =
        |e: io::Error| Sysexit::TempFail.because(format!("the connection to the engine at {address}: {e}"));
    let mut heard = socket.try_clone().map_err(broken)?;
    let mut said = socket;
    // Ends with the process: it may wait for a caller who has nothing more to say.
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut said);
        let _ = said.shutdown(Shutdown::Write);
    });
    io::copy(&mut heard, &mut io::stdout().lock()).map(drop).map_err(broken)
}

/// Where the first listener without TLS from the first byte can be reached.
fn address(config: &Config) -> Option<SocketAddr> {
    let plain = config.listeners().iter().filter(|listener| !listener.settings.immediate_tls);
    plain.filter_map(|listener| Some(SocketAddr::new(reachable(&listener.network)?, listener.port))).next()
}

fn reachable(network: &IpNet) -> Option<IpAddr> {
    if network.prefix_len() == network.max_prefix_len() {
        return Some(network.addr());
    }
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    loopback.into_iter().find(|address| network.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmta_config::{MemoryFiles, load};

    fn found(listeners: &str) -> Option<String> {
        let text = format!("log-file /l\n<spool /s>\n</spool>\n{listeners}");
        let loaded = load("c", &MemoryFiles::new([("c", text)]), false);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        address(&config).map(|address| address.to_string())
    }

    #[test]
    fn the_first_listener_within_reach() {
        assert_eq!(
            found("smtp-listener 192.0.2.1:2525\nsmtp-listener 127.0.0.1:25\n").as_deref(),
            Some("192.0.2.1:2525")
        );
        assert_eq!(found("smtp-listener 0/0:25\n").as_deref(), Some("127.0.0.1:25"));
        assert_eq!(found("smtp-listener 127.0.0.0/8:26\n").as_deref(), Some("127.0.0.1:26"));
        let sealed = "<smtp-listener 127.0.0.1:465>\n immediate-tls yes\n tls-certificate /c.pem\n</smtp-listener>\n";
        assert_eq!(
            found(&format!("{sealed}smtp-listener 127.0.0.1:587\n")).as_deref(),
            Some("127.0.0.1:587")
        );
    }
}
