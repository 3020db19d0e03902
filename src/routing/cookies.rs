//! Cookies of a request, as servers read them (RFC 6265 section 5.4, leniently).
//!
//! A pair is cut at semicolons, its name from its value at the first `=`, with spaces and tabs around both cut.
//! Names differ by case. Quotes belong to the value, as they do for browsers; a pair without `=` is passed over.
//! HTTP/2 clients send the pairs in several `Cookie` lines (RFC 9113 section 8.2.3), which are read in order.

use http::{HeaderMap, header};

/// The value of the first cookie of this name.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    cookies(headers, name).next()
}

/// The values of all the cookies of this name, in order. A client may send several, of different paths and domains.
pub fn cookies<'h, 'n>(headers: &'h HeaderMap, name: &'n str) -> impl Iterator<Item = &'h [u8]> + use<'h, 'n> {
    let lines = headers.get_all(header::COOKIE).iter();
    lines.flat_map(move |line| values(line.as_bytes(), name.as_bytes()))
}

/// The values of this name in one `Cookie` line: what [`pairs`] says, without taking the other pairs apart.
fn values<'l>(line: &'l [u8], name: &[u8]) -> impl Iterator<Item = &'l [u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        while let Some(line) = rest {
            let semicolon = memchr::memchr(b';', line);
            let pair = &line[..semicolon.unwrap_or(line.len())];
            rest = semicolon.map(|at| &line[at + 1..]);
            let behind = pair.trim_ascii_start().strip_prefix(name).map(<[u8]>::trim_ascii_start);
            if let Some([b'=', value @ ..]) = behind {
                return Some(value.trim_ascii());
            }
        }
        None
    })
}

/// The names and values of one `Cookie` line.
pub fn pairs(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    line.split(|byte| *byte == b';').filter_map(|pair| {
        let equals = memchr::memchr(b'=', pair)?;
        Some((pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn the_first_cookie_of_a_name_counts() {
        for (lines, value) in [
            (&[][..], None),
            (&[""], None),
            (&["uid=1"], Some("1")),
            (&["uid=1; uid=2"], Some("1")),
            (&["a=b; uid=1"], Some("1")),
            (&["a=b;uid=1;c=d"], Some("1")),
            (&["a=b;  \tuid = 1 ;c=d"], Some("1")),
            (&["uid="], Some("")),
            (&["uid=a=b=="], Some("a=b==")),
            (&["uid=\"1\""], Some("\"1\"")),
            (&["uid=a b"], Some("a b")),
            (&["uid=a,b"], Some("a,b")),
            (&["uid"], None),
            (&["uid; uid=2"], Some("2")),
            (&["UID=1"], None),
            (&["xuid=1; uidx=2"], None),
            (&["=1; uid=2"], Some("2")),
            (&[";;; uid=1"], Some("1")),
            (&["a=b", "uid=1"], Some("1")),
            (&["uid=1", "uid=2"], Some("1")),
            (&["a=uid=1"], None),
            (&["a=\"x; uid=1\""], Some("1\"")),
            (&["uid=%20é"], Some("%20é")),
        ] {
            let headers = headers(lines);
            assert_eq!(cookie(&headers, "uid"), value.map(str::as_bytes), "{lines:?}");
        }
    }

    #[test]
    fn all_the_cookies_of_a_name_come_in_order() {
        let headers = headers(&["uid=1; a=b; uid=2", "uid=3"]);
        assert_eq!(cookies(&headers, "uid").collect::<Vec<_>>(), [b"1", b"2", b"3"]);
        assert_eq!(cookies(&headers, "b").count(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_cookies(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for (name, value) in pairs(&bytes) {
                prop_assert!(!name.contains(&b'=') && !value.contains(&b';'));
            }
        }
    }
}
