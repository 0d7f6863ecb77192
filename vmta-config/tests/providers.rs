//! `include builtin:providers`: what it says of limits and replies, and that the operator has the last word.

use std::collections::{BTreeMap, BTreeSet};

use vmta_config::{Config, MemoryFiles, SmtpAction, SmtpPattern, load};

const PROVIDERS: &str = include_str!("../providers.conf");
const REPLIES: &str = include_str!("../replies.conf");

/// A configuration of which no line is wrong or doubtful.
fn config(lines: &str) -> Config {
    let text = format!("log-file /l\n<spool /s>\n</spool>\n{lines}");
    let files = MemoryFiles::new([("/e/config", text.as_str()), ("/u/providers.conf", PROVIDERS)]);
    let loaded = load("/e/config", &files, false);
    let found: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}", found.join("\n\n"));
    loaded.config.expect("no errors")
}

fn names_of_lists() -> Vec<&'static str> {
    let names = PROVIDERS.lines().filter_map(|line| line.strip_prefix("<smtp-pattern-list "));
    names.map(|name| name.trim_end_matches('>')).collect()
}

/// What becomes of the message and of its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Tried again, and nothing else: 4xx.
    Retry,
    /// Tried again, the queue goes more slowly.
    Backoff,
    /// Tried again, the queue waits first and goes more slowly.
    Wait,
    Bounce,
}

fn effect(rule: Option<&SmtpPattern>, reply: &str) -> Effect {
    let actions = rule.map_or(&[][..], |rule| &rule.actions);
    let kept = reply.starts_with('4') || actions.contains(&SmtpAction::SkipMx);
    let slower = actions.iter().any(|action| matches!(action, SmtpAction::Backoff { .. }));
    let gone = |action: &SmtpAction| matches!(action, SmtpAction::BounceQueue | SmtpAction::BounceRecipient);
    match (kept && !actions.iter().any(gone), slower, actions.contains(&SmtpAction::DeferQueue)) {
        (false, ..) => Effect::Bounce,
        (true, false, false) => Effect::Retry,
        (true, true, false) => Effect::Backoff,
        (true, _, true) => Effect::Wait,
    }
}

fn effect_in(config: &Config, list: &str, reply: &str) -> Effect {
    let list = config.smtp_pattern_list(list).unwrap_or_else(|| panic!("there is no list {list}"));
    effect(list.matches(reply), reply)
}

#[test]
fn the_profiles_load_by_name_and_by_path() {
    for include in ["include builtin:providers\n", "include /u/providers.conf\n"] {
        let config = config(include);
        let yahoo = config.queue("yahoo.co.uk", "{default}");
        assert_eq!((yahoo.max_smtp_out, yahoo.max_msg_per_connection), (10, Some(20)));
        assert_eq!(config.queue("example.com", "{default}").max_rcpt_per_message, Some(100));
    }
}

#[test]
fn a_file_that_is_not_in_the_program_is_an_error_that_names_those_that_are() {
    let error = |include: &str| {
        let text = format!("log-file /l\n<spool /s>\n</spool>\n{include}\n");
        let loaded = load("/e/config", &MemoryFiles::new([("/e/config", text)]), false);
        loaded.diagnostics.iter().map(ToString::to_string).collect::<String>()
    };
    let slip = error("include builtin:provider");
    assert!(slip.contains("/e/config:4") && slip.contains("did you mean builtin:providers?"), "{slip}");
    let other = error("include builtin:*");
    assert!(other.contains("there are builtin:providers and builtin:replies"), "{other}");
}

