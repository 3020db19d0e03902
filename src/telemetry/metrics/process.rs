use super::exposition::Exposition;
use super::{OF_PROCESS, PROCESS_CPU, PROCESS_FDS, PROCESS_FDS_MAX, PROCESS_RESIDENT, PROCESS_START};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use std::fs;

/// Clock ticks per second in `/proc`: fixed at 100 by Linux's user interface.
const TICKS_PER_SECOND: f64 = 100.0;

/// The conventional `process_*` families, from `/proc`. What cannot be read, as outside of Linux, is left out.
pub(super) struct ProcessCollector {
    descs: Vec<Desc>,
    start_seconds: Option<f64>,
}

/// What `/proc/self/stat` says, in seconds.
#[derive(Debug, PartialEq)]
struct Times {
    cpu: f64,
    /// From the boot of the machine to the start of the process.
    started_after_boot: f64,
}

impl ProcessCollector {
    pub(super) fn new() -> Result<ProcessCollector, prometheus::Error> {
        let descs = OF_PROCESS.iter().map(|family| family.desc()).collect::<Result<_, _>>()?;
        Ok(ProcessCollector { descs, start_seconds: start_seconds() })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut to = Exposition::default();
        let mut expose = |family, value| {
            if let Some(value) = value {
                to.gauge(family, &[], value);
            }
        };
        expose(&PROCESS_RESIDENT, read("/proc/self/status").and_then(|text| resident_bytes(&text)));
        expose(&PROCESS_FDS, fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as f64));
        expose(&PROCESS_FDS_MAX, read("/proc/self/limits").and_then(|text| fds_max(&text)));
        expose(&PROCESS_START, self.start_seconds);
        if let Some(times) = read("/proc/self/stat").and_then(|text| times(&text)) {
            to.seconds(&PROCESS_CPU, times.cpu);
        }
        to.into_parts().0
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn start_seconds() -> Option<f64> {
    let machine = read("/proc/stat")?;
    let boot: f64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + times(&read("/proc/self/stat")?)?.started_after_boot)
}

/// Fields 14, 15 and 22 of proc(5); those behind the command's name, which may hold spaces and parentheses.
fn times(stat: &str) -> Option<Times> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
    let seconds = |field: usize| Some(fields.get(field - 3)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some(Times { cpu: seconds(14)? + seconds(15)?, started_after_boot: seconds(22)? })
}

fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

/// The soft limit; infinite when there is none.
fn fds_max(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_behind_the_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 4 0 12300 1000 200";
        assert_eq!(times(stat), Some(Times { cpu: 2.0, started_after_boot: 123.0 }));
        assert_eq!(times("7 (short) S 1"), None);
        assert_eq!(times(""), None);
    }

    #[test]
    fn memory_and_limits_are_read_by_name() {
        assert_eq!(resident_bytes("VmPeak:\t  9 kB\nVmRSS:\t   12 kB\n"), Some(12_288.0));
        assert_eq!(resident_bytes("VmRSS: many"), None);
        assert_eq!(fds_max("Limit Soft Hard\nMax open files            1024     4096    files\n"), Some(1024.0));
        assert_eq!(fds_max("Max open files  unlimited unlimited files"), Some(f64::INFINITY));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_all_five() {
        let collector = ProcessCollector::new().unwrap();
        assert_eq!(collector.collect().len(), OF_PROCESS.len());
        assert!(collector.start_seconds.unwrap() > 1e9);
    }
}
