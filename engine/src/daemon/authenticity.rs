//! Whether inbound mail is from whom it says: SPF (RFC 7208) and reverse DNS at MAIL, DKIM signatures (RFC 6376) when the
//! message is there. What was found goes into Authentication-Results (RFC 8601); the `<source>` says what is refused.

use super::dns_trace::Asked;
use crate::io::resolver::Resolver;
use crate::io::smtp_listener::Refusal;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{AuthenticatedMessage, AuthenticationResults, IprevResult, MessageAuthenticator, SpfResult};
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;
use vmta_config::SourceSettings;

/// For all that one check asks DNS; what is not known by then is a temporary error.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the field is called.
pub const FIELD: &str = "Authentication-Results";

/// Who sends, as it says.
#[derive(Clone, Debug)]
pub struct Sender {
    pub ip: IpAddr,
    pub helo: String,
    /// Empty for the null sender.
    pub sender: String,
}

/// Whether anything is to be looked up at MAIL.
pub fn checks_sender(source: &SourceSettings) -> bool {
    source.check_spf_inbound || source.check_iprev_inbound
}

/// Looks into the sender. Gives what stands of it behind our name in the field.
///
/// # Errors
/// The reply to MAIL, where the source refuses what was found.
pub async fn of_sender(
    resolver: &Resolver,
    host: &str,
    source: &SourceSettings,
    from: &Sender,
) -> Result<String, Refusal> {
    let mut told = String::new();
    if source.check_iprev_inbound {
        told.push_str(&iprev(resolver, host, source, from.ip).await?);
    }
    if source.check_spf_inbound {
        told.push_str(&spf(resolver, host, source, from).await?);
    }
    Ok(told)
}

async fn iprev(
    resolver: &Resolver,
    host: &str,
    source: &SourceSettings,
    ip: IpAddr,
) -> Result<String, Refusal> {
    let (authenticator, asked) = (MessageAuthenticator(resolver.dns()), Asked::about(ip));
    let mut told = match in_time(authenticator.verify_iprev(asked.noting(ip))).await {
        Some(found) => {
            refuse_iprev(source, found.result())?;
            methods(&AuthenticationResults::new(host).with_iprev_result(&found, ip))
        }
        None => {
            refuse_iprev(source, &IprevResult::TempError(mail_auth::Error::NotAligned))?;
            too_late("iprev")
        }
    };
    if source.trace_iprev_check {
        told.push_str(&asked.told(resolver).await);
    }
    Ok(told)
}

async fn spf(
    resolver: &Resolver,
    host: &str,
    source: &SourceSettings,
    from: &Sender,
) -> Result<String, Refusal> {
    let authenticator = MessageAuthenticator(resolver.dns());
    let (of_helo, of_sender) = (Asked::about(from.ip), Asked::about(from.ip));
    let most = source.check_spf_inbound_max_void_lookups as usize;
    let check = async |asked: &Asked, who: SpfParameters<'_>| {
        let found = authenticator.check_host(asked.noting(who)).await;
        match asked.voids(resolver).await > most {
            true => found.with_result(SpfResult::PermError),
            false => found,
        }
    };
    let found = async {
        let found = check(&of_helo, SpfParameters::verify_ehlo(from.ip, &from.helo, host)).await;
        if from.sender.is_empty() || found.result() == SpfResult::Fail {
            return found;
        }
        let sender = SpfParameters::verify_mail_from(from.ip, &from.helo, host, &from.sender);
        check(&of_sender, sender).await
    };
    let mut told = match in_time(found).await {
        Some(found) => {
            refuse_spf(source, found.result(), from)?;
            let results = AuthenticationResults::new(host);
            methods(&results.with_spf_mailfrom_result(&found, from.ip, &from.sender, &from.helo))
        }
        None => {
            refuse_spf(source, SpfResult::TempError, from)?;
            too_late("spf")
        }
    };
    if source.trace_spf_check {
        told.push_str(&of_helo.told(resolver).await);
        told.push_str(&of_sender.told(resolver).await);
    }
    Ok(told)
}

