//! `IP_BIND_ADDRESS_NO_PORT` (ip(7)): binding a source address without taking a port yet. No safe wrapper of it exists in
//! the socket crates used here, so this one call is made by hand.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Leaves the choice of the port to connect(2), which knows the destination: a bind that picks the port itself runs out
/// of them after 28,000 connections of one source address, whatever their destinations.
pub fn without_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open while it is borrowed; the option's value is an int on this frame, and its size is
    // given with it. The kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::os::fd::AsFd;

    #[test]
    fn a_bound_source_address_has_no_port_yet() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        without_port(socket.as_fd()).unwrap();
        socket.bind(&"127.0.0.9:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        let bound = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(bound, "127.0.0.9:0".parse().unwrap());
    }
}
