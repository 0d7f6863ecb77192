//! Settings as written, merged over scopes, and read as the types of the engine.

use std::collections::HashMap;
use std::time::Duration;

use ipnet::IpNet;

use crate::diagnostic::Origin;
use crate::scope::Scope;
use crate::source::Place;
use crate::table::{self, RowId};
use crate::value::{
    DomainPattern, FieldSelection, HeaderField, Pattern, QueueFilter, Rate, RecordType, ReportTemplate,
    Route, SourceHost, Value, VolumeRate,
};

/// One directive line, understood.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The row it was written as.
    pub written: RowId,
    /// The row whose value it sets.
    pub slot: RowId,
    pub value: Value,
    /// The argument as written.
    pub text: String,
    pub origin: Origin,
    pub place: Place,
}

/// Settings merged from the most general to the most specific: the last one of a slot counts.
#[derive(Debug, Default)]
pub(crate) struct Slots<'a>(HashMap<RowId, Vec<&'a Value>>);

impl<'a> Slots<'a> {
    pub fn merge(chain: impl IntoIterator<Item = &'a [Setting]>) -> Slots<'a> {
        let mut slots = Slots::default();
        for setting in chain.into_iter().flatten() {
            slots.0.entry(setting.slot).or_default().push(&setting.value);
        }
        slots
    }

    /// The value of a directive as the type asked for; its default where it was not written.
    pub fn read<T: FromValues>(&self, scope: Scope, name: &str) -> T {
        let Some(row) = table::find(scope, name) else {
            debug_assert!(false, "{name} is not a directive of {scope}");
            return T::from_values(&[]);
        };
        match self.0.get(&row) {
            Some(values) => T::from_values(values),
            None => match row.default() {
                Some(default) => T::from_values(&[default]),
                None => T::from_values(&[]),
            },
        }
    }
}

/// A type that the values of a directive can be read as. An empty slice: not set and no default. The syntax of a
/// directive fixes which values occur, so that the fall-backs here are never taken; a test compares the two.
pub(crate) trait FromValues: Sized {
    fn from_values(values: &[&Value]) -> Self;
}

/// Types read from the last value alone, with a fall-back for "not set".
macro_rules! from_last {
    ($($type:ty : $fallback:expr, { $($pattern:pat => $value:expr),+ $(,)? })+) => {$(
        impl FromValues for $type {
            fn from_values(values: &[&Value]) -> $type {
                match values.last() {
                    $(Some($pattern) => $value,)+
                    _ => $fallback,
                }
            }
        }
    )+};
}

from_last! {
    bool: false, { Value::Bool(b) => *b }
    u16: 0, { Value::Number(n) => u16::try_from(*n).unwrap_or(u16::MAX) }
    u32: 0, { Value::Number(n) => u32::try_from(*n).unwrap_or(u32::MAX) }
    u64: 0, { Value::Number(n) | Value::Size(n) => *n }
    Option<u32>: None, { Value::Number(n) => Some(u32::try_from(*n).unwrap_or(u32::MAX)) }
    Option<u64>: None, { Value::Number(n) | Value::Size(n) => Some(*n) }
    Duration: Duration::ZERO, { Value::Time(t) => *t }
    Option<Duration>: None, { Value::Time(t) => Some(*t) }
    Vec<Duration>: Vec::new(), { Value::Times(t) => t.clone() }
    Vec<u64>: Vec::new(), { Value::Daily(limits) => limits.iter().map(|limit| limit.0).collect() }
    Rate: Rate::Unlimited, { Value::Rate(r) => *r }
    Option<Rate>: None, { Value::Rate(r) => Some(*r) }
    Option<VolumeRate>: None, { Value::Volume(v) => Some(*v) }
    VolumeRate: VolumeRate::Unlimited, { Value::Volume(v) => *v }
    String: String::new(), { Value::Text(t) => t.clone(), Value::Keyword(k) => k.to_string() }
    Option<String>: None, { Value::Text(t) => Some(t.clone()) }
    Option<Vec<String>>: None, { Value::List(list) => Some(list.clone()) }
    Option<(String, String)>: None, { Value::Pair(a, b) => Some((a.clone(), b.clone())) }
    Option<Route>: None, { Value::Hosts(r) => Some(r.clone()) }
    Vec<RecordType>: Vec::new(), { Value::Records(r) => r.clone() }
    Option<ReportTemplate>: None, { Value::Template(t) => Some(t.clone()) }
    Option<Vec<&'static str>>: None, { Value::Ciphers(suites, _) => Some(suites.clone()) }
    Option<QueueFilter>: None, { Value::QueueFilter(f) => Some(f.clone()) }
}

/// Types that collect every line of a directive that repeats.
macro_rules! from_all {
    ($($type:ty : $pattern:pat => $value:expr;)+) => {$(
        impl FromValues for Vec<$type> {
            fn from_values(values: &[&Value]) -> Vec<$type> {
                values.iter().filter_map(|v| match v {
                    $pattern => Some($value),
                    _ => None,
                }).collect()
            }
        }
    )+};
}

from_all! {
    String: Value::Text(t) => t.clone();
    std::net::IpAddr: Value::Ip(ip) => *ip;
    IpNet: Value::Cidr(net) => *net;
    SourceHost: Value::SourceHost(host) => host.clone();
    (IpNet, u32): Value::CidrNumber(net, n) => (*net, u32::try_from(*n).unwrap_or(u32::MAX));
    (IpNet, Rate): Value::CidrRate(net, rate) => (*net, *rate);
    (IpNet, VolumeRate): Value::CidrVolume(net, rate) => (*net, *rate);
    HeaderField: Value::HeaderField(field) => field.clone();
    (RecordType, FieldSelection): Value::RecordFields(kind, fields) => (*kind, fields.clone());
    (IpNet, u16, Option<String>): Value::Listener(net, port, source) => (*net, *port, source.clone());
    (Pattern, String): Value::Category(pattern, category) => (pattern.clone(), category.clone());
}

impl FromValues for Vec<DomainPattern> {
    fn from_values(values: &[&Value]) -> Vec<DomainPattern> {
        let patterns = |v: &&Value| match v {
            Value::Domains(patterns) => patterns.clone(),
            _ => Vec::new(),
        };
        values.iter().flat_map(patterns).collect()
    }
}

impl FromValues for Vec<(DomainPattern, u32)> {
    fn from_values(values: &[&Value]) -> Vec<(DomainPattern, u32)> {
        let limits = |v: &&Value| match v {
            Value::DomainsNumber(patterns, n) => {
                let limit = u32::try_from(*n).unwrap_or(u32::MAX);
                patterns.iter().map(|pattern| (pattern.clone(), limit)).collect()
            }
            _ => Vec::new(),
        };
        values.iter().flat_map(limits).collect()
    }
}

/// Names of lists, of every line and scope that applies; `""` drops those before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameLists(pub Vec<String>);

impl FromValues for NameLists {
    fn from_values(values: &[&Value]) -> NameLists {
        let mut names: Vec<String> = Vec::new();
        for value in values {
            match value {
                Value::List(more) => names.extend(more.iter().cloned()),
                _ => names.clear(),
            }
        }
        NameLists(names)
    }
}
