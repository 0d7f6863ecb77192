//! The virtual MTAs of an injection's recipients: one choice for all of them, or, where the source's pattern list asks for
//! recipients, one for each (reference 6.3: as in mail merge).

use crate::daemon::choice::{self, Way};
use crate::daemon::handed::Handed;
use crate::daemon::http::Settings;
use crate::daemon::intake::{Intake, Refused};
use crate::daemon::profiles::Configured;
use crate::ingest::chunk::{Chunk, MembersError};
use crate::ingest::domains::Domains;
use crate::mail::priority::Priority;
use crate::mail::row::row_view;
use std::collections::HashMap;
use std::sync::Arc;
use vmta_config::SourceSettings;

/// See the module's text.
pub struct Vmtas {
    /// What the request as a whole goes through.
    pub asked: String,
    /// Of the request as a whole.
    pub priority: Priority,
    /// What rows are numbered by.
    pub members: Vec<String>,
    each: Option<Each>,
}

/// Where each recipient is asked about.
struct Each {
    configured: Arc<Configured>,
    source: SourceSettings,
    sender: String,
    fields: Vec<u8>,
    local_ip: String,
    /// Every VMTA or pool that may be chosen: its members, and their numbers.
    pools: HashMap<String, (Vec<String>, Vec<u8>)>,
}

impl Vmtas {
    /// `asked` is what the request asks for itself; `fields` and `sender` are what lists see of it.
    pub fn new(
        asked: Option<String>,
        settings: &Settings,
        sender: &str,
        fields: &[u8],
        local_ip: &str,
    ) -> Result<Vmtas, Refused> {
        let (configured, source) = (&settings.configured, &settings.source);
        let list = source.pattern_list.as_deref().filter(|_| asked.is_none());
        let handed = Handed { sender, message: fields, local_ip, ..Handed::default() };
        let Way { virtual_mta: asked, mut members, priority } =
            choice::way(asked, &handed, source, configured)?;
        let Some(list) = list.filter(|list| configured.config.asks_recipients(list)) else {
            return Ok(Vmtas { asked, priority, members, each: None });
        };
        let named = configured.config.may_choose(list).into_iter().map(str::to_owned);
        let mut pools = HashMap::new();
        for name in std::iter::once(asked.clone()).chain(named) {
            let own = if name == asked { Some(members.clone()) } else { configured.members(&name) };
            let own = own.ok_or_else(|| Refused::NoSuchVmta(name.clone()))?;
            let numbers = own.iter().map(|member| number(member, &mut members)).collect::<Result<_, _>>()?;
            pools.insert(name, (own, numbers));
        }
        let each = Each {
            configured: configured.clone(),
            source: source.clone(),
            sender: sender.to_owned(),
            fields: fields.to_vec(),
            local_ip: local_ip.to_owned(),
            pools,
        };
        Ok(Vmtas { asked, priority, members, each: Some(each) })
    }

    /// Gives the rows of a request their turns: those of a request that is a `single` group with all other messages.
    pub fn give_turns(
        &self,
        intake: &Intake,
        domains: &Domains,
        chunks: &mut [Chunk],
        single: bool,
    ) -> Result<(), Refused> {
        let domain_of = |number: u32| domains.name(number).map_or("", |name| name);
        if let Some(each) = &self.each {
            return chunks.iter_mut().try_for_each(|chunk| each.give_turns(intake, chunk, domain_of));
        }
        if !single {
            return Ok(());
        }
        intake.in_turn(self.asked.clone(), &self.members, |rotation| {
            for chunk in chunks {
                for (vmta, domain) in chunk.rows.vmta.iter_mut().zip(&chunk.domains) {
                    *vmta = rotation.next(domain_of(*domain));
                }
            }
        })?;
        Ok(())
    }
}

impl Each {
    fn give_turns<'d>(
        &self,
        intake: &Intake,
        chunk: &mut Chunk,
        domain_of: impl Fn(u32) -> &'d str,
    ) -> Result<(), Refused> {
        let mut from = 0;
        for (row, end) in chunk.rows.ends.iter().enumerate() {
            let address = row_view(&chunk.rows.bytes[from..*end as usize]).map_or("", |row| row.address);
            from = *end as usize;
            let recipients = [address.to_owned()];
            let handed = Handed {
                sender: &self.sender,
                message: &self.fields,
                recipients: &recipients,
                local_ip: &self.local_ip,
                ..Handed::default()
            };
            let asked = choice::way(None, &handed, &self.source, &self.configured)?.virtual_mta;
            let Some((members, numbers)) = self.pools.get(&asked) else {
                return Err(Refused::NoSuchVmta(asked));
            };
            let domain = domain_of(chunk.domains[row]);
            let turn = intake.in_turn(asked, members, |rotation| rotation.next(domain))?;
            chunk.rows.vmta[row] = numbers[usize::from(turn)];
        }
        Ok(())
    }
}

/// The number of a member, which is added where it has none.
fn number(member: &String, members: &mut Vec<String>) -> Result<u8, MembersError> {
    let at = members.iter().position(|known| known == member).unwrap_or_else(|| {
        members.push(member.clone());
        members.len() - 1
    });
    u8::try_from(at).map_err(|_| MembersError::TooMany(members.len()))
}
