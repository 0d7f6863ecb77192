//! The submissions whose recipients wait on this shard, and the jobs they belong to. An entry costs a few dozen bytes
//! until one of its recipients is due; only then is the header read from the spool.

use super::admit::Admit;
use crate::base::Wall;
use crate::mail::priority::Priority;
use crate::mail::schedule::Schedule;
use crate::queue::{Class, Terms};
use crate::spool::record::{Location, Reports, Submission};
use hashbrown::HashMap;
use std::rc::Rc;
use std::sync::Arc;

pub type SubmissionKey = u32;

#[derive(Debug)]
struct Entry {
    at: Location,
    accepted_at: Wall,
    size: u32,
    rows: u32,
    job: u32,
    reports: Reports,
    priority: Priority,
    /// Boxed, because few have any.
    times: Option<Box<Times>>,
    loaded: Option<Rc<Submission>>,
}

/// What says that mail goes later than at once.
#[derive(Debug)]
struct Times {
    start_at: Wall,
    schedule: Schedule,
}

impl Times {
    fn of(admit: &Admit) -> Option<Times> {
        let given = admit.start_at > admit.accepted_at || !admit.schedule.is_empty();
        given.then(|| Times { start_at: admit.start_at, schedule: admit.schedule.clone() })
    }
}

/// What `show jobs` counts for one job on this shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    pub waiting: u64,
    /// Bytes of the messages of those who wait.
    pub bytes: u64,
    pub delivered: u64,
    pub bounced: u64,
    pub deferrals: u64,
}

#[derive(Debug, Default)]
struct Jobs {
    names: Vec<Arc<str>>,
    counts: Vec<JobCounts>,
    by_name: HashMap<Arc<str>, u32>,
}

impl Jobs {
    fn key(&mut self, name: &Arc<str>) -> u32 {
        if let Some(&key) = self.by_name.get(name) {
            return key;
        }
        let key = self.names.len() as u32;
        self.names.push(name.clone());
        self.counts.push(JobCounts::default());
        self.by_name.insert(name.clone(), key);
        key
    }
}

#[derive(Debug, Default)]
pub struct Submissions {
    entries: Vec<Entry>,
    free: Vec<SubmissionKey>,
    by_location: HashMap<Location, SubmissionKey>,
    jobs: Jobs,
}

impl Submissions {
    /// Counts the rows as waiting recipients of their submission.
    pub fn admit(&mut self, admit: &Admit) -> SubmissionKey {
        let (at, size, rows) = (admit.submission, admit.size, admit.rows.len() as u32);
        let job = self.jobs.key(&admit.job);
        self.jobs.counts[job as usize].waiting += u64::from(rows);
        self.jobs.counts[job as usize].bytes += u64::from(rows) * u64::from(size);
        if let Some(&key) = self.by_location.get(&at) {
            self.entries[key as usize].rows += rows;
            return key;
        }
        let entry = Entry {
            at,
            accepted_at: admit.accepted_at,
            size,
            rows,
            job,
            reports: admit.reports,
            priority: admit.priority,
            times: Times::of(admit).map(Box::new),
            loaded: None,
        };
        let key = match self.free.pop() {
            Some(key) => {
                self.entries[key as usize] = entry;
                key
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as SubmissionKey
            }
        };
        self.by_location.insert(at, key);
        key
    }

    /// What it was admitted with, for recipients that go elsewhere.
    pub fn readmit(&self, key: SubmissionKey) -> Admit {
        let entry = &self.entries[key as usize];
        let (start_at, schedule) = match entry.times.as_deref() {
            Some(times) => (times.start_at, times.schedule.clone()),
            None => (entry.accepted_at, Schedule::default()),
        };
        Admit {
            submission: entry.at,
            size: entry.size,
            accepted_at: entry.accepted_at,
            start_at,
            schedule,
            priority: entry.priority,
            reports: entry.reports,
            refused: false,
            job: self.job(key).clone(),
            record: Location::default(),
            first_ordinal: 0,
            queues: Vec::new(),
            rows: Vec::new(),
            content: None,
        }
    }

    pub fn at(&self, key: SubmissionKey) -> Location {
        self.entries[key as usize].at
    }

    pub fn accepted_at(&self, key: SubmissionKey) -> Wall {
        self.entries[key as usize].accepted_at
    }

    /// Whom its recipients stand with in their queues.
    pub fn class(&self, key: SubmissionKey) -> Class {
        let entry = &self.entries[key as usize];
        Class::new(entry.priority, entry.job)
    }

