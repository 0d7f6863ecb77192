//! The record types and fields of the accounting file: names, order, and which type has which (reference
//! 4.1, 4.2). The order of [`Field`] is the order of the columns.

/// The kinds of accounting line this engine writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordType {
    /// `d`: a recipient was transferred.
    Delivery,
    /// `b`: a recipient was given up.
    Bounce,
    /// `t`: an attempt for a recipient failed, it stays queued.
    Transient,
    /// `tq`: an attempt for a whole queue failed.
    TransientQueue,
    /// `r`: a recipient was accepted from a submitter.
    Receipt,
}

impl RecordType {
    pub const ALL: [RecordType; 5] = [
        RecordType::Delivery,
        RecordType::Bounce,
        RecordType::Transient,
        RecordType::TransientQueue,
        RecordType::Receipt,
    ];

    /// The code in the first column.
    pub const fn code(self) -> &'static str {
        match self {
            RecordType::Delivery => "d",
            RecordType::Bounce => "b",
            RecordType::Transient => "t",
            RecordType::TransientQueue => "tq",
            RecordType::Receipt => "r",
        }
    }

    const fn long_name(self) -> &'static str {
        match self {
            RecordType::Delivery => "delivery",
            RecordType::Bounce => "bounce",
            RecordType::Transient => "transient",
            RecordType::TransientQueue => "transient-queue",
            RecordType::Receipt => "receipt",
        }
    }

    /// The type with this code or long name, in any case.
    pub fn parse(name: &str) -> Option<RecordType> {
        RecordType::ALL
            .into_iter()
            .find(|t| name.eq_ignore_ascii_case(t.code()) || name.eq_ignore_ascii_case(t.long_name()))
    }

    /// Types the configuration language knows and that are written only once asynchronous bounces and feedback
    /// loops are processed: `rb`, `rs`, `f`.
    pub fn is_from_reports(name: &str) -> bool {
        ["rb", "remote-bounce", "rs", "remote-status", "f", "fbl", "feedback-loop"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    }
}

/// A set of record types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Types(u8);

impl Types {
    pub const NONE: Types = Types(0);

    pub const fn of(types: &[RecordType]) -> Types {
        let mut bits = 0;
        let mut i = 0;
        while i < types.len() {
            bits |= 1 << types[i] as u8;
            i += 1;
        }
        Types(bits)
    }

    pub const fn has(self, t: RecordType) -> bool {
        self.0 & (1 << t as u8) != 0
    }

    pub const fn with(self, t: RecordType) -> Types {
        Types(self.0 | 1 << t as u8)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// A column with a fixed name, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    Type,
    TimeLogged,
    TimeQueued,
    Orig,
    Rcpt,
    Orcpt,
    DsnAction,
    DsnStatus,
    DsnDiag,
    DsnMta,
    BounceCat,
    SrcType,
    SrcMta,
    DlvType,
    DlvSourceIp,
    DlvDestinationIp,
    DlvEsmtpAvailable,
    DlvSize,
    Vmta,
    JobId,
    EnvId,
    Queue,
    VmtaPool,
    DlvTlsProtocol,
    DlvTlsCipher,
    // Fields outside the default set follow it, so that readers by position stay right.
    TotalSecondsQueued,
    TimeFirstAttempt,
    RcvSmtpUser,
    UserString,
    // Columns of `r` alone come last, after `header_` columns (4.3).
    RcvSourceIp,
    RcvDestinationIp,
}

/// What is known of one field.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub field: Field,
    pub name: &'static str,
    /// Types that may have it.
    pub types: Types,
    /// Types that have it unless told otherwise.
    pub default: Types,
}

use RecordType::{Bounce, Delivery, Receipt, Transient, TransientQueue};
const ALL: Types = Types::of(&RecordType::ALL);
const DBT: Types = Types::of(&[Delivery, Bounce, Transient]);
const DBTR: Types = Types::of(&[Delivery, Bounce, Transient, Receipt]);
const DBTQ: Types = Types::of(&[Delivery, Bounce, Transient, TransientQueue]);
const R: Types = Types::of(&[Receipt]);

const fn known(field: Field, name: &'static str, types: Types, default: Types) -> Known {
    Known { field, name, types, default }
}

/// Every field, in column order (reference 4.2).
pub const KNOWN: [Known; 31] = [
    known(Field::Type, "type", ALL, ALL),
    known(Field::TimeLogged, "timeLogged", ALL, ALL),
    known(Field::TimeQueued, "timeQueued", DBT, DBT),
    known(Field::Orig, "orig", DBTR, DBTR),
    known(Field::Rcpt, "rcpt", DBTR, DBTR),
    known(Field::Orcpt, "orcpt", DBTR, DBTR),
    known(Field::DsnAction, "dsnAction", DBT, DBT),
    known(Field::DsnStatus, "dsnStatus", DBTQ, DBTQ),
    known(Field::DsnDiag, "dsnDiag", DBTQ, DBTQ),
    known(Field::DsnMta, "dsnMta", DBTQ, DBTQ),
    known(Field::BounceCat, "bounceCat", DBT, DBT),
    known(Field::SrcType, "srcType", DBTR, DBTR),
    known(Field::SrcMta, "srcMta", DBTR, DBTR),
    known(Field::DlvType, "dlvType", DBTQ, DBTQ),
    known(Field::DlvSourceIp, "dlvSourceIp", DBTQ, DBTQ),
    known(Field::DlvDestinationIp, "dlvDestinationIp", DBTQ, DBTQ),
    known(Field::DlvEsmtpAvailable, "dlvEsmtpAvailable", DBT, DBT),
    known(Field::DlvSize, "dlvSize", DBT, DBT),
    known(Field::Vmta, "vmta", ALL, ALL),
    known(Field::JobId, "jobId", DBTR, DBTR),
    known(Field::EnvId, "envId", DBTR, DBTR),
    known(Field::Queue, "queue", DBTQ, DBTQ),
    known(Field::VmtaPool, "vmtaPool", DBTR, DBT),
    known(Field::DlvTlsProtocol, "dlvTlsProtocol", DBT, Types::NONE),
    known(Field::DlvTlsCipher, "dlvTlsCipher", DBT, Types::NONE),
    known(Field::TotalSecondsQueued, "totalSecondsQueued", DBT, Types::NONE),
    known(Field::TimeFirstAttempt, "timeFirstAttempt", DBT, Types::NONE),
    known(Field::RcvSmtpUser, "rcvSmtpUser", DBTR, Types::NONE),
    known(Field::UserString, "userString", ALL, Types::NONE),
    known(Field::RcvSourceIp, "rcvSourceIp", R, R),
    known(Field::RcvDestinationIp, "rcvDestinationIp", R, R),
];

impl Field {
    /// The field with this name, in any case.
    pub fn find(name: &str) -> Option<&'static Known> {
        KNOWN.iter().find(|k| k.name.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        assert!(KNOWN.windows(2).all(|pair| pair[0].field < pair[1].field));
        assert!(KNOWN.iter().enumerate().all(|(i, k)| k.field as usize == i));
    }

    #[test]
    fn types_are_found_by_code_and_by_long_name() {
        assert_eq!(RecordType::parse("tq"), Some(TransientQueue));
        assert_eq!(RecordType::parse("Transient-Queue"), Some(TransientQueue));
        assert_eq!(RecordType::parse("rb"), None);
        assert!(RecordType::is_from_reports("rb"));
    }
}
