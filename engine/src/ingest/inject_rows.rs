//! Recipients of an injection: JSON objects become rows of a batch, each with the values that the content uses.

use super::batch::{Batch, MAX_ROW};
use super::fault::Fault;
use super::inject::{InjectError, InjectHead};
use super::inject_content::EMAIL;
use super::plan::{Plan, UsedField};
use crate::mail::Content;
use crate::mail::content::{looks_typed, typed};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Longest recipient, in bytes of JSON.
pub const MAX_RECIPIENT: usize = MAX_ROW;

/// A field and the value of recipients that have none of their own.
#[derive(Debug)]
struct Field {
    name: String,
    common: String,
}

/// What the rows of one content are made of.
#[derive(Debug)]
pub struct InjectRows {
    fields: Vec<Field>,
    typed: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipient<'a> {
    #[serde(borrow)]
    email: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    substitutions: Substitutions<'a>,
    #[serde(borrow, default)]
    metadata: Substitutions<'a>,
}

/// A string that borrows where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Keys and values in their order.
#[derive(Default)]
struct Substitutions<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Substitutions<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Substitutions<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(key), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    pairs.push((key, value));
                }
                Ok(Substitutions(pairs))
            }
        }
        json.deserialize_map(Pairs)
    }
}

impl InjectRows {
    /// The rows that `content` needs, and how an import reads them.
    ///
    /// # Errors
    /// When a value that all recipients share cannot be merged.
    pub fn new(head: &InjectHead, content: &Content) -> Result<(InjectRows, Plan), InjectError> {
        let typed = content.is_typed();
        let mut fields = Vec::new();
        if let Some(raw) = head.substitutions.get(EMAIL) {
            let problem = format!("`{EMAIL}` stands for the address of each recipient; {raw} cannot");
            return Err(InjectError::new("substitutions", problem));
        }
        for name in content.fields().iter().filter(|name| *name != EMAIL) {
            let wrong = |fault: Fault| InjectError::new("substitutions", fault.to_string());
            let common = head.substitutions.get(name).map(|raw| cell(name, raw, typed)).transpose();
            let common = common.map_err(wrong)?.unwrap_or_default().into_owned();
            fields.push(Field { name: name.clone(), common });
        }
        let columns: Vec<String> =
            std::iter::once(EMAIL.to_owned()).chain(fields.iter().map(|f| f.name.clone())).collect();
        let names = content.fields().iter().cloned();
        let used: Vec<UsedField> = names
            .zip(content.fields_in_headers())
            .map(|(name, in_header)| UsedField { name, in_header })
            .collect();
        // All columns are there, each once.
        let plan = Plan::new(&columns, EMAIL, &used)
            .map_err(|errors| InjectError::new("content", format!("{errors:?}")))?;
        Ok((InjectRows { fields, typed }, plan))
    }

    /// Appends recipient `number` (counted from 0) to `batch`, with what is wrong with it.
    ///
    /// # Errors
    /// When it is no JSON: then nobody can tell where it ends.
    pub fn read(&self, number: u64, element: &[u8], batch: &mut Batch) -> Result<(), InjectError> {
        let place = || format!("recipients[{number}]");
        let faulty = |batch: &mut Batch, name: &str, fault: Fault| {
            batch.push_cell(name.as_bytes());
            batch.mark(number, Some(fault));
        };
        let text = match std::str::from_utf8(element) {
            Ok(text) => text,
            Err(e) => {
                faulty(batch, &place(), Fault::JsonUtf8 { at: e.valid_up_to() });
                return Ok(());
            }
        };
        let recipient: Recipient<'_> = match serde_json::from_str(text) {
            Ok(recipient) => recipient,
            Err(e) if e.is_data() => {
                faulty(batch, &place(), Fault::Recipient(e.to_string()));
                return Ok(());
            }
            Err(e) => return Err(InjectError::new(place(), e.to_string())),
        };
        match self.cells(&recipient) {
            Ok(cells) => {
                batch.push_cell(recipient.email.as_bytes());
                cells.iter().for_each(|cell| batch.push_cell(cell.as_bytes()));
                batch.mark(number, None);
            }
            Err(fault) => faulty(batch, &recipient.email, fault),
        }
        Ok(())
    }

    /// The values of the fields in their order.
    fn cells<'a>(&'a self, recipient: &'a Recipient<'a>) -> Result<Vec<Cow<'a, str>>, Fault> {
        if !recipient.metadata.0.is_empty() {
            return Err(Fault::Recipient("metadata is not kept; leave it out".to_owned()));
        }
        let own = &recipient.substitutions.0;
        if own.iter().any(|(key, raw)| key == EMAIL && !is_text(raw, &recipient.email)) {
            let why = format!("the substitution `{EMAIL}` is not the address, which this name stands for");
            return Err(Fault::Recipient(why));
        }
        let mut cells = Vec::with_capacity(self.fields.len());
        let mut next = 0;
        for field in &self.fields {
            // Recipients have their keys in one order: look where the next one should be first.
            let at = match own.get(next) {
                Some((key, _)) if *key == field.name => Some(next),
                _ => own.iter().position(|(key, _)| *key == field.name),
            };
            cells.push(match (at, &recipient.name) {
                (Some(at), _) => {
                    next = at + 1;
                    cell(&field.name, own[at].1, self.typed)?
                }
                (None, Some(Text(name))) if field.name == "name" => Cow::Borrowed(name.as_ref()),
                (None, _) => Cow::Borrowed(field.common.as_str()),
            });
        }
        Ok(cells)
    }
}

fn is_text(raw: &RawValue, text: &str) -> bool {
    serde_json::from_str::<Text<'_>>(raw.get()).is_ok_and(|Text(read)| read == text)
}

/// A value as rows hold it.
fn cell<'a>(field: &str, raw: &'a RawValue, is_typed: bool) -> Result<Cow<'a, str>, Fault> {
    let raw = raw.get();
    match raw.as_bytes().first() {
        Some(b'"') => {
            let Text(text) =
                serde_json::from_str(raw).map_err(|e| Fault::Recipient(format!("`{field}`: {e}")))?;
            match is_typed && looks_typed(&text) {
                true => Err(Fault::Recipient(format!("`{field}` begins with a control character"))),
                false => Ok(text),
            }
        }
        Some(b'n') => Ok(Cow::Borrowed("")),
        Some(b'{' | b'[') if !is_typed => Err(Fault::Nested { field: field.to_owned() }),
        _ if is_typed => Ok(Cow::Owned(typed(raw))),
        // Numbers are shown as they were written, not as a float would show them.
        _ => Ok(Cow::Borrowed(raw)),
    }
}

#[cfg(test)]
#[path = "inject_test.rs"]
mod test;
