//! SMTP without I/O: the client and the server as state machines that take bytes and time and give bytes and
//! events, what replies mean ([`verdict`]), and TLS as bytes in and bytes out.

pub mod certificates;
pub mod client;
mod client_commands;
mod client_envelope;
mod client_event;
mod client_failure;
mod client_opening;
mod client_options;
mod client_replies;
mod client_time;
pub mod dot;
pub mod dsn;
pub mod extensions;
pub mod merge;
pub mod reply;
pub mod server;
mod server_admit;
mod server_auth;
mod server_commands;
mod server_data;
mod server_merge;
mod server_options;
mod server_path;
mod server_sender;
mod server_log;
pub mod server_wire;
mod server_xclient;
pub mod password;
pub mod proxy_header;
pub mod refused;
pub mod status;
pub mod tls;
pub mod undot;
pub mod users;
pub mod verdict;

#[cfg(test)]
mod certificates_tests;
#[cfg(test)]
mod client_content_tests;
#[cfg(test)]
mod client_fault_tests;
#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod lockstep_tests;
#[cfg(test)]
mod server_admit_tests;
#[cfg(test)]
mod server_attack_tests;
#[cfg(test)]
mod server_auth_tests;
#[cfg(test)]
mod server_chunk_tests;
#[cfg(test)]
mod server_dialogue_tests;
#[cfg(test)]
mod server_merge_tests;
#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod server_wire_tests;
#[cfg(test)]
mod server_xclient_tests;
#[cfg(test)]
mod tls_tests;
