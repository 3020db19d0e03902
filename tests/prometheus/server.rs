//! A Prometheus of its own for a test: a free port, a temporary folder, and gone when dropped.

use serde_json::Value;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// For Prometheus to start, and for what was recorded to arrive. Long, since machines of tests are slow.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// Between asking for a free port and binding it somebody else may take it.
const STARTS_MAX: usize = 5;
/// How far PromQL may be off: `rate` computes with seconds as floating-point numbers.
const TOLERANCE: f64 = 1e-9;

/// A running Prometheus that scrapes one address.
pub struct Prometheus {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Prometheus {
    /// Starts one; `None`, with a loud word, where the program is not installed and nobody insists.
    pub async fn start(target: SocketAddr) -> Option<Prometheus> {
        Prometheus::start_with(target, &[]).await
    }

    /// The same, with more arguments.
    pub async fn start_with(target: SocketAddr, args: &[&str]) -> Option<Prometheus> {
        if Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            let must = std::env::var("RINGWAY_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
            assert!(!must, "`prometheus` is not installed; type: apt-get install prometheus");
            eprintln!("SKIPPED: `prometheus` is not installed; tests/run.sh installs it");
            return None;
        }
        for _ in 0..STARTS_MAX {
            let mut prometheus = Prometheus::spawn(target, args);
            if prometheus.is_ready_in_time().await {
                return Some(prometheus);
            }
        }
        panic!("Prometheus did not start in {STARTS_MAX} attempts");
    }

    fn spawn(target: SocketAddr, args: &[&str]) -> Prometheus {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\n\
             scrape_configs: [{{ job_name: ringway, static_configs: [{{ targets: ['{target}'] }}] }}]\n"
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .args(["--log.level=warn"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Prometheus { process, address: free, folder }
    }

    /// False when it ended by itself, as it does when its port is taken.
    async fn is_ready_in_time(&mut self) -> bool {
        let mut poll = tokio::time::interval(POLL);
        let ready = async {
            loop {
                poll.tick().await;
                if self.process.try_wait().unwrap().is_some() {
                    return false;
                }
                if self.get("/-/ready").await.is_some_and(|(status, _)| status == 200) {
                    return true;
                }
            }
        };
        let ready = tokio::time::timeout(DEADLINE, ready).await;
        ready.unwrap_or_else(|_| panic!("Prometheus is not ready:\n{}", self.log()))
    }

    /// Waits until a query gives this value for a `cohort/variant`, or for what has no such labels.
    pub async fn expect(&self, query: &str, of: &str, value: f64) {
        let mut last = None;
        let found = async {
            let mut poll = tokio::time::interval(POLL);
            loop {
                poll.tick().await;
                last = self.query(query).await.into_iter().find(|(labels, _)| of.is_empty() || labels == of);
                if last.as_ref().is_some_and(|(_, found)| (found - value).abs() <= TOLERANCE) {
                    return;
                }
            }
        };
        if tokio::time::timeout(DEADLINE, found).await.is_err() {
            panic!("{query}\nof {of} is {last:?}, not {value}\n{}", self.log());
        }
    }

    /// The value of a query for a `cohort/variant`, which must be there.
    pub async fn value(&self, query: &str, of: &str) -> f64 {
        let found = self.query(query).await.into_iter().find(|(labels, _)| labels == of);
        found.unwrap_or_else(|| panic!("{query}\nhas nothing of {of}\n{}", self.log())).1
    }

    /// The instant vector of a query: `cohort/variant` and value.
    async fn query(&self, query: &str) -> Vec<(String, f64)> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let Some((status, body)) = self.get(&format!("/api/v1/query?query={encoded}")).await else { return Vec::new() };
        assert_eq!(status, 200, "{query}: {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let label = |series: &Value, name: &str| series["metric"][name].as_str().unwrap_or("").to_owned();
        let series = answer["data"]["result"].as_array().unwrap().iter().map(|series| {
            let value = series["value"][1].as_str().unwrap().parse().unwrap();
            (format!("{}/{}", label(series, "cohort"), label(series, "variant")), value)
        });
        series.collect()
    }

    /// Status and body; `None` when nobody answers yet.
    async fn get(&self, target: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        // HTTP/1.0, so that the body is neither chunked nor compressed and ends with the connection
        let request = format!("GET {target} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
