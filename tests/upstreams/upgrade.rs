//! Restarts without loss: the real program hands its sockets to the next one, under load (battery D18).

use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;

use crate::binary::Binary;
use crate::client::Client;
use crate::service::Service;
use crate::story::{eventually, shop};

/// The process ids that took over, in their order.
fn heirs(log: &str) -> Vec<u32> {
    let taken = |line: &str| -> Option<u32> {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let said = line["message"].as_str().or(line["fields"]["message"].as_str())?;
        let id = line["to"].as_u64().or(line["fields"]["to"].as_u64());
        if said == "another process has taken over" { u32::try_from(id?).ok() } else { None }
    };
    log.lines().filter_map(taken).collect()
}

fn signal(id: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(id as i32).unwrap(), signal);
}

/// Ends the processes that took over.
pub struct Ends(pub PathBuf);

impl Drop for Ends {
    fn drop(&mut self) {
        let log = std::fs::read_to_string(&self.0).unwrap_or_default();
        heirs(&log).into_iter().for_each(|id| signal(id, Signal::KILL));
    }
}

pub fn wait_for_heirs(binary: &Binary, count: usize) -> u32 {
    eventually(&format!("heir {count}"), || match heirs(&binary.log()) {
        ids if ids.len() >= count => Ok(ids[count - 1]),
        ids => Err(format!("{ids:?}: {}", binary.log())),
    })
}

/// Clients that come anew for each request, and one that stays as long as it may.
struct Load {
    ends: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<usize>>,
    failures: Arc<AtomicUsize>,
}

impl Load {
    fn begin(binary: &Binary) -> Load {
        let (ends, failures) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let listener = binary.listener;
        let client = |stays: bool| {
            let (ends, failures) = (Arc::clone(&ends), Arc::clone(&failures));
            thread::spawn(move || {
                let mut requests = 0;
                let mut client = Client::connect(listener);
                while !ends.load(SeqCst) {
                    requests += 1;
                    let answer = client.get("/", if stays { "" } else { "connection: close\r\n" });
                    if !answer.is_ok() {
                        println!("request {requests}, stays {stays}: {answer:?}");
                        failures.fetch_add(1, SeqCst);
                    }
                    if !stays || answer.header("connection") == Some("close") || !answer.is_ok() {
                        client = Client::connect(listener);
                    }
                }
                requests
            })
        };
        let clients = vec![client(false), client(false), client(true)];
        Load { ends, clients, failures }
    }

    /// How many requests there were, none of which has failed.
    fn end(self) -> usize {
        self.ends.store(true, SeqCst);
        let requests = self.clients.into_iter().map(|client| client.join().unwrap()).sum();
        assert_eq!(self.failures.load(SeqCst), 0, "of {requests}");
        requests
    }
}

/// A service that answers `/slow` when it is told to.
fn service() -> (Service, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (tell_asked, asked) = mpsc::channel();
    let (answer, told) = mpsc::channel::<()>();
    let shared = std::sync::Mutex::new((tell_asked, Some(told)));
    let service = Service::wired(move |wire| {
        while let Some(request) = wire.request() {
            if request.path == "/slow" {
                let told = {
                    let mut shared = shared.lock().unwrap();
                    shared.0.send(()).unwrap();
                    shared.1.take().unwrap()
                };
                let _ = told.recv();
            }
            wire.ok("done");
        }
    });
    (service, asked, answer)
}

