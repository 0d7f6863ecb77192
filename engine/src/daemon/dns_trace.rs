//! What a check of a message's origin asks DNS, and what DNS answers, so that it can be told and counted.
//!
//! `mail-auth` looks into a cache before it asks and puts there what it was told: a cache that is always empty learns all
//! questions. Answers that say "there is none" never come to it; those the resolver is asked for again, and remembers.

use crate::io::resolver::Resolver;
use crate::mail::comment::comment;
use crate::route::{Lookup, NoAnswer};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use mail_auth::{Parameters, ResolverCache};
use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// For all answers that are asked for again.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions of one check that are told.
const TOLD: usize = 20;
/// Bytes of the field that one check may have, beyond its last comment.
const MAX_TRACE: usize = 4096;
/// Characters of one answer.
const MAX_ANSWER: usize = 300;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    /// Without the final dot.
    name: String,
    /// Both families where any address will do.
    types: &'static [RecordType],
    answered: bool,
}

type Questions = Arc<Mutex<Vec<Question>>>;

/// The questions of one check about one client.
pub struct Asked {
    questions: Questions,
    txt: Note,
    mx: Note,
    ptr: Note,
    v4: Note,
    v6: Note,
}

impl Asked {
    pub fn about(client: IpAddr) -> Asked {
        let questions = Questions::default();
        let note = |types| Note { types, client, questions: questions.clone() };
        Asked {
            txt: note(&[RecordType::TXT]),
            mx: note(&[RecordType::MX]),
            ptr: note(&[RecordType::PTR]),
            v4: note(&[RecordType::A]),
            v6: note(&[RecordType::AAAA]),
            questions,
        }
    }

    /// A check whose questions are noted.
    pub fn noting<P>(&self, check: P) -> Parameters<'_, P, Note, Note, Note, Note, Note> {
        Parameters::new(check)
            .with_txt_cache(&self.txt)
            .with_mx_cache(&self.mx)
            .with_ptr_cache(&self.ptr)
            .with_ipv4_cache(&self.v4)
            .with_ipv6_cache(&self.v6)
    }

    /// Mechanisms of SPF for which DNS had nothing (RFC 7208 section 4.6.4). Policies are not counted: one that is not there is
    /// an error by itself.
    pub async fn voids(&self, resolver: &Resolver) -> usize {
        let open = self.noted(|question| !question.answered && question.types != [RecordType::TXT]);
        let answers = ask(resolver, &open).await;
        let none = |lookup: &Lookup<String>| {
            matches!(lookup, Err(NoAnswer::NoName { .. } | NoAnswer::NoRecords { .. }))
        };
        open.iter().filter(|question| answers_to(question, &answers).all(|(_, lookup)| none(lookup))).count()
    }

    /// All of it in comments, for behind the result of the check.
    pub async fn told(&self, resolver: &Resolver) -> String {
        let mut all: Vec<Question> = Vec::new();
        for question in self.noted(|_| true) {
            if !all.iter().any(|before| before.name == question.name && before.types == question.types) {
                all.push(question);
            }
        }
        let answers = ask(resolver, &all[..all.len().min(TOLD)]).await;
        let mut out = String::new();
        let mut told = 0;
        for question in all.iter().take(TOLD) {
            if out.len() >= MAX_TRACE {
                break;
            }
            for (record_type, lookup) in answers_to(question, &answers) {
                out.push_str(&comment(&format!("dns {record_type} {}: {}", question.name, in_words(lookup))));
            }
            told += 1;
        }
        if told < all.len() {
            out.push_str(&comment(&format!("dns: {} questions more", all.len() - told)));
        }
        out
    }

    fn noted(&self, which: impl Fn(&Question) -> bool) -> Vec<Question> {
        let questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        questions.iter().filter(|question| which(question)).cloned().collect()
    }
}

/// Hears questions of one type.
pub struct Note {
    types: &'static [RecordType],
    client: IpAddr,
    questions: Questions,
}

impl Note {
    fn question(&self, name: &str) {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        // `exists` asks for either family; nothing else asks for both.
        if self.types == [RecordType::AAAA]
            && let Some(last) = questions.last_mut().filter(|last| last.types == [RecordType::A])
            && !last.answered
            && last.name == name
        {
            last.types = &[RecordType::A, RecordType::AAAA];
            return;
        }
        questions.push(Question { name: name.to_owned(), types: self.types, answered: false });
    }

    fn answer(&self) {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = questions.last_mut() {
            last.answered = true;
        }
    }
}

impl<V> ResolverCache<Box<str>, V> for Note {
    fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<V>
    where
        Box<str>: Borrow<Q>,
    {
        let mut heard = Heard::default();
        name.hash(&mut heard);
        self.question(&heard.text());
        None
    }

    fn remove<Q: Hash + Eq + ?Sized>(&self, _: &Q) -> Option<V>
    where
        Box<str>: Borrow<Q>,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: V, _: Instant) {
        self.answer();
    }
}

impl<V> ResolverCache<IpAddr, V> for Note {
    fn get<Q: Hash + Eq + ?Sized>(&self, _: &Q) -> Option<V>
    where
        IpAddr: Borrow<Q>,
    {
        self.question(&Name::from(self.client).to_ascii());
        None
    }

