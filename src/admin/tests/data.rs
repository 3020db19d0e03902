//! The pages that show what goes on, on a door with a rollout behind it.

#![cfg(test)]

use super::*;
use crate::model::{Outcome, Reason};
use crate::telemetry::access_log::Entry;
use crate::telemetry::{Finished, Judged, Slot};
use serde_json::{Value, json};
use std::time::Instant;

const ROLLOUT: &str = r#"
stateDir: state
listeners: [{ address: 127.0.0.1:81 }]
services:
  shop:
    hashOn: [{ header: x-user }]
    variants:
      stable: { weight: 100, version: v41, endpoints: [127.0.0.1:1] }
      canary: { weight: 0, version: v42, endpoints: [127.0.0.1:2] }
    cohorts:
      - { name: beta, when: { header: { name: x-beta, exact: "1" } } }
    rollout:
      id: v42
      to: canary
      runbook: https://runbooks.example.com/shop
      steps:
        - { cohort: beta, weight: 50, hold: 10m }
        - { approve: [ops] }
        - { cohort: everyone, ramp: [5, 20], hold: 1m }
"#;

async fn rollout() -> Story {
    let story = story_of("127.0.0.1:0", ROLLOUT).await;
    story.until("/api/v1/rollouts", |value| value["rollouts"][0]["cohorts"][0]["share"] == 0.5).await;
    story
}

impl Story {
    /// Asks again and again.
    async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let value = self.get(path).await;
            if is_so(&value) {
                return value;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{path}: {value:#}");
            tokio::task::yield_now().await;
        }
    }

    async fn ask(&self, path: &str, body: &Value) -> String {
        let body = body.to_string();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await
    }

    fn slot(&self, cohort: &str, variant: usize) -> Slot {
        let snapshot = self.handle.snapshot();
        snapshot.services[0].cohorts.iter().find(|known| &*known.name == cohort).unwrap().slots[variant]
    }

    fn requests(&self, slot: Slot, count: u64, status: u16, latency_us: u64) {
        let shard = self.registry.shard(0);
        for user in 0..count {
            let (reason, outcome, user) = (Reason::Split, Outcome::of_status(status), Some(user));
            shard.begin(slot);
            let judged = Judged::default();
            shard.finish(slot, &Finished { reason, status, outcome, latency_us, overhead_us: None, user, judged });
        }
    }

    /// A stream that is read until a text has come.
    async fn stream(&self, path: &str, headers: &str) -> Stream {
        let AdminAddress::Tcp(address) = &self.address else { panic!() };
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Stream { stream, text: String::new() }
    }
}

struct Stream {
    stream: TcpStream,
    text: String,
}

