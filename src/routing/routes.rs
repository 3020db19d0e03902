//! Which request goes to which service.

use http::{HeaderName, Method};
use std::collections::HashMap;
use std::time::Duration;

use super::edit::Edits;
use super::host_pattern::HostPattern;
use super::limit::RateLimit;
use super::query;
use super::redirect::{Redirect, Rewrite};
use super::resilience::Retry;
use super::test::Test;
use super::vary::CachePolicy;
use super::view::RequestView;
use crate::model::DEFAULT_ROUTE;

/// Finds the route of a request.
///
/// Of all matches that a request meets, the most specific wins, as in the Gateway API: first by host (exact, then
/// the longest wildcard, then none), then by path (exact, then regular expression, then the longest prefix), then by
/// method, then by the number of header tests, then by the number of query tests; ties go by the order of the file.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    exact: HashMap<Box<str>, HostTable>,
    /// By domain with its leading dot.
    below: HashMap<Box<str>, HostTable>,
    any: HostTable,
}

/// A route that requests may take.
#[derive(Debug)]
pub struct Route {
    /// The name in logs.
    pub name: Box<str>,
    /// The position of its service. `None` where every request is redirected.
    pub service: Option<usize>,
    /// Sends clients elsewhere, unless they are there already.
    pub redirect: Option<Redirect>,
    /// Changes what the service is asked for.
    pub rewrite: Option<Rewrite>,
    /// What shared caches are told.
    pub cache: CachePolicy,
    /// How often requests may come.
    pub rate_limit: Option<RateLimit>,
    /// Edits of headers of its requests and answers.
    pub edits: Edits,
    /// How long the service may take.
    pub timeouts: Timeouts,
    /// When a request is sent again; `None` for never.
    pub retry: Option<Box<Retry>>,
}

/// A route that a request takes.
#[derive(Clone, Copy, Debug)]
pub struct Found<'t> {
    /// The route.
    pub route: &'t Route,
    /// How many segments of the path were matched as a prefix; 0 for other matches.
    pub segments: usize,
}

/// How long a service may take on a route; zero is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the whole request to the answer's head. `None`: 30 s, and no limit for gRPC and WebSockets.
    pub request: Option<Duration>,
    /// To open a connection.
    pub connect: Duration,
    /// Without progress of a body. `None`: the listener's.
    pub idle: Option<Duration>,
}

/// One way to meet a route.
#[derive(Debug)]
pub struct Match {
    /// The path.
    pub path: PathTest,
    /// The method is one of these; empty: any.
    pub methods: Box<[Method]>,
    /// All of these hold.
    pub headers: Box<[(HeaderName, Test)]>,
    /// All of these hold.
    pub query: Box<[(Box<str>, Test)]>,
}

/// How a match looks at the path.
#[derive(Debug)]
pub enum PathTest {
    /// Equal to this.
    Exact(Box<str>),
    /// Matches this regular expression as a whole.
    Regex(Test),
    /// Begins with these segments; without a trailing slash, `/` is the empty text.
    Prefix(Box<str>),
}

#[derive(Debug, Default)]
struct HostTable {
    exact: HashMap<Box<str>, Vec<Entry>>,
    regex: Vec<(Test, Entry)>,
    prefix: HashMap<Box<str>, Vec<Entry>>,
    /// The longest prefix's number of segments: how many look-ups a path is worth.
    prefix_segments_max: usize,
}

/// What a match asks beyond host and path, and the route it leads to.
#[derive(Debug)]
struct Entry {
    route: usize,
    segments: usize,
    methods: Box<[Method]>,
    headers: Box<[(HeaderName, Test)]>,
    query: Box<[(Box<str>, Test)]>,
}

impl RouteTable {
    /// Adds a route. The order of calls is the order of the file.
    pub fn add(
        &mut self,
        route: Route,
        hosts: &[HostPattern],
        matches: impl Fn() -> Result<Vec<Match>, String>,
    ) -> Result<(), String> {
        let at = self.routes.len();
        self.routes.push(route);
        if hosts.is_empty() {
            self.any.add(at, matches()?);
        }
        for host in hosts {
            let table = match host {
                HostPattern::Exact(host) => self.exact.entry(host.clone()).or_default(),
                HostPattern::Below(domain) => self.below.entry(domain.clone()).or_default(),
            };
            table.add(at, matches()?);
        }
        Ok(())
    }

    /// Puts the most specific matches first. To be called once, after the last route.
    pub fn sort(&mut self) {
        let tables = self.exact.values_mut().chain(self.below.values_mut()).chain([&mut self.any]);
        tables.for_each(HostTable::sort);
    }

