//! `<virtual-mta>` and `<virtual-mta-pool>`.

use crate::build::Builder;
use crate::check;
use crate::config::{Pool, VirtualMta, VmtaOrPool};
use crate::older;
use crate::scope::Scope;
use crate::slots::Slots;
use crate::tree::Block;
use crate::value::Named;

impl Builder<'_> {
    pub(crate) fn virtual_mta(&mut self, block: &Block) {
        let mut settings = self.lines.settings(&block.items, Scope::VirtualMta);
        let main = self.config.global.host_names.first().cloned();
        older::name_sources(&mut self.lines, &mut settings, Scope::VirtualMta, main);
        check::tag(self, block, Scope::VirtualMta, &settings);
        let slots = Slots::merge([settings.as_slice()]);
        let mut source_hosts = slots.read(Scope::VirtualMta, "smtp-source-host");
        if Vec::is_empty(&source_hosts) {
            source_hosts = self.config.global.source_hosts.clone();
        }
        let host_name = slots.read(Scope::VirtualMta, "host-name");
        let cold = slots.read(Scope::VirtualMta, "cold-virtual-mta");
        let rewrite_list = slots.read(Scope::VirtualMta, "rewrite-list");
        let included = self.included_headers(&settings);
        let level = self.inner_domains(block, "virtual-mta");
        if !self.define_vmta(block) {
            return;
        }
        let section = self.keep_block(block, "", settings);
        let at = VmtaOrPool::Vmta(self.config.vmtas.len());
        self.config.by_name.insert(block.arg.clone(), at);
        self.config.vmtas.push(VirtualMta {
            name: block.arg.clone(),
            source_hosts,
            host_name,
            pools: Vec::new(),
            cold,
            rewrite_list,
            included,
            origin: self.lines.sources.origin(block.at),
            level,
            pool_level: None,
            section,
        });
    }

    /// Virtual MTAs and pools share their names.
    fn define_vmta(&mut self, block: &Block) -> bool {
        if block.arg.starts_with('{') {
            let help =
                "choose a name without braces; `{default}` is what mail without a choice uses".to_string();
            self.lines.error(block.arg_at, "names in braces are reserved".into(), Some(help));
            return false;
        }
        self.define(Named::VirtualMta, block)
    }

    pub(crate) fn pool(&mut self, block: &Block) {
        let settings = self.lines.settings(&block.items, Scope::VirtualMtaPool);
        let slots = Slots::merge([settings.as_slice()]);
        let members: Vec<String> = slots.read(Scope::VirtualMtaPool, "virtual-mta");
        let cold = slots.read(Scope::VirtualMtaPool, "cold-virtual-mta");
        let rewrite_list = slots.read(Scope::VirtualMtaPool, "rewrite-list");
        let included = self.included_headers(&settings);
        let level = self.inner_domains(block, "virtual-mta-pool");
        if !self.define_vmta(block) {
            return;
        }
        if members.is_empty() {
            let help = "add at least one `virtual-mta NAME` line".to_string();
            self.lines.error(block.arg_at, format!("pool `{}` has no members", block.arg), Some(help));
        }
        let section = self.keep_block(block, "", settings);
        let at = VmtaOrPool::Pool(self.config.pools.len());
        self.config.by_name.insert(block.arg.clone(), at);
        let origin = self.lines.sources.origin(block.at);
        self.config.pools.push(Pool {
            name: block.arg.clone(),
            members,
            cold,
            origin,
            rewrite_list,
            included,
            level,
            section,
        });
    }
}
