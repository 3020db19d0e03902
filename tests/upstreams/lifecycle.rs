//! A process from its start to its end, as an operator meets it.

use rustix::process::Signal;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use crate::binary::{Binary, run};
use crate::client::Client;
use crate::service::Service;
use crate::story::{DOORS, eventually, shop};

/// A service that answers `/slow` when it is told to, and tells when it is asked.
fn patient() -> (Service, Receiver<()>, Sender<()>) {
    let (tell_asked, asked) = mpsc::channel();
    let (answer, told) = mpsc::channel::<()>();
    let (tell_asked, told) = (Mutex::new(tell_asked), Arc::new(Mutex::new(told)));
    let service = Service::wired(move |wire| {
        while let Some(request) = wire.request() {
            if request.path == "/slow" {
                tell_asked.lock().unwrap().send(()).unwrap();
                let _ = told.lock().unwrap().recv();
            }
            wire.ok("done");
        }
    });
    (service, asked, answer)
}

fn before(service: &Service) -> Binary {
    let address = service.address.to_string();
    Binary::start(&shop(&address, &address, 5), &["--workers", "2"])
}

fn ask_slowly(binary: &Binary, asked: &Receiver<()>) -> Client {
    let mut client = binary.client();
    client.send(b"GET /slow HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    asked.recv().unwrap();
    client
}

#[test]
fn a_signal_finishes_what_is_in_flight_and_ends() {
    let (service, asked, answer) = patient();
    let mut binary = before(&service);
    assert_eq!(binary.page("/readyz").0, 200);
    assert_eq!(binary.command(&["healthcheck", "--address", &binary.telemetry.to_string()]).status.code(), Some(0));
    let mut client = ask_slowly(&binary, &asked);
    let mut idle = binary.client();
    assert!(idle.get("/", "").is_ok());
    binary.terminate();
    eventually("an unready process", || if binary.page("/readyz").0 == 503 { Ok(()) } else { Err(binary.log()) });
    assert_eq!(binary.page("/livez").0, 200);
    assert_eq!(binary.command(&["healthcheck", "--address", &binary.telemetry.to_string()]).status.code(), Some(1));
    eventually("a closed listener", || match std::net::TcpStream::connect(binary.listener) {
        Ok(_) => Err("open".to_owned()),
        Err(_) => Ok(()),
    });
    assert_eq!(idle.rest(), Some(Vec::new()), "an idle connection is closed, not broken");
    assert!(binary.is_alive());
    answer.send(()).unwrap();
    let last = client.answer("GET");
    assert!(last.is_ok() && last.header("connection") == Some("close"), "{last:?}");
    assert_eq!(binary.exit_code(), 0, "{}", binary.log());
    assert!(binary.log_has("everything in flight was finished"));
}

#[test]
fn a_second_signal_ends_at_once() {
    let (service, asked, _answer) = patient();
    let mut binary = before(&service);
    let _client = ask_slowly(&binary, &asked);
    binary.signal(Signal::INT);
    eventually("the drain", || if binary.log_has("draining") { Ok(()) } else { Err(binary.log()) });
    binary.terminate();
    assert_eq!(binary.exit_code(), 1, "{}", binary.log());
}

#[test]
fn a_drain_before_the_first_signal_cuts_nothing() {
    let (service, asked, answer) = patient();
    let mut binary = before(&service);
    let mut client = ask_slowly(&binary, &asked);
    assert_eq!(binary.command(&["drain", "--after", "100ms"]).status.code(), Some(0));
    eventually("the drain", || if binary.log_has("draining") { Ok(()) } else { Err(binary.log()) });
    binary.terminate();
    eventually("the signal", || if binary.log_has("already draining") { Ok(()) } else { Err(binary.log()) });
    answer.send(()).unwrap();
    assert!(client.answer("GET").is_ok());
    assert_eq!(binary.exit_code(), 0, "{}", binary.log());
}

#[test]
fn commands_and_sighup_reload_and_drain() {
    let service = Service::named("stable");
    let mut binary = before(&service);
    let address = service.address.to_string();
    let code = |binary: &Binary, args: &[&str]| {
        let done = binary.command(args);
        (done.status.code().unwrap(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    assert_eq!(code(&binary, &["reload"]).0, 0);
    std::fs::write(binary.path(), shop(&address, &address, 5).replace("weight: 5", "wieght: 5")).unwrap();
    let (refused, why) =
        code(&binary, &["reload", "--admin", &format!("unix:{}/admin.sock", binary.dir.path().display())]);
    assert!(refused == 1 && why.contains("wieght"), "{refused}: {why}");
    let verbose = binary.page("/readyz?verbose");
    assert!(verbose.0 == 200 && verbose.1.contains("RW0014"), "{verbose:?}");
    binary.write(&shop(&address, &address, 7));
    binary.signal(Signal::HUP);
    let is_in_force = |binary: &Binary, weight: f64| {
        let found = binary.metrics().sum("ringway_variant_weight_ratio", &[("variant", "canary")]);
        if found == weight { Ok(()) } else { Err(format!("{found}: {}", binary.log())) }
    };
    eventually("the weight", || is_in_force(&binary, 0.07));
    assert_eq!(code(&binary, &["drain"]).0, 0);
    assert_eq!(binary.exit_code(), 0);
    assert_eq!(code(&binary, &["reload"]).0, 3);
    assert_eq!(code(&binary, &["drain"]).0, 3);
    assert_eq!(code(&binary, &["healthcheck", "--address", &binary.telemetry.to_string()]).0, 3);
}

#[test]
fn a_broken_file_is_told_and_nothing_starts() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ringway.yaml"), shop("127.0.0.1:1", "127.0.0.1:2", 5) + "sevices: {}\n").unwrap();
    let done = run(dir.path(), &["run"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("ringway.yaml:") && said.contains("sevices") && said.contains("services"), "{said}");
    assert!(done.stdout.is_empty());
}

#[test]
fn a_taken_port_is_told_and_a_second_process_refused() {
    let service = Service::named("stable");
    let address = service.address.to_string();
    let mut first = before(&service);
    let dir = tempfile::tempdir().unwrap();
    for (door, taken) in [("listeners: [{ address: ", first.listener), ("telemetry: { address: ", first.telemetry)] {
        let at = format!("{door}127.0.0.1:0");
        assert!(DOORS.contains(&at));
        std::fs::write(
            dir.path().join("ringway.yaml"),
            shop(&address, &address, 5).replace(&at, &format!("{door}{taken}")),
        )
        .unwrap();
        let done = run(dir.path(), &["run"]);
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{said}");
        assert!(said.contains(&taken.to_string()) && said.contains("another process listens there"), "{said}");
    }
    assert!(first.is_alive() && first.client().get("/", "").is_ok());
}
