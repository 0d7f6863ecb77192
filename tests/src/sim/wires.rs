//! Connections between the shards and the hosts: made, written to, read from, closed and cut.

use super::life::Life;
use super::net::{Event, Wire, cuts};
use super::peer::{Meaning, Peer, Say, Scene};
use super::plan::{Ill, Plan, Zone};
use super::world::{World, shown};
use posthaste::shard::ConnectionId;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

impl World {
    pub fn connect(&mut self, shard: usize, connection: ConnectionId, from: Option<IpAddr>, to: SocketAddr) {
        self.last_wire += 1;
        let id = self.last_wire;
        self.net.connections += 1;
        let mut wire = Wire::new(shard, connection, from);
        let Some(domain) = domain_at(&self.plan, to.ip()) else {
            return self
                .audit
                .breach("right host", format!("a connection to {to}, which is nobody's address"));
        };
        let manners = &self.plan.domains[domain].manners;
        (wire.domain, wire.latency) = (domain, manners.latency);
        if !self.calm {
            wire.cuts = cuts(&mut self.rng, manners.chaos);
        }
        self.note(|| format!("wire {id}: shard {shard} connects from {from:?} to {to}"), [3, id]);
        self.agenda.add(self.ground.clock.now() + wire.latency, Event::Syn(id));
        self.audit.dialled(id, from, (domain, to.ip()));
        self.connections.insert((shard, connection), id);
        self.wires.insert(id, wire);
    }

