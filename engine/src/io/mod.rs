//! The shell: sockets, storage back ends, resolvers. Decides nothing.

pub mod smtp_listener;
