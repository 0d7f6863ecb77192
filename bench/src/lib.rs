//! What stands around the engine when it is shown, tested or measured: the receiving sites, the sender, the
//! people who get the mail, the stop watch, other mail servers, and the engine itself as a program that is started and asked. It knows
//! nothing of the engine's insides and counts only what a stranger can count.

pub mod campaign;
pub mod cgroup;
pub mod clock;
pub mod cpu;
pub mod disk;
pub mod draw;
pub mod engine;
pub mod ground;
pub mod http;
pub mod measure;
pub mod mta;
pub mod people;
pub mod site;
pub mod smtp_tools;
pub mod source;
pub mod wait;
