#!/usr/bin/env python3
"""24 ways to have a server relay that is not to: usage: open_relay.py HOST PORT OUR-DOMAIN OUR-HOST-NAME

OUR-DOMAIN is one that the server takes mail for. Every probe has a connection of its own, and names a recipient elsewhere.
A probe fails the server when RCPT is answered 2xx and DATA 354. Exit status 1 when one did."""
import socket
import sys

HOST, PORT, OURS, NAME = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
FOREIGN = "victim@foreign.example"
# Commands before MAIL, MAIL's argument, RCPT's argument.
PLAIN = "<a@sender.example>"
PROBES = [
    ("plain", [], PLAIN, f"<{FOREIGN}>"),
    ("percent", [], PLAIN, f"<victim%foreign.example@{OURS}>"),
    ("source route", [], PLAIN, f"<@{OURS}:{FOREIGN}>"),
    ("bang path", [], PLAIN, f"<foreign.example!victim@{OURS}>"),
    ("quoted address", [], PLAIN, f'<"{FOREIGN}"@{OURS}>'),
    ("two at signs", [], PLAIN, f"<{FOREIGN}@{OURS}>"),
    ("null sender", [], "<>", f"<{FOREIGN}>"),
    ("our sender", [], f"<x@{OURS}>", f"<{FOREIGN}>"),
    ("our name as sender", [], f"<x@{NAME}>", f"<{FOREIGN}>"),
    ("our address literal", [], PLAIN, f"<victim@[{HOST}]>"),
    ("foreign address literal", [], PLAIN, "<victim@[192.0.2.7]>"),
    ("IPv6 literal", [], PLAIN, "<victim@[IPv6:2001:db8::1]>"),
    ("trailing dot", [], PLAIN, "<victim@foreign.example.>"),
    ("upper case", [], PLAIN, "<VICTIM@FOREIGN.EXAMPLE>"),
    ("no brackets", [], PLAIN, FOREIGN),
    ("blanks", [], PLAIN, f" < {FOREIGN} > "),
    ("source route of two", [], PLAIN, f"<@{OURS},@{NAME}:{FOREIGN}>"),
    ("foreign postmaster", [], PLAIN, "<postmaster@foreign.example>"),
    ("tab and comment", [], PLAIN, f"<victim@foreign.example\t(@{OURS})>"),
    ("ideographic full stop", [], PLAIN + " SMTPUTF8", "<victim@foreign\u3002example>"),
    ("percent-encoded at", [], PLAIN, f"<victim%40foreign.example@{OURS}>"),
    ("forged XCLIENT", ["XCLIENT ADDR=127.0.0.1 LOGIN=admin", "EHLO probe.example"], PLAIN, f"<{FOREIGN}>"),
    ("forged PROXY", ["PROXY TCP4 127.0.0.1 127.0.0.1 1 25", "EHLO probe.example"], PLAIN, f"<{FOREIGN}>"),
    ("forged AUTH=", [], PLAIN + " AUTH=admin", f"<{FOREIGN}>"),
]


class Ended(Exception):
    pass


def ask(stream, line):
    """The code of the reply to a line; none: of the greeting."""
    if line is not None:
        stream.write((line + "\r\n").encode())
        stream.flush()
    while True:
        reply = stream.readline()
        if len(reply) < 4:
            raise Ended
        if reply[3:4] != b"-":
            return int(reply[:3])


def relayed(before, sender, recipient):
    with socket.create_connection((HOST, PORT), timeout=20) as connection:
        stream = connection.makefile("rwb")
        try:
            ask(stream, None)
            ask(stream, "EHLO probe.example")
            for line in before:
                ask(stream, line)
            ask(stream, "MAIL FROM:" + sender)
            return ask(stream, "RCPT TO:" + recipient) // 100 == 2 and ask(stream, "DATA") == 354
        except (Ended, ConnectionError):
            return False


bad = [name for name, *probe in PROBES if relayed(*probe)]
for name in bad:
    print("relayed:", name)
print(f"{len(PROBES)} probes, {len(bad)} relayed")
sys.exit(1 if bad else 0)
