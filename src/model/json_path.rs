use smallvec::SmallVec;
use std::str::FromStr;

/// A place in JSON, as RFC 9535 writes it: `$.time`, `$.items[*].id`, `$['a b'][0]`, `$..traceId`.
///
/// Names, indices from 0, `*` and `..` are understood; slices, filters and unions are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    segments: Box<[Segment]>,
}

/// Where a walk through JSON stands with regard to some paths.
#[derive(Clone, Debug, Default)]
pub struct Places<'p> {
    /// Paths, and how many segments of each have been walked.
    walked: SmallVec<[(&'p JsonPath, usize); 8]>,
}

/// A step of a walk through JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonStep<'s> {
    /// To the member of this name.
    Name(&'s str),
    /// To the element at this position.
    Index(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    /// Written with `..`: at any depth.
    is_anywhere: bool,
    selector: Selector,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Selector {
    Name(Box<str>),
    Index(usize),
    Any,
}

/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 256;

impl FromStr for JsonPath {
    type Err = String;

    fn from_str(text: &str) -> Result<JsonPath, String> {
        if text.len() > PATH_BYTES_MAX {
            return Err(format!("a path has at most {PATH_BYTES_MAX} bytes"));
        }
        let mut rest = text.strip_prefix('$').ok_or("a path begins with `$`")?;
        let mut segments = Vec::new();
        while !rest.is_empty() {
            let (segment, left) = Segment::take(rest)?;
            segments.push(segment);
            rest = left;
        }
        if segments.is_empty() {
            return Err("`$` alone is the whole body".to_owned());
        }
        Ok(JsonPath { segments: segments.into() })
    }
}

impl Segment {
    fn take(text: &str) -> Result<(Segment, &str), String> {
        let (is_anywhere, rest) = match text.strip_prefix("..") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('.').unwrap_or(text)),
        };
        let has_dot = rest.len() < text.len();
        let (selector, left) = match rest.strip_prefix('[') {
            Some(_) if has_dot && !is_anywhere => return Err("`.` and `[` stand for the same: write one".to_owned()),
            Some(inner) => Selector::take_bracketed(inner)?,
            None if !has_dot => return Err(format!("`.` or `[` is missing before `{rest}`")),
            None => Selector::take_plain(rest)?,
        };
        Ok((Segment { is_anywhere, selector }, left))
    }
}

impl Selector {
    fn take_plain(text: &str) -> Result<(Selector, &str), String> {
        if let Some(left) = text.strip_prefix('*') {
            return Ok((Selector::Any, left));
        }
        let is_plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let end = text.find(|c| !is_plain(c)).unwrap_or(text.len());
        match text.split_at(end) {
            ("", _) => Err("a name is missing after `.`; other characters are written as in `$['a b']`".to_owned()),
            (name, left) => Ok((Selector::Name(name.into()), left)),
        }
    }

    fn take_bracketed(text: &str) -> Result<(Selector, &str), String> {
        let unclosed = || "a `]` is missing".to_owned();
        if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            let (name, left) = take_quoted(&text[1..], quote)?;
            return Ok((Selector::Name(name.into()), left.strip_prefix(']').ok_or_else(unclosed)?));
        }
        let (inside, left) = text.split_once(']').ok_or_else(unclosed)?;
        match inside {
            "*" => Ok((Selector::Any, left)),
            _ if inside.is_empty() || !inside.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(format!("`[{inside}]` is not understood: an index, `*` or a name in quotes is"))
            }
            _ => {
                inside.parse().map(|index| (Selector::Index(index), left)).map_err(|_| "too large an index".to_owned())
            }
        }
    }

    fn holds(&self, step: JsonStep<'_>) -> bool {
        match (self, step) {
            (Selector::Any, _) => true,
            (Selector::Name(name), JsonStep::Name(member)) => **name == *member,
            (Selector::Index(index), JsonStep::Index(at)) => *index == at,
            (Selector::Name(_), JsonStep::Index(_)) | (Selector::Index(_), JsonStep::Name(_)) => false,
        }
    }
}

/// What stands before the closing quote, and what follows it. A backslash takes the next character as it is.
fn take_quoted(text: &str, quote: char) -> Result<(String, &str), String> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
            _ if character == quote => return Ok((name, &text[at + 1..])),
            _ => name.push(character),
        }
    }
    Err("a closing quote is missing".to_owned())
}

