//! `redirect` and `rewrite` of routes.

use super::problems::Problems;
use super::texts::check_host;
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{PathEdit, PathMatch, Redirect, Rewrite, Route};

/// The statuses of redirects that clients follow.
const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

pub(super) fn check(route: &Route, place: &Place, problems: &mut Problems<'_>) {
    if let Some(redirect) = &route.redirect {
        check_redirect(redirect, &place.key("redirect"), problems);
        check_path(redirect.path.as_ref(), route, &place.key("redirect").key("path"), problems);
    }
    if let Some(rewrite) = &route.rewrite {
        check_rewrite(rewrite, &place.key("rewrite"), problems);
        check_path(rewrite.path.as_ref(), route, &place.key("rewrite").key("path"), problems);
    }
    if route.service.is_some() {
        return;
    }
    if route.redirect.is_none() {
        let last = problems.at_key(Code::RouteWithoutService, place, "the route has neither `service` nor `redirect`");
        last.help("add `service: NAME`, or `redirect: { hostname: www.example.com }`");
        return;
    }
    for (key, is_there) in [
        ("rewrite", route.rewrite.is_some()),
        ("requestHeaders", route.request_headers.is_some()),
        ("rateLimit", route.rate_limit.is_some()),
    ] {
        if is_there {
            let message = format!("`{key}` does nothing: every request of this route is redirected");
            let last = problems.at_key(Code::RedirectedAnyway, &place.key(key), message);
            last.help("remove it, or give the route a `service`");
        }
    }
}

fn check_redirect(redirect: &Redirect, place: &Place, problems: &mut Problems<'_>) {
    let is_empty =
        redirect.scheme.is_none() && redirect.hostname.is_none() && redirect.port.is_none() && redirect.path.is_none();
    if is_empty {
        let last = problems.at_key(Code::EmptyRedirect, place, "the redirect leads back to where it came from");
        last.help("add one of `scheme`, `hostname`, `port` and `path`");
    }
    if redirect.status.is_some_and(|status| !STATUSES.contains(&status)) {
        let last = problems.at(Code::BadRedirectStatus, &place.key("status"), "this is not a status of redirects");
        last.help("write 301 or 308 for ever, 302 or 307 for now, 303 for the answer to a form");
    }
    if redirect.port == Some(0) {
        problems.at(Code::BadRedirectPort, &place.key("port"), "there is no port 0").help("write 1 to 65535");
    }
    check_hostname(redirect.hostname.as_deref(), place, problems);
}

fn check_rewrite(rewrite: &Rewrite, place: &Place, problems: &mut Problems<'_>) {
    if rewrite.hostname.is_none() && rewrite.path.is_none() {
        let last = problems.at_key(Code::EmptyRedirect, place, "the rewrite changes nothing");
        last.help("add one of `hostname` and `path`");
    }
    check_hostname(rewrite.hostname.as_deref(), place, problems);
}

fn check_hostname(hostname: Option<&str>, place: &Place, problems: &mut Problems<'_>) {
    let Some(hostname) = hostname else { return };
    let place = place.key("hostname");
    match hostname.starts_with("*.") {
        true => {
            let last = problems.at(Code::BadHost, &place, format!("`{hostname}` is many hosts"));
            last.help("write one host, such as www.example.com");
        }
        false => check_host(hostname, &place, problems),
    }
}

fn check_path(edit: Option<&PathEdit>, route: &Route, place: &Place, problems: &mut Problems<'_>) {
    let (path, place) = match edit {
        None => return,
        Some(PathEdit::ReplaceFull(path)) => (path, place.key("replaceFull")),
        Some(PathEdit::ReplacePrefix(prefix)) => {
            let place = place.key("replacePrefix");
            let is_prefix = |path: &Option<PathMatch>| matches!(path, None | Some(PathMatch::Prefix(_)));
            if !route.matches.iter().all(|one| is_prefix(&one.path)) {
                let message = "`replacePrefix` needs matches by `prefix`: there is no prefix to replace in the others";
                let last = problems.at_key(Code::PrefixNotMatched, &place, message);
                last.help("match by `path: { prefix: .. }`, or write `replaceFull`");
            }
            if prefix.is_empty() {
                return;
            }
            (prefix, place)
        }
    };
    let is_plain = |b: u8| b.is_ascii_graphic() && !b"\"#<>?\\^`{|}".contains(&b);
    let message = if !path.starts_with('/') {
        format!("the path `{path}` does not begin with `/`")
    } else if path.starts_with("//") {
        format!("the path `{path}` begins like a host")
    } else if !path.bytes().all(is_plain) {
        format!("`{path}` is not a path alone")
    } else if path.split('/').any(|segment| segment == "." || segment == "..") {
        format!("the path `{path}` has dot segments")
    } else {
        return;
    };
    let last = problems.at(Code::BadReplacement, &place, message);
    last.help("write a path such as /new, without query; other characters as %20");
}
