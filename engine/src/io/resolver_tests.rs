//! The resolver against a name server on loopback that misbehaves to order (faults D01-D09).

use super::*;
use hickory_resolver::proto::op::{Message, Query as Question};
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, NS, SOA};
use std::collections::HashMap;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// What the name server does about a question.
#[derive(Clone)]
enum Says {
    Records(Vec<RData>),
    /// An alias and what it leads to.
    Alias(&'static str, Vec<RData>),
    NoData,
    NoName,
    Code(ResponseCode),
    Referral,
    Nothing,
    Garbage(&'static [u8]),
    WrongId,
    WrongQuestion,
    /// `TC` over UDP; over TCP the records, if TCP is served.
    Truncated(Vec<RData>),
}

type Zone = HashMap<(&'static str, RecordType), Says>;

const TTL: u32 = 600;

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn mx(preference: u16, host: &str) -> RData {
    RData::MX(MX::new(preference, name(host)))
}

fn v4(text: &str) -> RData {
    RData::A(A(text.parse().expect("an address")))
}

fn reply(zone: &Zone, question: &[u8], tcp: bool) -> Option<Vec<u8>> {
    let asked = Message::from_vec(question).ok()?;
    let query = asked.queries.first()?.clone();
    let key = query.name().to_ascii().to_ascii_lowercase();
    let says = zone
        .iter()
        .find(|((name, record_type), _)| *name == key && *record_type == query.query_type())
        .map_or(Says::NoData, |(_, says)| says.clone());
    let mut message = Message::response(asked.metadata.id, asked.metadata.op_code);
    message.metadata.recursion_available = true;
    message.add_query(query.clone());
    let record = |data: RData| Record::from_rdata(query.name().clone(), TTL, data);
    let root = Name::root();
    let soa =
        Record::from_rdata(root.clone(), 120, RData::SOA(SOA::new(root.clone(), root, 1, 1, 1, 1, 120)));
    match says {
        Says::Records(records) => {
            message.add_answers(records.into_iter().map(record));
        }
        Says::Alias(target, records) => {
            message.add_answer(record(RData::CNAME(CNAME(name(target)))));
            message.add_answers(records.into_iter().map(|data| Record::from_rdata(name(target), TTL, data)));
        }
        Says::NoData => {
            message.add_authority(soa);
        }
        Says::NoName => {
            message.metadata.response_code = ResponseCode::NXDomain;
            message.add_authority(soa);
        }
        Says::Code(code) => message.metadata.response_code = code,
        Says::Referral => {
            message.add_authority(record(RData::NS(NS(name("ns.elsewhere.example.")))));
        }
        Says::Nothing => return None,
        Says::Garbage(bytes) => return Some([&question[..2], bytes].concat()),
        Says::WrongId => message.metadata.id ^= 1,
        Says::WrongQuestion => {
            message.queries = vec![Question::query(name("other.example."), query.query_type())];
            message.add_answer(record(mx(1, "evil.example.")));
        }
        Says::Truncated(records) if tcp => {
            message.add_answers(records.into_iter().map(record));
        }
        Says::Truncated(_) => message.metadata.truncation = true,
    }
    Some(message.to_vec().expect("a message that can be written"))
}

/// A name server for `zone`, and the questions it was asked.
struct Server {
    at: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// UDP and TCP on one port: a port that is free for the one may be taken for the other.
async fn sockets() -> (UdpSocket, TcpListener, SocketAddr) {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let at = udp.local_addr().expect("an address");
        if let Ok(tcp) = TcpListener::bind(at).await {
            return (udp, tcp, at);
        }
    }
    panic!("no port is free for both");
}

async fn serve(zone: Zone) -> Server {
    let (udp, tcp, at) = sockets().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (log, zone) = (Arc::clone(&asked), Arc::new(zone));
    let same_zone = Arc::clone(&zone);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer).await {
            if let Some(query) =
                Message::from_vec(&buffer[..length]).ok().and_then(|m| m.queries.first().cloned())
            {
                log.lock().expect("a lock").push(format!("{} {}", query.name(), query.query_type()));
            }
            if let Some(reply) = reply(&zone, &buffer[..length], false) {
                let _ = udp.send_to(&reply, peer).await;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut buffer = vec![0; usize::from(stream.read_u16().await.unwrap_or(0))];
            if stream.read_exact(&mut buffer).await.is_ok()
                && let Some(reply) = reply(&same_zone, &buffer, true)
            {
                let _ = stream.write_u16(reply.len() as u16).await;
                let _ = stream.write_all(&reply).await;
            }
        }
    });
    Server { at, asked }
}

async fn resolve_at(server: &Server, destination: Destination) -> Result<Route, RouteError> {
    let resolver = Resolver::new(&[server.at], Arc::new(RoutePolicy::default())).expect("a resolver");
    let answer = resolver.resolve(Query { destination: destination.clone() }).await;
    assert_eq!(answer.destination, destination);
    answer.route
}

async fn resolve(zone: Zone) -> Result<Route, RouteError> {
    resolve_at(&serve(zone).await, Destination::domain("example.com")).await
}

fn hosts(route: Result<Route, RouteError>) -> Vec<String> {
    let host = |host: &crate::route::RouteHost| format!("{} {:?}", host.name, host.addresses);
    route.expect("a route").hosts.iter().map(host).collect()
}

fn status(route: Result<Route, RouteError>) -> &'static str {
    route.expect_err("no route").status
}

