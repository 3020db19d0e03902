//! D19: texts of strangers are stored as they are, and come back as JSON that no browser takes for a page.

use super::house::House;

const TEXTS: [&str; 5] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "javascript:alert(1)//",
    "</title><svg/onload=alert(1)>\u{202e}\u{1b}[2J",
    "{{constructor.constructor('alert(1)')()}}",
];

#[test]
fn what_looks_like_a_page_comes_back_as_json() {
    let house = House::open();
    for text in TEXTS {
        let body = serde_json::json!({ "actor": text, "reason": text }).to_string();
        let headers = "host: localhost\r\ncontent-type: application/json\r\n";
        for command in ["pause", "resume"] {
            let answer = house.send(&format!("POST /api/v1/rollouts/shop/{command}"), headers, &body);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        // also in a path, a user agent and a name that is unknown
        let path: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let agent: String = text.chars().filter(|c| !c.is_control() && c.is_ascii()).collect();
        let unknown = house.send(
            &format!("GET /api/v1/mirror/{path}"),
            &format!("host: localhost\r\nuser-agent: {agent}\r\n"),
            "",
        );
        assert_eq!(unknown.status, 404);
    }
    let lines = house.audit();
    let kept = |text: &str| lines.iter().any(|line| line["reason"] == text);
    assert!(TEXTS.iter().all(|text| kept(text)), "{lines:?}");
    let raw = std::fs::read_to_string(house.proxy.file("state/audit.jsonl")).unwrap();
    assert!(!raw.contains('\u{1b}'), "a terminal is told nothing");
    for path in ["/api/v1/rollouts", "/api/v1/rollouts/shop", "/api/v1/status", "/api/v1/%3Cscript%3E"] {
        let answer = house.send(&format!("GET {path}"), "host: localhost\r\n", "");
        let kind = answer.header("content-type").unwrap();
        assert!(kind == "application/json" || kind == "application/problem+json", "{answer:?}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
    }
}
