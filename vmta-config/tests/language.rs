//! What the language means: which settings a queue, a client and an accounting file end up with.

use std::net::IpAddr;
use std::time::Duration;

use vmta_config::{
    AcctTarget, AddDate, Config, DeleteAfter, DeliveryType, MemoryFiles, NoMx, Rate, RecordType, Resolved,
    load,
};

const MINIMUM: &str = "log-file /var/log/p.log\n<spool /var/spool/p>\n</spool>\n";

/// The configuration of a text that must be right.
fn config(text: &str) -> Config {
    let files = MemoryFiles::new([("/e/config", format!("{MINIMUM}{text}"))]);
    let loaded = load("/e/config", &files, false);
    let shown: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    loaded.config.unwrap_or_else(|| panic!("{}", shown.join("\n")))
}

/// The findings of a text that is wrong.
fn faults(text: &str) -> Vec<String> {
    let files = MemoryFiles::new([("/e/config", format!("{MINIMUM}{text}"))]);
    load("/e/config", &files, false).diagnostics.iter().map(ToString::to_string).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn per_hour(count: u32) -> Rate {
    Rate::Per { count, per: Duration::from_secs(3600) }
}

#[test]
fn the_more_specific_domain_wins_directive_by_directive() {
    let config = config(
        "<domain mail.a.com>\n max-smtp-out 3\n</domain>\n\
         <domain *>\n max-smtp-out 1\n max-msg-rate 10/h\n retry-after 5m\n</domain>\n\
         <domain [*.]a.com>\n max-smtp-out 2\n max-msg-rate 20/h\n</domain>\n",
    );
    let exact = config.queue("mail.a.com", "{default}");
    assert_eq!((exact.max_smtp_out, exact.max_msg_rate), (3, per_hour(20)));
    assert_eq!(exact.retry_after, [Duration::from_secs(300)]);
    assert_eq!(config.queue("A.com.", "{default}").max_smtp_out, 2);
    assert_eq!(config.queue("other.net", "{default}").max_smtp_out, 1);
}

#[test]
fn a_virtual_mta_overrides_its_pool_which_overrides_the_top() {
    let config = config(
        "<domain *>\n max-smtp-out 1\n bounce-after 1d\n connect-timeout 9s\n</domain>\n\
         <domain gmail.com>\n max-smtp-out 2\n</domain>\n\
         <virtual-mta a>\n smtp-source-host 192.0.2.1 a.example.com\n <domain gmail.com>\n max-smtp-out 7\n </domain>\n</virtual-mta>\n\
         <virtual-mta b>\n</virtual-mta>\n\
         <virtual-mta-pool p>\n virtual-mta a\n virtual-mta b\n <domain *>\n max-smtp-out 5\n bounce-after 2d\n </domain>\n</virtual-mta-pool>\n",
    );
    let a = config.queue("gmail.com", "a");
    assert_eq!((a.max_smtp_out, a.bounce_after), (7, Duration::from_secs(2 * 86400)));
    assert_eq!(a.connect_timeout, Duration::from_secs(9));
    assert_eq!(config.queue("yahoo.com", "a").max_smtp_out, 5);
    // The pool's `*` is a level above the global entry for the very name.
    assert_eq!(config.queue("gmail.com", "b").max_smtp_out, 5);
    assert_eq!(config.queue("gmail.com", "{default}").max_smtp_out, 2);
    assert_eq!(config.virtual_mta("a").unwrap().pools, ["p"]);
    assert!(matches!(config.resolve_vmta("p"), Resolved::Pool(pool) if pool.members == ["a", "b"]));
    assert!(matches!(config.resolve_vmta("x"), Resolved::Unknown));
    assert!(matches!(config.resolve_vmta("{default}"), Resolved::Default));
}

#[test]
fn queues_with_the_same_entries_share_their_settings() {
    let config =
        config("<domain *>\n max-smtp-out 1\n</domain>\n<domain a.com>\n max-smtp-out 2\n</domain>\n");
    assert!(std::sync::Arc::ptr_eq(&config.queue("x.com", "{default}"), &config.queue("y.com", "{default}")));
    assert!(!std::sync::Arc::ptr_eq(
        &config.queue("a.com", "{default}"),
        &config.queue("y.com", "{default}")
    ));
}

#[test]
fn macros_name_domains_and_a_literal_name_beats_them() {
    let config = config(
        "<domain hotmail.com>\n max-smtp-out 9\n</domain>\n<domain $ms>\n max-smtp-out 4\n</domain>\n\
         domain-macro tld com, co.uk\ndomain-macro ms hotmail.$tld,live.com\n<domain mail.$tld>\n type discard\n</domain>\n",
    );
    assert_eq!(config.queue("hotmail.com", "").max_smtp_out, 9);
    assert_eq!(config.queue("hotmail.co.uk", "").max_smtp_out, 4);
    assert_eq!(config.queue("mail.co.uk", "").delivery, DeliveryType::Discard);
    let found = faults("domain-macro a $b\ndomain-macro b $a\n<domain $c>\n</domain>\n");
    assert!(found.iter().any(|f| f.contains("uses itself: $a -> $b -> $a")), "{found:?}");
    assert!(found.iter().any(|f| f.contains("macro `$c` is not defined")));
}

#[test]
fn local_means_every_name_of_this_host() {
    let config =
        config("host-name a.example\nhost-name b.example\n<domain local>\n type discard\n</domain>\n");
    assert_eq!(config.queue("b.example", "").delivery, DeliveryType::Discard);
    assert_eq!(config.queue("c.example", "").delivery, DeliveryType::Smtp);
    assert!(config.relays("A.example") && !config.relays("c.example"));
}

#[test]
fn sources_merge_from_the_widest_network_and_a_name_goes_on_top() {
    let config = config(
        "<source 10.1.2.3>\n hide-message-source yes\n</source>\n\
         <source 0/0>\n always-allow-relaying no\n max-message-size 10M\n add-date-header yes\n</source>\n\
         <source 10/8>\n always-allow-relaying yes\n add-date-header override\n</source>\n\
         <source {pickup}>\n process-x-virtual-mta yes\n</source>\n<source inside>\n max-message-size unlimited\n</source>\n\
         smtp-listener 127.0.0.1:2525 source=inside\n",
    );
    let one = config.source_for(ip("10.1.2.3"), None, None);
    assert!(one.always_allow_relaying && one.hide_message_source);
    assert_eq!((one.max_message_size, one.add_date_header), (Some(10 << 20), AddDate::Override));
    assert_eq!(config.source_for(ip("10.1.2.3"), Some("inside"), None).max_message_size, None);
    let far = config.source_for(ip("2001:db8::1"), None, None);
    assert!(!far.always_allow_relaying && far.max_message_size == Some(10 << 20));
    assert!(config.source_named("{pickup}").process_x_virtual_mta);
    assert_eq!(config.listeners()[0].address().unwrap().to_string(), "127.0.0.1:2525");
}

#[test]
fn relaying_is_closed_unless_somebody_opens_it() {
    let closed = config("");
    assert!(!closed.source_for(ip("127.0.0.1"), None, None).always_allow_relaying);
    assert!(!closed.relays("example.com"));
    let open = config(
        "always-allow-relaying yes\nrelay-domain [*.]b.example\n<source 10/8>\n always-allow-relaying no\n</source>\n",
    );
    assert!(open.source_for(ip("192.0.2.1"), None, None).always_allow_relaying);
    assert!(!open.source_for(ip("10.0.0.1"), None, None).always_allow_relaying);
    assert!(open.relays("x.b.example") && !open.relays("xb.example"));
}

#[test]
fn some_addresses_are_open_to_everybody() {
    let config = config(
        "relay-address Desk@a.example\nrelay-address /^fbl-[0-9]+@b\\.example$/\nrelay-domain c.example\n",
    );
    for (local, domain) in
        [("desk", "a.example"), ("DESK", "a.example"), ("fbl-7", "b.example"), ("x", "c.example")]
    {
        assert!(config.relays_address(local, domain), "{local}@{domain}");
    }
    for (local, domain) in
        [("desk", "b.example"), ("other", "a.example"), ("fbl-", "b.example"), ("xfbl-7", "b.example")]
    {
        assert!(!config.relays_address(local, domain), "{local}@{domain}");
    }
}

#[test]
fn accounting_files_have_their_directives() {
    let config = config(
        "<acct-file /var/log/acct.csv>\n records d,b,t\n record-fields d *,!dsnDiag,header_X-Job\n max-size 50M\n delete-after never\n iso-times no\n user-string \"two words\"\n</acct-file>\n\
         <acct-file |/opt/x --all>\n records r\n queue-filter gmail.com/*\n</acct-file>\n",
    );
    let [file, pipe] = config.acct_files() else { panic!() };
    assert_eq!(file.target, AcctTarget::File("/var/log/acct.csv".into()));
    assert_eq!(file.settings.records, [RecordType::Delivery, RecordType::Bounce, RecordType::Transient]);
    assert_eq!((file.settings.max_size, file.settings.delete_after), (50 << 20, DeleteAfter::Never));
    assert_eq!(file.settings.user_string.as_deref(), Some("two words"));
    assert!(!file.settings.iso_times && file.settings.record_fields[0].1.exclude == ["dsnDiag"]);
    assert_eq!(pipe.target, AcctTarget::Pipe("/opt/x --all".into()));
    assert!(pipe.settings.queue_filter.as_ref().unwrap().admits("gmail.com", "x"));
}

#[test]
fn pattern_lists_keep_their_order() {
    let config = config(
        "<bounce-category-patterns>\n /user unknown/ bad-mailbox\n // other # catch-all\n</bounce-category-patterns>\n\
         <smtp-pattern-list e>\n reply /^421 .*busy/ mode=backoff\n</smtp-pattern-list>\n<domain *>\n smtp-pattern-list e\n</domain>\n",
    );
    let category = |text: &str| {
        let found = config.bounce_category_patterns().iter().find(|p| p.pattern.is_match(text));
        found.map(|p| p.category.as_str())
    };
    assert_eq!(category("5.1.1 (x);smtp;550 User Unknown"), Some("bad-mailbox"));
    assert_eq!(category("4.4.1"), Some("other"));
    assert!(config.smtp_pattern_list("e").unwrap().matches("421 4.3.2 Busy").is_some());
}

#[test]
fn every_value_knows_where_it_comes_from() {
    let config = config(
        "<domain *>\n max-smtp-out 1\n route [127.0.0.1]:2525\n</domain>\n\
         <virtual-mta a>\n <domain b.com>\n max-smtp-out 2\n smtp-hosts \"\"\n </domain>\n</virtual-mta>\n",
    );
    let explained = config.explain_queue("b.com", "a");
    let of = |name: &str| explained.iter().filter(|e| e.directive == name).collect::<Vec<_>>();
    let limit = of("max-smtp-out");
    assert_eq!((limit[0].value.as_deref(), limit[0].overridden), (Some("1"), true));
    assert_eq!((limit[1].value.as_deref(), limit[1].overridden), (Some("2"), false));
    assert_eq!(limit[1].entry, "<virtual-mta a> <domain b.com>");
    assert_eq!(limit[1].origin.as_ref().unwrap().to_string(), "/e/config:10");
    assert!(of("route")[0].overridden, "`smtp-hosts` is the same setting");
    assert_eq!(config.queue("b.com", "a").smtp_hosts, None);
    assert!(config.queue("b.com", "{default}").smtp_hosts.is_some());
    let default = of("connect-timeout");
    assert_eq!((default[0].value.as_deref(), &default[0].origin), (Some("2m"), &None));
}

#[test]
fn what_is_not_in_effect_is_noted_with_its_lines() {
    let config = config(
        "<domain *>\n dkim-sign yes\n dk-sign no\n</domain>\n<domain a.com>\n dkim-sign no\n</domain>\n",
    );
    let notes: Vec<String> = config.notes().iter().map(ToString::to_string).collect();
    assert_eq!(notes[0], "/e/config:5: `dkim-sign` is not in effect yet (and 1 more use)");
    assert!(notes[1].starts_with("/e/config:6: `dk-sign` has no effect: "));
}

#[test]
fn all_faults_are_reported_at_once_with_advice() {
    let found = faults(
        "max-smpt-out 5\n<domain *>\n max-smtp-outt 5\n smtp-listener 0/0:25\n retry-after 10\n max-msg-rate 0/h\n</domain>\n\
         <source 0/0>\n default-virtual-mta nosuch\n</source>\n",
    );
    let has = |parts: &[&str]| found.iter().any(|f| parts.iter().all(|p| f.contains(p)));
    assert_eq!(found.len(), 6, "{found:#?}");
    assert!(has(&[
        "unknown directive `max-smpt-out` in the top level",
        "did you mean `max-smtp-out`? It belongs in <domain>"
    ]));
    assert!(has(&[
        "unknown directive `max-smtp-outt` in <domain>",
        "/e/config:6:2",
        "did you mean `max-smtp-out`?"
    ]));
    assert!(has(&["`smtp-listener` is not allowed in <domain>", "it belongs in the top level"]));
    assert!(has(&["retry-after: `10` is not a time", "write digits with a unit"]));
    assert!(has(&["max-msg-rate: the count of a rate may not be 0", "pause the queue"]));
    assert!(has(&["there is no <virtual-mta nosuch>"]));
}

#[test]
fn pools_and_virtual_mtas_share_their_names() {
    let found = faults(
        "<virtual-mta a>\n</virtual-mta>\n<virtual-mta-pool a>\n virtual-mta a\n</virtual-mta-pool>\n",
    );
    assert!(found[0].contains("`a` is the name of a virtual MTA already"), "{found:?}");
    let pool = |name: &str| {
        format!(
            "<virtual-mta-pool {name}>\n virtual-mta a\n <domain *>\n max-smtp-out 1\n </domain>\n</virtual-mta-pool>\n"
        )
    };
    let found = faults(&format!("<virtual-mta a>\n</virtual-mta>\n{}{}", pool("p"), pool("q")));
    assert!(found[0].contains("`a` is also in pool `p`, and both define <domain>"), "{found:?}");
    assert!(faults("<virtual-mta-pool p>\n</virtual-mta-pool>\n")[0].contains("has no members"));
}

#[test]
fn the_mandatory_minimum_is_asked_for() {
    let files = MemoryFiles::new([("c", "")]);
    let loaded = load("c", &files, false);
    assert!(loaded.config.is_none());
    let messages: Vec<&str> = loaded.diagnostics.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(messages, ["no `log-file` is given", "no spool directory is given"]);
    assert!(load("nosuch", &files, true).config.is_none());
    let found = faults("spool /var/spool/p\n");
    let twice = "error: spool /var/spool/p is given twice, at /e/config:4 and /e/config:2";
    assert!(found.len() == 1 && found[0].starts_with(twice), "{found:?}");
}

#[test]
fn bounds_are_kept() {
    let found = faults(
        "segment-size 1k\nthreads 0\n<domain *>\n connect-timeout 0\n connection-idle-timeout 11m\n retry-after 10m,0\n</domain>\n\
         <acct-file /a.csv>\n max-size 500k\n records d\n records b\n</acct-file>\npickup /a /b\npickup /c /d\n",
    );
    let has = |part: &str| found.iter().any(|f| f.contains(part));
    assert_eq!(found.len(), 8, "{found:#?}");
    assert!(has("segment-size: must be from") && has("threads: 0 is out of range: 1 to 1024"));
    assert!(
        has("connect-timeout: must be at least 1s") && has("connection-idle-timeout: must be at most 600s")
    );
    assert!(has("retry-after: `0` is not a time above zero") && has("max-size: at least 1M"));
    assert!(has("`records` may be given only once here") && has("`pickup` may be given only once here"));
}

#[test]
fn lenient_mode_leaves_faulty_lines_out() {
    let text =
        format!("{MINIMUM}nonsense 1\n<domain *>\n max-smtp-out x\n bounce-upon-no-mx 1h\n</domain>\n");
    let files = MemoryFiles::new([("c", text)]);
    let loaded = load("c", &files, true);
    assert_eq!(loaded.diagnostics.len(), 2);
    assert!(loaded.diagnostics.iter().all(|d| !d.is_error()));
    let settings = loaded.config.unwrap().queue("a.com", "{default}");
    assert_eq!(settings.max_smtp_out, 20);
    assert_eq!(settings.bounce_upon_no_mx, NoMx::After(Duration::from_secs(3600)));
}

#[test]
fn additions_of_our_own_are_known() {
    let config = config(
        "runtime blocking\nthreads 3\ncontrol-socket /run/p.sock\nreports /var/reports\nallow-destination 127/8\nsegment-size 64M\n\
         pickup /var/pickup /var/bad\n<domain *>\n pipeline-across-data no\n prefer-chunking yes\n</domain>\n",
    );
    let global = config.global();
    assert_eq!((global.threads, global.segment_size), (Some(3), 64 << 20));
    assert_eq!(global.allow_destinations[0].to_string(), "127.0.0.0/8");
    assert_eq!(global.pickup, Some(("/var/pickup".into(), "/var/bad".into())));
    let queue = config.queue("x.com", "{default}");
    assert!(!queue.pipeline_across_data && queue.prefer_chunking);
}