const EXAMPLE: (&str, RecordType) = ("example.com.", RecordType::MX);

#[tokio::test]
async fn mx_records_and_both_families() {
    let route = resolve(HashMap::from([
        (EXAMPLE, Says::Records(vec![mx(20, "b.example."), mx(10, "A.example.")])),
        (("a.example.", RecordType::A), Says::Records(vec![v4("8.0.0.1")])),
        (
            ("a.example.", RecordType::AAAA),
            Says::Records(vec![RData::AAAA(AAAA("2a00::1".parse().expect("an address")))]),
        ),
        (("b.example.", RecordType::A), Says::Records(vec![v4("8.0.0.2")])),
    ]))
    .await;
    assert!(route.as_ref().is_ok_and(|route| (590..=600).contains(&route.ttl.as_secs())), "{route:?}");
    assert_eq!(hosts(route), ["a.example [8.0.0.1, 2a00::1]", "b.example [8.0.0.2]"]);
}

#[tokio::test]
async fn d01_failures_defer() {
    for says in [
        Says::Code(ResponseCode::ServFail),
        Says::Code(ResponseCode::Refused),
        Says::Code(ResponseCode::FormErr),
        Says::Referral,
        Says::Nothing,
    ] {
        let route = resolve(HashMap::from([(EXAMPLE, says)])).await;
        assert!(route.as_ref().is_err_and(|error| !error.permanent), "{route:?}");
        assert_eq!(status(route), "4.4.3");
    }
}

#[tokio::test]
async fn d01_a_truncated_answer_comes_again_over_tcp() {
    let zone = HashMap::from([
        (EXAMPLE, Says::Truncated(vec![mx(10, "a.example.")])),
        (("a.example.", RecordType::A), Says::Records(vec![v4("8.0.0.1")])),
    ]);
    assert_eq!(hosts(resolve(zone).await), ["a.example [8.0.0.1]"]);
}

#[tokio::test]
async fn d02_a_missing_domain_is_asked_for_twice() {
    let address = ("example.com.", RecordType::A);
    let server = serve(HashMap::from([(EXAMPLE, Says::NoName), (address, Says::NoName)])).await;
    assert_eq!(status(resolve_at(&server, Destination::domain("example.com")).await), "5.1.2");
    assert_eq!(*server.asked.lock().expect("a lock"), ["example.com. MX", "example.com. A"]);
    let disagree = HashMap::from([(EXAMPLE, Says::NoName), (address, Says::Records(vec![v4("8.0.0.1")]))]);
    assert_eq!(status(resolve(disagree).await), "4.4.3");
}

#[tokio::test]
async fn d03_implicit_mx() {
    let address = ("example.com.", RecordType::A);
    let zone = HashMap::from([(EXAMPLE, Says::NoData), (address, Says::Records(vec![v4("8.0.0.1")]))]);
    assert_eq!(hosts(resolve(zone).await), ["example.com [8.0.0.1]"]);
    assert_eq!(status(resolve(HashMap::new()).await), "5.4.4");
}

#[tokio::test]
async fn d04_null_mx_asks_for_no_address() {
    let server = serve(HashMap::from([(EXAMPLE, Says::Records(vec![mx(0, ".")]))])).await;
    assert_eq!(status(resolve_at(&server, Destination::domain("example.com")).await), "5.1.10");
    assert_eq!(*server.asked.lock().expect("a lock"), ["example.com. MX"]);
}