#[test]
fn five_upgrades_under_load_lose_nothing() {
    let (service, asked, answer) = service();
    let address = service.address.to_string();
    let binary = Binary::start(&shop(&address, &address, 5), &["--workers", "2"]);
    let _ends = Ends(binary.dir.path().join("log"));
    let load = Load::begin(&binary);
    let mut slow = binary.client();
    slow.send(b"GET /slow HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    asked.recv().unwrap();
    let mut serving = binary.id();
    for number in 1..=5 {
        signal(serving, Signal::USR2);
        serving = wait_for_heirs(&binary, number);
        // the doors have moved with the listeners
        assert_eq!(binary.page("/readyz").0, 200);
        assert_eq!(binary.command(&["reload"]).status.code(), Some(0), "{}", binary.log());
    }
    answer.send(()).unwrap();
    let answer = slow.answer("GET");
    assert!(answer.is_ok(), "begun before all of them: {answer:?}");
    let requests = load.end();
    println!("5 upgrades, {requests} requests, 0 failed");
    assert!(requests > 100, "{requests}");
    signal(serving, Signal::TERM);
    eventually("the end of the last one", || match std::net::TcpStream::connect(binary.listener) {
        Ok(_) => Err(binary.log()),
        Err(_) => Ok(()),
    });
    assert!(!binary.log_has("panic"), "{}", binary.log());
}

#[test]
fn another_process_takes_over_with_more_and_with_fewer_workers() {
    let service = Service::named("stable");
    let address = service.address.to_string();
    let mut binary = Binary::start(&shop(&address, &address, 5), &["--workers", "2"]);
    let _ends = Ends(binary.dir.path().join("log"));
    let load = Load::begin(&binary);
    let next = |workers: &str| {
        let log = std::fs::OpenOptions::new().append(true).open(binary.dir.path().join("log")).unwrap();
        let mut command = std::process::Command::new(crate::binary::PROGRAM);
        command.args(["run", "--upgrade", "--workers", workers, "--log-format", "json"]);
        command.current_dir(binary.dir.path()).env_remove("RINGWAY_CONFIG").stdin(std::process::Stdio::null());
        command.stderr(log).spawn().unwrap()
    };
    let mut second = next("4");
    assert_eq!(wait_for_heirs(&binary, 1), second.id());
    let mut third = next("1");
    assert_eq!(wait_for_heirs(&binary, 2), third.id());
    println!("2 → 4 → 1 workers, {} requests, 0 failed", load.end());
    assert_eq!(second.wait().unwrap().code(), Some(0), "{}", binary.log());
    assert_eq!(binary.exit_code(), 0);
    let id = Pid::from_raw(third.id() as i32).unwrap();
    kill_process(id, Signal::TERM).unwrap();
    assert_eq!(third.wait().unwrap().code(), Some(0), "{}", binary.log());
    assert!(!binary.dir.path().join("admin.sock").exists(), "the last one takes the files of its sockets with it");
    assert!(!binary.dir.path().join("admin.sock.upgrade").exists());
}

/// A program that ends at once, one that never says a word, and a file with errors.
#[test]
fn a_new_process_that_fails_leaves_the_old_one_serving() {
    let service = Service::named("stable");
    let address = service.address.to_string();
    let text = shop(&address, &address, 5);
    let mut binary = Binary::start(&text, &["--workers", "2"]);
    let _ends = Ends(binary.dir.path().join("log"));
    let load = Load::begin(&binary);
    let failures = |count: usize| {
        eventually(&format!("failure {count}"), || match binary.log().matches("not upgraded").count() {
            found if found >= count => Ok(()),
            found => Err(format!("{found}: {}", binary.log())),
        })
    };
    binary.write("listeners: [");
    binary.signal(Signal::USR2);
    failures(1);
    assert!(binary.log_has("did not answer"), "{}", binary.log());
    binary.write(&text);
    // a stranger who hangs up, and one who talks nonsense
    for said in [b"".as_slice(), b"\0\0\0\x02{}", b"\xff\xff\xff\xff", b"\0\0\0\x01x"] {
        let mut stream = std::os::unix::net::UnixStream::connect(binary.dir.path().join("admin.sock.upgrade")).unwrap();
        std::io::Write::write_all(&mut stream, said).unwrap();
    }
    failures(5);
    assert!(heirs(&binary.log()).is_empty());
    assert_eq!(binary.page("/readyz").0, 200);
    // and after all of that it still can
    binary.signal(Signal::USR2);
    let heir = wait_for_heirs(&binary, 1);
    println!("5 failed upgrades, 1 good one, {} requests, 0 failed", load.end());
    assert_eq!(binary.exit_code(), 0);
    signal(heir, Signal::TERM);
}

#[test]
fn the_service_manager_is_told_each_step() {
    let service = Service::named("stable");
    let address = service.address.to_string();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(crate::story::PATIENCE)).unwrap();
    let mut heard = Vec::new();
    let began = std::time::Instant::now();
    let mut hear = |wanted: &str| loop {
        assert!(began.elapsed() < crate::story::PATIENCE * 2, "{wanted} did not come: {heard:?}");
        let mut bytes = [0; 4096];
        let count = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("{wanted}: {error}; {heard:?}"));
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        let found = text.contains(wanted);
        heard.push(text.clone());
        if found {
            return text;
        }
    };
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let text = shop(&address, &address, 5);
    let mut binary = Binary::start_with(&text, &["--workers", "1"], &environment);
    let _ends = Ends(binary.dir.path().join("log"));
    assert!(hear("READY=1").contains("STATUS=serving "));
    hear("WATCHDOG=1");
    binary.write(&shop(&address, &address, 50));
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    hear("READY=1");
    binary.write("listeners: [");
    hear("RELOADING=1");
    assert!(hear("READY=1").contains("rejected"));
    binary.write(&text);
    hear("READY=1");
    binary.signal(Signal::USR2);
    hear("STATUS=upgrading");
    let main = hear("MAINPID=");
    hear("READY=1");
    let heir = wait_for_heirs(&binary, 1);
    assert_eq!(main.trim(), format!("MAINPID={heir}"));
    assert_eq!(binary.exit_code(), 0);
    hear("WATCHDOG=1");
    signal(heir, Signal::TERM);
    hear("STOPPING=1");
    let stops = heard.iter().filter(|text| text.contains("STOPPING=1")).count();
    assert_eq!(stops, 1, "one that has handed over does not say that the service stops: {heard:?}");
}
