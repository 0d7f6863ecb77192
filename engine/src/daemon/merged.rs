//! Merged messages on their way in: each text once, recipients as rows, and a submission for each envelope that differs.
//! All of it is one group: durable together or not at all.

use super::authenticity;
use super::choice::{self, Way};
use super::handed::Handed;
use super::intake::{Intake, Ready, Refused};
use super::profiles::Configured;
use super::spoken::{self, Spoken};
use crate::base::Wall;
use crate::ingest::merged::{Common, Filled, Rows, Text, Texts, Variant, join, variants};
use crate::ingest::submission::{self, SubmissionError};
use crate::mail::header::Header;
use crate::mail::merge::Before;
use crate::mail::plain::{PlainOptions, prepare_plain};
use crate::mail::priority::Priority;
use crate::mail::row::{REFUSED_FIELD, SENDER_FIELD};
use crate::smtp::merge::Merge;
use crate::spool::record::{Control, Draft, Group, Submission};
use std::sync::Arc;
use vmta_config::SourceSettings;

/// A text in the group.
struct Stored {
    text: Text,
    /// As it came; kept for a pattern list to look at.
    raw: Vec<u8>,
    spoken: Spoken,
    at: usize,
    bytes: Arc<[u8]>,
}

/// A group being filled.
struct Filling<'a> {
    intake: &'a Intake,
    handed: &'a Handed<'a>,
    source: &'a SourceSettings,
    configured: &'a Configured,
    common: Common<'a>,
    now: Wall,
    drafts: Vec<Draft>,
    ready: Vec<Ready>,
    texts: Texts<'a>,
    stored: Vec<Stored>,
    filled: Filled,
}

impl Intake {
    /// A merged message, ready for the spool.
    pub(super) fn prepare_merged(
        &self,
        handed: &Handed<'_>,
        merge: &Merge,
        source: &SourceSettings,
        now: Wall,
    ) -> Result<(Group, Vec<Ready>), Refused> {
        if merge.is_empty() {
            return Err(SubmissionError::NoRecipients.into());
        }
        let configured = self.configured.load();
        let id = self.storage.new_id();
        let (name, date) = (format!("{id:x}"), self.date(now));
        let received = handed.received(source, &configured.host, &name, &date.text);
        let authentication = handed.authentication;
        let trace = match received.is_some() || !authentication.is_empty() {
            true => {
                prepare_plain(b"", &PlainOptions { received, authentication, ..PlainOptions::default() })?
            }
            false => Vec::new(),
        };
        let of_ids = configured.message_name(id);
        let message_id = source.add_message_id_header.then_some((of_ids.as_str(), &*configured.host));
        let common = Common {
            merge,
            before: Before { lines: &trace, message_id },
            sender: handed.sender,
            date: &date.text,
            expand_undefined: configured.config.global().mailmerge_expands_undefined_variables,
            max_hops: source.max_message_hops as usize,
        };
        for variable in merge.without_effect() {
            tracing::warn!(message = name, variable, "merge: a variable is defined that has no effect");
        }
        let mut filling = Filling {
            intake: self,
            handed,
            source,
            configured: &configured,
            common,
            now,
            drafts: Vec::new(),
            ready: Vec::new(),
            texts: Texts::default(),
            stored: Vec::new(),
            filled: Filled::new(&fastrand::u128(..).to_le_bytes()),
        };
        for (index, variant) in variants(merge).iter().enumerate() {
            // The first has the name that the client is told.
            let id = if index == 0 { id } else { self.storage.new_id() };
            filling.variant(id, variant)?;
        }
        let Filling { mut drafts, ready, .. } = filling;
        if !handed.pickup_identity.is_empty() {
            drafts.push(Draft::Control(Control::PickupDone { identity: handed.pickup_identity.clone() }));
        }
        Ok((Group { drafts }, ready))
    }
}

impl<'a> Filling<'a> {
    /// `id` is the name of the first submission that comes of it.
    fn variant(&mut self, id: u64, variant: &Variant<'a>) -> Result<(), Refused> {
        let number = self.text(variant)?;
        let asked = match variant.virtual_mta {
            Some(name) => self.named(name)?,
            None => {
                let spoken = &self.stored[number].spoken.virtual_mta;
                self.handed.virtual_mta.map(str::to_owned).or_else(|| spoken.clone())
            }
        };
        if self.source.pattern_list.is_none() {
            let way = choice::way(asked, self.handed, self.source, self.configured)?;
            return self.submission(id, number, variant, way);
        }
        for (index, (way, rows)) in self.ways(number, asked.as_deref(), variant)?.into_iter().enumerate() {
            let id = if index == 0 { id } else { self.intake.storage.new_id() };
            self.submission(id, number, &Variant { rows, ..*variant }, way)?;
        }
        Ok(())
    }

