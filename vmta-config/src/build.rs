//! The tree into a configuration: tags by tag, then the links between them.

use std::collections::HashMap;
use std::sync::RwLock;

use ipnet::IpNet;

use crate::address_list::AddressList;
use crate::aliases::Aliases;
use crate::build_lists::{self, Call};
use crate::build_sources;
use crate::check;
use crate::config::{
    AcctFile, AcctTarget, ApiListener, Config, Level, Section, SmtpListener, SmtpUser, Spool, VmtaOrPool,
};
use crate::diagnostic::Findings;
use crate::domains::DomainIndex;
use crate::files::Files;
use crate::lex::Word;
use crate::lines::Lines;
use crate::older;
use crate::patterns::BouncePattern;
use crate::report::Usage;
use crate::rollup::MxRollups;
use crate::scope::Scope;
use crate::settings::{
    AcctSettings, ApiListenerSettings, ApiSettings, Global, ListenerSettings, UserSettings,
};
use crate::slots::{Setting, Slots};
use crate::source::{Place, Sources};
use crate::table::find;
use crate::tree::{Block, Item};
use crate::value::{DomainPattern, Named, Syntax, Value, expand_patterns, network};

pub(crate) struct Builder<'a> {
    pub lines: Lines<'a>,
    pub files: &'a dyn Files,
    pub config: Config,
    /// What was defined, with its place.
    pub defined: HashMap<(Named, String), Place>,
    /// Lines that call a pattern list by its name.
    pub calls: Vec<Call>,
}

/// Builds what can be built; with errors among the findings the result is incomplete and not used.
pub(crate) fn build(
    sources: &Sources,
    findings: &mut Findings,
    usage: &mut Usage,
    items: &[Item],
    files: &dyn Files,
) -> Config {
    let mut lines = Lines::new(sources, findings, usage, items);
    let mut top = lines.settings(items, Scope::Global);
    older::name_sources(&mut lines, &mut top, Scope::Global, None);
    let mut builder =
        Builder { lines, files, config: empty(&top), defined: HashMap::new(), calls: Vec::new() };
    builder.top_level(&top);
    builder.config.included = builder.included_headers(&top);
    builder.keep(Scope::Global, String::new(), "", top);
    for block in blocks(items) {
        builder.block(block);
    }
    older::listen(&mut builder);
    builder.config.levels.iter_mut().for_each(Level::classify);
    check::link(&mut builder);
    build_lists::link(&mut builder);
    check::whole(&mut builder);
    build_sources::reserves(&mut builder);
    builder.config.notes = builder.lines.notes();
    builder.config
}

fn empty(top: &[Setting]) -> Config {
    Config {
        global: Global::read(&Slots::merge([top])),
        included: None,
        spools: Vec::new(),
        listeners: Vec::new(),
        smtp_users: Vec::new(),
        source_groups: Vec::new(),
        acct_files: Vec::new(),
        api: ApiSettings::read(&Slots::default()),
        api_listeners: Vec::new(),
        source_base: Vec::new(),
        sources_by_network: Vec::new(),
        sources_by_name: HashMap::new(),
        sections: Vec::new(),
        levels: vec![Level::default()],
        vmtas: Vec::new(),
        pools: Vec::new(),
        by_name: HashMap::new(),
        categories: Vec::new(),
        smtp_pattern_lists: HashMap::new(),
        pattern_lists: Vec::new(),
        pattern_lists_by_name: HashMap::new(),
        address_lists: HashMap::new(),
        rollups: MxRollups::default(),
        rewrite_lists: HashMap::new(),
        aliases: Aliases::default(),
        relay: DomainIndex::default(),
        relay_addresses: AddressList::default(),
        failure_words: None,
        notes: Vec::new(),
        merged: RwLock::default(),
    }
}

pub(crate) fn blocks(items: &[Item]) -> impl Iterator<Item = &Block> {
    items.iter().filter_map(|item| match item {
        Item::Block(block) => Some(block),
        Item::Line(_) => None,
    })
}

