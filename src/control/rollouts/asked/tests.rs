//! Gates whose destinations answer in all ways that there are.

#![cfg(test)]

use super::*;
use crate::config::{Source, load_texts};
use crate::control::outside::testing::{Server, until};

fn file(prometheus: &str, service: &str) -> File {
    let text = format!(
        "
listeners: [{{ address: 127.0.0.1:8080 }}]
stateDir: state
outbound: {{ allow: [127.0.0.0/8] }}
services:
  shop:
    variants:
      stable: {{ weight: 1, endpoints: ['127.0.0.1:3001'] }}
      canary: {{ weight: 0, endpoints: ['127.0.0.1:3002'] }}
    rollout:
      id: v42
      to: canary
      steps: [{{ cohort: everyone, ramp: [1, 100], hold: 1m }}]
      gates:
        prometheus: [{{ name: memory, url: '{prometheus}', query: 'max(x{{a=\"b\"}}) / 1e9', passWhen: '< 2', every: 1s }}]
        http: [{{ name: compliance, url: '{service}', every: 1s, onHarm: rollback }}]
"
    );
    load_texts(vec![Source::new("a.yaml", &text)]).unwrap_or_else(|errors| panic!("{errors}")).file
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn number(number: &str) -> String {
    answer(&format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[1,"{number}"]}}]}}}}"#
    ))
}

fn reading(verdict: Verdict) -> CohortReading {
    CohortReading {
        cohort: "everyone".to_owned(),
        serial: 1,
        verdict,
        is_safe: true,
        is_starved: false,
        requests: 0,
        users: 0,
        probes: 0,
        gate: "errors".to_owned(),
        sentence: "errors".to_owned(),
        numbers: Vec::new(),
    }
}

struct Story {
    asked: Asked,
    prometheus: Server,
    _service: Server,
}

impl Story {
    async fn new(prometheus: &str, service: &str) -> Story {
        let (prometheus, service) = (Server::with(&[prometheus]).await, Server::with(&[service]).await);
        let mut asked = Asked::default();
        asked.follow(&file(&prometheus.url(""), &service.url("/shop/v42")), &References::default());
        asked.look(|service| service == "shop");
        Story { asked, prometheus, _service: service }
    }

    fn joined(&self, verdict: Verdict) -> (Verdict, String) {
        let joined = self.asked.join("shop", reading(verdict), Instant::now());
        (joined.verdict, joined.sentence)
    }

    fn words(&self) -> Vec<(String, &'static str)> {
        let views = self.asked.views("shop", Instant::now());
        views.into_iter().map(|view| (view.gate, view.verdict)).collect()
    }

    async fn until_answered(&self) {
        until(|| self.words().iter().all(|(_, word)| *word != "waiting")).await;
    }
}

#[tokio::test]
async fn gates_that_pass_leave_the_judge_its_word_and_before_their_answer_nothing_passes() {
    let story = Story::new(&number("1.4"), "HTTP/1.1 204 OK\r\n\r\n").await;
    assert_eq!(story.joined(Verdict::Clear), (Verdict::Unknown, "the gate compliance was not answered yet".to_owned()));
    story.until_answered().await;
    assert_eq!(story.words(), [("compliance".to_owned(), "pass"), ("memory".to_owned(), "pass")]);
    for verdict in [Verdict::Clear, Verdict::Frozen, Verdict::Harm] {
        assert_eq!(story.joined(verdict), (verdict, "errors".to_owned()));
    }
    let request = story.prometheus.seen().remove(0);
    assert!(
        request.starts_with("GET /api/v1/query?query=max%28x%7Ba%3D%22b%22%7D%29%20%2F%201e9 HTTP/1.1"),
        "{request}"
    );
}

#[tokio::test]
async fn harm_acts_as_the_gate_says_and_its_answer_is_the_reason() {
    let story = Story::new(&number("2.4"), "HTTP/1.1 204 OK\r\n\r\n").await;
    story.until_answered().await;
    let text = "the gate memory answered 2.4, which is not < 2".to_owned();
    assert_eq!(story.joined(Verdict::Clear), (Verdict::PausingHarm, text));
    assert_eq!(story.joined(Verdict::Harm), (Verdict::Harm, "errors".to_owned()));

    let story = Story::new(&number("2.4"), "HTTP/1.1 409 No\r\ncontent-length: 4\r\n\r\nopen").await;
    story.until_answered().await;
    assert_eq!(story.joined(Verdict::Clear), (Verdict::Harm, "the gate compliance answered 409: open".to_owned()));
}

#[tokio::test]
async fn who_begins_again_asks_again_and_is_not_stopped_by_the_answer_of_before() {
    let mut story = Story::new(&number("2.4"), "HTTP/1.1 204 OK\r\n\r\n").await;
    story.until_answered().await;
    assert_eq!(story.joined(Verdict::Clear).0, Verdict::PausingHarm);
    story.asked.begin_again("search");
    assert_eq!(story.joined(Verdict::Clear).0, Verdict::PausingHarm);
    story.asked.begin_again("shop");
    assert_eq!(story.joined(Verdict::Clear).0, Verdict::Clear, "nothing is asked until the next second");
    story.asked.look(|_| true);
    assert_eq!(story.joined(Verdict::Clear).0, Verdict::Unknown);
    story.until_answered().await;
    assert_eq!(story.joined(Verdict::Clear).0, Verdict::PausingHarm, "it is as bad as before");
}

#[tokio::test]
async fn a_source_that_fails_never_passes_and_never_takes_back() {
    let story = Story::new("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "").await;
    until(|| story.words().iter().all(|(_, word)| *word == "unknown")).await;
    let (verdict, text) = story.joined(Verdict::Clear);
    assert_eq!(verdict, Verdict::Unknown);
    assert!(text.starts_with("the gate compliance was asked "), "{text}");
    assert!(text.ends_with(" times without an answer: 127.0.0.1 broke off, or what came is no answer"), "{text}");
    assert_eq!(story.joined(Verdict::Harm).0, Verdict::Harm);
}

#[tokio::test]
async fn gates_are_asked_while_their_rollout_is_watched_and_keep_their_answers_over_a_reload() {
    let mut story = Story::new(&number("1.4"), "HTTP/1.1 204 OK\r\n\r\n").await;
    story.until_answered().await;
    let same = file(&story.prometheus.url(""), &story._service.url("/shop/v42"));
    story.asked.follow(&same, &References::default());
    story.asked.look(|_| true);
    assert_eq!(story.words(), [("compliance".to_owned(), "pass"), ("memory".to_owned(), "pass")]);
    story.asked.look(|_| false);
    assert_eq!(story.words(), []);
    assert_eq!(story.joined(Verdict::Clear).0, Verdict::Clear);
    story.asked.look(|_| true);
    assert_eq!(story.words()[0].1, "waiting", "an answer of long ago is none");
}