    pub fn close(&mut self, shard: usize, connection: ConnectionId) {
        let Some(id) = self.connections.remove(&(shard, connection)) else {
            return self
                .audit
                .breach("closed once", format!("{connection:?} of shard {shard} is closed again"));
        };
        self.audit.lost(id);
        self.audit.hung_up(id);
        self.note(|| format!("wire {id}: closed by the engine"), [4, id]);
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.held = false;
            self.agenda.add(self.ground.clock.now() + wire.latency, Event::PeerGone(id));
        }
    }

    /// The engine is gone, and its kernel closes everything it had.
    pub fn cut_all(&mut self) {
        let now = self.ground.clock.now();
        for ((_, _), id) in std::mem::take(&mut self.connections) {
            self.audit.hung_up(id);
            if let Some(wire) = self.wires.get_mut(&id) {
                wire.held = false;
                self.agenda.add(now + wire.latency, Event::PeerGone(id));
            }
        }
    }

    pub fn arrive(&mut self, id: u64) {
        let now = self.ground.clock.now();
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let (from, domain, latency) = (wire.from, wire.domain, wire.latency);
        self.audit.connect(id, from, domain);
        let site = &mut self.sites[domain];
        if site.is(now, |ill| ill == Ill::Refuses) {
            self.net.refused += 1;
            return self.agenda.add(now + latency, Event::EngineGone(id, ErrorKind::ConnectionRefused));
        }
        if wire.cuts.never_connects || site.is(now, |ill| ill == Ill::Hangs) {
            self.net.unanswered += 1;
            return;
        }
        let from = from.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        *site.open.entry(from).or_default() += 1;
        let mut peer = Peer::new(from);
        self.audit.opened(id);
        let (audit, counts) = (&mut self.audit, &mut self.site_counts);
        let says = peer.greet(&mut Scene { now, site, audit, counts, wire: id });
        wire.peer = Some(peer);
        self.agenda.add(now + latency, Event::Connected(id));
        self.say(id, says);
    }

    /// Takes what the engine has to send on a connection.
    pub fn write(&mut self, life: &mut Life, id: u64) {
        let now = self.ground.clock.now();
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| wire.held) else { return };
        wire.writing = false;
        if !wire.connected {
            return;
        }
        let engine_now = life.now(&self.ground.clock);
        let shard = &mut life.shards[wire.shard];
        let Some(bytes) = shard.outgoing(wire.connection).filter(|bytes| !bytes.is_empty()) else { return };
        let most = wire.cuts.narrow.unwrap_or(usize::MAX).min(bytes.len());
        let taken: Vec<u8> = bytes.drain(..most).collect();
        shard.sent(engine_now, wire.connection, taken.len());
        let more = shard.outgoing(wire.connection).is_some_and(|bytes| !bytes.is_empty());
        self.net.bytes += taken.len() as u64;
        let (through, cut) = wire.send(taken.len());
        let (latency, length) = (wire.latency, taken.len() as u64);
        if more && !cut {
            wire.writing = true;
            self.agenda.add(now + Duration::from_millis(5), Event::Writable(id));
        }
        self.agenda.add(now + latency, Event::ToPeer(id, taken[..through].to_vec()));
        if cut {
            self.net.cut += 1;
            self.agenda.add(now + latency, Event::PeerGone(id));
            self.agenda.add(now + latency, Event::EngineGone(id, ErrorKind::ConnectionReset));
        }
        self.note(|| format!("wire {id}: > {}", shown(&taken)), [5, length]);
    }

    pub fn receive(&mut self, id: u64, bytes: &[u8]) {
        let now = self.ground.clock.now();
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let Some(mut peer) = wire.peer.take() else { return };
        let site = &mut self.sites[wire.domain];
        let before = self.site_counts.taken;
        let (audit, counts) = (&mut self.audit, &mut self.site_counts);
        let says = peer.feed(&mut Scene { now, site, audit, counts, wire: id }, bytes);
        wire.peer = Some(peer);
        for taken in before + 1..=self.site_counts.taken {
            if let Some(&power) = self.plan.acceptances.get(&taken).filter(|_| !self.calm) {
                // Right now, or when the reply has just been read.
                let later = Duration::from_millis(self.rng.u64(..60));
                self.agenda.add(now + later, Event::Crash(power));
            }
        }
        self.say(id, says);
    }

    /// Sends the receiver's words on their way.
    fn say(&mut self, id: u64, says: Vec<Say>) {
        let now = self.ground.clock.now();
        let Some(wire) = self.wires.get_mut(&id) else { return };
        // Replies made at once arrive at once, in one piece where the network has nothing against it.
        let mut open: Option<(Duration, Vec<u8>, Vec<Meaning>)> = None;
        for say in says {
            let (through, cut, mut at) = wire.reply(now, say.after, say.bytes.len());
            let mut bytes = &say.bytes[..through];
            if let Some((then, before, means)) = open.take_if(|(then, ..)| *then != at || wire.cuts.pieces) {
                self.agenda.add(then, Event::ToEngine(id, before, means));
            }
            while wire.cuts.pieces && !say.whole && bytes.len() > 1 {
                let (piece, rest) = bytes.split_at(self.rng.usize(1..bytes.len()));
                self.agenda.add(at, Event::ToEngine(id, piece.to_vec(), Vec::new()));
                (bytes, at) = (rest, at + Duration::from_micros(1));
            }
            wire.replied(at);
            let (_, before, means) = open.get_or_insert_with(|| (at, Vec::new(), Vec::new()));
            before.extend_from_slice(bytes);
            means.extend(say.means.filter(|_| !cut));
            if cut || say.close {
                if let Some((then, before, means)) = open.take() {
                    self.agenda.add(then, Event::ToEngine(id, before, means));
                }
                self.net.cut += u64::from(cut);
                let kind = if cut { ErrorKind::ConnectionReset } else { ErrorKind::UnexpectedEof };
                self.agenda.add(at, Event::EngineGone(id, kind));
                return self.agenda.add(now.max(at - wire.latency), Event::PeerGone(id));
            }
        }
        if let Some((then, before, means)) = open {
            self.agenda.add(then, Event::ToEngine(id, before, means));
        }
    }

    /// The receiver's end of a connection is over.
    pub fn peer_gone(&mut self, id: u64) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if let Some(peer) = wire.peer.take() {
            if let Some(open) = self.sites[wire.domain].open.get_mut(&peer.from) {
                *open -= 1;
            }
            self.audit.closed(id);
        }
        if !wire.held {
            self.wires.remove(&id);
        }
    }
}

/// The domain whose host has this address.
fn domain_at(plan: &Plan, ip: IpAddr) -> Option<usize> {
    plan.domains.iter().position(|domain| match &domain.zone {
        Zone::Mx(hosts) => hosts.iter().any(|(_, _, addresses)| addresses.contains(&ip)),
        Zone::Fixed(address) => *address == ip,
        Zone::NullMx | Zone::Missing => false,
    })
}
