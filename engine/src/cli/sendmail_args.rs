//! The words after `sendmail`, as Sendmail and Postfix read them: one-letter options that may stand together (`-ti`), values
//! behind their letter or in the next word (`-fann`, `-f ann`), and recipients from the first word that is no option.

use super::sysexits::{Failure, Sysexit};
use crate::ingest::envelope::Reports;
use std::ffi::OsString;
use std::path::PathBuf;

const USAGE: &str = "usage: sendmail [-t] [-i] [-f SENDER] [-F NAME] [-N never|success,failure,delay] [-R full|hdrs] \
                     [-V ENVID] [-C FILE] [-bm|-bs|-bp] [RECIPIENT ...]";

/// Options with a value, behind the letter or in the next word. Those that are not read below change nothing here.
const WITH_VALUE: &str = "ABCFLNORVXbefhopr";
/// Options whose value, if there is one, stands right behind the letter.
const WITH_JOINED: &str = "dq";
/// Options without one that change nothing: who calls us may mean something by them elsewhere.
const WITHOUT: &str = "EGUcmnvx";

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Send the message on standard input.
    #[default]
    Message,
    /// Speak SMTP on standard input and output.
    Smtp,
    /// Show the queues.
    Queue,
    /// Nothing: what this would do elsewhere, the engine does by itself or does not need.
    Nothing,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    pub mode: Mode,
    /// Instead of the usual configuration.
    pub config: Option<PathBuf>,
    pub sender: Option<String>,
    pub full_name: Option<String>,
    /// The message names recipients.
    pub header_recipients: bool,
    /// A dot alone is a line like any other.
    pub ignore_dots: bool,
    pub reports: Reports,
    pub recipients: Vec<String>,
}

/// What a program of this name does unless it is told.
pub fn mode_of(program: &str) -> Option<Mode> {
    match program {
        "sendmail" => Some(Mode::Message),
        "mailq" => Some(Mode::Queue),
        "newaliases" => Some(Mode::Nothing),
        _ => None,
    }
}

/// Reads the words.
///
/// # Errors
/// What cannot be understood, or not be done here.
pub fn parse(mode: Mode, words: &[OsString]) -> Result<Invocation, Failure> {
    let text = |word: &OsString| {
        word.to_str().map(str::to_owned).ok_or_else(|| usage(&format!("{} is not UTF-8", word.display())))
    };
    let words: Vec<String> = words.iter().map(text).collect::<Result<_, _>>()?;
    let mut call = Invocation { mode, ..Invocation::default() };
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next_if(|word| word.len() > 1 && word.starts_with('-')) {
        if word == "--" {
            break;
        }
        let mut letters = word[1..].chars();
        while let Some(letter) = letters.next() {
            if WITH_VALUE.contains(letter) {
                let value = match letters.as_str() {
                    "" => words.next().ok_or_else(|| usage(&format!("-{letter} needs a value")))?,
                    joined => joined.to_owned(),
                };
                call.option(letter, value)?;
                break;
            }
            if WITH_JOINED.contains(letter) {
                if letter == 'q' && call.mode == Mode::Message {
                    call.mode = Mode::Nothing;
                }
                break;
            }
            call.flag(letter)?;
        }
    }
    call.recipients = words.collect();
    call.settled()
}

fn usage(problem: &str) -> Failure {
    Sysexit::Usage.because(format!("{problem}\n{USAGE}"))
}

impl Invocation {
    fn flag(&mut self, letter: char) -> Result<(), Failure> {
        match letter {
            't' => self.header_recipients = true,
            'i' => self.ignore_dots = true,
            'I' => self.mode = Mode::Nothing,
            _ if WITHOUT.contains(letter) => {}
            _ => return Err(usage(&format!("there is no option -{letter}"))),
        }
        Ok(())
    }

    fn option(&mut self, letter: char, value: String) -> Result<(), Failure> {
        let right = match letter {
            'C' => {
                self.config = Some(value.into());
                return Ok(());
            }
            'f' | 'r' => {
                self.sender = Some(value);
                return Ok(());
            }
            'F' => {
                self.full_name = Some(value);
                return Ok(());
            }
            'b' => return self.mode(&value),
            'N' => self.reports.notify(&value),
            'R' => self.reports.ret(&value),
            'V' => self.reports.envid(&value),
            'X' => {
                return Err(usage(
                    "-X is not supported; `verp-default yes` in <source {pickup}> names recipients in return paths",
                ));
            }
            'o' if value.starts_with('i') => {
                self.ignore_dots = true;
                return Ok(());
            }
            _ => return Ok(()),
        };
        let written = match letter {
            'N' => "never, or some of success, failure and delay with commas between them",
            'R' => "full or hdrs",
            _ => "1 to 100 printable ASCII characters",
        };
        if right {
            Ok(())
        } else {
            Err(usage(&format!("-{letter} {}: write {written}", value.escape_debug())))
        }
    }