#[test]
fn what_the_operator_writes_counts_wherever_the_include_stands() {
    let own =
        "<domain *>\n max-rcpt-per-message 7\n</domain>\n<domain gmail.com>\n max-smtp-out 50\n</domain>\n";
    for lines in [format!("include builtin:providers\n{own}"), format!("{own}include builtin:providers\n")] {
        let config = config(&lines);
        assert_eq!(config.queue("example.com", "{default}").max_rcpt_per_message, Some(7));
        let gmail = config.queue("gmail.com", "{default}");
        assert_eq!((gmail.max_smtp_out, gmail.max_msg_per_connection), (50, Some(50)));
        assert_eq!(gmail.max_rcpt_per_message, Some(100), "a section for everyone is less specific");
        assert_eq!(config.queue("googlemail.com", "{default}").max_smtp_out, 5);
    }
    let whole = "include builtin:providers\n<domain $provider_google>\n max-smtp-out 50\n</domain>\n\
                 <virtual-mta new>\n <domain *>\n max-smtp-out 1\n </domain>\n</virtual-mta>\n";
    let config = config(whole);
    assert_eq!(config.queue("google-aspmx.rollup", "{default}").max_smtp_out, 50);
    assert_eq!(config.queue("gmail.com", "new").max_smtp_out, 1);
}

#[test]
fn a_list_of_the_operators_own_may_take_the_common_lines_in() {
    let config = config(
        "<smtp-pattern-list own>\n reply /^421 .*slow down/ defer-queue\n include builtin:replies\n\
         </smtp-pattern-list>\n<domain *>\n smtp-pattern-list own\n</domain>\n",
    );
    assert_eq!(effect_in(&config, "own", "421 4.7.0 Please slow down"), Effect::Wait);
    assert_eq!(effect_in(&config, "own", "450 4.3.2 Throttled"), Effect::Backoff);
}

#[test]
fn the_examples_in_the_documentation_load() {
    let text = include_str!("../../docs/providers.md");
    let examples: Vec<&str> = text.split("```").skip(1).step_by(2).collect();
    assert!(examples.len() >= 5);
    for example in examples {
        let include = if example.contains("builtin:providers") { "" } else { "include builtin:providers\n" };
        config(&format!("{include}{example}"));
    }
}

#[test]
fn every_rollup_has_settings() {
    let config = config("include builtin:providers\n");
    let rollups: BTreeSet<&str> = PROVIDERS
        .split_whitespace()
        .filter(|word| word.ends_with(".rollup") && !word.contains(','))
        .collect();
    assert!(rollups.len() >= 25 && rollups.contains("google.rollup"), "{rollups:?}");
    for rollup in rollups.into_iter().filter(|name| *name != "NAME.rollup") {
        let settings = config.queue(rollup, "{default}");
        assert!(settings.max_msg_per_connection.is_some(), "{rollup} is in no macro of its provider");
    }
}

#[test]
fn every_value_says_where_it_comes_from() {
    let named = |text: &str| -> BTreeSet<String> {
        let tags = text.split('[').skip(1).filter_map(|rest| rest.split_once(']').map(|(tag, _)| tag));
        tags.filter(|tag| tag.starts_with(|c: char| c.is_ascii_alphanumeric())).map(str::to_string).collect()
    };
    let (head, body) = PROVIDERS.split_once("\n# ---- ").expect("sections");
    let listed: BTreeSet<String> =
        head.lines().filter(|line| line.starts_with("#   [")).flat_map(|line| named(&line[..18])).collect();
    let mut used = BTreeSet::new();
    let mut values = 0;
    for line in body.lines().filter(|line| line.starts_with("    ") && !line.trim().starts_with('#')) {
        let directive = line.split_whitespace().next().unwrap_or_default();
        if matches!(directive, "smtp-pattern-list" | "reply" | "include") {
            continue;
        }
        let (_, source) = line.split_once('#').unwrap_or_else(|| panic!("no source: {line}"));
        let says = source.contains("chosen: ") || source.contains("https://") || !named(source).is_empty();
        assert!(says, "no source: {line}");
        values += 1;
    }
    for line in body.lines().filter_map(|line| line.split_once('#').map(|(_, comment)| comment)) {
        used.extend(named(line));
    }
    assert!(values > 150, "{values}");
    assert_eq!(used.difference(&listed).collect::<Vec<_>>(), [""; 0], "not in the list of sources");
    assert_eq!(listed.difference(&used).collect::<Vec<_>>(), [""; 0], "in the list of sources only");
}