impl Stream {
    /// All that came, up to this and the rest of its line.
    async fn until(&mut self, text: &str) -> String {
        let read = async {
            loop {
                if let Some(at) = self.text.find(text)
                    && let Some(end) = self.text[at..].find('\n')
                {
                    return self.text.drain(..at + end).collect();
                }
                let mut bytes = [0; 4096];
                let count = self.stream.read(&mut bytes).await.unwrap();
                assert_ne!(count, 0, "the stream ended: {}", self.text);
                self.text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        };
        tokio::time::timeout(Duration::from_secs(10), read).await.unwrap_or_else(|_| panic!("no {text}"))
    }
}

#[tokio::test]
async fn a_rollout_tells_its_plan_and_its_numbers() {
    let story = rollout().await;
    let answer = story.send("GET /api/v1/rollouts/shop HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("etag: \""), "{answer}");
    let value = body(&answer);
    let expected = json!({
        "service": "shop", "id": "v42", "phase": value["phase"], "to": "canary", "from": "stable",
        "toVersion": "v42", "fromVersion": "v41", "step": 1, "steps": 3, "stepHoldSeconds": 600,
        "runbook": "https://runbooks.example.com/shop", "decision": null,
    });
    for (name, expected) in expected.as_object().unwrap() {
        assert_eq!(&value[name], expected, "{name}");
    }
    let states: Vec<&str> =
        value["plan"].as_array().unwrap().iter().map(|step| step["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["current", "next", "next"]);
    assert_eq!((&value["plan"][0]["weight"], &value["plan"][0]["hold"]), (&50.0.into(), &600.into()));
    assert_eq!(value["plan"][1]["approve"], json!(["ops"]));
    assert_eq!((&value["plan"][2]["ramp"], &value["plan"][2]["weight"]), (&json!([5.0, 20.0]), &Value::Null));
    let beta = &value["cohorts"][0];
    assert_eq!((&beta["name"], &beta["share"], &beta["fileShare"]), (&"beta".into(), &0.5.into(), &0.0.into()));

    story.requests(story.slot("beta", 0), 1_000, 200, 1_000);
    story.requests(story.slot("beta", 1), 500, 200, 1_000);
    let has_seen = |value: &Value| value["gates"][0]["canary"]["of"].as_u64() >= Some(500);
    let value = story.until("/api/v1/rollouts/shop", has_seen).await;
    let errors = &value["gates"][0];
    assert_eq!(
        (&errors["name"], &errors["cohort"], &errors["unit"]),
        (&"errors".into(), &"beta".into(), &"rate".into())
    );
    let difference = &errors["difference"];
    let end = |name: &str| difference[name].as_f64().unwrap();
    assert!(end("low") < 0.0 && end("value") == 0.0 && end("high") > 0.0, "{errors:#}");
    assert_eq!(errors["limit"], 0.001);
    assert_eq!(
        status(
            &story.send("GET /api/v1/rollouts/nobody HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await
        ),
        "404"
    );
}

#[tokio::test]
async fn what_happened_is_numbered_kept_and_verified() {
    let story = rollout().await;
    let events = story.get("/api/v1/events").await;
    let kinds = |value: &Value| -> Vec<String> {
        value["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&events).last().map(String::as_str), Some("started"));
    assert_eq!(events["events"].as_array().unwrap().last().unwrap()["id"], 1);
    assert_eq!(story.get("/api/v1/history").await["rollouts"][0]["outcome"], "running");

    let answer = story.ask("/api/v1/rollouts/shop/rollback", &json!({ "reason": "bad" })).await;
    assert_eq!(status(&answer), "200", "{answer}");
    let events = story.get("/api/v1/events?limit=2&service=shop").await;
    assert_eq!((kinds(&events)[0].as_str(), kinds(&events).len()), ("rolled-back", 2));
    let id = events["events"][0]["id"].as_u64().unwrap();
    assert_eq!(events["events"][0]["reason"], "bad");
    let before = story.get(&format!("/api/v1/events?before={id}")).await;
    assert!(!kinds(&before).contains(&"rolled-back".to_owned()));
    let history = story.get("/api/v1/history?days=1").await;
    let one = &history["rollouts"][0];
    assert_eq!((&one["outcome"], &one["timeToDetectSeconds"]), (&"rolled-back".into(), &Value::Null));
    let audit = story.get("/api/v1/audit/verify").await;
    assert_eq!((&audit["ok"], &audit["lines"], &audit["problem"]), (&true.into(), &id.into(), &Value::Null));
}

#[tokio::test]
async fn series_and_distributions_tell_what_was_recorded() {
    let story = rollout().await;
    story.requests(story.slot("beta", 0), 90, 200, 10_000);
    story.requests(story.slot("beta", 0), 10, 503, 2_000);
    story.requests(story.slot("beta", 1), 100, 200, 20_000);
    let sum = |value: &Value, variant: usize, name: &str| -> u64 {
        value["variants"][variant][name].as_array().unwrap().iter().filter_map(Value::as_u64).sum()
    };
    let path = "/api/v1/series?service=shop&cohort=beta&window=1m&points=60";
    let value = story.until(path, |value| sum(value, 1, "requests") == 100).await;
    assert_eq!((sum(&value, 0, "requests"), sum(&value, 0, "errors"), &value["stepSeconds"]), (100, 10, &1.into()));
    let at = value["variants"][1]["requests"].as_array().unwrap().iter().position(|count| *count == 100).unwrap();
    let variant = &value["variants"][1];
    assert_eq!((&variant["share"][at], &variant["weight"][at]), (&0.5.into(), &0.5.into()));
    assert!((variant["p99"][at].as_f64().unwrap() - 20.0).abs() < 0.2);
    assert!(value["difference"]["value"].as_f64().unwrap() < -0.09);
    assert_eq!(value["marks"][0]["kind"], "started");

    let all = story.get("/api/v1/series?service=shop&window=1m").await;
    assert_eq!(sum(&all, 0, "requests"), 100);
    let value = story.get("/api/v1/distribution?service=shop&window=1m").await;
    assert_eq!(value["variants"][0]["codes"], json!([{ "code": "200", "count": 90 }, { "code": "503", "count": 10 }]));
    assert_eq!((&value["variants"][0]["n"], &value["needed"]["have"]), (&100.into(), &100.into()));
    let median = &value["quantileDifference"][0];
    assert!((median["ms"].as_f64().unwrap() - 10.0).abs() < 0.3, "{median}");
    assert!(median["low"].as_f64().unwrap() > 9.0 && median["high"].as_f64().unwrap() < 11.0, "{median}");
    let counts = value["variants"][0]["histogram"].as_array().unwrap().iter();
    assert_eq!(counts.map(|bar| bar["count"].as_u64().unwrap()).sum::<u64>(), 100);

    for bad in ["/api/v1/series?service=nobody", "/api/v1/series?service=shop&cohort=nobody"] {
        let answer = story.send(&format!("GET {bad} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(status(&answer), "404");
    }
    let services = story.get("/api/v1/services").await;
    let shop = &services["services"][0];
    assert_eq!(shop["cohorts"][0]["condition"], r#"{ header: { name: x-beta, exact: "1" } }"#);
    assert_eq!(shop["cohorts"][0]["variants"][1]["source"], "rollout step 1/3; the file says 0");
    let endpoints = shop["variants"][1]["endpoints"].as_array().unwrap();
    assert_eq!((&endpoints[0]["state"], &endpoints[0]["address"]), (&"ready".into(), &"127.0.0.1:2".into()));
    assert_eq!(shop["hashOn"], json!(["header x-user"]));
    let status = story.get("/api/v1/status").await;
    assert!(status["sentence"].as_str().unwrap().starts_with("1 rollout, none failing; "), "{status:#}");
}

#[tokio::test]
async fn a_stream_tells_events_and_ticks_and_what_was_missed() {
    let story = rollout().await;
    let mut stream = story.stream("/api/v1/stream", "").await;
    let head = stream.until("event: tick").await;
    assert!(head.contains("text/event-stream") && head.contains("retry: 2000"), "{head}");
    let tick = stream.until("data: {").await;
    let tick: Value = serde_json::from_str(tick.split_once("data: ").unwrap().1).unwrap();
    assert_eq!((&tick["rollouts"][0]["id"], &tick["status"]["services"][0]["name"]), (&"v42".into(), &"shop".into()));
    stream.until("event: tick").await;
    story.ask("/api/v1/rollouts/shop/pause", &json!({})).await;
    let told = stream.until("\"kind\":\"paused\"").await;
    assert!(told.contains("event: event\nid: "), "{told}");

    let mut again = story.stream("/api/v1/stream", "last-event-id: 1\r\n").await;
    let missed = again.until("event: tick").await;
    assert!(!missed.contains("\"kind\":\"started\"") && missed.contains("\"kind\":\"paused\""), "{missed}");
    let last = missed.rsplit_once("id: ").unwrap().1.split_once('\n').unwrap().0.to_owned();
    let mut third = story.stream("/api/v1/stream", &format!("last-event-id: {last}\r\n")).await;
    assert!(!third.until("event: tick").await.contains("event: event"));
}

#[tokio::test]
async fn a_tap_shows_requests_that_are_wanted() {
    let story = rollout().await;
    let mut tap = story.stream("/api/v1/tap?variant=canary&status=5xx&rate=2", "").await;
    tap.until(": listening").await;
    let tell = |variant, status| {
        let path = "/cart?token=secret";
        let entry = Entry { service: "shop", cohort: "beta", variant, status, path, method: "GET", ..Entry::default() };
        story.registry.tap().tell(&entry, Outcome::of_status(status));
    };
    tell("stable", 500);
    tell("canary", 200);
    (0..5).for_each(|_| tell("canary", 503));
    let told = tap.until("event: dropped").await;
    assert_eq!(told.matches("event: request").count(), 2, "{told}");
    assert!(told.contains("\"path\":\"/cart\"") && !told.contains("secret") && !told.contains("\"status\":500"));
    assert!(tap.until("data: ").await.contains("{\"dropped\":3}"));
    assert!(story.registry.tap().is_listened());
    drop(tap);
    story.until("/api/v1/status", |_| !story.registry.tap().is_listened()).await;
    let answer =
        story.send("GET /api/v1/tap?status=bad HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), "400");
}

#[tokio::test]
async fn texts_are_looked_at_and_never_written() {
    let story = rollout().await;
    let file = story.get("/api/v1/config/file").await;
    assert_eq!(file["files"][0]["text"], ROLLOUT);
    let effective = story.get("/api/v1/config/effective").await;
    let value = |path: &str| {
        let values = effective["values"].as_array().unwrap();
        values.iter().find(|value| value["path"] == path).cloned().unwrap_or_default()
    };
    let weight = value("services.shop.variants.canary.weight");
    assert_eq!((&weight["value"], &weight["source"], &weight["line"]), (&"0".into(), &"file".into(), &9.into()));
    let ruled = value("services.shop.cohorts.beta.weights.canary");
    assert_eq!((&ruled["value"], &ruled["source"]), (&50.0.into(), &"rollout step 1/3; the file says 0".into()));
    assert_eq!(value("listeners[0].timeouts.keepAlive")["source"], "default");
    let floor = value("services.shop.rollout.gates.errors.allow.floor");
    assert_eq!((&floor["value"], &floor["source"]), (&"0.1%".into(), &"default".into()));
    assert_eq!(value("services.shop.rollout.judge.falseRollback")["value"], "5%");

    let check = |text: &str| json!({ "text": text });
    let good = body(&story.ask("/api/v1/config/check", &check(ROLLOUT)).await);
    assert_eq!((&good["schema"], &good["valid"]), (&"ringway.check/v1".into(), &true.into()));
    let bad = body(&story.ask("/api/v1/config/check", &check(&ROLLOUT.replace("weight: 100", "weigth: 100"))).await);
    assert_eq!((&bad["valid"], &bad["diagnostics"][0]["line"]), (&false.into(), &8.into()));
    let nosy = ROLLOUT.replace("hashOn", "saltFile: /etc/shadow\n    hashOn");
    let nosy = body(&story.ask("/api/v1/config/check", &check(&nosy)).await);
    assert_eq!((&nosy["valid"], &nosy["unread"]), (&true.into(), &json!(["/etc/shadow"])));

    let more = ROLLOUT
        .replace("stable: { weight: 100", "stable: { weight: 90")
        .replace("canary: { weight: 0", "canary: { weight: 10");
    let diff = body(&story.ask("/api/v1/config/diff", &check(&more)).await);
    assert_eq!((&diff["schema"], &diff["moves"]), (&"ringway.diff/v1".into(), &true.into()));
    let moved =
        diff["services"][0]["cohorts"].as_array().unwrap().iter().find(|one| one["name"] == "everyone").unwrap();
    assert_eq!(moved["moved"], 0.1);
    assert_eq!(status(&story.ask("/api/v1/config/diff", &check("bogus: 1")).await), "422");
    assert_eq!(std::fs::read_to_string(story.dir.path().join("ringway.yaml")).unwrap(), ROLLOUT);
}

#[tokio::test]
async fn requests_are_explained_in_batches_and_with_a_weight_to_try() {
    let story = rollout().await;
    let request = json!({ "url": "http://shop/cart", "headers": { "x-user": "u-1", "x-beta": "1" } });
    let curl = json!({ "curl": "curl -H 'x-user: u-1' http://shop/" });
    let batch = json!({ "requests": [request, curl, { "url": "a", "curl": "b" }] });
    let value = body(&story.ask("/api/v1/explain", &batch).await);
    let answers = value["answers"].as_array().unwrap();
    assert_eq!((&answers[0]["cohort"], &answers[1]["cohort"]), (&"beta".into(), &"everyone".into()));
    assert_eq!(answers[1]["variant"], "stable");
    assert!(answers[2]["problem"].as_str().unwrap().contains("not both"));
    let trial = |weight: u32| json!({ "service": "shop", "cohort": "everyone", "variant": "canary", "weight": weight });
    let batch = json!({ "requests": [curl], "weights": trial(100) });
    let value = body(&story.ask("/api/v1/explain", &batch).await);
    assert_eq!(value["answers"][0]["variant"], "canary");
    assert_eq!(story.get("/api/v1/rollouts").await["rollouts"][0]["cohorts"][1]["share"], 0.0, "nothing has changed");
    assert_eq!(
        status(&story.ask("/api/v1/explain", &json!({ "requests": [curl], "weights": trial(101) })).await),
        "400"
    );
    assert_eq!(status(&story.ask("/api/v1/explain", &json!({ "requests": [] })).await), "400");
}

/// What looking on costs: prints the share of one core that ticks for 50 viewers take.
#[tokio::test]
#[ignore = "a measurement; run it with --ignored --nocapture to see the figure"]
async fn fifty_viewers() {
    let story = rollout().await;
    let mut viewers = Vec::new();
    for _ in 0..50 {
        let mut viewer = story.stream("/api/v1/stream", "").await;
        viewer.until("event: tick").await;
        viewers.push(viewer);
    }
    let (before, begun) = (cpu_seconds(), Instant::now());
    for _ in 0..5 {
        for viewer in &mut viewers {
            viewer.until("event: tick").await;
        }
    }
    let share = (cpu_seconds() - before) / begun.elapsed().as_secs_f64();
    println!("50 viewers, with the viewers themselves: {:.2} % of a core", share * 100.0);
}

/// What this process has used so far.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[tokio::test]
async fn a_small_log_is_sent_through_the_file() {
    let story = rollout().await;
    let line = |user: u32| {
        format!("10.0.0.{user} - - [21/Nov/2026:08:26:00 +0000] \"GET / HTTP/1.1\" 200 17 \"-\" \"curl/8\"\n")
    };
    let log: String = (1..100).map(line).collect();
    let value = body(&story.ask("/api/v1/simulate", &json!({ "log": log })).await);
    assert_eq!(value["schema"], "ringway.simulate/v1", "{value}");
    assert!(value.to_string().contains("99"), "{value}");
    for wrong in [
        json!({ "log": log, "inject": ["canary: error=2%"] }),
        json!({ "log": log, "service": "shop", "inject": ["canary: luck"] }),
        json!({ "log": log, "service": "nobody" }),
        json!({}),
    ] {
        assert_eq!(status(&story.ask("/api/v1/simulate", &wrong).await), "400", "{wrong}");
    }
}

#[tokio::test]
async fn the_way_back_of_a_weight_leaves_a_pause_as_it_is() {
    let story = rollout().await;
    let wish = json!({ "cohort": "beta", "variant": "canary", "weight": 10 });
    let answer = body(&story.ask("/api/v1/rollouts/shop/set-weight?dryRun=true", &wish).await);
    assert_eq!(answer["undo"], "ringway resume shop");
    story.ask("/api/v1/rollouts/shop/pause", &json!({})).await;
    let answer = body(&story.ask("/api/v1/rollouts/shop/set-weight", &wish).await);
    assert_eq!(
        (&answer["result"], &answer["undo"]),
        (&"done".into(), &"ringway set-weight shop canary 50 --cohort beta".into())
    );
    assert_eq!(story.get("/api/v1/rollouts/shop").await["phase"], "paused");
}

#[tokio::test]
async fn a_name_or_a_time_that_is_none_is_told_as_such() {
    let story = rollout().await;
    for (change, code, why) in [
        (
            json!({ "cohort": "beto", "variant": "canary", "weight": 1 }),
            "404",
            "no cohort `beto`; shop has beta, everyone",
        ),
        (
            json!({ "cohort": "beta", "variant": "canari", "weight": 1 }),
            "404",
            "no variant `canari`; shop has stable, canary",
        ),
        (json!({ "cohort": "beta", "variant": "canary", "weight": 1, "for": "0s" }), "400", "longer than none"),
    ] {
        let answer = story.ask("/api/v1/rollouts/shop/set-weight", &change).await;
        assert_eq!(status(&answer), code, "{answer}");
        assert!(body(&answer)["detail"].as_str().unwrap().contains(why), "{answer}");
    }
    assert_eq!(story.get("/api/v1/rollouts/shop").await["cohorts"][0]["share"], 0.5);
}

#[tokio::test]
async fn a_cohort_that_no_step_has_reached_has_nobody_yet() {
    let story = rollout().await;
    // what the release before had there
    story.requests(story.slot("everyone", 1), 40, 200, 1_000);
    story.requests(story.slot("beta", 1), 30, 200, 1_000);
    let value = story.until("/api/v1/rollouts/shop", |value| value["cohorts"][0]["requests"] == 30).await;
    assert_eq!((&value["cohorts"][1]["name"], &value["cohorts"][1]["requests"]), (&"everyone".into(), &0.into()));
}

#[tokio::test]
async fn a_curl_line_is_told_as_it_was_understood() {
    let story = rollout().await;
    let wish = json!({ "requests": [{ "curl": "curl -X PUT http://shop.example.com/cart -H 'x-beta: 1'" }] });
    let answer = body(&story.ask("/api/v1/explain", &wish).await);
    let request = &answer["answers"][0]["request"];
    assert_eq!((&request["method"], &request["headers"]["x-beta"]), (&"PUT".into(), &"1".into()), "{answer:#}");
    assert_eq!(request["url"], "http://shop.example.com/cart");
}