/// Checks the signatures of a message from this client. Gives what stands of them behind our name in the field.
pub async fn of_message(
    resolver: &Resolver,
    host: &str,
    source: &SourceSettings,
    client: IpAddr,
    message: &[u8],
) -> String {
    let (authenticator, asked) = (MessageAuthenticator(resolver.dns()), Asked::about(client));
    let Some(parsed) = AuthenticatedMessage::parse(message) else { return String::new() };
    let mut told = match in_time(authenticator.verify_dkim(asked.noting(&parsed))).await {
        Some(found) if found.is_empty() => ";\r\n\tdkim=none".to_owned(),
        Some(found) => {
            let from = parsed.from.first().map_or("", String::as_str);
            methods(&AuthenticationResults::new(host).with_dkim_results(&found, from))
        }
        None => too_late("dkim"),
    };
    if source.trace_dkim_check {
        told.push_str(&asked.told(resolver).await);
    }
    told
}

fn too_late(method: &str) -> String {
    format!(";\r\n\t{method}=temperror (no answer in time)")
}

/// The whole field, if there is something to say in it.
pub fn field(host: &str, methods: &str) -> String {
    if methods.is_empty() { String::new() } else { format!("{FIELD}: {host}{methods}\r\n") }
}

async fn in_time<T>(check: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, check).await.ok()
}

fn methods(results: &AuthenticationResults<'_>) -> String {
    let told = results.to_string();
    told.find(';').map_or_else(String::new, |at| told[at..].to_owned())
}

fn refuse_iprev(source: &SourceSettings, result: &IprevResult) -> Result<(), Refusal> {
    // RFC 7372 section 3.3.
    let refused = match result {
        IprevResult::TempError(_) if source.reject_iprev_check_temperror => (451, "4.7.25"),
        IprevResult::PermError(_) if source.reject_iprev_check_permerror => (550, "5.7.25"),
        IprevResult::Fail(_) if source.reject_iprev_check_fail => (550, "5.7.25"),
        _ => return Ok(()),
    };
    let (code, status) = refused;
    Err(Refusal { code, text: format!("{status} reverse DNS validation failed") })
}

fn refuse_spf(source: &SourceSettings, result: SpfResult, from: &Sender) -> Result<(), Refusal> {
    // RFC 7372 section 3.2; RFC 7208 sections 8.6 and 8.7.
    let (code, status, what) = match result {
        SpfResult::TempError if source.reject_spf_check_temperror => (451, "4.7.24", "could not be done now"),
        SpfResult::PermError if source.reject_spf_check_permerror => {
            (550, "5.7.24", "is impossible: the domain's SPF record is wrong")
        }
        SpfResult::Fail if source.reject_spf_check_fail => (550, "5.7.23", "failed"),
        _ => return Ok(()),
    };
    let domain = from.sender.rsplit_once('@').map_or(from.helo.as_str(), |(_, domain)| domain);
    Err(Refusal { code, text: format!("{status} SPF validation of {domain} {what}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_what_the_source_says() {
        let refused = |lines: &str| {
            let text = format!("log-file /l\n<spool /s>\n</spool>\n<source 0/0>\n{lines}\n</source>\n");
            let loaded = vmta_config::load("c", &vmta_config::MemoryFiles::new([("c", text)]), false);
            let config = loaded.config.expect("a configuration");
            let source = config.source_for([127, 0, 0, 1].into(), None, None);
            let from = Sender { ip: source_ip(), helo: "h.example".into(), sender: "a@b.example".into() };
            let spf = |result| refuse_spf(&source, result, &from).err().map(|r| r.code);
            let error = || mail_auth::Error::NotAligned;
            let iprev = |result: &IprevResult| refuse_iprev(&source, result).err().map(|r| r.code);
            (
                [SpfResult::TempError, SpfResult::PermError, SpfResult::Fail, SpfResult::SoftFail].map(spf),
                [
                    IprevResult::TempError(error()),
                    IprevResult::PermError(error()),
                    IprevResult::Fail(error()),
                ]
                .map(|result| iprev(&result)),
            )
        };
        assert_eq!(refused(""), ([Some(451), Some(550), Some(550), None], [None; 3]));
        let other = "reject-spf-check-fail no\nreject-spf-check-temperror no\nreject-spf-check-permerror no\n\
                     reject-iprev-check-fail yes\nreject-iprev-check-temperror yes\nreject-iprev-check-permerror yes";
        assert_eq!(refused(other), ([None; 4], [Some(451), Some(550), Some(550)]));
    }

    fn source_ip() -> IpAddr {
        [192, 0, 2, 1].into()
    }

    #[test]
    fn a_field_says_who_has_looked() {
        assert_eq!(field("mx.example", ""), "");
        let field = field("mx.example", ";\r\n\tspf=pass smtp.mailfrom=a@b.example");
        assert_eq!(field, "Authentication-Results: mx.example;\r\n\tspf=pass smtp.mailfrom=a@b.example\r\n");
    }
}
