//! When the client loses patience (RFC 5321 4.5.3.2, S01, S02).

use super::client::{Client, Command, Failure, Phase};
use crate::base::{Now, Time};
use std::time::Duration;

/// What runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    Block,
    Reply,
    Session,
    Idle,
}

impl Client {
    /// When [`Client::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Time> {
        self.patience().map(|(at, _)| at)
    }

    /// Time has passed. Does nothing before [`Client::next_timeout`].
    pub fn handle_timeout(&mut self, now: Now) {
        self.begin(now);
        if let Some((_, what)) = self.patience().filter(|(at, _)| *at <= now.mono) {
            match what {
                Patience::Block => self.fail(Failure::Blocked),
                Patience::Reply if self.phase == Phase::Quitting => self.close(),
                Patience::Reply => self.fail(Failure::Timeout),
                Patience::Session => self.fail(Failure::SessionDeadline),
                Patience::Idle => self.write_quit(),
            }
        }
        self.end();
    }

    fn patience(&self) -> Option<(Time, Patience)> {
        if self.phase == Phase::Closed {
            return None;
        }
        let front = self.expected.front();
        let timeouts = &self.options.timeouts;
        let own = if self.sent < self.appended {
            Some((self.progress + timeouts.block, Patience::Block))
        } else if let Some(front) = front {
            // Waiting begins when the command has left.
            Some((self.since.max(self.progress) + self.reply_time(front.command), Patience::Reply))
        } else if self.phase == Phase::Handshake {
            Some((self.since.max(self.progress) + timeouts.starttls, Patience::Reply))
        } else if self.envelopes.is_empty() {
            Some((self.since + timeouts.idle, Patience::Idle))
        } else {
            None
        };
        // Content has its own times, and so has an idle connection.
        let in_session = match front {
            Some(front) => front.command != Command::Content,
            None => self.phase == Phase::Handshake,
        };
        let session = in_session.then(|| (self.session_since + timeouts.session, Patience::Session));
        own.into_iter().chain(session).min_by_key(|(at, _)| *at)
    }

    fn reply_time(&self, command: Command) -> Duration {
        let timeouts = &self.options.timeouts;
        match command {
            Command::Greeting => timeouts.greeting,
            Command::Ehlo | Command::Helo => timeouts.hello,
            Command::StartTls => timeouts.starttls,
            Command::Mail => timeouts.mail,
            Command::Rcpt(_) => timeouts.rcpt,
            Command::Data => timeouts.data,
            Command::Content | Command::LoneDot => timeouts.end,
            Command::Rset => timeouts.rset,
            Command::Quit => timeouts.quit,
        }
    }
}
