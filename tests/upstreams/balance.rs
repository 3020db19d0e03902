//! Which endpoint of a variant gets a request.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::service::{Service, Wire};
use crate::story::{DOORS, PATIENCE, Story, pause};

fn three(balance: &str, services: &[&Service]) -> Story {
    let endpoints: Vec<String> = services.iter().map(|service| format!("\"{}\"", service.address)).collect();
    Story::begin(&format!(
        "{DOORS}services: {{ shop: {{ variants: {{ stable: {{ endpoints: [{}], loadBalancing: {balance} }} }} }} }}\n",
        endpoints.join(", ")
    ))
}

fn ask(story: &Story, count: usize) {
    let mut client = story.client();
    for _ in 0..count {
        let answer = client.get("/", "");
        assert!(answer.is_ok(), "{answer:?}");
    }
}

#[test]
fn round_robin_gives_each_its_turn() {
    let services = ["a", "b", "c"].map(Service::named);
    let story = three("roundRobin", &services.each_ref());
    ask(&story, 300);
    assert_eq!(services.each_ref().map(Service::requests), [100; 3]);
    assert_eq!(services.each_ref().map(Service::connections), [1; 3], "kept open");
}

#[test]
fn least_request_is_even_among_equals() {
    let services = ["a", "b", "c"].map(Service::named);
    let story = three("leastRequest", &services.each_ref());
    ask(&story, 300);
    let served = services.each_ref().map(Service::requests);
    assert!(served.iter().all(|count| (60..140).contains(count)), "{served:?}");
}

#[test]
fn least_request_spares_the_slow_one() {
    let fast = ["a", "b"].map(Service::named);
    let slow = Service::wired(|wire: &mut Wire| {
        while wire.request().is_some() {
            wire.drip(Duration::from_millis(100), [b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()].into_iter());
        }
    });
    let story = three("leastRequest", &[&fast[0], &slow, &fast[1]]);
    let counts = || (fast[0].requests(), fast[1].requests(), slow.requests());
    // a machine that is busy with other things makes the fast ones slow for a while; turns would be even for ever
    let is_shown = || {
        let (a, b, slow) = counts();
        a.min(b) > 200 && slow > 0 && 3 * slow < a.min(b)
    };
    let until = Instant::now() + Duration::from_secs(20);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut client = story.client();
                while Instant::now() < until && !is_shown() {
                    assert!(client.get("/", "").is_whole);
                }
            });
        }
    });
    let (a, b, slow) = counts();
    println!("least request: {a} and {b} by the fast ones, {slow} by the slow one");
    assert!(slow > 0 && 3 * slow < a.min(b), "{a}, {b}, slow {slow}");
}

#[test]
fn a_dead_endpoint_of_three_costs_no_request() {
    for balance in ["roundRobin", "leastRequest"] {
        let (services, dead) = (["a", "b"].map(Service::named), Service::absent());
        let story = three(balance, &[&services[0], &dead, &services[1]]);
        ask(&story, 300);
        assert_eq!(services.iter().map(Service::requests).sum::<usize>(), 300, "{balance}");
        story.expect_metric("ringway_fallback_total", &[], 0.0);
        story.expect_metric("ringway_http_request_duration_seconds_count", &[("outcome", "error")], 0.0);
    }
}

#[test]
fn an_endpoint_that_dies_between_requests_and_returns_costs_no_request() {
    let mut services = ["a", "b", "c"].map(Service::named);
    let story = three("roundRobin", &services.each_ref());
    for round in 0..3 {
        ask(&story, 30);
        services[1].close();
        ask(&story, 30);
        assert_eq!(services[1].requests(), if round == 0 { 10 } else { services[1].requests() });
        services[1].open_named("b again");
        let deadline = Instant::now() + PATIENCE;
        while services[1].requests() == 0 {
            ask(&story, 3);
            assert!(Instant::now() < deadline, "it is never used again");
        }
    }
}

/// Longer than the time between two look-ups: what resolves to the same keeps its connections.
#[test]
fn a_name_is_looked_up_again_and_keeps_its_connections() {
    let service = Service::named("a");
    let text = format!(
        "{DOORS}services: {{ shop: {{ variants: {{ stable: {{ endpoints: [\"localhost:{}\"] }} }} }} }}\n",
        service.address.port()
    );
    let story = Story::begin(&text);
    let mut client = Client::connect(story.at());
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < Duration::from_secs(6) {
        assert!(client.get("/", "").is_ok());
        count += 1;
        pause(Duration::from_millis(20));
    }
    assert_eq!((service.requests(), service.connections()), (count, 1));
}