#[tokio::test]
async fn d05_aliases_literals_and_empty_names_are_skipped() {
    let all = vec![
        mx(1, "alias.example."),
        mx(2, "192.0.2.7."),
        mx(3, "empty.example."),
        mx(4, "missing.example."),
        mx(5, "good.example."),
    ];
    let zone: Zone = HashMap::from([
        (EXAMPLE, Says::Records(all)),
        (("alias.example.", RecordType::A), Says::Alias("good.example.", vec![v4("8.0.0.1")])),
        (("missing.example.", RecordType::A), Says::NoName),
        (("missing.example.", RecordType::AAAA), Says::NoName),
        (("good.example.", RecordType::A), Says::Records(vec![v4("8.0.0.1")])),
    ]);
    assert_eq!(hosts(resolve(zone.clone()).await), ["good.example [8.0.0.1]"]);
    let mut without = zone.clone();
    without.insert(("good.example.", RecordType::A), Says::NoData);
    assert_eq!(status(resolve(without.clone()).await), "5.4.4");
    without.insert(("good.example.", RecordType::A), Says::Code(ResponseCode::ServFail));
    assert_eq!(status(resolve(without).await), "4.4.4");
}

#[tokio::test]
async fn d07_private_answers_are_refused() {
    let zone = HashMap::from([
        (EXAMPLE, Says::Records(vec![mx(10, "a.example.")])),
        (("a.example.", RecordType::A), Says::Records(vec![v4("127.0.0.1"), v4("169.254.169.254")])),
    ]);
    assert_eq!(status(resolve(zone).await), "5.4.4");
}

#[tokio::test]
async fn d08_many_hosts_with_many_addresses() {
    let list = (0..200).map(|i| mx(10, &format!("m{i}.example."))).collect();
    let server = serve(HashMap::from([(EXAMPLE, Says::Truncated(list))])).await;
    assert_eq!(status(resolve_at(&server, Destination::domain("example.com")).await), "5.4.4");
    assert_eq!(server.asked.lock().expect("a lock").len(), 1 + 2 * 10);
}

#[tokio::test]
async fn d09_hostile_answers_end_in_a_deferral() {
    const COMPRESSION_LOOP: &[u8] =
        &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, 0xc0, 12, 0, 15, 0, 1, 0xc0, 12, 0, 15];
    for says in [
        Says::Garbage(&[]),
        Says::Garbage(&[0xff; 30]),
        Says::Garbage(COMPRESSION_LOOP),
        Says::WrongId,
        Says::WrongQuestion,
    ] {
        assert_eq!(status(resolve(HashMap::from([(EXAMPLE, says)])).await), "4.4.3");
    }
}

#[tokio::test]
async fn d09_an_alias_loop_ends() {
    let mut zone: Zone = HashMap::new();
    for record_type in [RecordType::MX, RecordType::A, RecordType::AAAA] {
        zone.insert(("example.com.", record_type), Says::Alias("loop.example.", vec![]));
        zone.insert(("loop.example.", record_type), Says::Alias("example.com.", vec![]));
    }
    let server = serve(zone).await;
    let route = resolve_at(&server, Destination::domain("example.com")).await;
    assert!(route.is_err(), "{route:?}");
    assert!(server.asked.lock().expect("a lock").len() < 60);
}

#[tokio::test]
async fn hosts_of_the_configuration() {
    let server = serve(HashMap::from([
        (("smart.example.", RecordType::A), Says::Records(vec![v4("8.0.0.9")])),
        (("example.net.", RecordType::MX), Says::Records(vec![mx(10, "a.example.")])),
        (("a.example.", RecordType::A), Says::Records(vec![v4("8.0.0.1")])),
    ]))
    .await;
    let list = "smart.example:2525;lookup-mx:example.net;[127.0.0.1]".parse().expect("a list");
    let route = resolve_at(&server, Destination::Hosts(Arc::new(list))).await;
    assert_eq!(hosts(route), ["smart.example [8.0.0.9]", "a.example [8.0.0.1]", "[127.0.0.1] [127.0.0.1]"]);
}

#[tokio::test]
async fn many_at_once_all_end() {
    let server =
        serve(HashMap::from([(("a.example.", RecordType::A), Says::Records(vec![v4("8.0.0.1")]))])).await;
    let resolver = Resolver::new(&[server.at], Arc::new(RoutePolicy::default())).expect("a resolver");
    let mut all = JoinSet::new();
    for i in 0..600 {
        let resolver = resolver.clone();
        all.spawn(async move {
            resolver.resolve(Query { destination: Destination::domain(&format!("d{i}.example")) }).await
        });
    }
    let answers = all.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.route.is_err()).count(), 600);
}