#[test]
fn no_line_acts_beyond_the_class_of_reply_that_it_begins_with() {
    let config = config("include builtin:providers\n");
    for name in names_of_lists() {
        let list = config.smtp_pattern_list(name).expect("it is defined");
        assert!(list.rules().len() >= REPLIES.lines().filter(|line| line.starts_with("reply")).count());
        for rule in list.rules() {
            let (source, actions) = (rule.pattern.source(), &rule.actions);
            assert!(rule.pattern.is_linear(), "{source}");
            let gone = [SmtpAction::BounceQueue, SmtpAction::BounceRecipient];
            assert!(!gone.iter().any(|action| actions.contains(action)), "{source} gives mail up");
            match &source[..2] {
                "^4" => assert!(!actions.contains(&SmtpAction::SkipMx), "{source}"),
                "^5" => assert!(
                    actions.contains(&SmtpAction::SkipMx),
                    "{source} slows the queue and loses the mail"
                ),
                _ => panic!("{source} is about replies of every class"),
            }
        }
    }
}

/// Wording as providers publish it or as it is known; addresses and hosts are made up.
#[rustfmt::skip]
const ASKED_TO_SLOW_DOWN: &[(&str, &str, Effect)] = &[
    ("provider-google", "421 4.7.0 [192.0.2.1 15] Our system has detected an unusual rate of unsolicited mail originating from your IP address. gsmtp", Effect::Wait),
    ("provider-google", "421 4.7.28 Gmail has detected an unusual rate of mail from your SPF domain example.com. gsmtp", Effect::Backoff),
    ("provider-google", "421 4.7.26 Your email has been rate limited because it is unauthenticated. gsmtp", Effect::Backoff),
    ("provider-google", "421 4.7.0 Try again later, closing connection. gsmtp", Effect::Backoff),
    ("provider-google", "421 4.4.5 Server busy, try again later. gsmtp", Effect::Backoff),
    ("provider-google", "550 5.5.3 Too many recipients for this sender. gsmtp", Effect::Retry),
    ("provider-yahoo", "421 Messages from 192.0.2.1 temporarily deferred - 4.16.51.", Effect::Wait),
    ("provider-yahoo", "421 Message temporarily deferred - 4.16.52", Effect::Backoff),
    ("provider-yahoo", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1", Effect::Wait),
    ("provider-yahoo", "421 4.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed.", Effect::Wait),
    ("provider-yahoo", "451 Resources temporarily not available - Please try again later [#4.16.5].", Effect::Backoff),
    ("provider-yahoo", "451 VS1-IP Excessive unknown recipients - possible Open Relay (#4.1.8)", Effect::Backoff),
    ("provider-yahoo", "421 4.2.1 : (RLY:NW) http://postmaster.info.aol.com/errors/421rlynw.html", Effect::Wait),
    ("provider-microsoft", "421 RP-001 (SNT004-MC1F1) Unfortunately, some messages from 192.0.2.1 weren't sent. Please try again.", Effect::Wait),
    ("provider-microsoft", "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. (S775)", Effect::Wait),
    ("provider-microsoft", "451 4.7.652 The mail server [192.0.2.1] has exceeded the maximum number of connections. (S3115)", Effect::Backoff),
    ("provider-microsoft", "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)", Effect::Backoff),
    ("provider-microsoft", "450 4.7.853 Access denied, please try again later", Effect::Wait),
    ("provider-microsoft", "421 4.3.2 The maximum number of concurrent connections per resource forest has exceeded a limit, closing transmission channel", Effect::Backoff),
    ("provider-apple", "421 4.7.0 Deferred - see https://ipcheck.proofpoint.com/?ip=192.0.2.1", Effect::Wait),
    ("provider-apple", "451 4.7.1 Service unavailable - try again later", Effect::Backoff),
    ("provider-apple", "421 4.7.0 mx.example.com Error: too many errors", Effect::Backoff),
    ("provider-orange", "421 mwinf5c99 ME Trop de connexions, veuillez verifier votre configuration. Too many connections, slow down. OFR004_104 [104]", Effect::Backoff),
    ("provider-orange", "421 mwinf5d01 ME Service refuse. Veuillez essayer plus tard. Service refused, please try later. OFR_999 [999]", Effect::Wait),
    ("provider-orange", "450 4.7.1 Client host rejected: Service refuse. Veuillez essayer plus tard. LPN027_503", Effect::Wait),
    ("provider-sfr", "450 4.7.1 Service refused due to bad behavior", Effect::Wait),
    ("provider-sfr", "450 4.7.1 Service refused due to bad behavior, please see SFR_IN_205", Effect::Wait),
    ("provider-1and1", "421 gmx.net (mxgmx001) Too many messages have been received in a short period of time.", Effect::Wait),
    ("provider-1and1", "421 mail.com (mxmail001) Administrative reject", Effect::Backoff),
    ("provider-1and1", "421 gmx.net (mxgmx001) Nemesis ESMTP Service not available Service unavailable Rate limit reached. Please try again later", Effect::Wait),
    ("provider-1and1", "421 web.de (mxweb001) Reject due to policy restrictions. Please try again later.", Effect::Wait),
    ("provider-comcast", "421 4.1.0 192.0.2.1 Throttled - try again later. RL000003", Effect::Backoff),
    ("provider-comcast", "421 resimta-ch2.example Too many sessions opened", Effect::Backoff),
    ("provider-cox", "421 cmsmtp 192.0.2.1 blocked. AUP#CDRBL", Effect::Wait),
    ("provider-cox", "421 Requested action aborted: try again later", Effect::Backoff),
    ("provider-cox", "421 cmsmtp 192.0.2.1 blocked. Refer to Error Codes section for more information. AUP#CXCNCT", Effect::Backoff),
    ("provider-cox", "452 Message threshold exceeded", Effect::Backoff),
    ("provider-spectrum", "421 mx0.example 192.0.2.1 AUP#In-1310", Effect::Backoff),
    ("provider-qq", "550 Ip frequency limited. http://service.mail.qq.com/cgi-bin/help?no=1000725", Effect::Wait),
    ("provider-qq", "550 Sender frequency limited.", Effect::Wait),
    ("provider-netease", "421 HL:ICC 163 mx1,xxx", Effect::Wait),
    ("provider-netease", "451 MI:SFQ 163 mx1,xxx", Effect::Wait),
    ("provider-netease", "421HL:IFC 163 mx1,xxx", Effect::Wait),
    ("provider-interia", "450 4.7.1 Twoj serwer poczty 192.0.2.1 zostal tymczasowo zablokowany za spam", Effect::Wait),
    ("provider-naver", "421 4.3.1 You send too many messages.", Effect::Wait),
    ("provider-naver", "421 4.3.2 Your IP(192.0.2.1) is filtered and this connection will be closed.", Effect::Wait),
    ("provider-rackspace", "451 4.7.1 Received too many messages from a new or untrusted IP (G28)", Effect::Wait),
    ("provider-rackspace", "421 Too many concurrent connections from this client (G2)", Effect::Backoff),
    ("provider-mimecast", "451 Account service is temporarily unavailable", Effect::Backoff),
    ("provider-mimecast", "451 IP temporarily blacklisted", Effect::Backoff),
    ("provider-proofpoint", "421 Deferred - see https://ipcheck.proofpoint.com/?ip=192.0.2.1", Effect::Wait),
    ("provider-general", "421 4.7.0 mx.example Error: too many connections from 192.0.2.1", Effect::Backoff),
    ("provider-general", "421 Connection refused, too many sessions from 192.0.2.1. Please lower the number of concurrent sessions.", Effect::Backoff),
    ("provider-general", "421 4.3.2 MAX connections exceeded: - message rejected", Effect::Backoff),
    ("provider-general", "421 4.3.2 Connection rate limit exceeded.", Effect::Backoff),
    ("provider-general", "452 4.5.0 policy based throttling ([192.0.2.1])", Effect::Backoff),
    ("provider-general", "452 Too many recipients received this hour", Effect::Backoff),
    ("provider-general", "421 4.2.1 Connection deferred ELNK_110", Effect::Backoff),
    ("provider-general", "421 Please try again in a few hours and reduce the sending rate.", Effect::Backoff),
    ("provider-general", "450 4.7.1 Your host 192.0.2.1 has been temporarily blacklisted", Effect::Backoff),
    ("provider-general", "421 4.7.1 Deferred due to poor sender reputation", Effect::Backoff),
    ("provider-general", "451 Ratelimit exceeded, please try later", Effect::Backoff),
    ("provider-general", "421 4.7.0 This host is temporarily rate limited", Effect::Backoff),
    ("provider-general", "421 4.7.0 Please slow down", Effect::Backoff),
    ("provider-general", "451 4.7.1 You are sending too many messages", Effect::Backoff),
    ("provider-general", "450 4.7.1 Too many messages from your address", Effect::Backoff),
    ("provider-general", "421 4.7.0 Unusual traffic from 192.0.2.1", Effect::Backoff),
    ("provider-general", "421 Deferred for user complaints", Effect::Backoff),
    ("provider-general", "421 4.7.1 192.0.2.1 has a poor reputation", Effect::Backoff),
    ("provider-general", "450 4.7.1 Too many invalid recipients from 192.0.2.1", Effect::Backoff),
    ("provider-general", "421 4.7.0 mx.example Error: too many errors", Effect::Backoff),
    ("provider-general", "552 5.5.3 Too many recipients", Effect::Retry),
];

#[test]
fn providers_that_ask_for_less_get_less() {
    let config = config("include builtin:providers\n");
    for (list, reply, wanted) in ASKED_TO_SLOW_DOWN {
        assert_eq!(effect_in(&config, list, reply), *wanted, "{list}: {reply}");
    }
    let tried: BTreeSet<&str> = ASKED_TO_SLOW_DOWN.iter().map(|(list, ..)| *list).collect();
    assert_eq!(tried, names_of_lists().into_iter().collect(), "every list is tried");
}

#[test]
fn no_line_is_idle() {
    let config = config("include builtin:providers\n");
    for name in names_of_lists() {
        let list = config.smtp_pattern_list(name).expect("it is defined");
        let own =
            |rule: &&SmtpPattern| name == "provider-general" || &*rule.origin.file == "builtin:providers";
        let replies = ASKED_TO_SLOW_DOWN.iter().filter(|(of, ..)| *of == name).map(|(_, reply, _)| *reply);
        let deciding: Vec<u32> =
            replies.filter_map(|reply| list.matches(reply)).map(|rule| rule.origin.line).collect();
        let idle = list.rules().iter().filter(own).filter(|rule| !deciding.contains(&rule.origin.line));
        let idle: Vec<&str> = idle.map(|rule| rule.pattern.source()).collect();
        assert_eq!(idle, [""; 0], "{name}: no reply above is decided by these lines");
    }
}

/// What concerns one recipient or one message, what is over, and what only needs time.
#[rustfmt::skip]
const NOT_THE_QUEUES_BUSINESS: &[&str] = &[
    "450 4.2.1 The user you are trying to contact is receiving mail too quickly. Please resend your message at a later time.",
    "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered.",
    "450 4.2.1 <a@example.com>: Mailbox received too much email in a short period of time (G30)",
    "421 4.7.1 Messages to a@icloud.com deferred due to excessive volume. Try again later",
    "452 4.2.2 The recipient's inbox is out of storage space.",
    "452 4.2.2 <a@example.com>: user is over quota",
    "452 4.5.3 Too many recipients",
    "451 Internal resources are temporarily unavailable - https://community.mimecast.com",
    "450 4.2.0 <a@example.com>: Recipient address rejected: Greylisted, see http://postgrey.example/",
    "451 4.7.1 Greylisting in action, please come back later",
    "451 4.3.0 Mail server temporarily rejected message.",
    "421 4.7.0 TLS required for RCPT domain, closing connection.",
    "421 Max message per connection reached, closing transmission channel",
    "450 MI:DMC 163 mx1,xxx",
    "450 4.1.8 <a@example.com>: Sender address rejected: Domain not found",
    "450 4.4.1 The recipient's server was temporarily unavailable to accept your message (G6)",
    "550 5.1.1 The email account that you tried to reach does not exist.",
    "550 5.1.1 <a@example.com>: Recipient address rejected: User unknown",
    "550 Too many invalid recipients",
    "550 Mailbox unavailable or access denied",
    "550 Mailbox not found.",
    "552 5.2.2 <a@example.com>: user is over quota",
    "552 5.2.3 Message size exceeds the limit",
    "553 5.7.2 [TSS09] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed.",
    "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Part of their network is on our block list (S3150).",
    "550 SC-001 Mail rejected by Outlook.com for policy reasons.",
    "550 5.7.0 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1",
    "550 5.5.0 Service refuse. Veuillez essayer plus tard. service refused, please try later. LPN001_108",
    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
    "554 5.7.1 Message rejected due to poor reputation of the sending domain",
    "250 2.0.0 OK too many connections",
];

#[test]
fn dead_addresses_blocks_and_greylisting_leave_the_queue_alone() {
    let config = config("include builtin:providers\n");
    for name in names_of_lists() {
        let list = config.smtp_pattern_list(name).expect("it is defined");
        for reply in NOT_THE_QUEUES_BUSINESS {
            let found = list.matches(reply).map(|rule| rule.pattern.source());
            assert_eq!(found, None, "{name}: {reply}");
        }
    }
}

/// The list of those who run the provider's servers.
fn list_of(provider: &str) -> &'static str {
    let known: BTreeMap<&str, &str> = BTreeMap::from([
        ("Gmail", "provider-google"),
        ("Google Workspace", "provider-google"),
        ("Yahoo", "provider-yahoo"),
        ("AOL", "provider-yahoo"),
        ("AT&T", "provider-yahoo"),
        ("Microsoft", "provider-microsoft"),
        ("Microsoft 365", "provider-microsoft"),
        ("Microsoft consumer", "provider-microsoft"),
        ("iCloud", "provider-apple"),
        ("Orange", "provider-orange"),
        ("La Poste / Orange", "provider-orange"),
        ("Mimecast", "provider-mimecast"),
        ("Proofpoint", "provider-proofpoint"),
        ("QQ", "provider-qq"),
    ]);
    known.get(provider).copied().unwrap_or("provider-general")
}

