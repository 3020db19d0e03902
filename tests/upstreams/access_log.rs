//! The access log of a whole process: every request one line, flags that tell what happened, nothing lost unseen.

use ringway::control::Ended;
use rustix::fs::{CWD, Mode};
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::client::Client;
use crate::service::{Service, Wire};
use crate::story::{DOORS, Story, eventually};

fn doors(log: &Path) -> String {
    let telemetry = format!("telemetry: {{ address: 127.0.0.1:0, accessLog: {{ path: \"{}\" }} }}", log.display());
    DOORS.replace("telemetry: { address: 127.0.0.1:0 }", &telemetry)
}

/// A service that answers as its path says.
fn obedient() -> Service {
    Service::wired(|wire: &mut Wire| {
        while let Some(request) = wire.request() {
            match request.path.split('?').next().unwrap() {
                "/reset" => return wire.reset(),
                "/never" => return wire.wait_for_end(),
                "/cut" => {
                    wire.send("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\ncut");
                    return;
                }
                "/malformed" => {
                    wire.send("HTTP/1.1 what?\r\n\r\n");
                    return;
                }
                path => wire.ok(path),
            };
        }
    })
}

fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn flags_tell_what_happened() {
    let (good, absent) = (obedient(), Service::absent());
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let story = Story::begin(&format!(
        "{}services:\n  good: {{ variants: {{ stable: {{ endpoints: [\"{}\"] }} }} }}\n  \
         gone: {{ variants: {{ stable: {{ endpoints: [\"{}\"] }} }} }}\n  \
         nameless: {{ variants: {{ stable: {{ endpoints: [\"no-such-host.invalid:80\"] }} }} }}\n\
         routes:\n  - {{ hostnames: [good], service: good, timeouts: {{ request: 200ms }} }}\n  \
         - {{ hostnames: [gone], service: gone }}\n  - {{ hostnames: [nameless], service: nameless }}\n",
        doors(&log),
        good.address,
        absent.address
    ));
    // path, host, further header lines, status, flags
    let cases = [
        ("/fine", "good", "", 200, None),
        ("/never", "good", "", 504, Some("UT")),
        ("/reset", "good", "", 502, Some("UC")),
        ("/malformed", "good", "", 502, Some("UPE")),
        ("/cut", "good", "", 200, Some("UC")),
        ("/refused", "gone", "", 503, Some("UF")),
        ("/resolve", "nameless", "", 503, Some("UH")),
        ("/elsewhere", "nobody", "", 404, Some("NR")),
        ("/a%2Fb", "good", "", 400, Some("DPE")),
        ("/expects", "good", "expect: magic\r\n", 417, Some("DPE")),
    ];
    for (path, host, more, _, _) in cases {
        story.client().get(path, &format!("host: {host}\r\nuser-agent: \"}}\\,\r\n{more}"));
    }
    // a client that leaves while the service is silent
    let mut leaving = story.client();
    leaving.send(b"GET /never?left HTTP/1.1\r\nhost: good\r\n\r\n").unwrap();
    eventually("the request", || if good.requests() == 6 { Ok(()) } else { Err(good.requests().to_string()) });
    drop(leaving);
    let found = eventually("the lines", || {
        let found = lines(&log);
        if found.len() > cases.len() { Ok(found) } else { Err(format!("{found:#?}")) }
    });
    for (path, _, _, status, flags) in cases {
        let line = found.iter().find(|line| line["path"] == path).unwrap_or_else(|| panic!("{path}: {found:#?}"));
        assert_eq!((line["status"].as_u64(), line["flags"].as_str()), (Some(status), flags), "{line:#}");
        assert_eq!(line["user_agent"], "\"}\\,", "as it came, escaped");
    }
    let left: Vec<&Value> = found.iter().filter(|line| line["flags"] == "DC").collect();
    assert_eq!((left.len(), &left[0]["path"], &left[0]["status"]), (1, &"/never".into(), &0.into()), "{found:#?}");
    assert_eq!(found.len(), cases.len() + 1);
}

#[test]
fn at_the_end_every_request_has_its_line() {
    let (service, folder) = (obedient(), tempfile::tempdir().unwrap());
    let log = folder.path().join("access.log");
    let services =
        format!("services: {{ shop: {{ variants: {{ stable: {{ endpoints: [\"{}\"] }} }} }} }}\n", service.address);
    let story = Story::with(&(doors(&log) + &services), 2, |options| options);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let at = story.at();
            scope.spawn(move || {
                let mut connection = Client::connect(at);
                (0..500).for_each(|request| assert!(connection.get(&format!("/{client}/{request}"), "").is_ok()));
            });
        }
    });
    story.running.drain();
    assert_eq!(story.running.wait(), Some(Ended::Clean));
    let paths: std::collections::HashSet<String> =
        lines(&log).iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(paths.len(), 2_000);
}

/// A reader that does not read: requests are served all the same, and what is lost is counted.
#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let (service, folder) = (obedient(), tempfile::tempdir().unwrap());
    let log = folder.path().join("pipe");
    rustix::fs::mknodat(CWD, &log, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let reader = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(&log)
        .unwrap();
    // full to the brim
    let mut brim = std::fs::OpenOptions::new()
        .write(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(&log)
        .unwrap();
    while brim.write(&[b'\n'; 4096]).is_ok() {}
    let services =
        format!("services: {{ shop: {{ variants: {{ stable: {{ endpoints: [\"{}\"] }} }} }} }}\n", service.address);
    let story = Story::begin(&(doors(&log) + &services));
    let mut client = story.client();
    let long = format!("user-agent: {}\r\n", "a".repeat(300));
    let path = format!("/{}", "p".repeat(1500));
    let mut count = 0;
    eventually("a dropped line", || {
        for _ in 0..500 {
            assert!(client.get(&path, &long).is_ok());
        }
        count += 500;
        let dropped = story.metrics().sum("ringway_access_log_dropped_total", &[]);
        if dropped > 0.0 { Ok(()) } else { Err(format!("{dropped} of {count}")) }
    });
    println!("a full pipe: the first lines were dropped within {count} requests, none of which waited");
    drop((reader, brim));
    story.expect_metric("ringway_http_requests_total", &[("code", "200")], f64::from(count));
}
