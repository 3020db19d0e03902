//! An access log through a file: who gets what, who would move, and what a rollout would have done, in the time of the log.
//!
//! Requests are placed by the code that serves real ones. A log does not hold all that a request had: who the user was, which
//! cookies came. What was taken instead is told with the result.

mod counts;
mod play;
mod report;
mod stand_in;

pub use report::Report;

use http::Method;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::inject::Injection;
use super::log::{Format, LINE_BYTES_MAX, Line};
use crate::model::Bucket;
use crate::routing::Snapshot;
use crate::routing::explain::{ImaginedRequest, Placed, clean, place};
use crate::routing::prepare::Prepared;
use counts::{CohortCounts, Counts, Moves};
use play::Play;
use stand_in::StandIn;

/// The most characters that are shown of a line that cannot be read.
const SHOWN_MAX: usize = 160;

/// How a log is replayed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How its lines are written; by default told from each line.
    pub format: Option<Format>,
    /// The host of lines that name none.
    pub host: Option<String>,
    /// The service whose rollout is played; `None` plays none.
    pub rollout_of: Option<String>,
    /// What is wrong with the new version.
    pub injections: Vec<Injection>,
    /// For what chance decides.
    pub seed: u64,
}

/// A log on its way through a file.
pub struct Replay<'p> {
    prepared: &'p Prepared,
    against: Option<&'p Prepared>,
    options: Options,
    stand_ins: Vec<StandIn>,
    play: Option<Play<'p>>,
    host: String,
    read: u64,
    unread: u64,
    first_unread: Option<Unread>,
    formats: BTreeMap<Format, u64>,
    from_ms: Option<u64>,
    to_ms: u64,
    refused: BTreeMap<u16, u64>,
    first_refused: Option<String>,
    counts: BTreeMap<(usize, usize), CohortCounts>,
    /// Requests by where the user was read.
    users_by: UsersBy,
    moves: Moves,
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unread {
    number: u64,
    text: String,
    why: String,
}

/// How many requests were told apart by what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct UsersBy {
    key: u64,
    logged_bucket: u64,
    stand_in: u64,
}

impl<'p> Replay<'p> {
    /// Before the first line.
    ///
    /// # Errors
    /// The service whose rollout is to be played has none.
    pub fn new(prepared: &'p Prepared, against: Option<&'p Prepared>, options: Options) -> Result<Replay<'p>, String> {
        let play = match &options.rollout_of {
            Some(service) => Some(Play::new(prepared, service, &options)?),
            None => None,
        };
        let named = prepared.loaded.file.routes.iter().flat_map(|route| route.hostnames.iter()).next();
        let host = options.host.clone().or_else(|| named.cloned()).unwrap_or_else(|| "localhost".to_owned());
        Ok(Replay {
            stand_ins: stand_in::of_services(&prepared.loaded.file, &prepared.snapshot),
            host: host.replace("*.", "any."),
            prepared,
            against,
            options,
            play,
            read: 0,
            unread: 0,
            first_unread: None,
            formats: BTreeMap::new(),
            from_ms: None,
            to_ms: 0,
            refused: BTreeMap::new(),
            first_refused: None,
            counts: BTreeMap::new(),
            users_by: UsersBy::default(),
            moves: Moves::default(),
        })
    }

    /// The next line; blank ones do not count.
    pub fn line(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        if text.trim().is_empty() {
            return;
        }
        self.read += 1;
        let parsed = match line.len() > LINE_BYTES_MAX {
            true => Err(format!("it is longer than {LINE_BYTES_MAX} bytes")),
            false => Line::parse(&text, self.options.format),
        };
        match parsed {
            Ok(line) => self.request(&line),
            Err(why) => {
                self.unread += 1;
                let shown = || clean(&text.trim().chars().take(SHOWN_MAX).collect::<String>());
                let number = self.read;
                self.first_unread.get_or_insert_with(|| Unread { number, text: shown(), why: clean(&why) });
            }
        }
    }

    fn request(&mut self, line: &Line) {
        *self.formats.entry(line.format).or_default() += 1;
        self.from_ms.get_or_insert(line.unix_ms);
        self.to_ms = self.to_ms.max(line.unix_ms);
        // the clock goes on whoever the request is for
        if let Some(play) = &mut self.play {
            play.until(line.unix_ms);
        }
        let placed = self.imagine(line).and_then(|request| self.place(line, request));
        let (placed, request) = match placed {
            Ok(placed) => placed,
            Err((status, why)) => {
                *self.refused.entry(status).or_default() += 1;
                self.first_refused.get_or_insert(why);
                return;
            }
        };
        let counts = self.counts.entry((placed.service, placed.cohort)).or_default();
        counts.add(placed.variant, placed.bucket, line);
        if let Some(other) = self.against {
            self.moves.add(self.prepared, &placed, other, &request, line, &self.stand_ins);
        }
        if let Some(play) = &mut self.play {
            play.request(&placed, line);
        }
    }

    /// The request as it would come again.
    fn imagine(&self, line: &Line) -> Result<ImaginedRequest, (u16, String)> {
        let method = Method::from_bytes(line.method.as_bytes());
        let method = method.map_err(|_| (400, clean(&format!("`{}` is no method", line.method))))?;
        let host = line.host.as_deref().unwrap_or(&self.host);
        // some write the whole URL
        let url = match line.target.contains("://") {
            true => line.target.clone(),
            false => format!("http://{host}{}", line.target),
        };
        let peer = line.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let listener = self.prepared.loaded.file.listeners.first().map(|listener| listener.address);
        Ok(ImaginedRequest { method, url, headers: line.headers.clone(), peer, listener })
    }

    fn place(&mut self, line: &Line, mut request: ImaginedRequest) -> Result<(Placed, ImaginedRequest), (u16, String)> {
        let (file, snapshot) = (&self.prepared.loaded.file, &self.prepared.snapshot);
        let told = |refusal: crate::routing::explain::Refusal| (refusal.status, refusal.message);
        let mut placed = place(file, snapshot, &request).map_err(told)?;
        let stand_in = &self.stand_ins[placed.service];
        if placed.has_key {
            self.users_by.key += 1;
        } else if let Some(bucket) = stand_in.logged_bucket(snapshot, &placed, line) {
            self.users_by.logged_bucket += 1;
            settle(snapshot, &mut placed, bucket);
        } else if stand_in.feed(line, &mut request) {
            self.users_by.stand_in += 1;
            placed = place(file, snapshot, &request).map_err(told)?;
        }
        if let Some(cohort) = stand_in.logged_cohort(snapshot, &placed, line) {
            placed.cohort = cohort;
            let bucket = placed.bucket;
            settle(snapshot, &mut placed, bucket);
        }
        Ok((placed, request))
    }
}

/// The variant of a bucket in its cohort.
fn settle(snapshot: &Snapshot, placed: &mut Placed, bucket: Bucket) {
    placed.bucket = bucket;
    let cohort = &snapshot.services[placed.service].cohorts[placed.cohort];
    (placed.variant, placed.reason) = cohort.variant_of(bucket);
}

impl Counts {
    /// `requests` of what is counted, 0 to 1.
    fn part_of(&self, all: u64) -> f64 {
        if all == 0 { 0.0 } else { self.requests as f64 / all as f64 }
    }
}

mod tests;