    /// The recipients by the way that the source's pattern list gives each (reference 6.3).
    fn ways(
        &self,
        number: usize,
        asked: Option<&str>,
        variant: &Variant<'a>,
    ) -> Result<Vec<(Way, Vec<u32>)>, Refused> {
        let merge = self.common.merge;
        let own = merge.number(SENDER_FIELD);
        let mut ways: Vec<(Way, Vec<u32>)> = Vec::new();
        for &index in &variant.rows {
            let row = merge.row(index as usize);
            let sender = row.values().find(|(variable, _)| Some(*variable) == own).map(|(_, value)| value);
            let letter = Handed {
                sender: sender.unwrap_or(self.handed.sender),
                recipients: &[row.address.to_owned()],
                message: &self.stored[number].raw,
                local_ip: self.handed.local_ip,
                ..Handed::default()
            };
            let way = choice::way(asked.map(str::to_owned), &letter, self.source, self.configured)?;
            match ways.iter_mut().find(|(known, _)| *known == way) {
                Some((_, rows)) => rows.push(index),
                None => ways.push((way, vec![index])),
            }
        }
        Ok(ways)
    }

    /// Puts recipients who have all in common into the group.
    fn submission(
        &mut self,
        id: u64,
        number: usize,
        variant: &Variant<'a>,
        Way { virtual_mta: asked, members, priority }: Way,
    ) -> Result<(), Refused> {
        let Stored { text, spoken, at, bytes, .. } = &self.stored[number];
        let mut records = text.rows(self.common.merge, variant, &mut self.filled)?;
        // A row of a pool takes its turn with all other messages.
        self.intake.in_turn(asked.clone(), &members, |rotation| {
            for Rows { draft, domains } in &mut records {
                draft.vmtas.clone_from(&members);
                draft.vmta.iter_mut().zip(domains).for_each(|(vmta, domain)| *vmta = rotation.next(domain));
            }
        })?;
        let mut submission = Submission {
            id,
            job: spoken::job(
                variant.job.or(self.handed.job),
                spoken.job.clone(),
                self.source,
                self.handed.smtp_user,
            ),
            envid: variant
                .envid
                .or(self.handed.envid)
                .map(str::to_owned)
                .or_else(|| spoken.envid.clone())
                .unwrap_or_default(),
            virtual_mta: asked,
            schedule: match variant.schedule {
                Some(times) => spoken::schedule("*schedule", times)?,
                None => spoken.schedule.clone(),
            },
            priority: variant.priority.and_then(|n| n.parse().ok()).map_or(priority, Priority::new),
            fields: text.content.fields().to_vec(),
            ..self.handed.header(self.source, self.now)
        };
        submission.fields.extend(variant.refused.then(|| REFUSED_FIELD.to_owned()));
        submission::describe(&mut submission, &text.content);
        let content = (*at, bytes.clone());
        self.ready.push(Ready::put(&mut self.drafts, submission, content, records));
        Ok(())
    }

    /// The number of the text that these recipients get, which is put into the group if it is new.
    fn text(&mut self, variant: &Variant<'a>) -> Result<usize, Refused> {
        let (number, new) = self.texts.number(variant.parts)?;
        if !new {
            return Ok(number);
        }
        let merge = self.common.merge;
        let first = merge.row(variant.rows[0] as usize).address;
        let max = self.source.max_message_size.map_or(usize::MAX, |n| n as usize);
        let raw = join(merge, self.handed.message, variant.parts, first, self.texts.room(max))?;
        self.texts.grow(raw.len());
        let overridden = Header::scan(&raw).find("x-sender-override").is_some();
        if overridden && !self.handed.pickup_identity.is_empty() {
            let problem = "a merged message has its senders from XMRG and *from".to_owned();
            return Err(Refused::Header { field: "x-sender-override".to_owned(), problem });
        }
        let spoken = Spoken::read(&raw, self.source)?;
        for (field, said) in
            [("x-virtual-mta", &spoken.virtual_mta), ("x-job", &spoken.job), ("x-envid", &spoken.envid)]
        {
            if said.as_ref().is_some_and(|said| said.contains('[')) {
                let problem = "variables are not merged here; define *vmta, *jobid or *envid".to_owned();
                return Err(Refused::Header { field: field.to_owned(), problem });
            }
        }
        let mut remove = spoken::removed(self.source);
        if !self.handed.authentication.is_empty() {
            remove.push(authenticity::FIELD);
        }
        let options = PlainOptions {
            lf_ends_lines: self.handed.lf_ends_lines,
            remove: &remove,
            ..PlainOptions::default()
        };
        let text = Text::compile(&self.common, &prepare_plain(&raw, &options)?, first)?;
        let bytes = submission::stored(&text.content);
        let raw = if self.source.pattern_list.is_some() { raw } else { Vec::new() };
        self.stored.push(Stored { text, raw, spoken, at: self.drafts.len(), bytes: bytes.clone() });
        self.drafts.push(Draft::Content(bytes));
        Ok(number)
    }

    /// The virtual MTA that `*vmta` names; an empty one is what an empty `x-virtual-mta` is.
    fn named(&self, name: &str) -> Result<Option<String>, Refused> {
        match name {
            "" if self.source.allow_empty_x_virtual_mta => Ok(Some("{default}".to_owned())),
            "" if self.source.reject_invalid_virtual_mta => Err(Refused::NoSuchVmta(String::new())),
            "" => Ok(None),
            name => Ok(Some(name.to_owned())),
        }
    }
}
