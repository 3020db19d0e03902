//! The path of a request, made unambiguous before it is routed and forwarded.
//!
//! What an upstream might read in two ways is either resolved (dot segments) or refused (encoded slashes,
//! backslashes), so that nobody reaches a path that another route guards by writing it differently.

use std::borrow::Cow;
use std::fmt;

/// A path in its two forms. Both begin with `/` and are ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normalised<'p> {
    /// What is sent to the upstream: as received, but with `.` and `..` segments resolved.
    pub forwarded: Cow<'p, str>,
    /// What routes and conditions look at: as forwarded, but with runs of `/` as one, escapes of letters, digits and
    /// `-._~` decoded (they mean the same, RFC 3986 section 6.2.2.2), and the others in capitals (`%c3` is `%C3`).
    pub matched: Cow<'p, str>,
}

/// Why a path is refused. The request is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathProblem {
    /// It does not begin with `/`.
    NotAbsolute,
    /// It has a control character, a space, `#`, `?`, or a byte beyond ASCII.
    Character,
    /// It has a backslash, as it is or escaped (`%5C`), which some upstreams read as a slash.
    Backslash,
    /// It has a `%` without two hexadecimal digits behind it.
    Escape,
    /// It has an escaped slash (`%2F`), which some upstreams read as a slash.
    EncodedSlash,
    /// It has an escaped NUL (`%00`), at which some upstreams cut it.
    EncodedNul,
    /// It has escapes that are an overlong UTF-8 form (`%C0%AF` for `/`), which some upstreams decode.
    Overlong,
    /// It has a dot segment with a parameter (`..;x`), which some upstreams read as a dot segment.
    DotParameter,
}

impl PathProblem {
    /// What is wrong, for people.
    pub fn reason(self) -> &'static str {
        match self {
            PathProblem::NotAbsolute => "the path does not begin with a slash",
            PathProblem::Character => "the path has a character that no path has",
            PathProblem::Backslash => "the path has a backslash",
            PathProblem::Escape => "the path has a malformed percent escape",
            PathProblem::EncodedSlash => "the path has an encoded slash",
            PathProblem::EncodedNul => "the path has an encoded NUL",
            PathProblem::Overlong => "the path has an overlong UTF-8 sequence",
            PathProblem::DotParameter => "the path has a dot segment with a parameter",
        }
    }
}

impl fmt::Display for PathProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for PathProblem {}

/// Brings a path, without its query, into its two forms. Resolving `..` above the root stays at the root.
///
/// # Errors
/// It is no path, or one that could be read in two ways; see [`PathProblem`].
pub fn normalise(path: &str) -> Result<Normalised<'_>, PathProblem> {
    if is_plain(path.as_bytes()) {
        return Ok(Normalised { forwarded: path.into(), matched: path.into() });
    }
    check(path.as_bytes())?;
    let has_dot_segment = path.split('/').map(dots).any(|dots| dots != Dots::None);
    let forwarded: Cow<'_, str> = if has_dot_segment { resolve(path).into() } else { path.into() };
    let matched = if forwarded.contains("//") || forwarded.contains('%') {
        canonical(&forwarded).into()
    } else {
        forwarded.clone()
    };
    Ok(Normalised { forwarded, matched })
}

/// Whether there is nothing to look at closely: the case of nearly all requests.
///
/// No early exit and no branch within the loop, so that the compiler looks at many bytes at once.
fn is_plain(path: &[u8]) -> bool {
    let (Some(b'/'), Some(last)) = (path.first(), path.last()) else { return false };
    let mut is_special = !is_ordinary(*last);
    for (&byte, &next) in path.iter().zip(&path[1..]) {
        is_special |= !is_ordinary(byte) | ((byte == b'/') & ((next == b'/') | (next == b'.')));
    }
    !is_special
}

/// Bytes that stand for themselves in a path: visible ASCII but `#`, `%`, `?` and the backslash.
fn is_ordinary(byte: u8) -> bool {
    (byte > b' ') & (byte < 0x7F) & (byte != b'#') & (byte != b'%') & (byte != b'?') & (byte != b'\\')
}

fn check(path: &[u8]) -> Result<(), PathProblem> {
    if path.first() != Some(&b'/') {
        return Err(PathProblem::NotAbsolute);
    }
    for (at, &byte) in path.iter().enumerate() {
        match byte {
            b'\\' => return Err(PathProblem::Backslash),
            b'%' => check_escape(&path[at..])?,
            byte if !is_ordinary(byte) => return Err(PathProblem::Character),
            _ => {}
        }
    }
    let mut segments = path.split(|byte| *byte == b'/');
    if segments.any(is_dots_with_parameter) { Err(PathProblem::DotParameter) } else { Ok(()) }
}

fn check_escape(path: &[u8]) -> Result<(), PathProblem> {
    match escape(path).ok_or(PathProblem::Escape)? {
        b'/' => Err(PathProblem::EncodedSlash),
        b'\\' => Err(PathProblem::Backslash),
        0 => Err(PathProblem::EncodedNul),
        lead => match (lead, path.get(3..).and_then(escape)) {
            (0xC0 | 0xC1, Some(0x80..=0xBF)) | (0xE0, Some(0x80..=0x9F)) | (0xF0, Some(0x80..=0x8F)) => {
                Err(PathProblem::Overlong)
            }
            _ => Ok(()),
        },
    }
}