    /// The route of a request, if there is one.
    pub fn find(&self, view: &RequestView<'_>) -> Option<Found<'_>> {
        let exact = self.exact.get(view.host).and_then(|table| table.find(view));
        let found = exact.or_else(|| self.find_below(view)).or_else(|| self.any.find(view));
        found.map(|entry| Found { route: &self.routes[entry.route], segments: entry.segments })
    }

    /// The routes in the order of the file.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    fn find_below(&self, view: &RequestView<'_>) -> Option<&Entry> {
        if self.below.is_empty() {
            return None;
        }
        // a host has at most 127 labels, so this ends soon
        let mut rest = view.host;
        while let Some(dot) = rest.find('.') {
            let domain = &rest[dot..];
            if (dot > 0 || rest.len() < view.host.len())
                && let Some(found) = self.below.get(domain).and_then(|table| table.find(view))
            {
                return Some(found);
            }
            rest = &rest[dot + 1..];
        }
        None
    }
}

impl Route {
    /// A route to a service that does nothing else.
    pub fn to(service: usize) -> Route {
        Route {
            name: DEFAULT_ROUTE.into(),
            service: Some(service),
            redirect: None,
            rewrite: None,
            cache: CachePolicy::default(),
            rate_limit: None,
            edits: Edits::default(),
            timeouts: Timeouts::default(),
            retry: None,
        }
    }
}

impl HostTable {
    fn add(&mut self, route: usize, matches: Vec<Match>) {
        for Match { path, methods, headers, query } in matches {
            let segments = if let PathTest::Prefix(prefix) = &path { segments(prefix) } else { 0 };
            let entry = Entry { route, segments, methods, headers, query };
            match path {
                PathTest::Exact(path) => self.exact.entry(path).or_default().push(entry),
                PathTest::Regex(test) => self.regex.push((test, entry)),
                PathTest::Prefix(prefix) => {
                    self.prefix_segments_max = self.prefix_segments_max.max(segments);
                    self.prefix.entry(prefix).or_default().push(entry);
                }
            }
        }
    }

    fn sort(&mut self) {
        // stable sorts: ties keep the order of the file
        self.exact.values_mut().chain(self.prefix.values_mut()).for_each(|entries| entries.sort_by_key(Entry::rank));
        self.regex.sort_by_key(|(_, entry)| entry.rank());
    }

    fn find(&self, view: &RequestView<'_>) -> Option<&Entry> {
        if let Some(found) = self.exact.get(view.path).and_then(|entries| first(entries, view)) {
            return Some(found);
        }
        let regex = self.regex.iter().find(|(test, entry)| test.passes(view.path.as_bytes()) && entry.matches(view));
        if let Some((_, entry)) = regex {
            return Some(entry);
        }
        let mut prefix = first_segments(view.path, self.prefix_segments_max);
        loop {
            if let Some(found) = self.prefix.get(prefix).and_then(|entries| first(entries, view)) {
                return Some(found);
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
    }
}

fn first<'t>(entries: &'t [Entry], view: &RequestView<'_>) -> Option<&'t Entry> {
    entries.iter().find(|entry| entry.matches(view))
}

impl Entry {
    /// Smaller is more specific.
    fn rank(&self) -> (bool, std::cmp::Reverse<usize>, std::cmp::Reverse<usize>) {
        use std::cmp::Reverse;
        (self.methods.is_empty(), Reverse(self.headers.len()), Reverse(self.query.len()))
    }

    fn matches(&self, view: &RequestView<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(view.method))
            && self.headers.iter().all(|(name, test)| {
                let mut lines = view.headers.get_all(name).iter().peekable();
                if lines.peek().is_none() {
                    return test.passes_absent();
                }
                lines.any(|line| test.passes(line.as_bytes()))
            })
            && self.query.iter().all(|(name, test)| {
                let value = view.query.and_then(|text| query::parameter(text, name));
                test.passes_option(value.as_deref().map(str::as_bytes))
            })
    }
}

fn segments(prefix: &str) -> usize {
    prefix.bytes().filter(|byte| *byte == b'/').count()
}

/// The path's first `count` segments, or all of it, without a trailing slash.
fn first_segments(path: &str, count: usize) -> &str {
    let end = memchr::memchr_iter(b'/', path.as_bytes()).nth(count).unwrap_or(path.len());
    let first = &path[..end];
    first.strip_suffix('/').unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_to_the_segments_that_prefixes_have() {
        for (path, count, cut) in [
            ("/a/b/c", 2, "/a/b"),
            ("/a/b/c", 9, "/a/b/c"),
            ("/a/", 1, "/a"),
            ("/", 0, ""),
            ("/", 1, ""),
            ("/a", 0, ""),
        ] {
            assert_eq!(first_segments(path, count), cut, "{path} {count}");
        }
    }
}
