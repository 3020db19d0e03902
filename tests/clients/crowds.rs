//! Connections of one client address (docs/reference/limits.md): at the limit, beyond it, and who is not counted.

use crate::support::raw::{Raw, eventually};
use crate::support::recording::Recording;
use crate::support::server::Proxy;
use std::net::Ipv4Addr;

const GET: &str = "GET / HTTP/1.1\r\nhost: shop\r\n\r\n";
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);

fn is_served(client: &mut Raw) -> bool {
    client.send(GET).try_response_to("GET").is_ok_and(|response| response.status == 200)
}

fn from(last: u8, proxy: &Proxy) -> Raw {
    Raw::connect_from(Ipv4Addr::new(127, 0, 0, last), proxy.address())
}

fn refused(proxy: &Proxy) -> f64 {
    proxy.metrics().sum("ringway_downstream_connections_refused_total", &[("reason", "clientLimit")])
}

#[test]
fn one_address_cannot_take_the_connections_of_all() {
    let upstream = Recording::echo();
    let proxy = Proxy::before_with(&upstream, "limits: { maxConnectionsPerIP: 3 }");
    let mut greedy: Vec<Raw> = (0..3).map(|_| from(5, &proxy)).collect();
    assert!(greedy.iter_mut().all(is_served));
    for _ in 0..20 {
        from(5, &proxy).expect_close();
    }
    assert!(is_served(&mut from(6, &proxy)), "others are served");
    assert!(greedy.iter_mut().all(is_served), "and so are those that it has");
    assert_eq!(refused(&proxy), 20.0);
    greedy.pop();
    eventually("room for another one", || is_served(&mut from(5, &proxy)));
    // 127.0.0.9 is a trusted proxy of this listener: it speaks for many
    let mut trusted: Vec<Raw> = (0..10).map(|_| proxy.connect_trusted()).collect();
    assert!(trusted.iter_mut().all(is_served));
}

#[test]
fn behind_a_load_balancer_the_clients_count_and_it_does_not() {
    let upstream = Recording::echo();
    let proxy =
        Proxy::before_with(&upstream, "proxyProtocol: { from: [127.0.0.8/32] }, limits: { maxConnectionsPerIP: 2 }");
    let through = |client: &str| {
        let mut raw = Raw::connect_from(BALANCER, proxy.address());
        raw.send(format!("PROXY {client}\r\n"));
        raw
    };
    let one = "TCP6 2001:db8::1 ::1 4660 80";
    let neighbour = "TCP6 2001:db8::beef ::1 4660 80";
    let other = "TCP6 2001:db8:1::1 ::1 4660 80";
    let mut open = [through(one), through(neighbour), through(other), through("TCP4 192.0.2.1 10.0.0.1 1 2")];
    assert!(open.iter_mut().all(is_served));
    assert!(!is_served(&mut through(one)), "a network of 64 bits is one client");
    assert!(is_served(&mut through(other)));
    let mut own: Vec<Raw> = (0..5).map(|_| through("UNKNOWN")).collect();
    assert!(own.iter_mut().all(is_served), "the balancer's own are not counted");
    assert_eq!(refused(&proxy), 1.0);
}