/// The byte of the percent escape that the text begins with.
fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = *text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// What a segment is that has nothing but dots, as they are or escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dots {
    /// Not a dot segment.
    None,
    One,
    Two,
}

fn dots(segment: &str) -> Dots {
    let (count, rest) = leading_dots(segment.as_bytes());
    match count {
        1 if rest.is_empty() => Dots::One,
        2 if rest.is_empty() => Dots::Two,
        _ => Dots::None,
    }
}

fn is_dots_with_parameter(segment: &[u8]) -> bool {
    let (count, rest) = leading_dots(segment);
    let has_parameter = rest.first() == Some(&b';') || escape(rest) == Some(b';');
    (count == 1 || count == 2) && has_parameter
}

/// How many dots a segment begins with, counted to three, and what is behind them.
fn leading_dots(segment: &[u8]) -> (usize, &[u8]) {
    let (mut count, mut rest) = (0, segment);
    while count < 3 {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => break,
        };
        count += 1;
    }
    (count, rest)
}

/// RFC 3986 section 5.2.4, segment by segment: an empty segment counts as one.
fn resolve(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_in_dots = false;
    for segment in path.split('/').skip(1) {
        let dots = dots(segment);
        ends_in_dots = dots != Dots::None;
        match dots {
            Dots::None => segments.push(segment),
            Dots::One => {}
            Dots::Two => drop(segments.pop()),
        }
    }
    if ends_in_dots {
        segments.push("");
    }
    let mut resolved = String::with_capacity(path.len());
    for segment in segments {
        resolved.push('/');
        resolved.push_str(segment);
    }
    resolved
}

fn canonical(path: &str) -> String {
    let mut canonical = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(next) = rest.chars().next() {
        match escape(rest.as_bytes()) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => canonical.push(byte.into()),
            Some(_) => canonical.push_str(&rest[..3].to_ascii_uppercase()),
            None if next == '/' && canonical.ends_with('/') => {}
            None => canonical.push(next),
        }
        rest = &rest[if next == '%' { 3 } else { next.len_utf8() }..];
    }
    canonical
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Path, then either the forwarded and the matched form, or `!` and why it is refused. `<09>` is a raw byte.
    const PATHS: &str = include_str!("../../tests/vectors/paths.tsv");

    fn unescape(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, tail @ ..] = rest {
            if *first == b'<' {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
                rest = &tail[3..];
            } else {
                bytes.push(*first);
                rest = tail;
            }
        }
        bytes
    }

    #[test]
    fn the_table_of_paths_holds() {
        let rows: Vec<Vec<&str>> =
            PATHS.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect()).collect();
        assert!(rows.len() >= 200, "{} rows", rows.len());
        for row in rows {
            let bytes = unescape(row[0]);
            let path = String::from_utf8(bytes).unwrap();
            let found = match normalise(&path) {
                Ok(Normalised { forwarded, matched }) => vec![forwarded.into_owned(), matched.into_owned()],
                Err(problem) => vec![format!("!{problem:?}")],
            };
            assert_eq!(found, row[1..], "{}", row[0]);
        }
    }

    #[test]
    fn a_plain_path_is_borrowed() {
        for path in ["/", "/a/b.c", "/a..b/", "/index.html;v=1", "/.well-known/x"] {
            let Normalised { forwarded, matched } = normalise(path).unwrap();
            assert!(matches!((forwarded, matched), (Cow::Borrowed(_), Cow::Borrowed(_))), "{path}");
        }
    }

    fn paths() -> impl Strategy<Value = String> {
        let parts = [
            "/", "//", ".", "..", "%2e", "%2E", "a", "b;c", "%61", "%41", "%7e", "%c3%a9", "%25", "%3B", ";", "~",
            "...",
        ];
        proptest::collection::vec(proptest::sample::select(parts.to_vec()), 0..12)
            .prop_map(|parts| format!("/{}", parts.concat()))
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_a_problem(text in ".{0,60}", ascii in "[ -~]{0,60}") {
            let _ = normalise(&text);
            let _ = normalise(&ascii);
        }

        #[test]
        fn a_normalised_path_stays_as_it_is(path in paths()) {
            if let Ok(Normalised { forwarded, matched }) = normalise(&path) {
                let again = normalise(&forwarded).unwrap();
                prop_assert_eq!((&again.forwarded, &again.matched), (&forwarded, &matched));
                let again = normalise(&matched).unwrap();
                prop_assert_eq!((&again.forwarded, &again.matched), (&matched, &matched));
            }
        }

        #[test]
        fn no_dot_segment_is_left(path in paths()) {
            if let Ok(Normalised { forwarded, matched }) = normalise(&path) {
                for form in [&forwarded, &matched] {
                    prop_assert!(form.starts_with('/'));
                    prop_assert!(form.split('/').all(|segment| dots(segment) == Dots::None), "{}", form);
                }
                prop_assert!(!matched.contains("//"), "{}", matched);
            }
        }
    }
}
