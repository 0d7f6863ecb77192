//! The directive table holds every keyword of the compatibility reference, which is kept beside the project; without
//! it this test passes at once.

use vmta_config::{Scope, directives};

const SCOPES: [(&str, Scope); 27] = [
    ("G", Scope::Global),
    ("SP", Scope::Spool),
    ("S", Scope::Source),
    ("U", Scope::SmtpUser),
    ("SG", Scope::SourceGroup),
    ("D", Scope::Domain),
    ("A", Scope::AcctFile),
    ("V", Scope::VirtualMta),
    ("P", Scope::VirtualMtaPool),
    ("BP", Scope::BounceProcessor),
    ("FP", Scope::FeedbackLoopProcessor),
    ("AL", Scope::AddressList),
    ("EP", Scope::EmailPatterns),
    ("PL", Scope::PatternList),
    ("SPL", Scope::SmtpPatternList),
    ("DNS", Scope::Dns),
    ("L", Scope::SmtpListener),
    ("RL", Scope::RewriteList),
    ("KL", Scope::DomainKeyList),
    ("TA", Scope::TransmissionsApi),
    ("TL", Scope::TransmissionsApiListener),
    ("X", Scope::Proxy),
    ("VT", Scope::Vault),
    ("SI", Scope::Signals),
    ("SF", Scope::SignalsFilter),
    ("MX", Scope::MxRollupList),
    ("AS", Scope::Aliases),
];

#[test]
fn every_keyword_of_the_index_has_a_row_in_each_of_its_scopes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/reference/powermta.md");
    let Ok(text) = std::fs::read_to_string(path) else { return };
    let index = text.split("## Appendix A.").nth(1).expect("the index").replace('\n', " ");
    let entries = index[index.find("`accept-").expect("the first keyword")..].split(';');
    let (mut keywords, mut missing) = (0, Vec::new());
    for entry in entries {
        let mut parts = entry.split('`').skip(1);
        let (Some(name), Some(codes)) = (parts.next(), parts.next()) else { continue };
        keywords += 1;
        for code in codes.trim().trim_end_matches('.').split('+') {
            let scope = SCOPES.iter().find(|(c, _)| *c == code).unwrap_or_else(|| panic!("scope {code}")).1;
            // `<domain>` inside virtual MTAs and pools is a tag.
            let is_tag = name == "domain" && matches!(scope, Scope::VirtualMta | Scope::VirtualMtaPool);
            if !is_tag && !directives().any(|d| d.name == name && d.scopes.contains(scope)) {
                missing.push(format!("{name} in {scope}"));
            }
        }
    }
    assert!(keywords > 370, "{keywords} keywords read");
    assert!(missing.is_empty(), "{missing:?}");
}
