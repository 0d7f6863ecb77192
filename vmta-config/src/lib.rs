//! The configuration language of PowerMTA, read as it is documented: a lexer, one table of every directive, scopes
//! with their inheritance, and errors that say what to write instead. Imports nothing of the engine.
//!
//! ```
//! use vmta_config::{MemoryFiles, load};
//! let files = MemoryFiles::new([("config", "log-file /var/log/p.log\n<spool /var/spool/p>\n</spool>\n\
//!     <domain *>\n max-smtp-out 3\n</domain>\n")]);
//! let config = load("config", &files, false).config.expect("the text above is right");
//! assert_eq!(config.queue("example.com", "{default}").max_smtp_out, 3);
//! ```

mod address_list;
mod aliases;
mod build;
mod build_headers;
mod build_lists;
mod build_relay;
mod build_report;
mod build_sources;
mod build_vmtas;
mod builtin;
mod check;
mod choose;
mod compare;
mod config;
mod convert;
mod diagnostic;
mod domains;
mod explain;
mod files;
mod lex;
mod lines;
mod load;
mod macros;
mod manual;
mod nearest;
mod older;
mod patterns;
mod report;
mod rollup;
mod rewrite_list;
mod scope;
mod settings;
mod settings_values;
mod slots;
mod source;
mod table;
mod tree;
mod value;

pub use address_list::AddressList;
pub use aliases::Aliases;
pub use build_relay::ROLES;
pub use choose::{Chosen, Letter};
pub use compare::{Change, Difference, compare};
pub use config::{
    AcctFile, AcctTarget, ApiListener, Config, Pool, Resolved, SmtpListener, SmtpUser, SourceGroup, Spool,
    VirtualMta,
};
pub use convert::{Converted, convert};
pub use diagnostic::{Diagnostic, Origin, Severity};
pub use explain::{Explained, Note};
pub use files::{Files, MAX_FILE, MemoryFiles, OsFiles, is_url, text_of};
pub use load::{Loaded, load};
pub use manual::manual;
pub use patterns::{BouncePattern, SmtpPattern, SmtpPatternList};
pub use report::FileReport;
pub use rewrite_list::RewriteList;
pub use rollup::MxRollup;
pub use scope::{Scope, Scopes};
pub use settings::{
    AcctSettings, AddDate, ApiListenerSettings, ApiSettings, Authentication, Certificate, DateTime,
    DeleteAfter, DeliveryType, DomainSettings, DsnFormat, DsnReturn, Global, GroupSettings, ListenerSettings,
    NoMx, RuntimeChoice, SourceSettings, SpoolSettings, UserSettings, VmtaSettings,
};
pub use slots::NameLists;
pub use table::{Directive, Status, directives};
pub use value::{
    Choice, DailyLimit, DomainPattern, FieldSelection, HeaderField, HostAndPort, MailHost, Named, ParseError,
    Pattern, QueueFilter, Rate, RecordType, ReportTemplate, ReportVariable, Route, SmtpAction, SourceHost,
    Subject, Syntax, TemplatePiece, Value, VolumeRate, parse_time,
};
