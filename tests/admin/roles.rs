//! Who may do what, and what proves it.

use super::house::{Answer, House, ask_socket};
use crate::support::raw::eventually;

const JSON: &str = "host: localhost\r\ncontent-type: application/json\r\n";

#[test]
fn each_role_may_what_its_table_says() {
    let house = House::guarded("");
    let (viewer, operator, admin) = (&house.tokens.viewer, &house.tokens.operator, &house.tokens.admin);
    for (path, by_viewer, by_operator, by_admin) in [
        ("/api/v1/rollouts/shop/pause?dryRun=true", 403, 200, 200),
        ("/api/v1/reload?dryRun=true", 403, 403, 200),
        ("/api/v1/drain?dryRun=true", 403, 403, 200),
        ("/api/v1/rollouts/shop/explode", 403, 404, 404),
    ] {
        for (token, expected) in [(viewer, by_viewer), (operator, by_operator), (admin, by_admin)] {
            let answer = house.post(path, token, "{}");
            assert_eq!(answer.status, expected, "{path} {answer:?}");
        }
        assert_eq!(house.send(&format!("POST {path}"), JSON, "{}").status, 401, "{path}");
    }
    assert_eq!(house.get("/api/v1/status", viewer).status, 200);
    let nobody = house.send("GET /api/v1/status", "host: localhost\r\n", "");
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, Some("Bearer realm=\"ringway\"")));
    let session = house.get("/api/v1/session", operator).json();
    assert_eq!((&session["actor"], &session["role"]), (&"olga".into(), &"operator".into()));
    assert_eq!(session["groups"][0], "release-managers");
    assert_eq!(house.send("GET /api/v1/openapi.json", "host: localhost\r\n", "").json()["openapi"], "3.1.0");
}

#[test]
fn a_token_that_is_removed_from_the_file_ends_with_its_sessions() {
    let house = House::guarded("");
    let secret = format!("{{\"secret\":\"{}\"}}", house.tokens.operator);
    let signed = house.send("POST /api/v1/session", JSON, &secret);
    let cookie = signed.header("set-cookie").unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let by_cookie = |house: &House| {
        let cookie = cookie.split(';').next().unwrap();
        house.send("GET /api/v1/session", &format!("host: localhost\r\ncookie: {cookie}\r\n"), "").status
    };
    assert_eq!(by_cookie(&house), 200);
    let file = house.proxy.file("tokens");
    let text = std::fs::read_to_string(&file).unwrap();
    let kept: String = text.lines().filter(|line| !line.starts_with("olga")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, kept).unwrap();
    assert_eq!(house.post("/api/v1/reload", &house.tokens.admin, "{\"reason\":\"olga left\"}").status, 200);
    assert_eq!(by_cookie(&house), 401);
    assert_eq!(house.get("/api/v1/status", &house.tokens.operator).status, 401);
    assert_eq!(house.get("/api/v1/status", &house.tokens.viewer).status, 200);
    eventually("the line of the reload", || {
        // the watch may have been faster: then there was nothing left to do for anna
        house.audit().iter().any(|line| line["action"] == "reload-applied")
    });
}

#[test]
fn a_link_signs_in_once_and_a_browser_without_one_does_not_get_in() {
    let house = House::open();
    let browser = "host: localhost\r\nsec-fetch-site: same-origin\r\ncontent-type: application/json\r\n";
    assert_eq!(house.send("GET /api/v1/status", browser, "").status, 401);
    assert_eq!(house.send("GET /api/v1/status", "host: localhost\r\n", "").status, 200, "commands of this machine");
    let url = house.proxy.running.sign_in_url().unwrap();
    let (page, secret) = url.split_once("/#secret=").unwrap();
    assert_eq!(page, format!("http://{}", house.door()));
    let body = format!("{{\"secret\":\"{secret}\"}}");
    let signed = house.send("POST /api/v1/session", browser, &body);
    assert_eq!(signed.status, 200, "{signed:?}");
    assert_eq!(house.send("POST /api/v1/session", browser, &body).status, 401, "once");
    let (csrf, cookie) = (signed.json()["csrf"].clone(), signed.header("set-cookie").unwrap().to_owned());
    let cookie = cookie.split(';').next().unwrap();
    let headers = format!("{browser}cookie: {cookie}\r\nx-ringway-csrf: {}\r\n", csrf.as_str().unwrap());
    let paused = house.send("POST /api/v1/rollouts/shop/pause", &headers, "{\"actor\":\"anna\",\"reason\":\"look\"}");
    assert_eq!((paused.status, house.phase()), (200, "paused"), "{paused:?}");
    let line = house.audit().into_iter().find(|line| line["action"] == "paused").unwrap();
    assert_eq!((&line["actor"], &line["reason"]), (&"anna (unverified)".into(), &"look".into()));
    assert_eq!(house.send("DELETE /api/v1/session", &headers, "").status, 200);
    assert_eq!(house.send("GET /api/v1/session", &headers, "").status, 401, "signed out");
}