impl<'p> Places<'p> {
    /// The root of a document.
    pub fn root(paths: &'p [JsonPath]) -> Places<'p> {
        Places { walked: paths.iter().map(|path| (path, 0)).collect() }
    }

    /// Where the walk stands after a step; `None` when one of the paths leads there.
    pub fn after(&self, step: JsonStep<'_>) -> Option<Places<'p>> {
        let mut after = Places::default();
        for (path, walked) in &self.walked {
            let Some(segment) = path.segments.get(*walked) else { continue };
            if segment.is_anywhere {
                after.add(path, *walked);
            }
            if segment.selector.holds(step) {
                if walked + 1 == path.segments.len() {
                    return None;
                }
                after.add(path, walked + 1);
            }
        }
        Some(after)
    }

    /// Each place once: a path with several `..` reaches the same ones in many ways.
    fn add(&mut self, path: &'p JsonPath, walked: usize) {
        let is_known = |known: &(&JsonPath, usize)| std::ptr::eq(known.0, path) && known.1 == walked;
        if !self.walked.iter().any(is_known) {
            self.walked.push((path, walked));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// True when `path` leads to the place that is written in the same way, without wildcards.
    fn leads(path: &str, to: &str) -> bool {
        let paths = [path.parse().unwrap()];
        let to: JsonPath = to.parse().unwrap();
        let mut places = Places::root(&paths);
        for segment in &to.segments {
            let step = match &segment.selector {
                Selector::Name(name) => JsonStep::Name(name),
                Selector::Index(index) => JsonStep::Index(*index),
                Selector::Any => panic!("not a place"),
            };
            match places.after(step) {
                Some(after) => places = after,
                None => return true,
            }
        }
        false
    }

    #[test]
    fn paths_lead_where_they_say() {
        for (path, to, led) in [
            ("$.time", "$.time", true),
            ("$.time", "$.time.zone", true),
            ("$.time", "$.a.time", false),
            ("$.a.b", "$.a", false),
            ("$.a.b", "$.a.b", true),
            ("$['a b']", "$[\"a b\"]", true),
            ("$['it\\'s']", "$[\"it's\"]", true),
            ("$.items[*].id", "$.items[7].id", true),
            ("$.items[*].id", "$.items[7].name", false),
            ("$.items[0]", "$.items[0]", true),
            ("$.items[0]", "$.items[1]", false),
            ("$[0]", "$['0']", false),
            ("$.*.id", "$.a.id", true),
            ("$..id", "$.id", true),
            ("$..id", "$.a[3].b.id", true),
            ("$..a..id", "$.a.a.b.id", true),
            ("$..a..id", "$.b.id", false),
            ("$..[0]", "$.a.b[0]", true),
            ("$.größe", "$.größe", true),
        ] {
            assert_eq!(leads(path, to), led, "{path} {to}");
        }
    }

    #[test]
    fn what_is_no_path_is_told() {
        for (text, why) in [
            ("", "begins with"),
            ("time", "begins with"),
            ("$", "whole body"),
            ("$time", "missing before `time`"),
            ("$.", "a name is missing"),
            ("$.a b", "missing before ` b`"),
            ("$.[0]", "write one"),
            ("$[", "`]` is missing"),
            ("$['a", "quote is missing"),
            ("$['a'", "`]` is missing"),
            ("$[-1]", "not understood"),
            ("$[1:2]", "not understood"),
            ("$[?(@.a)]", "not understood"),
            ("$[99999999999999999999]", "too large"),
        ] {
            let error = text.parse::<JsonPath>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(format!("${}", ".a".repeat(200)).parse::<JsonPath>().is_err());
    }

    #[test]
    fn many_ways_to_a_place_are_one() {
        let paths = ["$..a..a..a..a..a..b".parse().unwrap()];
        let mut places = Places::root(&paths);
        for _ in 0..100 {
            places = places.after(JsonStep::Name("a")).unwrap();
        }
        assert!(places.walked.len() <= 6, "{}", places.walked.len());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_path_or_refused(text in "[$.\\[\\]*'\"\\\\a0-9ü ]{0,40}") {
            let _ = text.parse::<JsonPath>();
        }
    }
}
