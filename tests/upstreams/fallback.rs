//! A canary that cannot be reached hurts nobody, never becomes a hang, and is still guilty.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::client::{Answer, Client, Client2};
use crate::service::Service;
use crate::story::{Story, eventually, shop};

/// The connect timeout of the routes here.
const CONNECT_MS: u64 = 300;
/// What a busy machine may add to it.
const LITTLE: Duration = Duration::from_secs(2);
const CLIENTS: usize = 16;
const REQUESTS: usize = 12;

/// `shop` with a route that gives up connecting soon, and these changes.
fn impatient(stable: &str, canary: &str, edit: impl Fn(String) -> String) -> String {
    let route = format!("routes: [{{ service: shop, timeouts: {{ connect: {CONNECT_MS}ms, request: 5s }} }}]\n");
    edit(shop(stable, canary, 50)) + &route
}

/// Users who ask one after the other, many at a time. What they saw, and the longest wait.
fn ask_as_many(at: SocketAddr) -> (Vec<Answer>, Duration) {
    let asked = std::thread::scope(|scope| {
        let ask = |client: usize| {
            let mut connection = Client::connect(at);
            let each = (0..REQUESTS).map(move |request| {
                let began = Instant::now();
                let cookie = format!("cookie: uid=u-{client}-{request}\r\n");
                (connection.get("/a", &cookie), began.elapsed())
            });
            each.collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || ask(client))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let longest = asked.iter().map(|(_, took)| *took).max().unwrap();
    (asked.into_iter().map(|(answer, _)| answer).collect(), longest)
}

/// All are answered by stable, in time; the canary is blamed for each of its users, and nobody else is.
fn expect_fallback(story: &Story, cause: &str) -> f64 {
    let (answers, longest) = ask_as_many(story.at());
    assert!(answers.iter().all(|answer| answer.is_ok() && answer.body == "stable /a"), "{answers:?}");
    assert!(longest < Duration::from_millis(CONNECT_MS) + LITTLE, "{longest:?} is a hang");
    let total = answers.len() as f64;
    let metrics = story.metrics();
    let blamed = |labels: &[(&str, &str)]| metrics.sum("ringway_fallback_total", labels);
    let of_canary = blamed(&[("variant", "canary")]);
    assert!(of_canary > 0.25 * total && of_canary < 0.75 * total, "{of_canary} of {total}");
    assert!(blamed(&[("cause", cause)]) > 0.0, "no {cause}");
    assert_eq!(blamed(&[("cause", cause)]) + blamed(&[("cause", "ejected")]), of_canary);
    assert_eq!(blamed(&[("variant", "stable")]), 0.0);
    let served = |reason| metrics.sum("ringway_http_requests_total", &[("variant", "stable"), ("reason", reason)]);
    assert_eq!((served("fallback"), served("split")), (of_canary, total - of_canary));
    story.expect_metric("ringway_http_requests_in_flight", &[], 0.0);
    println!("{cause}: {total} requests, {of_canary} by fallback, the longest took {longest:?}");
    of_canary
}

/// How long it takes until the canary serves again.
fn time_to_return(story: &Story) -> Duration {
    let (began, mut client) = (Instant::now(), story.client());
    let mut user = 0;
    eventually("the canary's return", || {
        user += 1;
        let answer = client.get("/a", &format!("cookie: uid=u-{user}\r\n"));
        assert!(answer.is_ok(), "{answer:?}");
        if answer.body.starts_with("canary") { Ok(()) } else { Err(answer.body) }
    });
    began.elapsed()
}

#[test]
fn a_refused_canary_falls_back_and_returns_within_seconds() {
    let (stable, mut canary) = (Service::named("stable"), Service::absent());
    let text = impatient(&stable.address.to_string(), &canary.address.to_string(), |text| text);
    let story = Story::with(&text, 2, |options| options);
    expect_fallback(&story, "connect");
    canary.open_named("canary");
    let took = time_to_return(&story);
    assert!(took < Duration::from_secs(3), "{took:?}");
    canary.close();
    let (answers, _) = ask_as_many(story.at());
    assert!(answers.iter().all(|answer| answer.is_ok()), "{answers:?}");
    canary.open_named("canary");
    assert!(time_to_return(&story) < Duration::from_secs(6));
}

#[test]
fn a_canary_that_swallows_connections_costs_no_more_than_the_connect_timeout() {
    let (stable, (canary, waiting)) = (Service::named("stable"), Service::black_hole());
    let text = impatient(&stable.address.to_string(), &canary.address.to_string(), |text| text);
    expect_fallback(&Story::with(&text, 2, |options| options), "connect_timeout");
    drop(waiting);
}

/// Requests that share a connection must not queue for the timeout, one after the other.
#[test]
fn nor_does_it_with_a_shared_connection() {
    let (stable, (canary, waiting)) = (Service::named("stable"), Service::black_hole());
    let edit = |text: String| text.replace("canary: {", "canary: { protocol: h2c,");
    let text = impatient(&stable.address.to_string(), &canary.address.to_string(), edit);
    expect_fallback(&Story::with(&text, 2, |options| options), "connect_timeout");
    drop(waiting);
}

#[test]
fn a_name_without_an_address_falls_back() {
    let stable = Service::named("stable");
    let text = impatient(&stable.address.to_string(), "no-such-host.invalid:80", |text| text);
    let began = Instant::now();
    let story = Story::with(&text, 2, |options| options);
    assert!(began.elapsed() < Duration::from_secs(5) + LITTLE, "the start waited {:?}", began.elapsed());
    expect_fallback(&story, "resolve");
}

#[test]
fn clients_of_http2_fall_back_too() {
    let (stable, canary) = (Service::named("stable"), Service::absent());
    let text = impatient(&stable.address.to_string(), &canary.address.to_string(), |text| text);
    let story = Story::begin(&text);
    let mut client = Client2::connect(story.at());
    let request = |user: usize| {
        let request = http::Request::get("http://shop/a").header("cookie", format!("uid=u-{user}"));
        request.body(Default::default()).unwrap()
    };
    let answers = client.ask_all((0..50).map(request).collect());
    assert!(answers.iter().all(|answer| answer.is_ok() && answer.body == "stable /a"), "{answers:?}");
}

#[test]
fn without_a_fallback_the_canary_s_users_get_503_or_504_and_it_is_an_error_of_the_canary() {
    let (stable, canary, (hole, waiting)) = (Service::named("stable"), Service::absent(), Service::black_hole());
    for (canary, status) in [(canary.address, 503), (hole.address, 504)] {
        let edit = |text: String| text.replace("    variants:", "    fallback: none\n    variants:");
        let story = Story::begin(&impatient(&stable.address.to_string(), &canary.to_string(), edit));
        let (answers, longest) = ask_as_many(story.at());
        let refused: Vec<&Answer> = answers.iter().filter(|answer| answer.status != 200).collect();
        assert!(refused.iter().all(|answer| answer.is_whole && [status, 503].contains(&answer.status)), "{refused:?}");
        assert!(refused.iter().any(|answer| answer.status == status));
        assert!(longest < Duration::from_millis(CONNECT_MS) + LITTLE, "{longest:?} is a hang");
        let of_canary = [("variant", "canary"), ("outcome", "error")];
        story.expect_metric("ringway_http_request_duration_seconds_count", &of_canary, refused.len() as f64);
        story.expect_metric("ringway_fallback_total", &[], 0.0);
    }
    drop(waiting);
}

#[test]
fn when_the_fallback_is_gone_as_well_there_is_an_answer() {
    let (stable, canary) = (Service::absent(), Service::absent());
    let story = Story::begin(&impatient(&stable.address.to_string(), &canary.address.to_string(), |text| text));
    let (answers, longest) = ask_as_many(story.at());
    assert!(answers.iter().all(|answer| answer.status == 503 && answer.is_whole), "{answers:?}");
    assert!(longest < LITTLE, "{longest:?}");
}