#[test]
fn the_credential_says_who_it_was_and_nobody_else() {
    let house = House::guarded("");
    let lie = "{\"actor\":\"root\",\"groups\":[\"release-managers\"],\"reason\":\"because\"}";
    assert_eq!(house.post("/api/v1/rollouts/shop/pause", &house.tokens.admin, lie).status, 200);
    let line = house.audit().into_iter().find(|line| line["action"] == "paused").unwrap();
    assert_eq!((&line["actor"], &line["reason"]), (&"anna".into(), &"because".into()));
    // the groups of the file count for approvals, those of the body do not
    assert_eq!(house.post("/api/v1/rollouts/shop/resume", &house.tokens.admin, "{}").status, 200);
    assert_eq!(house.post("/api/v1/rollouts/shop/promote", &house.tokens.admin, "{}").status, 200);
    let action = |token: &str, name: &str| {
        let rollout = house.get("/api/v1/rollouts/shop", token).json();
        let actions = rollout["actions"].as_array().unwrap().clone();
        actions.into_iter().find(|action| action["name"] == name).unwrap()
    };
    assert_eq!(house.phase(), "awaiting-approval");
    assert_eq!(action(&house.tokens.admin, "approve")["enabled"], false);
    assert_eq!(house.post("/api/v1/rollouts/shop/approve", &house.tokens.admin, lie).status, 409);
    assert_eq!(action(&house.tokens.operator, "approve")["enabled"], true);
    assert_eq!(action(&house.tokens.viewer, "rollback")["reason"], "this needs the role operator");
    assert_eq!(house.post("/api/v1/rollouts/shop/approve", &house.tokens.operator, "{}").status, 200);
}

#[test]
fn a_proxy_is_believed_if_the_file_says_so_and_nobody_is_without_it() {
    let sso =
        "sso: { from: [127.0.0.1/32], userHeader: x-user, groupsHeader: x-groups, roles: { sre: admin, dev: viewer } }";
    let house = House::guarded(&format!(", {sso}"));
    let get = |headers: &str| house.send("GET /api/v1/session", &format!("host: localhost\r\n{headers}"), "");
    let sre = get("x-user: anna@example.com\r\nx-groups: dev, sre\r\n").json();
    assert_eq!((&sre["actor"], &sre["role"]), (&"anna@example.com".into(), &"admin".into()));
    assert_eq!(get("x-user: bob\r\nx-groups: dev\r\n").json()["role"], "viewer");
    assert_eq!(get("x-user: eve\r\nx-groups: sales\r\n").status, 403);
    assert_eq!(get("x-user: eve\r\nx-user: anna\r\nx-groups: sre\r\n").status, 401);
    assert_eq!(get("x-groups: sre\r\n").status, 401);
    let change = |csrf: &str| {
        let headers = format!("{JSON}x-user: anna\r\nx-groups: sre\r\n{csrf}");
        house.send("POST /api/v1/rollouts/shop/pause", &headers, "{}").status
    };
    assert_eq!(change(""), 403);
    let csrf = get("x-user: anna\r\nx-groups: sre\r\n").json()["csrf"].as_str().unwrap().to_owned();
    assert_eq!(change(&format!("x-ringway-csrf: {csrf}\r\n")), 200);
    let elsewhere = House::guarded("");
    let answer = elsewhere.send("GET /api/v1/session", "host: localhost\r\nx-user: anna\r\nx-groups: sre\r\n", "");
    assert_eq!(answer.status, 401);
}

#[test]
fn a_door_that_is_read_only_shows_and_changes_nothing() {
    let house = House::guarded(", readOnly: true");
    assert_eq!(house.get("/api/v1/session", &house.tokens.admin).json()["readOnly"], true);
    for path in ["/api/v1/rollouts/shop/rollback", "/api/v1/reload", "/api/v1/drain"] {
        let answer = house.post(path, &house.tokens.admin, "{}");
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.body.contains("readOnly"));
    }
    assert_eq!(house.shared(), 50.0);
}