impl Builder<'_> {
    /// Directives of the top level that stand for something a tag can define too.
    fn top_level(&mut self, top: &[Setting]) {
        for setting in top {
            match (setting.written.row().name, &setting.value) {
                ("smtp-listener", Value::Listener(network, port, source)) => {
                    let (network, port, origin) = (*network, *port, setting.origin.clone());
                    let settings = ListenerSettings { source: source.clone(), ..ListenerSettings::default() };
                    self.config.listeners.push(SmtpListener { network, port, settings, origin });
                }
                ("spool", Value::Text(directory)) => {
                    let settings = older::spool_settings(top, &[]);
                    let (directory, origin) = (directory.clone(), setting.origin.clone());
                    self.config.spools.push(Spool { directory, settings, origin });
                }
                ("always-allow-relaying", _) => {
                    // The same directive, one level up: it applies to every source that does not say otherwise.
                    let slot = find(Scope::Source, "always-allow-relaying").unwrap_or(setting.slot);
                    self.config.source_base.push(Setting { slot, ..setting.clone() });
                }
                ("relay-address", _) => self.relay_address(setting),
                ("alias", value) => self.alias(value),
                ("postmaster", Value::Text(address)) => self.postmaster(address, setting.place),
                ("dsn-failed-body-template-from", value) => self.failure_words(value, setting.place),
                _ => {}
            }
        }
        self.config.relay_addresses.sort();
        let names = self.config.global.host_names.iter().cloned().map(DomainPattern::Exact);
        for pattern in self.config.global.relay_domains.iter().cloned().chain(names) {
            self.config.relay.add(&pattern, false, ());
        }
    }

    fn block(&mut self, block: &Block) {
        let Some(tag) = block.tag else { return };
        match tag.scope {
            Scope::Domain => self.domain(block, 0, ""),
            Scope::VirtualMta => self.virtual_mta(block),
            Scope::VirtualMtaPool => self.pool(block),
            Scope::Source => self.source(block),
            Scope::Spool => self.spool(block),
            Scope::SmtpListener => self.listener(block),
            Scope::SmtpUser => self.smtp_user(block),
            Scope::SourceGroup => self.source_group(block),
            Scope::AcctFile => self.acct_file(block),
            Scope::TransmissionsApi => self.api(block),
            Scope::TransmissionsApiListener => self.api_listener(block),
            Scope::SmtpPatternList => self.smtp_pattern_list(block),
            Scope::PatternList => self.pattern_list(block),
            Scope::AddressList => self.address_list(block),
            Scope::MxRollupList => self.rollups(block),
            Scope::RewriteList => self.rewrite_list(block),
            Scope::BounceCategoryPatterns => self.categories(block),
            Scope::Aliases => self.aliases(block),
            _ => self.checked_only(block, ""),
        }
    }

    /// Keeps the directives of a tag; gives its number.
    fn keep(&mut self, scope: Scope, label: String, arg: &str, settings: Vec<Setting>) -> usize {
        self.config.sections.push(Section { scope, label, arg: arg.to_string(), settings });
        self.config.sections.len() - 1
    }

    pub(crate) fn keep_block(&mut self, block: &Block, outer: &str, settings: Vec<Setting>) -> usize {
        let Some(tag) = block.tag else { return 0 };
        let label = match block.arg.as_str() {
            "" => format!("{outer}<{}>", tag.name),
            arg => format!("{outer}<{} {arg}>", tag.name),
        };
        self.keep(tag.scope, label, &block.arg, settings)
    }

    /// The settings of the top level.
    fn top(&self) -> &[Setting] {
        self.config.sections.first().map_or(&[], |s| s.settings.as_slice())
    }

    /// Remembers a definition; a second one of the same kind and name is an error.
    pub(crate) fn define(&mut self, kind: Named, block: &Block) -> bool {
        let Some(before) = self.defined.insert((kind, block.arg.clone()), block.arg_at) else { return true };
        let what = block.tag.map_or("", |t| t.name);
        let first = self.lines.sources.origin(before);
        let other = match self.config.by_name.get(&block.arg) {
            Some(VmtaOrPool::Vmta(_)) if kind == Named::VirtualMta && what != "virtual-mta" => "virtual MTA",
            Some(VmtaOrPool::Pool(_)) if kind == Named::VirtualMta && what != "virtual-mta-pool" => "pool",
            _ => "",
        };
        let (message, help) = if other.is_empty() {
            let message = format!("<{what} {}> is defined a second time", block.arg);
            (message, format!("the first one is at {first}"))
        } else {
            let message = format!("`{}` is the name of a {other} already, at {first}", block.arg);
            (message, "virtual MTAs and pools share their names: choose another one".to_string())
        };
        self.lines.error(block.arg_at, message, Some(help));
        false
    }

    /// Tags that are not in effect yet: their lines are parsed and noted.
    fn checked_only(&mut self, block: &Block, outer: &str) {
        let Some(tag) = block.tag else { return };
        let kind = match tag.scope {
            Scope::AddressList => Some(Named::AddressList),
            Scope::Proxy => Some(Named::Proxy),
            _ => None,
        };
        if let Some(kind) = kind.filter(|_| !block.arg.is_empty()) {
            self.define(kind, block);
        }
        let settings = self.lines.settings(&block.items, tag.scope);
        check::tag(self, block, tag.scope, &settings);
        build_lists::idle(self, block, tag.scope);
        let kept = self.keep_block(block, outer, settings);
        let label = format!("{} ", self.config.sections[kept].label);
        for inner in blocks(&block.items) {
            self.checked_only(inner, &label);
        }
    }

    /// One `<domain>`: its settings once, its patterns into the index of its level.
    fn domain(&mut self, block: &Block, level: u32, outer: &str) {
        let settings = self.lines.settings(&block.items, Scope::Domain);
        let word = Word { text: block.arg.clone(), at: 0..block.arg.len(), quoted: false };
        if block.arg.contains(char::is_whitespace) || block.arg.contains(',') {
            let name = block.arg.split([' ', ',', '\t']).next().unwrap_or("");
            let list: Vec<&str> = block.arg.split([' ', ',', '\t']).filter(|d| !d.is_empty()).collect();
            let help = format!("write `domain-macro NAME {}` and `<domain $NAME>`", list.join(","));
            let place = block.arg_at.part(&(name.len()..block.arg.len()));
            return self.lines.error(place, "a <domain> tag is for one domain".into(), Some(help));
        }
        let patterns = match expand_patterns(&word, &self.lines.macros) {
            Ok(patterns) => patterns,
            Err(e) => return self.lines.error(block.arg_at, e.message, e.help),
        };
        check::tag(self, block, Scope::Domain, &settings);
        let index = self.keep_block(block, outer, settings) as u32;
        let names: Vec<DomainPattern> =
            self.config.global.host_names.iter().cloned().map(DomainPattern::Exact).collect();
        let level = &mut self.config.levels[level as usize];
        for (pattern, from_macro) in patterns {
            match pattern {
                // A name of this host written out literally beats `local`, as it beats a macro.
                DomainPattern::Local => names.iter().for_each(|name| level.add(name, true, index)),
                _ => level.add(&pattern, from_macro, index),
            }
        }
    }

    /// The `<domain>` entries inside a VMTA or pool, as a level of their own.
    pub(crate) fn inner_domains(&mut self, block: &Block, outer: &str) -> Option<u32> {
        let level = self.config.levels.len() as u32;
        let mut inner =
            blocks(&block.items).filter(|b| b.tag.is_some_and(|t| t.scope == Scope::Domain)).peekable();
        inner.peek()?;
        self.config.levels.push(Level::default());
        for domain in inner {
            self.domain(domain, level, &format!("<{outer} {}> ", block.arg));
        }
        Some(level)
    }

    /// By address if the argument is one, otherwise by name. The same source twice merges, in the order of the file.
    fn source(&mut self, block: &Block) {
        let settings = self.lines.settings(&block.items, Scope::Source);
        let by_address = network(&block.arg);
        build_sources::trust(self, by_address.as_ref(), &settings);
        if let Some(net) = by_address {
            let list = &mut self.config.sources_by_network;
            match list.iter_mut().find(|(n, _)| *n == net) {
                Some((_, known)) => known.extend(settings),
                None => {
                    let at = list.partition_point(|(n, _)| width(n) >= width(&net));
                    list.insert(at, (net, settings));
                }
            }
            return;
        }
        if is_meant_as_network(&block.arg) {
            let message = format!("`{}` is not an address or a network", block.arg);
            let help = "write an address (192.0.2.1, ::1) or a network (192.0.2.0/24, 10/8, 0/0); a name has a letter";
            self.lines.error(block.arg_at, message, Some(help.into()));
            return;
        }
        self.defined.insert((Named::Source, block.arg.clone()), block.arg_at);
        self.config.sources_by_name.entry(block.arg.clone()).or_default().extend(settings);
    }

    fn spool(&mut self, block: &Block) {
        let settings = self.lines.settings(&block.items, Scope::Spool);
        let typed = older::spool_settings(self.top(), &settings);
        self.keep_block(block, "", settings);
        let origin = self.lines.sources.origin(block.at);
        self.config.spools.push(Spool { directory: block.arg.clone(), settings: typed, origin });
    }

    fn listener(&mut self, block: &Block) {
        let settings = self.lines.settings(&block.items, Scope::SmtpListener);
        let typed = ListenerSettings::read(&Slots::merge([settings.as_slice()]));
        self.keep_block(block, "", settings);
        match Syntax::Listener.parse(&block.arg, &self.lines.macros) {
            Ok(Value::Listener(network, port, None)) => {
                let origin = self.lines.sources.origin(block.at);
                self.config.listeners.push(SmtpListener { network, port, settings: typed, origin });
            }
            Ok(_) => {
                let help = "write a line `source NAME` inside the tag".to_string();
                self.lines.error(block.arg_at, "a tag takes only ADDRESS:PORT".into(), Some(help));
            }
            Err(e) => self.lines.error(block.arg_at.part(&e.at), e.message, e.help),
        }
    }

    fn smtp_user(&mut self, block: &Block) {
        let settings = self.lines.settings(&block.items, Scope::SmtpUser);
        let typed = UserSettings::read(&Slots::merge([settings.as_slice()]));
        self.keep_block(block, "", settings);
        let origin = self.lines.sources.origin(block.at);
        if let Some(first) = self.config.smtp_users.iter().find(|user| user.name == block.arg) {
            let message = format!("<smtp-user {}> is defined a second time", block.arg);
            let help = format!("the first one is at {}", first.origin);
            return self.lines.error(block.arg_at, message, Some(help));
        }
        check::smtp_user(self, block, &typed);
        self.config.smtp_users.push(SmtpUser { name: block.arg.clone(), settings: typed, origin });
    }

    fn acct_file(&mut self, block: &Block) {
        let settings = self.lines.settings(&block.items, Scope::AcctFile);
        check::acct_file(self, &settings);
        let target = match block.arg.strip_prefix('|') {
            Some(command) => AcctTarget::Pipe(command.trim().to_string()),
            None => AcctTarget::File(block.arg.clone()),
        };
        let typed = AcctSettings::read(&Slots::merge([settings.as_slice()]));
        self.keep_block(block, "", settings);
        let origin = self.lines.sources.origin(block.at);
        self.config.acct_files.push(AcctFile { target, settings: typed, origin });
    }

    /// Several tags are one.
    fn api(&mut self, block: &Block) {
        let settings = self.lines.settings(&block.items, Scope::TransmissionsApi);
        self.keep_block(block, "", settings);
        let all = self.config.sections.iter().filter(|s| s.scope == Scope::TransmissionsApi);
        self.config.api = ApiSettings::read(&Slots::merge(all.map(|s| s.settings.as_slice())));
    }

    fn api_listener(&mut self, block: &Block) {
        let settings = self.lines.settings(&block.items, Scope::TransmissionsApiListener);
        let typed = ApiListenerSettings::read(&Slots::merge([settings.as_slice()]));
        self.keep_block(block, "", settings);
        let address = match Syntax::Listener.parse(&block.arg, &self.lines.macros) {
            Ok(Value::Listener(network, port, None)) => {
                ApiListener::new(network, port, typed, self.lines.sources.origin(block.at))
            }
            Ok(_) => None,
            Err(e) => return self.lines.error(block.arg_at.part(&e.at), e.message, e.help),
        };
        match address {
            Some(listener) => {
                check::api_listener(self, block, &listener);
                self.config.api_listeners.push(listener);
            }
            None => {
                let help = "write 127.0.0.1:8000, 0.0.0.0:8000 or [::1]:8000".to_string();
                self.lines.error(block.arg_at, "this tag takes one ADDRESS:PORT".into(), Some(help));
            }
        }
    }

    fn aliases(&mut self, block: &Block) {
        let settings = self.lines.settings(&block.items, Scope::Aliases);
        settings.iter().for_each(|setting| self.alias(&setting.value));
        self.keep_block(block, "", settings);
    }

    fn alias(&mut self, value: &Value) {
        if let Value::List(all) = value
            && let Some((source, targets)) = all.split_first()
        {
            self.config.aliases.add(source, targets);
        }
    }

    fn categories(&mut self, block: &Block) {
        let settings = self.lines.settings(&block.items, Scope::BounceCategoryPatterns);
        for s in &settings {
            if let Value::Category(pattern, category) = &s.value {
                let (pattern, category) = (pattern.clone(), category.clone());
                self.config.categories.push(BouncePattern { pattern, category, origin: s.origin.clone() });
            }
        }
        self.keep_block(block, "", settings);
    }
}

/// How many addresses a network is for, as a power of two; a prefix of 0 is for those of both families.
fn width(net: &IpNet) -> u8 {
    match net.prefix_len() {
        0 => u8::MAX,
        prefix => net.max_prefix_len() - prefix,
    }
}

/// Digits with dots, a slash or colons: a slip of the pen, and no name that somebody would choose.
fn is_meant_as_network(text: &str) -> bool {
    let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
    let v6 =
        address.contains(':') && address.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
    let v4 = address.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.contains(['.', '/']);
    (v4 || v6) && prefix.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}
