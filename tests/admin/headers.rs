//! D19: whatever a page in a browser can send, only a page of the door itself changes something.

use super::house::House;
use ringway::control::Ask;
use ringway::rollout::command::{Actor, Command};

const COMMAND: &str = "/api/v1/rollouts/shop/pause";

fn resume(house: &House) {
    let actor = Actor { name: "test".to_owned(), groups: Vec::new() };
    let ask =
        Ask { service: "shop".to_owned(), actor, reason: String::new(), command: Command::Resume, must_match: None };
    house.proxy.running.handle().ask_rollout(ask).unwrap().blocking_recv().unwrap();
}

/// What a browser that is signed in sends: the header for changes, and the cookie.
fn signed_in(house: &House) -> (String, String) {
    let bound = house.door().to_string();
    let signed = house.send(
        "POST /api/v1/session",
        &format!("host: {bound}\r\norigin: http://{bound}\r\nsec-fetch-site: same-origin\r\ncontent-type: application/json\r\n"),
        &format!("{{\"secret\":\"{}\"}}", house.tokens.operator),
    );
    assert_eq!(signed.status, 200, "{signed:?}");
    let csrf = signed.json()["csrf"].as_str().unwrap().to_owned();
    let cookie = signed.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    (csrf, cookie)
}

/// A header line; none without a value.
fn line(name: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("{name}: {value}\r\n") }
}

#[test]
fn no_combination_of_headers_lets_another_page_in() {
    let house = House::guarded("");
    let bound = house.door().to_string();
    let (csrf, cookie) = signed_in(&house);
    let hosts = [
        (true, "host: localhost\r\n".to_owned()),
        (true, format!("host: {bound}\r\n")),
        (false, "host: evil.example\r\n".to_owned()),
        (false, "host: localhost\r\nhost: evil.example\r\n".to_owned()),
        (false, String::new()),
    ];
    let sites = ["", "none", "same-origin", "same-site", "cross-site"];
    let kinds = ["application/json", "text/plain", "application/x-www-form-urlencoded", ""];
    let proofs = [
        (false, String::new()),
        (false, format!("authorization: Bearer {}\r\n", house.tokens.viewer)),
        (false, "authorization: Bearer rw_guess\r\n".to_owned()),
        (true, format!("authorization: Bearer {}\r\n", house.tokens.operator)),
        (false, format!("cookie: {cookie}\r\n")),
        (false, format!("cookie: {cookie}\r\nx-ringway-csrf: {}x\r\n", &csrf[..csrf.len() - 1])),
        (true, format!("cookie: other=1; {cookie}\r\nx-ringway-csrf: {csrf}\r\n")),
    ];
    let (mut attempts, mut effects) = (0, 0);
    for method in ["POST", "GET", "PUT", "OPTIONS"] {
        for (is_host, host) in &hosts {
            let own = host.trim().strip_prefix("host: ").unwrap_or("localhost");
            for (is_origin, origin) in [
                (true, String::new()),
                (true, format!("http://{own}")),
                (false, "http://evil.example".to_owned()),
                (false, "null".to_owned()),
            ] {
                for site in sites {
                    for kind in kinds {
                        for (is_proof, proof) in &proofs {
                            let headers = format!(
                                "{host}{}{}{}{proof}",
                                line("origin", &origin),
                                line("sec-fetch-site", site),
                                line("content-type", kind)
                            );
                            let may = method == "POST"
                                && *is_host
                                && is_origin
                                && matches!(site, "" | "none" | "same-origin")
                                && kind == "application/json"
                                && *is_proof;
                            let answer = house.send(&format!("{method} {COMMAND}"), &headers, "{}");
                            attempts += 1;
                            let is_paused = house.phase() == "paused";
                            assert_eq!(is_paused, may, "{method}\n{headers}{answer:?}");
                            assert_eq!(answer.status == 200, may, "{method}\n{headers}{answer:?}");
                            assert!(answer.header("content-security-policy").is_some(), "{answer:?}");
                            assert!(!answer.head.to_lowercase().contains("access-control-allow"), "{answer:?}");
                            if is_paused {
                                effects += 1;
                                resume(&house);
                            }
                        }
                    }
                }
            }
        }
    }
    println!("{attempts} attempts, {effects} of them by who may");
    assert!(attempts > 10_000 && effects == 24, "{attempts} {effects}");
}

#[test]
fn a_name_of_the_file_is_let_in_with_its_own_origin_alone() {
    let house = House::guarded(", hosts: [ringway.example.com], origins: [\"https://deck.example.com\"]");
    let token = &house.tokens.viewer;
    for (expected, host, origin) in [
        (200, "ringway.example.com", ""),
        (200, "ringway.example.com", "https://ringway.example.com"),
        (200, "localhost", "https://deck.example.com"),
        (403, "localhost", "https://localhost"),
        (403, "ringway.example.com", "https://ringway.example.com.evil.example"),
        (403, "ringway.example.com", "https://deck.example.com.evil.example"),
        (421, "www.ringway.example.com", ""),
    ] {
        let origin = if origin.is_empty() { String::new() } else { format!("origin: {origin}\r\n") };
        let headers = format!("host: {host}\r\n{origin}authorization: Bearer {token}\r\n");
        let answer = house.send("GET /api/v1/status", &headers, "");
        assert_eq!(answer.status, expected, "{headers}{answer:?}");
    }
}
