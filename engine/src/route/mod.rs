//! Routing: which hosts and addresses mail for a domain goes to, and which of them is next.

pub mod address_policy;
pub mod choose;
mod disabled;
pub mod dns;
pub mod hosts;
pub mod mx;
pub mod table;

#[cfg(test)]
mod mx_tests;

pub use address_policy::AddressPolicy;
pub use choose::{Attempts, Endpoint, SourceHost, Sources};
pub use disabled::{Disabled, DisabledSource};
pub use dns::{Answer, Destination, Found, Lookup, MxRecord, NoAnswer, Query, RouteError};
pub use hosts::{Host, HostList, HostSpec, HostsError};
pub use mx::{Candidates, Route, RouteHost, RoutePolicy};
pub use table::{Answered, Looked, Table};
