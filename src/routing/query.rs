//! Parameters of a query, as HTML forms write them (WHATWG URL, `application/x-www-form-urlencoded`).

use percent_encoding::percent_decode;
use std::borrow::Cow;

/// The most parameters of a query that are looked at.
pub const PARAMETERS_MAX: usize = 256;

/// The value of the first parameter of this name: percent escapes decoded, `+` as a space. A parameter without `=`
/// is empty. An escape that is malformed stands for itself; bytes that are not UTF-8 become U+FFFD.
pub fn parameter<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    query.split('&').take(PARAMETERS_MAX).find_map(|pair| {
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        (!pair.is_empty() && is_name(found, name)).then(|| decoded(value))
    })
}

fn is_name(found: &str, name: &str) -> bool {
    found == name || (is_encoded(found) && decoded(found) == name)
}

fn is_encoded(text: &str) -> bool {
    memchr::memchr2(b'%', b'+', text.as_bytes()).is_some()
}

fn decoded(text: &str) -> Cow<'_, str> {
    if !is_encoded(text) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_parameter_of_a_name_counts() {
        for (query, value) in [
            ("", None),
            ("v=2", Some("2")),
            ("v=2&v=3", Some("2")),
            ("a=b&v=2", Some("2")),
            ("v", Some("")),
            ("v=", Some("")),
            ("v=a=b", Some("a=b")),
            ("V=2", None),
            ("vv=2&xv=3", None),
            ("&&v=2", Some("2")),
            ("v=a+b", Some("a b")),
            ("v=a%20b", Some("a b")),
            ("v=%2B", Some("+")),
            ("v=%e4%bd%a0", Some("你")),
            ("v=%zz", Some("%zz")),
            ("v=%", Some("%")),
            ("v=%ff", Some("\u{fffd}")),
            ("v=%00", Some("\0")),
            ("%76=2", Some("2")),
            ("a;v=2", None),
            ("v;x=2", None),
            ("a%26v=2", None),
        ] {
            assert_eq!(parameter(query, "v").as_deref(), value, "{query}");
        }
        assert_eq!(parameter("my+name=1", "my name").as_deref(), Some("1"));
    }

    #[test]
    fn the_number_of_parameters_is_bounded() {
        assert_eq!(parameter(&format!("{}v=1", "a&".repeat(PARAMETERS_MAX - 1)), "v").as_deref(), Some("1"));
        assert_eq!(parameter(&format!("{}v=1", "a&".repeat(PARAMETERS_MAX)), "v"), None);
    }

    #[test]
    fn a_plain_value_is_borrowed() {
        assert!(matches!(parameter("a=b&v=plain", "v"), Some(Cow::Borrowed("plain"))));
    }

    proptest! {
        #[test]
        fn any_text_is_a_query(query in ".{0,100}", name in ".{0,5}") {
            let _ = parameter(&query, &name);
        }

        #[test]
        fn what_is_encoded_comes_back(name in "\\PC{1,10}", value in "\\PC{0,20}") {
            let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
            let query = format!("{}={}", encode(&name), encode(&value));
            let found = parameter(&query, &name);
            prop_assert_eq!(found.as_deref(), Some(value.as_str()));
        }
    }
}
