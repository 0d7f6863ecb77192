//! `<source-group>` tags, and what clients may be trusted with.

use ipnet::IpNet;

use crate::build::Builder;
use crate::config::SourceGroup;
use crate::diagnostic::Diagnostic;
use crate::scope::Scope;
use crate::settings::GroupSettings;
use crate::slots::{Setting, Slots};
use crate::tree::Block;
use crate::value::{Named, Value};

/// Directives of `<source>` by which a client says who it is.
const TRUSTING: [&str; 2] = ["allow-xclient", "require-proxy-protocol"];

impl Builder<'_> {
    pub(crate) fn source_group(&mut self, block: &Block) {
        let settings = self.lines.settings(&block.items, Scope::SourceGroup);
        let typed = GroupSettings::read(&Slots::merge([settings.as_slice()]));
        let kept = |name: &str| settings.iter().find(|s| s.written.row().name == name).map(|s| s.place);
        let (most, reserved) = (typed.max_smtp_in, typed.reserved_smtp_in);
        if let (Some(most), Some(reserved), Some(place)) = (most, reserved, kept("reserved-smtp-in"))
            && reserved > most
        {
            let message = format!("{reserved} places are reserved for a group that may have {most}");
            let help = "write a number up to that of `max-smtp-in`".to_string();
            self.lines.error(place, message, Some(help));
        }
        self.keep_block(block, "", settings);
        if self.define(Named::SourceGroup, block) {
            let (name, origin) = (block.arg.clone(), self.lines.sources.origin(block.at));
            self.config.source_groups.push(SourceGroup { name, settings: typed, origin });
        }
    }
}

/// Warns where anybody might say that he is somebody else.
pub(crate) fn trust(builder: &mut Builder, source: Option<&IpNet>, settings: &[Setting]) {
    let anybody = source.is_none_or(|network| network.prefix_len() == 0);
    let trusts = |s: &&Setting| TRUSTING.contains(&s.written.row().name) && s.value == Value::Bool(true);
    for setting in settings.iter().filter(trusts).filter(|_| anybody) {
        let message =
            format!("`{}` believes whoever comes what he says of himself", setting.written.row().name);
        let help = "put it into a `<source ADDRESS>` of its own, with the address of the proxy".to_string();
        let found = Diagnostic::at(builder.lines.sources, setting.place, message).help(help).warning();
        builder.lines.findings.add_fatal(found);
    }
}

/// Groups that leave nobody else a place.
pub(crate) fn reserves(builder: &mut Builder) {
    let groups = builder.config.source_groups.iter();
    let reserved: u64 = groups.filter_map(|group| group.settings.reserved_smtp_in).map(u64::from).sum();
    let total = builder.config.global.total_max_smtp_in;
    if reserved >= u64::from(total) && reserved > 0 {
        let message = format!(
            "`reserved-smtp-in` keeps {reserved} places for groups, and `total-max-smtp-in` is {total}: nobody else is let in"
        );
        let help = "raise `total-max-smtp-in`, or reserve less".to_string();
        builder.lines.findings.add_fatal(Diagnostic::whole(message).help(help).warning());
    }
}