/// Real replies of mailbox providers, with what a person takes them for; they are not part of the project, so the test
/// passes over their absence.
#[test]
fn real_replies_about_rates_are_heeded_and_bounces_stay_bounces() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora/isp-replies.csv");
    let path = std::env::var("POSTHASTE_ISP_REPLIES").unwrap_or_else(|_| path.to_owned());
    let Ok(mut reader) = csv::Reader::from_path(&path) else {
        eprintln!("skipped: {path} is not there");
        return;
    };
    let config = config("include builtin:providers\n");
    let (mut heeded, mut backed_off, mut all) = (0, 0, 0);
    for row in reader.records() {
        let row = row.expect("a row");
        let (id, provider, reply, signal) = (&row[0], &row[1], &row[2], &row[6]);
        let about_rates = matches!(signal, "rate" | "greylist");
        let untouchable = !about_rates && (reply.starts_with('5') || signal == "recipient");
        for list in names_of_lists().into_iter().filter(|_| untouchable) {
            let found = config.smtp_pattern_list(list).and_then(|list| list.matches(reply));
            assert!(found.is_none(), "{id} {list}: {found:?} acts on {reply}");
        }
        if about_rates {
            let effect = effect_in(&config, list_of(provider), reply);
            all += 1;
            heeded += u32::from(effect != Effect::Bounce);
            backed_off += u32::from(matches!(effect, Effect::Backoff | Effect::Wait));
            if effect == Effect::Bounce || effect == Effect::Retry {
                eprintln!("{id} {effect:?}: {}", reply.chars().take(120).collect::<String>());
            }
        }
    }
    let share = 100.0 * f64::from(heeded) / f64::from(all);
    eprintln!("{heeded} of {all} replies about rates are heeded ({share:.1} %), {backed_off} by backoff");
    assert!(all > 0 && heeded * 100 >= all * 90, "{heeded} of {all}");
}
