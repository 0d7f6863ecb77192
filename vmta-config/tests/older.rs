//! Files of older versions: their forms are read as what they say today, and that is said.

use vmta_config::{Config, Loaded, MemoryFiles, Rate, load};

const MINIMUM: &str = "log-file /var/log/p.log\n<spool /var/spool/p>\n</spool>\n";

fn read(text: &str) -> Loaded {
    load("/e/config", &MemoryFiles::new([("/e/config", format!("{MINIMUM}{text}"))]), false)
}

fn config(text: &str) -> Config {
    let Loaded { config, diagnostics, .. } = read(text);
    config.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

#[test]
fn limits_an_hour_are_rates() {
    let config = config(
        "<domain *>\n max-msg-per-hour 100\n</domain>\n<domain a.com>\n max-msg-rate 5/s\n</domain>\n",
    );
    let rate = config.queue("x.com", "").max_msg_rate;
    assert_eq!(rate.to_string(), "100/h");
    assert!(matches!(config.queue("a.com", "").max_msg_rate, Rate::Per { count: 5, .. }));
    let notes: Vec<String> = config.notes().iter().map(ToString::to_string).collect();
    assert_eq!(notes, ["/e/config:5: `max-msg-per-hour` is an older form, read as `max-msg-rate N/h`"]);
    let explained = config.explain_queue("a.com", "");
    let of: Vec<_> = explained.iter().filter(|e| e.directive == "max-msg-rate").collect();
    assert_eq!((of[0].value.as_deref(), of[0].overridden), (Some("100/h"), true));
}

#[test]
fn a_source_address_takes_its_name_from_the_host_name() {
    let config = config(
        "host-name mail.example.com\n<virtual-mta a>\n smtp-source-ip 192.0.2.1\n</virtual-mta>\n\
         <virtual-mta b>\n smtp-source-ip 192.0.2.2\n host-name b.example.com\n</virtual-mta>\n",
    );
    let of = |name: &str| config.virtual_mta(name).unwrap().source_hosts[0].clone();
    assert_eq!(
        (of("a").address().unwrap().to_string(), of("a").host_name),
        ("192.0.2.1".into(), "mail.example.com".into())
    );
    assert_eq!(of("b").host_name, "b.example.com");
    let wrong =
        read("<virtual-mta a>\n smtp-source-ip 192.0.2.1\n</virtual-mta>\n").diagnostics[0].to_string();
    assert!(
        wrong.contains("/e/config:5:17") && wrong.contains("write smtp-source-host 192.0.2.1 HOSTNAME"),
        "{wrong}"
    );
}

#[test]
fn an_older_listener_counts_where_there_is_no_other() {
    let of = |text: &str| -> Vec<String> {
        config(text).listeners().iter().map(|l| l.address().unwrap().to_string()).collect()
    };
    assert_eq!(of("smtp-port 2525\n"), ["0.0.0.0:2525"]);
    assert_eq!(of("smtp-ip 192.0.2.1\nsmtp-ip 192.0.2.2\n"), ["192.0.2.1:25", "192.0.2.2:25"]);
    assert_eq!(of("smtp-port 26\nsmtp-listener 127.0.0.1:2525\n"), ["127.0.0.1:2525"]);
    let told = &read("smtp-port 26\nsmtp-listener 127.0.0.1:2525\n").diagnostics;
    assert!(told[0].message.contains("`smtp-port` is ignored where a listener is given"), "{told:?}");
}

#[test]
fn free_space_for_all_spools_yields_to_that_of_one() {
    let config = config("spool-min-free-space 100\n<spool /s2>\n min-free-space 5M\n</spool>\nspool /s3\n");
    let space: Vec<u64> = config.spools().iter().map(|s| s.settings.min_free_space >> 20).collect();
    let by_name: Vec<(&str, u64)> = config.spools().iter().map(|s| s.directory.as_str()).zip(space).collect();
    assert!(
        [("/var/spool/p", 100), ("/s2", 5), ("/s3", 100)].iter().all(|s| by_name.contains(s)),
        "{by_name:?}"
    );
}

#[test]
fn a_listener_in_a_tag_has_no_source_unless_it_names_one() {
    let config = config(
        "<smtp-listener 0/0:25>\n</smtp-listener>\n<source {auth}>\n always-allow-relaying yes\n</source>\n",
    );
    assert_eq!(config.listeners()[0].settings.source, None);
    let stranger =
        config.source_for([192, 0, 2, 1].into(), config.listeners()[0].settings.source.as_deref(), None);
    assert!(!stranger.always_allow_relaying, "everybody would be let through");
}

#[test]
fn every_line_is_counted_once() {
    let files = MemoryFiles::new([
        (
            "/e/config",
            "log-file /l\nspool /s # old\ninclude more\n<domian x>\n max-smtp-out 1\n</domian>\n\
          <domain *>\n dk-sign no\n dkim-sign yes\n max-msg-per-hour 5\n max-smtp-out x\n type smtp\n</domain>\n\"\n",
        ),
        ("/e/more", "<gm-imprinter>\n anything at all\n</gm-imprinter>\nnonsense\n"),
    ]);
    let loaded = load("/e/config", &files, true);
    let [main, more] = &loaded.files[..] else { panic!("{:?}", loaded.files) };
    assert_eq!((main.lines, main.in_effect, main.planned, main.without_effect, main.older), (12, 5, 1, 1, 1));
    assert_eq!((main.left_out, main.errors, main.warnings), (4, 0, 3));
    assert_eq!((more.lines, more.without_effect, more.left_out, more.warnings), (3, 2, 1, 1));
    let config = loaded.config.unwrap();
    assert!(config.notes().iter().any(|n| n.to_string().contains("Goodmail")), "{:?}", config.notes());
}
