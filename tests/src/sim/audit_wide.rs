//! The auditor over all receivers: what the engine has open at a time, which no receiver sees as a whole.

use super::audit::Auditor;
use std::net::IpAddr;

impl Auditor {
    /// The engine has a connection more.
    pub fn dialled(&mut self, wire: u64, from: Option<IpAddr>) {
        let of = |ip| self.plan.vmtas.iter().position(|vmta| vmta.sources.iter().any(|(own, _)| *own == ip));
        self.dialled.insert(wire, from.and_then(of));
        let open = self.dialled.len();
        if open > self.plan.total as usize {
            let text = format!("{open} connections in all, at most {}", self.plan.total);
            self.breach("total-max-smtp-out", text);
        }
        let Some(vmta) = self.dialled[&wire] else { return };
        let open = self.dialled.values().filter(|of| **of == Some(vmta)).count();
        let vmta = &self.plan.vmtas[vmta];
        if let Some(most) = vmta.max_smtp_out.filter(|most| open > *most as usize) {
            let text = format!("{open} connections of {}, at most {most}", vmta.name);
            self.breach("max-smtp-out of a virtual MTA", text);
        }
    }

    pub fn hung_up(&mut self, wire: u64) {
        self.dialled.remove(&wire);
    }
}