    /// Where each is stored, and when it was accepted.
    pub fn all(&self) -> impl Iterator<Item = (Location, Wall)> {
        self.by_location.iter().map(|(at, key)| (*at, self.entries[*key as usize].accepted_at))
    }

    /// When its recipients may go and are given up.
    pub fn terms(&self, key: SubmissionKey) -> Terms<'_> {
        let entry = &self.entries[key as usize];
        match entry.times.as_deref() {
            Some(Times { start_at, schedule }) => Terms {
                begins: entry.accepted_at.max(*start_at),
                schedule: (!schedule.is_empty()).then_some(schedule),
            },
            None => Terms { begins: entry.accepted_at, schedule: None },
        }
    }

    /// Bytes of the message, or the best estimate.
    pub fn size(&self, key: SubmissionKey) -> u32 {
        self.entries[key as usize].size
    }

    pub fn reports(&self, key: SubmissionKey) -> Reports {
        self.entries[key as usize].reports
    }

    pub fn job(&self, key: SubmissionKey) -> &Arc<str> {
        &self.jobs.names[self.entries[key as usize].job as usize]
    }

    pub fn job_counts(&mut self, key: SubmissionKey) -> &mut JobCounts {
        &mut self.jobs.counts[self.entries[key as usize].job as usize]
    }

    pub fn jobs(&self) -> impl Iterator<Item = (&Arc<str>, JobCounts)> {
        self.jobs.names.iter().zip(self.jobs.counts.iter().copied())
    }

    pub fn loaded(&self, key: SubmissionKey) -> Option<Rc<Submission>> {
        self.entries[key as usize].loaded.clone()
    }

    pub fn load(&mut self, key: SubmissionKey, submission: Submission) -> Rc<Submission> {
        let submission = Rc::new(submission);
        self.entries[key as usize].loaded = Some(submission.clone());
        submission
    }

    /// Forgets the header of a submission whose only recipient is put off: a million deferred single messages
    /// must not keep a million headers in memory.
    pub fn deferred(&mut self, key: SubmissionKey) {
        let entry = &mut self.entries[key as usize];
        if entry.rows <= 1 {
            entry.loaded = None;
        }
    }

    /// One recipient has left the queue. Gives back where the content lay when it was the last one.
    pub fn settled(&mut self, key: SubmissionKey) -> Option<Location> {
        let entry = &mut self.entries[key as usize];
        let counts = &mut self.jobs.counts[entry.job as usize];
        counts.waiting = counts.waiting.saturating_sub(1);
        counts.bytes = counts.bytes.saturating_sub(u64::from(entry.size));
        entry.rows -= 1;
        if entry.rows > 0 {
            return None;
        }
        self.by_location.remove(&entry.at);
        let content = entry.loaded.take().map(|s| s.content);
        self.free.push(key);
        content
    }
}

#[cfg(test)]
mod tests {
    use super::super::admit::AdmitRow;
    use super::*;

    fn admit(at: Location, rows: u16) -> Admit {
        let row = |index| AdmitRow { index, attempts: 0, queue: 0 };
        Admit {
            submission: at,
            size: 100,
            accepted_at: Wall(5),
            start_at: Wall(0),
            schedule: Schedule::default(),
            priority: Priority::default(),
            reports: Reports::default(),
            refused: false,
            job: "spring".into(),
            record: at,
            first_ordinal: 0,
            queues: Vec::new(),
            rows: (0..rows).map(row).collect(),
            content: None,
        }
    }

    #[test]
    fn the_last_recipient_takes_the_entry_with_it() {
        let mut submissions = Submissions::default();
        let at = Location { segment: 1, offset8: 512 };
        let key = submissions.admit(&admit(at, 2));
        assert_eq!(submissions.admit(&admit(at, 1)), key);
        let content = Location { segment: 1, offset8: 600 };
        submissions.load(key, Submission { content, ..Submission::default() });
        assert_eq!(submissions.settled(key), None);
        assert_eq!(submissions.settled(key), None);
        assert_eq!(submissions.jobs().next().unwrap().1.waiting, 1);
        assert_eq!(submissions.settled(key), Some(content));
        let other = submissions.admit(&admit(Location { segment: 2, offset8: 512 }, 1));
        assert_eq!(other, key, "the slot is used again");
        assert!(submissions.loaded(other).is_none(), "and remembers nothing");
    }
}