    fn mode(&mut self, value: &str) -> Result<(), Failure> {
        self.mode = match value {
            "m" => Mode::Message,
            "s" => Mode::Smtp,
            "p" => Mode::Queue,
            "i" | "h" | "H" => Mode::Nothing,
            "d" | "D" => return Err(usage(&format!("-b{value}: the engine is started by `posthaste run`"))),
            _ => return Err(usage(&format!("-b{} is not supported", value.escape_debug()))),
        };
        Ok(())
    }

    /// What the words mean together.
    fn settled(mut self) -> Result<Invocation, Failure> {
        let for_a_message = self.header_recipients || !self.recipients.is_empty();
        match self.mode {
            // `-q` beside a message asks for nothing that would not happen.
            Mode::Nothing if for_a_message => self.mode = Mode::Message,
            Mode::Smtp | Mode::Queue if for_a_message => {
                return Err(usage("-t and recipients go with a message, not with -bs or -bp"));
            }
            Mode::Message if !for_a_message => {
                return Err(usage("name recipients, or have them read from the message by -t"));
            }
            _ => {}
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, Failure> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(Mode::Message, &words)
    }

    fn call(line: &str) -> Invocation {
        parsed(line).unwrap_or_else(|e| panic!("{line}: {}", e.text))
    }

    fn refused(line: &str) -> String {
        let failure = parsed(line).expect_err(line);
        assert_eq!(failure.exit, Sysexit::Usage);
        failure.text
    }

    #[test]
    fn what_programs_call_it_with() {
        let php = call("-t -i");
        assert!(php.header_recipients && php.ignore_dots && php.recipients.is_empty());
        assert_eq!(call("-ti"), php);
        assert_eq!(call("-oi -oem -om -odb -t"), php);
        assert_eq!(
            call(
                "-i -B8BITMIME -G -h 3 -L tag -n -v -U -O Timeout.queuereturn=1d -o 7 -p SMTP:x -A m -q -d8 -t"
            ),
            php
        );
        let cron = call("-FCronDaemon -i -B8BITMIME -oem ann");
        assert_eq!(
            (cron.full_name.as_deref(), cron.recipients.as_slice()),
            (Some("CronDaemon"), ["ann".to_owned()].as_slice())
        );
        for line in ["-f a@b.c x@y.z", "-fa@b.c x@y.z", "-r a@b.c -- x@y.z", "-if a@b.c x@y.z"] {
            let call = call(line);
            assert_eq!(call.sender.as_deref(), Some("a@b.c"), "{line}");
            assert_eq!(call.recipients, ["x@y.z"], "{line}");
        }
        assert_eq!(call("x@y.z -t -").recipients, ["x@y.z", "-t", "-"]);
        assert_eq!(call("-C /etc/other x").config, Some("/etc/other".into()));
    }

    #[test]
    fn modes() {
        assert_eq!(call("-bs").mode, Mode::Smtp);
        assert_eq!(call("-bm x").mode, Mode::Message);
        assert_eq!(call("-bp").mode, Mode::Queue);
        for line in ["-bi", "-I", "-q", "-q15m", "-bH"] {
            assert_eq!(call(line).mode, Mode::Nothing, "{line}");
        }
        assert_eq!(call("-q15m x").mode, Mode::Message);
        assert_eq!(mode_of("mailq"), Some(Mode::Queue));
        assert_eq!(mode_of("posthaste"), None);
        assert!(refused("-bd").contains("posthaste run"));
        assert!(refused("-bv x").contains("-bv is not supported"));
        assert!(refused("-bs x").contains("not with -bs"));
        assert!(refused("").contains("by -t"));
    }

    #[test]
    fn reports_are_asked_for() {
        let mut reports = Reports::default();
        assert!(reports.notify("success,delay") && reports.ret("hdrs") && reports.envid("id-1"));
        assert_eq!(call("-N success,delay -Rhdrs -V id-1 x").reports, reports);
        assert!(refused("-N always x").contains("-N always: write never, or some of success"));
        assert!(refused("-R some x").contains("full or hdrs"));
        assert!(refused("-V \u{e9} x").contains("printable ASCII"));
        assert!(refused("-XV x").contains("verp-default"));
    }

    #[test]
    fn what_is_no_option_is_named() {
        assert!(refused("-iz x").starts_with("there is no option -z\nusage: sendmail "));
        assert!(refused("-t -f").starts_with("-f needs a value\n"));
    }
}
