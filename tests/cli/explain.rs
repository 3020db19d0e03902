use crate::support::{Desk, SHOP};

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("ringway.yaml", SHOP);
    desk
}

#[test]
fn a_url_is_explained_in_text_and_json() {
    let desk = desk();
    let done = desk.run(&["explain", "https://shop.example.com/cart", "-H", "x-user-id: u-1842"]).ended_with(0);
    for part in ["service shop, cohort everyone, variant stable; reason: split", "161139 of 1000000", "✗ staff"] {
        assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
    }
    let args = ["explain", "https://shop.example.com/cart", "-H", "x-user-id: u-1842", "-o", "json"];
    let json = desk.run(&args).ended_with(0).json();
    for (field, value) in [
        ("schema", "ringway.explain/v1"),
        ("service", "shop"),
        ("route", "default"),
        ("cohort", "everyone"),
        ("variant", "stable"),
        ("reason", "split"),
    ] {
        assert_eq!(json[field], value, "{json:#}");
    }
    assert_eq!(json["bucket"], 161_139);
    assert_eq!(json["userKey"], serde_json::json!({ "from": "header x-user-id", "present": true }));
    assert_eq!(json["rev"].as_str().map(str::len), Some(6));
    assert!(json["trace"].as_array().is_some_and(|steps| steps.len() > 4));
}

#[test]
fn a_user_key_is_put_where_the_service_reads_it() {
    let json = desk().run(&["explain", "a.example/x", "--user", "u-1842", "-o", "json"]).ended_with(0).json();
    assert_eq!(json["bucket"], 161_139);
}

#[test]
fn a_curl_line_is_explained_however_it_is_given() {
    let desk = desk();
    let line =
        "curl 'https://shop.example.com/' \\\n  -H 'x-employee: 1' -b 'uid=7; session=hidden' --compressed -sS | jq";
    let words =
        ["explain", "-o", "json", "--", "curl", "-H", "x-employee: 1", "-b", "uid=7", "https://shop.example.com/"];
    let of_stdin = desk.run_with(&["explain", "-", "-o", "json"], line).ended_with(0);
    assert!(!of_stdin.stdout.contains("hidden"));
    assert_eq!(of_stdin.stderr, "note: what follows `|` is passed over\n");
    let given = [&["explain", "--curl", line, "-o", "json"][..], &["explain", line, "-o", "json"], &words];
    for done in given.map(|words| desk.run(words).ended_with(0)).into_iter().chain([of_stdin]) {
        let json = done.json();
        assert_eq!((&json["cohort"], &json["variant"]), (&"staff".into(), &"canary".into()));
        assert_eq!(json["userKey"]["from"], "cookie uid");
    }
    desk.run(&["explain", "--curl", "wget https://a/"]).ended_with(2);
    for nothing in ["", "curl", "curl 'https://a/"] {
        desk.run(&["explain", nothing]).ended_with(2);
        desk.run_with(&["explain", "-"], nothing).ended_with(2);
    }
}

#[test]
fn refused_requests_end_with_no() {
    let desk = desk();
    desk.write("routes.yaml", &format!("{SHOP}routes: [{{ hostnames: [a], service: shop }}]\n"));
    for (args, status) in [
        (&["explain", "http://b/", "-c", "routes.yaml", "-o", "json"][..], 404),
        (&["explain", "http://a/%2e%2e%2f", "-o", "json"], 400),
        (&["explain", "http://a b/", "-o", "json"], 400),
        (&["explain", "http://a/", "-X", "TRACE", "-o", "json"], 405),
    ] {
        let json = desk.run(args).ended_with(1).json();
        assert_eq!(json["refused"]["status"], status, "{args:?}");
        assert_eq!(json["service"], serde_json::Value::Null);
    }
}

#[test]
fn forged_headers_do_not_count() {
    let desk = desk();
    let args = [
        "explain",
        "http://a/",
        "-H",
        "x_employee: 1",
        "-H",
        "x-forwarded-for: 192.0.2.9",
        "--client-ip",
        "203.0.113.1",
    ];
    let done = desk.run(&args).ended_with(0);
    assert!(done.stdout.contains("cohort everyone"), "{}", done.stdout);
    assert!(done.stdout.contains("x_employee") && done.stdout.contains("203.0.113.1: the peer"), "{}", done.stdout);
    let done = desk.run(&["explain", "http://a/", "-H", "x-forwarded-for: 192.0.2.9", "--client-ip", "10.0.0.1"]);
    assert!(done.stdout.contains("192.0.2.9: named by x-forwarded-for from 10.0.0.1"), "{}", done.stdout);
}

#[test]
fn a_request_without_a_user_is_not_given_a_variant() {
    let done = desk().run(&["explain", "http://a/"]).ended_with(0);
    assert!(done.stdout.contains("by lot (stable 95 %, canary 5 %)"), "{}", done.stdout);
    let json = desk().run(&["explain", "http://a/", "-o", "json"]).ended_with(0).json();
    assert_eq!((&json["variant"], &json["bucket"]), (&serde_json::Value::Null, &serde_json::Value::Null));
}

#[test]
fn a_signed_override_is_believed_and_never_printed() {
    let desk = desk();
    let args = ["token", "override", "--secret-file", "override.key", "--service", "shop", "--value", "always"];
    let made = desk.run(&args).ended_with(0);
    let token = made.stdout.trim_end();
    assert!(token.starts_with("always;exp=") && made.stderr.contains("x-canary"));
    let header = format!("x-canary: {token}");
    let done = desk.run(&["explain", "http://a/", "-H", &header, "--user", "u-1842"]).ended_with(0);
    assert!(done.stdout.contains("variant canary; reason: override") && !done.stdout.contains(token));
    let done = desk.run(&["explain", "http://a/", "-H", "x-canary: always", "--user", "u-1842"]).ended_with(0);
    assert!(done.stdout.contains("✗ x-canary is not believed"), "{}", done.stdout);
}

#[test]
fn rubbish_is_a_matter_of_usage() {
    let desk = desk();
    for args in [
        &["explain"][..],
        &["explain", "http://a/", "-H", "no colon"],
        &["explain", "http://a/", "-H", "bad name: x"],
        &["explain", "http://a/", "-X", "A B"],
        &["explain", "http://a/", "--cookie", "x"],
        &["explain", "http://a/", "--client-ip", "ten"],
        &["explain", "http://a/", "--listener", "nowhere"],
        &["explain", "http://a/", "-c", "none.yaml"],
    ] {
        let done = desk.run(args).ended_with(2);
        assert!(!done.stderr.is_empty() && done.stdout.is_empty(), "{args:?}");
    }
}