    fn remove<Q: Hash + Eq + ?Sized>(&self, _: &Q) -> Option<V>
    where
        IpAddr: Borrow<Q>,
    {
        None
    }

    fn insert(&self, _: IpAddr, _: V, _: Instant) {
        self.answer();
    }
}

/// The text that is hashed: all that the trait lets a cache do with a name.
#[derive(Default)]
struct Heard(Vec<u8>);

impl Hasher for Heard {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

impl Heard {
    /// Behind a text stands a byte that no text has.
    fn text(mut self) -> String {
        self.0.pop_if(|byte| *byte == 0xff);
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

type Answer = ((String, RecordType), Lookup<String>);

/// Asks all at once.
async fn ask(resolver: &Resolver, questions: &[Question]) -> Vec<Answer> {
    let mut asked = JoinSet::new();
    for question in questions {
        for &record_type in question.types {
            let (resolver, name) = (resolver.clone(), question.name.clone());
            asked.spawn(async move {
                let lookup = resolver.lookup(&name, record_type, |data| shown(data, record_type));
                let answer = tokio::time::timeout(PATIENCE, lookup).await;
                let none = |_| Err(NoAnswer::Transient("no answer in time".to_owned()));
                ((name, record_type), answer.unwrap_or_else(none))
            });
        }
    }
    asked.join_all().await
}

fn answers_to<'a>(
    question: &'a Question,
    answers: &'a [Answer],
) -> impl Iterator<Item = (RecordType, &'a Lookup<String>)> {
    let of = move |&record_type: &RecordType| {
        let found = answers.iter().find(|((name, of), _)| *name == question.name && *of == record_type);
        found.map(|(_, lookup)| (record_type, lookup))
    };
    question.types.iter().filter_map(of)
}

fn shown(data: &RData, wanted: RecordType) -> Option<String> {
    match data {
        // Its parts are one text (RFC 7208 section 3.3, RFC 6376 section 3.6.2.2).
        RData::TXT(txt) if wanted == RecordType::TXT => {
            Some(format!("\"{}\"", String::from_utf8_lossy(&txt.txt_data.concat())))
        }
        other => (other.record_type() == wanted).then(|| other.to_string()),
    }
}

fn in_words(lookup: &Lookup<String>) -> String {
    let mut found = match lookup {
        Ok(found) => found.records.clone(),
        Err(NoAnswer::NoName { .. }) => return "no such name".to_owned(),
        Err(NoAnswer::NoRecords { .. }) => return "no such record".to_owned(),
        Err(NoAnswer::Transient(why)) => return format!("failed, {why}"),
    };
    // The texts that say what they are go before site verifications and the like.
    found.sort_by_key(|record| !record.starts_with("\"v="));
    let all = found.join(", ");
    match all.char_indices().nth(MAX_ANSWER) {
        Some((end, _)) => format!("{}...", &all[..end]),
        None => all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_auth::{MX, RecordSet, Txt};
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// Looks a name up as `mail-auth` does.
    fn hear<V>(note: &Note, name: &str) {
        assert!(ResolverCache::<Box<str>, V>::get(note, name).is_none());
    }

    #[test]
    fn questions_are_heard_by_name_and_type() {
        let client = IpAddr::from([192, 0, 2, 1]);
        let asked = Asked::about(client);
        hear::<Txt>(&asked.txt, "a.example.");
        let text = Txt::Error(mail_auth::Error::ParseError);
        ResolverCache::<Box<str>, _>::insert(&asked.txt, "a.example.".into(), text, Instant::now());
        hear::<RecordSet<MX>>(&asked.mx, "a.example.");
        assert!(ResolverCache::<IpAddr, RecordSet<Box<str>>>::get(&asked.ptr, &client).is_none());
        // An `a`, then an `exists`.
        hear::<RecordSet<Ipv4Addr>>(&asked.v4, "b.example.");
        hear::<RecordSet<Ipv4Addr>>(&asked.v4, "c.example.");
        hear::<RecordSet<Ipv6Addr>>(&asked.v6, "c.example.");
        let heard: Vec<String> = asked
            .noted(|_| true)
            .iter()
            .map(|question| format!("{} {:?} {}", question.name, question.types, question.answered))
            .collect();
        assert_eq!(
            heard,
            [
                "a.example [TXT] true",
                "a.example [MX] false",
                "1.2.0.192.in-addr.arpa [PTR] false",
                "b.example [A] false",
                "c.example [A, AAAA] false"
            ]
        );
    }

    #[test]
    fn an_answer_is_short_and_begins_with_what_counts() {
        let records = vec![format!("\"{}\"", "x".repeat(400)), "\"v=spf1 -all\"".to_owned()];
        let found = crate::route::Found { records, ttl: Duration::ZERO, alias: false };
        let words = in_words(&Ok(found));
        assert!(words.starts_with("\"v=spf1 -all\", \"xxx") && words.ends_with("x..."), "{words}");
        assert_eq!(words.len(), MAX_ANSWER + 3);
        assert_eq!(in_words(&Err(NoAnswer::NoName { ttl: Duration::ZERO })), "no such name");
    }
}
