//! The shell: what touches sockets, files and clocks.

pub mod resolver;
