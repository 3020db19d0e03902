use crate::support::{Desk, SHOP};
use ringway::control::journal::store::Store;
use ringway::control::journal::traffic_file::{self, Known, Traffic};
use ringway::rollout::state::State;
use std::collections::BTreeMap;
use std::time::SystemTime;

#[test]
fn a_good_file_is_valid_in_one_line() {
    let desk = Desk::new();
    desk.write("ringway.yaml", SHOP);
    let done = desk.run(&["check"]).ended_with(0);
    let line = done.stdout.trim_end();
    assert!(line.starts_with("ringway.yaml is valid: 1 service, 2 cohorts, 1 test passed (rev "), "{line}");
    assert_eq!(line.lines().count(), 1);
    assert_eq!(done.stderr, "");
}

#[test]
fn the_exit_code_is_the_same_in_every_format() {
    let desk = Desk::new();
    desk.write("good.yaml", SHOP);
    desk.write("bad.yaml", &SHOP.replace("weight: 95", "weigth: 95").replace("cookie: uid", "cooky: uid"));
    desk.write("failing.yaml", &SHOP.replace("variant: canary }", "variant: stable }"));
    for format in ["text", "json", "github", "sarif"] {
        for (file, code) in [("good.yaml", 0), ("bad.yaml", 1), ("failing.yaml", 1), ("none.yaml", 1)] {
            desk.run(&["check", "-c", file, "--output", format]).ended_with(code);
        }
        desk.run(&["check", "-c", "good.yaml", "-o", format, "--nonsense"]).ended_with(2);
    }
    desk.run(&["check", "-o", "xml"]).ended_with(2);
}

#[test]
fn all_errors_are_shown_at_once_with_their_places() {
    let desk = Desk::new();
    desk.write("bad.yaml", &SHOP.replace("weight: 95", "weigth: 95").replace("cookie: uid", "cooky: uid"));
    let done = desk.run(&["check", "-c", "bad.yaml", "-o", "json"]).ended_with(1);
    let json = done.json();
    assert_eq!((&json["schema"], &json["valid"]), (&"ringway.check/v1".into(), &false.into()));
    let lines: Vec<u64> =
        json["diagnostics"].as_array().unwrap().iter().filter_map(|found| found["line"].as_u64()).collect();
    assert!(lines.contains(&5) && lines.contains(&8), "{json:#}");
}

#[test]
fn a_failing_test_is_shown_where_it_expects() {
    let desk = Desk::new();
    desk.write("ringway.yaml", &SHOP.replace("variant: canary }", "variant: stable }"));
    let done = desk.run(&["check"]).ended_with(1);
    assert!(done.stdout.contains("RW0701") && done.stdout.contains("the variant is `canary`, not `stable`"));
    let json = desk.run(&["check", "-o", "json"]).ended_with(1).json();
    assert_eq!(json["tests"], serde_json::json!({ "passed": 0, "failed": 1 }));
}

#[test]
fn a_file_can_come_from_a_directory_standard_input_and_the_variable() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("conf.d")).unwrap();
    desk.write("conf.d/override.key", "open sesame");
    desk.write("conf.d/10-shop.yaml", SHOP);
    desk.run(&["check", "-c", "conf.d"]).ended_with(0);
    desk.run_with(&["check", "-c", "-"], SHOP).ended_with(0);
    desk.run_with(&["check", "-c", "-"], "services: [").ended_with(1);
    let mut command = assert_cmd::Command::cargo_bin("ringway").unwrap();
    command.current_dir(desk.directory()).env("RINGWAY_CONFIG", "conf.d").arg("check").assert().code(0);
}

#[test]
fn a_missing_secret_is_an_error_at_its_field() {
    let desk = Desk::new();
    desk.write("ringway.yaml", &SHOP.replace("override.key", "nowhere.key"));
    let json = desk.run(&["check", "-o", "json"]).ended_with(1).json();
    assert_eq!((&json["diagnostics"][0]["code"], &json["diagnostics"][0]["line"]), (&"RW0601".into(), &6.into()));
}

#[test]
fn warnings_are_denied_on_demand() {
    let desk = Desk::new();
    desk.write("ringway.yaml", &SHOP.replace("header: x-user-id", "header: x-request-id"));
    assert!(desk.run(&["check"]).ended_with(0).stdout.contains("RW0117"));
    desk.run(&["check", "--deny-warnings"]).ended_with(1);
    desk.run(&["check", "--deny-warnings", "-o", "sarif"]).ended_with(1);
}

#[test]
fn codes_are_explained() {
    let desk = Desk::new();
    let done = desk.run(&["check", "--explain", "rw0110"]).ended_with(0);
    assert!(done.stdout.starts_with("RW0110 (error): the weights sum to 0"));
    desk.run(&["check", "--explain", "RW9999"]).ended_with(2);
}

