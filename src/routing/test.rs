use http::{HeaderMap, HeaderName};
use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};
use std::fmt;

use super::compile::as_matched;
use crate::config::schema;

/// One way to look at a value.
#[derive(Debug)]
pub enum Test {
    /// Equal to this.
    Exact(Box<str>),
    /// Begins with this.
    Prefix(Box<str>),
    /// Begins with this, by whole path segments.
    PathPrefix(Box<str>),
    /// Ends with this.
    Suffix(Box<str>),
    /// Contains this.
    Contains(Box<memmem::Finder<'static>>),
    /// Matches this, somewhere.
    Regex(Box<Regex>),
    /// Equal to one of these.
    OneOf(Box<[Box<str>]>),
    /// Is there, or is not.
    Present(bool),
    /// A number between these, both included.
    Range(f64, f64),
}

/// The most memory that one compiled regular expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;

impl Test {
    /// The test of a named value.
    pub fn of_field(field: &schema::Field) -> Result<Test, String> {
        let text = schema::Text {
            exact: field.exact.clone(),
            prefix: field.prefix.clone(),
            suffix: field.suffix.clone(),
            contains: field.contains.clone(),
            regex: field.regex.clone(),
            one_of: field.one_of.clone(),
        };
        match (field.present, field.range) {
            (Some(present), _) => Ok(Test::Present(present)),
            (None, Some([from, to])) => Ok(Test::Range(from, to)),
            (None, None) => Test::of_text(&text),
        }
    }

    /// The test of a text.
    pub fn of_text(text: &schema::Text) -> Result<Test, String> {
        if let Some(exact) = &text.exact {
            return Ok(Test::Exact(exact.as_str().into()));
        }
        if let Some(prefix) = &text.prefix {
            return Ok(Test::Prefix(prefix.as_str().into()));
        }
        if let Some(suffix) = &text.suffix {
            return Ok(Test::Suffix(suffix.as_str().into()));
        }
        if let Some(part) = &text.contains {
            return Ok(Test::Contains(Box::new(memmem::Finder::new(part).into_owned())));
        }
        if let Some(pattern) = &text.regex {
            return Test::of_regex(pattern);
        }
        if let Some(values) = &text.one_of {
            return Ok(Test::OneOf(values.iter().map(|value| value.as_str().into()).collect()));
        }
        Err("a matcher needs one of exact, prefix, suffix, contains, regex and oneOf".to_owned())
    }

    /// The test of a path, where a prefix goes by whole segments.
    pub fn of_path(text: &schema::Text) -> Result<Test, String> {
        Ok(match Test::of_text(text)? {
            Test::Prefix(prefix) => Test::PathPrefix(as_matched(&prefix).trim_end_matches('/').into()),
            Test::Exact(exact) => Test::Exact(as_matched(&exact).into()),
            Test::OneOf(paths) => Test::OneOf(paths.iter().map(|path| as_matched(path).into()).collect()),
            other => other,
        })
    }

    /// The test of a regular expression (linear time, bounded memory).
    pub fn of_regex(pattern: &str) -> Result<Test, String> {
        let regex = RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build();
        regex.map(|regex| Test::Regex(Box::new(regex))).map_err(|error| error.to_string())
    }

    /// True when a value that is there passes.
    pub fn passes(&self, value: &[u8]) -> bool {
        match self {
            Test::Exact(exact) => value == exact.as_bytes(),
            Test::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Test::PathPrefix(prefix) => {
                value.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            }
            Test::Suffix(suffix) => value.ends_with(suffix.as_bytes()),
            Test::Contains(part) => part.find(value).is_some(),
            Test::Regex(regex) => regex.is_match(value),
            Test::OneOf(values) => values.iter().any(|one| value == one.as_bytes()),
            Test::Present(present) => *present,
            Test::Range(from, to) => {
                let number = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse::<f64>().ok());
                number.is_some_and(|number| *from <= number && number <= *to)
            }
        }
    }

    /// True when a value that may not be there passes.
    pub fn passes_option(&self, value: Option<&[u8]>) -> bool {
        match value {
            Some(value) => self.passes(value),
            None => self.passes_absent(),
        }
    }

    /// True when a line of a field passes, or its absence does.
    pub fn passes_lines(&self, headers: &HeaderMap, name: &HeaderName) -> bool {
        let mut lines = headers.get_all(name).iter().peekable();
        match lines.peek() {
            None => self.passes_absent(),
            Some(_) => lines.any(|line| self.passes(line.as_bytes())),
        }
    }

    /// True when the absence of a value passes.
    pub fn passes_absent(&self) -> bool {
        matches!(self, Test::Present(false))
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Test::Exact(text) => write!(f, "is {text}"),
            Test::Prefix(text) | Test::PathPrefix(text) => write!(f, "begins with {text}"),
            Test::Suffix(text) => write!(f, "ends with {text}"),
            Test::Contains(part) => write!(f, "contains {}", String::from_utf8_lossy(part.needle())),
            Test::Regex(regex) => write!(f, "matches {}", regex.as_str()),
            Test::OneOf(values) => write!(f, "is one of {}", values.join(", ")),
            Test::Present(true) => f.write_str("is present"),
            Test::Present(false) => f.write_str("is absent"),
            Test::Range(from, to) => write!(f, "is from {from} to {to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(set: impl FnOnce(&mut schema::Field)) -> Test {
        let mut field = schema::Field::default();
        set(&mut field);
        Test::of_field(&field).unwrap()
    }

    #[test]
    fn each_way_to_look_passes_and_fails() {
        let cases: [(Test, &str, &str); 7] = [
            (field(|f| f.exact = Some("pro".into())), "pro", "Pro"),
            (field(|f| f.prefix = Some("pr".into())), "pro", "apr"),
            (field(|f| f.suffix = Some("ro".into())), "pro", "rot"),
            (field(|f| f.contains = Some("r".into())), "pro", "po"),
            (field(|f| f.regex = Some("^p.o$".into())), "pro", "prro"),
            (field(|f| f.one_of = Some(vec!["team".into(), "pro".into()])), "pro", "free"),
            (field(|f| f.range = Some([1.0, 10.0])), "10", "10.5"),
        ];
        for (test, yes, no) in cases {
            assert!(test.passes(yes.as_bytes()), "{test} {yes}");
            assert!(!test.passes(no.as_bytes()), "{test} {no}");
            assert!(!test.passes_absent(), "{test}");
        }
    }

    #[test]
    fn presence_is_about_presence() {
        assert!(field(|f| f.present = Some(false)).passes_option(None));
        assert!(!field(|f| f.present = Some(false)).passes_option(Some(b"")));
        assert!(field(|f| f.present = Some(true)).passes_option(Some(b"")));
    }

    #[test]
    fn a_path_prefix_goes_by_whole_segments() {
        let prefix =
            |text: &str| Test::of_path(&schema::Text { prefix: Some(text.into()), ..Default::default() }).unwrap();
        for (pattern, path, passes) in [
            ("/api", "/api", true),
            ("/api", "/api/x", true),
            ("/api", "/apix", false),
            ("/api/", "/api/x", true),
            ("/", "/anything", true),
        ] {
            assert_eq!(prefix(pattern).passes(path.as_bytes()), passes, "{pattern} {path}");
        }
    }

    #[test]
    fn a_huge_regular_expression_is_refused() {
        assert!(Test::of_regex("(a{1000}){1000}").is_err());
    }
}
