//! Sockets, the reactor, storage back ends, the resolver and clocks: what carries out the decisions of the core.

pub mod clock;
pub mod resolver;