#[test]
fn tests_are_run_one_line_each() {
    let desk = Desk::new();
    let more = "  - { request: { url: \"http://a/\", headers: { x-user-id: \"7\" } }, expect: { cohort: staff } }\n";
    desk.write("good.yaml", SHOP);
    desk.write("failing.yaml", &format!("{SHOP}{more}"));
    let done = desk.run(&["test", "-c", "good.yaml"]).ended_with(0);
    assert_eq!(done.stdout, "✔ pass  staff gets the canary\n");
    let done = desk.run(&["test", "-c", "failing.yaml"]).ended_with(1);
    assert!(done.stdout.contains("✗ fail  GET http://a/\n          tests[1].expect.cohort: the cohort is `everyone`"));
    assert!(done.stderr.starts_with("1 test passed, 1 failed"), "{}", done.stderr);
    let json = desk.run(&["test", "-c", "failing.yaml", "-o", "json"]).ended_with(1).json();
    assert_eq!((&json["schema"], &json["passed"]), (&"ringway.test/v1".into(), &1.into()));
    assert_eq!(json["tests"][1]["failures"][0]["place"], "tests[1].expect.cohort");
    desk.run(&["test", "-c", "none.yaml"]).ended_with(2);
}

const RELEASE: &str = r#"listeners: [{ address: "127.0.0.1:8080" }]
stateDir: state
services:
  shop:
    variants:
      stable: { weight: 100, endpoints: ["127.0.0.1:3001"] }
      canary: { weight: 0, endpoints: ["127.0.0.1:3002"] }
    rollout:
      id: v42
      to: canary
      steps: [{ cohort: everyone, ramp: [1, 50], hold: 10m }]
      gates: { outcomes: [{ name: orders, among: { path: { prefix: /checkout } } }] }
"#;

#[test]
fn each_step_says_what_it_can_see() {
    let desk = Desk::new();
    desk.write("ringway.yaml", RELEASE);
    let unknown = desk.run(&["check"]).ended_with(0).stdout;
    assert!(unknown.contains("shop step 1, everyone 1 %: needs requests of the new version"), "{unknown}");
    assert!(unknown.contains("--traffic 500/s"), "{unknown}");
    let args = ["check", "--traffic", "500/s", "--base-errors", "0.2%"];
    let known = desk.run(&args).ended_with(0).stdout;
    let line = known.lines().find(|line| line.contains("everyone 1 %")).unwrap();
    assert!(line.contains("1 % at 500 requests/s with 0.2 % errors: sees 0.2 % → "), "{line}");
    assert!(line.contains("; latency: sees 1 % → ") && line.contains("; orders: nobody has said"), "{line}");
    let given = desk.run(&[&args[..], &["--outcome", "orders=5%"]].concat()).ended_with(0).stdout;
    assert!(given.contains("; orders (5 % bring one): half as many after "), "not all requests are checkouts: {given}");
    let json = desk.run(&[&args[..], &["-o", "json"]].concat()).ended_with(0).json();
    let step = &json["power"][1];
    assert_eq!((&step["service"], &step["step"], &step["holdSeconds"]), (&"shop".into(), &1.into(), &600.into()));
    assert_eq!((&step["share"], &step["requestsPerSecond"]), (&50.0.into(), &500.0.into()));
    assert!(!desk.path("state").exists(), "nothing is written");
    desk.run(&["check", "--traffic", "500"]).ended_with(2);
    desk.run(&["check", "--outcome", "orders"]).ended_with(2);
}

#[test]
fn what_a_process_has_noted_names_leftovers_and_makes_previews() {
    let desk = Desk::new();
    desk.write("ringway.yaml", RELEASE);
    let folder = desk.path("state");
    let mut store = Store::open(&folder, SystemTime::now()).unwrap().store;
    // nobody has got it since 1970
    let state = State { without_share: BTreeMap::from([("canary".to_owned(), 1)]), ..State::default() };
    store.save(1, &BTreeMap::from([("shop".to_owned(), state)])).unwrap();
    drop(store);
    let mut known = Known::default();
    let cohorts = &mut known.services.entry("shop".to_owned()).or_default().cohorts;
    cohorts.insert("everyone".to_owned(), Traffic { per_second: 400.0, error_rate: 0.001, p99_us: None });
    traffic_file::write(&folder, &known).unwrap();

    let done = desk.run(&["check"]).ended_with(0);
    assert!(done.stdout.contains("RW0840") && done.stdout.contains("the variant canary of shop"), "{}", done.stdout);
    assert!(done.stdout.contains("at 400 requests/s with 0.1 % errors"), "{}", done.stdout);
    let json = desk.run(&["check", "-o", "json"]).ended_with(0).json();
    let found = json["diagnostics"].as_array().unwrap().iter().find(|found| found["code"] == "RW0840").unwrap();
    assert_eq!((&found["line"], &found["help"]), (&7.into(), &"remove it from the file".into()));
    desk.run(&["check", "--deny-warnings"]).ended_with(1);
}
