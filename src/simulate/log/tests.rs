//! Lines as the programs write them, and what is none.

#![cfg(test)]

use super::*;
use proptest::prelude::*;

fn parse(line: &str) -> Line {
    Line::parse(line, None).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// 2026-11-21T08:26:00Z.
const AT_MS: u64 = 1_795_249_560_000;

#[test]
fn our_own_lines_say_what_was_decided() {
    let line = parse(concat!(
        r#"{"ts":"2026-11-21T08:26:00.007Z","listener":"public","client":"192.0.2.7","method":"POST","#,
        r#""host":"shop.example.com","path":"/cart","route":"shop","service":"shop","cohort":"beta","variant":"canary","#,
        r#""reason":"split","bucket":161139,"rev":"3f9c21","status":503,"flags":"UF","duration_us":21034,"#,
        r#""user_agent":"curl/8"}"#
    ));
    assert_eq!((line.format, line.unix_ms, line.status), (Format::Ringway, AT_MS + 7, 503));
    assert_eq!((line.host.as_deref(), line.target.as_str()), (Some("shop.example.com"), "/cart"));
    assert_eq!((line.latency_us, line.is_error(), line.is_aborted), (Some(21_034), true, false));
    let decided = Decided { service: "shop".to_owned(), cohort: "beta".to_owned(), bucket: Some(161_139) };
    assert_eq!(line.decided, Some(decided));
    assert_eq!(line.headers["user-agent"], "curl/8");
}

#[test]
fn envoy_lines_of_old_and_new_are_read() {
    let old = r#"[2026-11-21T08:26:00.007Z] "GET /a?b=c HTTP/1.1" 200 - 0 154 12 11 "192.0.2.7, 10.0.0.1" "curl/8" "id-1" "shop.example.com:80" "10.0.0.5:80""#;
    let new = old.replace("200 - 0", r#"200 - via_upstream - "-" 0"#);
    for text in [old, &new] {
        let line = parse(text);
        assert_eq!((line.format, line.unix_ms, line.status), (Format::Envoy, AT_MS + 7, 200), "{text}");
        assert_eq!((line.client, line.latency_us), ("192.0.2.7".parse().ok(), Some(12_000)), "{text}");
        assert_eq!((line.host.as_deref(), line.target.as_str()), (Some("shop.example.com:80"), "/a?b=c"), "{text}");
    }
    let gone = parse(&old.replace("200 -", "0 DC"));
    assert!(gone.is_aborted && !gone.is_error());
    assert!(parse(&old.replace("200 -", "503 UF")).is_error());
}

#[test]
fn caddy_lines_are_read_with_their_headers() {
    let line = parse(concat!(
        r#"{"level":"info","ts":1795249560.007,"logger":"http.log.access","msg":"handled request","request":"#,
        r#"{"remote_ip":"10.0.0.1","client_ip":"192.0.2.7","proto":"HTTP/2.0","method":"GET","host":"shop.example.com","#,
        r#""uri":"/a?b=c","headers":{"User-Agent":["curl/8"],"Cookie":["REDACTED"],"X-Employee":["1"]}},"#,
        r#""bytes_read":0,"duration":0.012,"size":154,"status":200}"#
    ));
    assert_eq!((line.format, line.unix_ms, line.latency_us), (Format::Caddy, AT_MS + 7, Some(12_000)));
    assert_eq!((line.client, line.headers.len()), ("192.0.2.7".parse().ok(), 2));
    assert_eq!((&line.headers["x-employee"], line.headers.get("cookie")), (&"1".parse().unwrap(), None));
}

#[test]
fn traefik_lines_are_read_in_both_forms() {
    let json = concat!(
        r#"{"ClientHost":"192.0.2.7","DownstreamStatus":502,"Duration":12000000,"RequestHost":"shop.example.com","#,
        r#""RequestMethod":"GET","RequestPath":"/a?b=c","StartUTC":"2026-11-21T08:26:00.007Z","request_User-Agent":"curl/8"}"#
    );
    let clf = r#"192.0.2.7 - - [21/Nov/2026:08:26:00 +0000] "GET /a?b=c HTTP/1.1" 502 154 "-" "curl/8" 17 "shop@file" "http://10.0.0.5" 12ms"#;
    for text in [json, clf] {
        let line = parse(text);
        assert_eq!((line.format, line.unix_ms / 1_000), (Format::Traefik, AT_MS / 1_000), "{text}");
        assert_eq!((line.client, line.latency_us), ("192.0.2.7".parse().ok(), Some(12_000)), "{text}");
        assert_eq!((line.status, line.headers["user-agent"].to_str().ok()), (502, Some("curl/8")), "{text}");
    }
}

#[test]
fn combined_and_common_lines_are_read() {
    let combined = r#"2001:db8::1 - anna [21/Nov/2026:09:26:00 +0100] "GET /say?q=\"hi\" HTTP/1.0" 404 - "http://a/" "Mozilla/5.0 (X11) \"x\"""#;
    let line = parse(combined);
    assert_eq!((line.format, line.unix_ms, line.latency_us), (Format::Combined, AT_MS, None));
    assert_eq!((line.client, line.status), ("2001:db8::1".parse().ok(), 404));
    assert_eq!(line.target, "/say?q=\"hi\"");
    assert_eq!(line.headers["user-agent"], "Mozilla/5.0 (X11) \"x\"");
    let common = parse(r#"192.0.2.7 - - [21/Nov/2026:08:26:00 +0000] "GET / HTTP/1.1" 499 12"#);
    assert!(common.is_aborted && common.headers.is_empty());
}

#[test]
fn what_is_no_line_says_why() {
    for (text, format, why) in [
        ("", None, "it is empty"),
        ("hello", None, "it has no [time]"),
        ("{\"a\":1}", None, "it has no time in `ts`"),
        ("{\"a\":", None, "it is no JSON"),
        ("[2026-11-21T08:26:00Z] GET / 200", None, "it does not begin with"),
        ("[2026-11-21T08:26:00Z \"GET /\" 200", None, "a `[` is not closed"),
        ("a - - [21/Nov/2026:08:26:00 +0000] \"\" 400 0", None, "`` is no request line"),
        ("a - - [21/Nov/2026] \"GET / HTTP/1.1\" 200 0", None, "`21/Nov/2026` is no time"),
        ("a - - [21/Nov/2026:08:26:00 +0000] \"GET / HTTP/1.1\" ok 0", None, "`ok` is no status"),
        ("192.0.2.7 - -", Some(Format::Caddy), "it is no JSON object"),
    ] {
        let error = Line::parse(text, format).unwrap_err();
        assert!(error.starts_with(why), "{text}: {error}");
    }
    assert_eq!("apache".parse::<Format>().unwrap_err(), "a format is one of ringway, envoy, caddy, traefik, combined");
}

proptest! {
    #[test]
    fn any_line_is_read_or_refused(text in "[ -~\u{e9}]{0,120}") {
        for format in Format::ALL.map(Some).into_iter().chain([None]) {
            let _ = Line::parse(&text, format);
            let _ = Line::parse(&format!("[{text}"), format);
            let _ = Line::parse(&format!("{{\"ts\":{text}"), format);
        }
    }
}