#[test]
fn a_rehearsal_changes_nothing_and_a_tag_that_has_gone_is_told() {
    let house = House::guarded("");
    let token = &house.tokens.operator;
    let seen = house.get("/api/v1/rollouts/shop", token);
    let tag = seen.header("etag").unwrap().to_owned();
    let would = house.post("/api/v1/rollouts/shop/rollback?dryRun=true", token, "{}").json();
    assert_eq!((&would["result"], house.shared()), (&"would-do".into(), 50.0), "{would}");
    assert!(would["text"].as_str().unwrap().contains("rolled-back"), "{would}");
    let guarded = |command: &str, tag: &str| -> Answer {
        let headers = format!("{JSON}authorization: Bearer {token}\r\nif-match: {tag}\r\n");
        house.send(&format!("POST /api/v1/rollouts/shop/{command}"), &headers, "{}")
    };
    assert_eq!(guarded("pause", "\"0123\"").status, 412);
    assert_eq!(guarded("pause", "no-quotes").status, 400);
    assert_eq!(guarded("pause", &tag).status, 200);
    assert_eq!(guarded("rollback", &tag).status, 412, "it was paused since");
    assert_eq!(guarded("rollback", "*").status, 200);
    assert_eq!((house.shared(), house.phase()), (0.0, "rolled-back"));
}

#[test]
fn the_user_of_a_socket_is_known() {
    let text = "listeners: [{ address: 127.0.0.1:0 }]\nstateDir: $dir/state\nadmin: { address: \"unix:door.sock\", \
                tokensFile: tokens }\nservices: { shop: { variants: { stable: { weight: 100, endpoints: [$shop] }, \
                canary: { weight: 0, endpoints: [$shop] } }, rollout: { id: v2, to: canary, steps: [{ cohort: everyone, \
                weight: 50, hold: 1h }] } } }\n";
    let house = House::with(text);
    let session = ask_socket(&house.proxy.file("door.sock"), "GET /api/v1/session", "host: localhost\r\n", "").json();
    assert_eq!(session["role"], "admin");
    let user = rustix::process::geteuid();
    let name = if user.is_root() { "root".to_owned() } else { format!("uid {}", user.as_raw()) };
    assert_eq!(session["actor"], name);
}

#[test]
fn an_endpoint_is_drained_and_stays_so_over_a_reload() {
    let house = House::guarded("");
    let snapshot = house.proxy.running.snapshot();
    let address = snapshot.service("shop").unwrap().variants[0].upstream.endpoints()[0].address();
    let path = |command: &str| format!("/api/v1/services/shop/stable/endpoints/{address}/{command}");
    let post = |command: &str| house.post(&path(command), &house.tokens.admin, "{\"reason\":\"disk swap\"}");
    assert_eq!(house.post(&path("drain"), &house.tokens.operator, "{}").status, 403);
    let drained = post("drain").json();
    assert_eq!((&drained["result"], &post("drain").json()["result"]), (&"done".into(), &"unchanged".into()));
    assert!(drained["undo"].as_str().unwrap().ends_with("/ready"), "{drained}");
    let config = house.proxy.config();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("stable: { weight: 100,", "stable: { weight: 100, loadBalancing: leastRequest,"),
    )
    .unwrap();
    assert_eq!(house.post("/api/v1/reload", &house.tokens.admin, "{}").status, 200);
    let snapshot = house.proxy.running.snapshot();
    assert!(snapshot.service("shop").unwrap().variants[0].upstream.endpoints()[0].is_drained());
    house.proxy.wait_for_metric("ringway_upstream_endpoints", &[("variant", "stable"), ("state", "draining")], 1.0);
    assert_eq!(post("ready").json()["result"], "done");
    assert!(!snapshot.service("shop").unwrap().variants[0].upstream.endpoints()[0].is_drained());
    eventually("both in the audit log", || {
        let audit = house.audit();
        ["endpoint-drained", "endpoint-ready"].iter().all(|action| audit.iter().any(|line| line["action"] == *action))
    });
    assert_eq!(
        house.post("/api/v1/services/shop/stable/endpoints/10.9.9.9:1/drain", &house.tokens.admin, "{}").status,
        404
    );
}
