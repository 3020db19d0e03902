use crate::support::{Desk, SHOP};
use std::fmt::Write;

fn desk() -> Desk {
    let desk = Desk::new();
    let rollout = "    rollout: { id: v2, to: canary, steps: [{ cohort: everyone, ramp: [20, 50], hold: 10s }] }\n";
    desk.write("ringway.yaml", &SHOP.replace("tests:\n", &format!("{rollout}tests:\n")));
    desk.write("old.yaml", &SHOP.replace("weight: 95", "weight: 50"));
    let mut log = String::new();
    for at in 0..100 * 20 {
        let (second, user) = (at / 20, at * 7_919 % 300);
        let _ = writeln!(
            log,
            "192.0.2.{} - - [21/Nov/2026:08:{:02}:{:02} +0000] \"GET / HTTP/1.1\" 200 12 \"-\" \"agent-{user}\"",
            user % 250,
            second / 60,
            second % 60
        );
    }
    desk.write("access.log", &log);
    desk.write("access.log.gz", "");
    desk
}

#[test]
fn a_rollout_is_rehearsed_healthy_and_broken() {
    let args = ["rehearse", "--rate", "40", "--users", "2000", "--runs", "3", "--inject", "canary: error=50%"];
    let done = desk().run(&args).ended_with(0);
    assert!(done.stderr.starts_with("note: nobody knows how large cohorts are"), "{}", done.stderr);
    assert!(done.stdout.starts_with("shop v2: 40 requests/s, 2,000 users, 0.1 % errors"), "{}", done.stdout);
    let json = desk().run(&[&args[..], &["-o", "json", "--cohort", "staff=1%"]].concat()).ended_with(0).json();
    assert_eq!((&json["schema"], &json["results"][1]["rolledBack"]), (&"ringway.rehearse/v1".into(), &3.into()));
    assert_eq!(json["traffic"]["cohorts"][0]["part"], 0.01);
    for (wrong, told) in [
        (["--inject", "canary: eror=1%"], "error=2%"),
        (["--inject", "next: error=1%"], "what is released is canary"),
        (["--inject", "canary: error=1%, cohort=beta"], "no step for cohort `beta`"),
        (["--inject", "canary: error=1%, step=2"], "the rollout has no step 2, it has 1"),
        (["--inject", "canary: latency=x2, part=5%"], "`part` says how many answers"),
        (["--cohort", "beta=1%"], "there is no cohort `beta`"),
        (["--p50", "200ms"], "--p50 is above 0"),
    ] {
        let done = desk().run(&["rehearse", wrong[0], wrong[1]]).ended_with(2);
        assert!(done.stderr.contains(told), "{wrong:?}: {}", done.stderr);
    }
}

#[test]
fn a_log_is_replayed_compared_and_expected() {
    let desk = desk();
    let done = desk.run(&["simulate", "access.log", "--against", "old.yaml"]).ended_with(0);
    assert!(done.stdout.starts_with("2,000 lines (combined) of 1m 39s\n"), "{}", done.stdout);
    assert!(done.stdout.contains("everyone: canary → stable: "), "{}", done.stdout);
    let play = |fault: &str, phase: &str, code: i32| {
        let args = ["simulate", "access.log", "--inject", fault, "--expect", phase, "-o", "json"];
        desk.run(&args).ended_with(code).json()
    };
    let json = play("canary: error=50%", "rolled-back", 0);
    assert_eq!((&json["schema"], &json["expectation"]["met"]), (&"ringway.simulate/v1".into(), &true.into()));
    assert_eq!(play("canary: error=50%", "promoted", 1)["rollout"]["phase"], "rolled-back");
    let healthy = desk.run(&["simulate", "access.log", "--expect", "promoted"]).ended_with(0);
    assert!(healthy.stdout.contains("note: the log holds no durations: latency is not judged"), "{}", healthy.stdout);
    let stdin = desk.run_with(&["simulate", "-"], "rubbish\n").ended_with(2);
    assert!(stdin.stderr.contains("no line of the log can be read"), "{}", stdin.stderr);
    assert!(stdin.stdout.contains("1 line cannot be read; the first is line 1"), "{}", stdin.stdout);
    let long = "x".repeat(200_000) + "\nrubbish\n";
    let long = desk.run_with(&["simulate", "-"], &long).ended_with(2);
    assert!(long.stdout.contains("2 lines cannot be read; the first is line 1: it is longer"), "{}", long.stdout);
    for (fault, told) in [("cohort=beta", "no step for cohort `beta`"), ("step=2", "the rollout has no step 2")] {
        let fault = format!("canary: error=50%, {fault}");
        let done = desk.run(&["simulate", "access.log", "--inject", &fault, "--expect", "promoted"]).ended_with(2);
        assert!(done.stderr.contains(told), "{}", done.stderr);
    }
    assert!(desk.run(&["simulate", "access.log.gz"]).ended_with(2).stderr.contains("gunzip -c"));
    assert!(desk.run(&["simulate", "nothing.log"]).ended_with(2).stderr.contains("cannot read nothing.log"));
    assert!(
        desk.run(&["simulate", "access.log", "--expect", "won"]).ended_with(2).stderr.contains("a phase is one of")
    );
}
