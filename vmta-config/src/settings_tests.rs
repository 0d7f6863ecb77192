//! Directives in effect and their defaults.

use super::*;
use crate::table::{Status, directives};

/// What is handled elsewhere: tags, lists, macros.
const ELSEWHERE: &[&str] = &[
    "include",
    "domain-macro",
    "include-headers-from",
    "spool",
    "smtp-listener",
    "always-allow-relaying",
    "relay-address",
    "alias",
    "dsn-failed-body-template-from",
];

fn compare(scope: Scope, fields: &[&str]) {
    for row in directives().filter(|r| r.scopes.contains(scope) && r.status == Status::InEffect) {
        let name = row.same_as.unwrap_or(row.name);
        let known = fields.contains(&name) || (ELSEWHERE.contains(&name) && scope != Scope::Source);
        assert!(known || name == "include", "{name} of {scope} is in effect but not read");
    }
    for name in fields {
        assert!(crate::table::find(scope, name).is_some(), "{name} is not a directive of {scope}");
    }
}

#[test]
fn every_directive_in_effect_is_read() {
    compare(Scope::Global, Global::DIRECTIVES);
    compare(Scope::Domain, DomainSettings::DIRECTIVES);
    compare(Scope::Source, SourceSettings::DIRECTIVES);
    compare(Scope::SmtpListener, ListenerSettings::DIRECTIVES);
    compare(Scope::SourceGroup, GroupSettings::DIRECTIVES);
    compare(Scope::SmtpUser, UserSettings::DIRECTIVES);
    compare(Scope::AcctFile, AcctSettings::DIRECTIVES);
    let its_own: &[&str] = &["cold-virtual-mta", "host-name", "rewrite-list", "smtp-source-host"];
    compare(Scope::VirtualMta, &[VmtaSettings::DIRECTIVES, its_own].concat());
    compare(Scope::Spool, SpoolSettings::DIRECTIVES);
    compare(Scope::TransmissionsApi, ApiSettings::DIRECTIVES);
    compare(Scope::TransmissionsApiListener, ApiListenerSettings::DIRECTIVES);
}

#[test]
fn defaults_are_those_of_the_reference() {
    let none = Slots::default();
    let domain = DomainSettings::read(&none);
    assert_eq!((domain.delivery, domain.max_smtp_out), (DeliveryType::Smtp, 20));
    assert_eq!(domain.retry_after, [Duration::from_secs(600)]);
    assert_eq!(domain.bounce_after, Duration::from_secs(4 * 86400 + 12 * 3600));
    assert_eq!((domain.max_rcpt_per_message, domain.max_msg_per_connection), (Some(1000), None));
    assert!(domain.use_starttls && domain.pipeline_across_data && !domain.prefer_chunking);
    assert_eq!((domain.max_msg_rate, domain.bounce_upon_no_mx), (Rate::Unlimited, NoMx::Never));
    let source = SourceSettings::read(&none);
    assert!(!source.always_allow_relaying && source.smtp_service && source.add_received_header);
    assert_eq!((source.max_message_size, source.max_message_hops), (None, 100));
    let acct = AcctSettings::read(&none);
    assert_eq!(acct.records, [RecordType::Delivery, RecordType::Bounce]);
    assert_eq!(
        (acct.max_size, acct.delete_after),
        (250 << 20, DeleteAfter::Age(Duration::from_secs(8 * 86400)))
    );
    let global = Global::read(&none);
    assert_eq!(
        (global.total_max_smtp_out, global.total_max_smtp_in, global.segment_size),
        (1200, 100, 32 << 20)
    );
}
