//! Hosts as routes and conditions name them.

use std::fmt;

/// A host as it is written in routes and conditions: exact, or everything below a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This host.
    Exact(Box<str>),
    /// Any host below this domain, at any depth, but not the domain itself. Held with its leading dot.
    Below(Box<str>),
}

impl HostPattern {
    /// Reads `shop.example.com` or `*.example.com`.
    pub fn parse(text: &str) -> HostPattern {
        let text = text.trim_end_matches('.').to_ascii_lowercase();
        match text.strip_prefix('*') {
            Some(below) => HostPattern::Below(below.into()),
            None => HostPattern::Exact(text.into()),
        }
    }

    /// True when a host in lower case matches.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(exact) => host == &**exact,
            HostPattern::Below(domain) => host.len() > domain.len() && host.ends_with(&**domain),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(host) => f.write_str(host),
            HostPattern::Below(domain) => write!(f, "*{domain}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_what_is_below() {
        let below = HostPattern::parse("*.Example.com");
        assert_eq!(below.to_string(), "*.example.com");
        for (host, matches) in
            [("a.example.com", true), ("a.b.example.com", true), ("example.com", false), ("aexample.com", false)]
        {
            assert_eq!(below.matches(host), matches, "{host}");
        }
        assert!(HostPattern::parse("shop.example.com.").matches("shop.example.com"));
    }
}
