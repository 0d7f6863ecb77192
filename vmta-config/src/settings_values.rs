//! What a directive says in words of its own, as types.

use std::time::Duration;

use crate::slots::FromValues;
use crate::value::Value;

/// Words of a directive as an enum.
macro_rules! keyword {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident: $($pattern:pat_param)|+),+ $(,)? } or $default:ident) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl FromValues for $name {
            fn from_values(values: &[&Value]) -> $name {
                match values.last() {
                    $($(Some($pattern))|+ => $name::$variant,)+
                    _ => $name::$default,
                }
            }
        }
    };
}

keyword! {
    /// How mail of a queue is delivered.
    DeliveryType {
        Smtp: Value::Keyword("smtp"),
        /// Thrown away and recorded as delivered.
        Discard: Value::Keyword("discard"),
        Pipe: Value::Keyword("pipe"),
        File: Value::Keyword("file"),
        HttpDelivery: Value::Keyword("http-delivery"),
    } or Smtp
}

keyword! {
    /// Whether a Date header is added.
    AddDate {
        No: Value::Bool(false),
        /// If there is none.
        Missing: Value::Bool(true),
        /// Instead of the one that is there.
        Override: Value::Keyword("override"),
    } or No
}

keyword! {
    /// Which time an added Date header has.
    DateTime {
        Reception: Value::Keyword("reception"),
        Delivery: Value::Keyword("delivery"),
    } or Reception
}

keyword! {
    /// What a delivery report gives back of the message, where RET was not given.
    DsnReturn {
        Headers: Value::Keyword("headers"),
        Full: Value::Keyword("full"),
        /// As the engine sees fit: the header.
        System: Value::Keyword("system"),
    } or System
}

keyword! {
    /// How delivery reports are made.
    DsnFormat {
        /// As RFC 3464 says.
        Standard: Value::Keyword("standard"),
        /// Only their text.
        PlainText: Value::Keyword("plain-text"),
    } or Standard
}

keyword! {
    /// How the spool is written.
    RuntimeChoice {
        /// io_uring if the kernel allows it.
        Auto: Value::Keyword("auto"),
        Uring: Value::Keyword("uring"),
        Blocking: Value::Keyword("blocking"),
    } or Auto
}

keyword! {
    /// How an SMTP user proves who he is.
    Authentication {
        Password: Value::Keyword("password"),
        /// As a Linux account.
        System: Value::Keyword("system"),
        Certificate: Value::Keyword("certificate"),
    } or Password
}

/// A PEM file with a certificate, its chain and its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    pub file: String,
    /// Of the key, if that is encrypted.
    pub password: Option<String>,
}

impl FromValues for Option<Certificate> {
    fn from_values(values: &[&Value]) -> Option<Certificate> {
        match values.last() {
            Some(Value::Text(file)) => Some(Certificate { file: file.clone(), password: None }),
            Some(Value::Pair(file, password)) => {
                Some(Certificate { file: file.clone(), password: Some(password.clone()) })
            }
            _ => None,
        }
    }
}

/// When mail to a domain without MX bounces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMx {
    /// A and AAAA records are used instead (RFC 5321 5.1).
    Never,
    AtOnce,
    /// A and AAAA records are used until a recipient is this old.
    After(Duration),
}

impl FromValues for NoMx {
    fn from_values(values: &[&Value]) -> NoMx {
        match values.last() {
            Some(Value::Bool(true)) => NoMx::AtOnce,
            Some(Value::Time(age)) => NoMx::After(*age),
            _ => NoMx::Never,
        }
    }
}

/// When a finished accounting file is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteAfter {
    Never,
    Age(Duration),
}

impl FromValues for DeleteAfter {
    fn from_values(values: &[&Value]) -> DeleteAfter {
        match values.last() {
            Some(Value::Time(age)) => DeleteAfter::Age(*age),
            _ => DeleteAfter::Never,
        }
    }
}
