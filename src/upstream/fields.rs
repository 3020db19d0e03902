use http::HeaderMap;

/// Which of the fields that mean something to a proxy a message has: found in one pass over its names, mostly while
/// they are parsed, so that the many that are absent need no look-up each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields(u32);

macro_rules! fields {
    ($($bit:literal $name:ident $text:literal)*) => {
        impl Fields {
            $(#[doc = concat!("`", $text, "`")] pub const $name: Fields = Fields(1 << $bit);)*
        }

        #[cfg(test)]
        const NAMED: &[(&str, Fields)] = &[$(($text, Fields::$name)),*];
    };
}

fields! {
    0 CONNECTION "connection"
    1 TE "te"
    2 TRANSFER_ENCODING "transfer-encoding"
    3 UPGRADE "upgrade"
    4 KEEP_ALIVE "keep-alive"
    5 PROXY_CONNECTION "proxy-connection"
    6 HTTP2_SETTINGS "http2-settings"
    7 TRAILER "trailer"
    8 EXPECT "expect"
    9 VIA "via"
    10 TRACESTATE "tracestate"
    11 TRACEPARENT "traceparent"
    12 CONTENT_LENGTH "content-length"
    13 DATE "date"
    14 COOKIE "cookie"
    15 CACHE_CONTROL "cache-control"
    16 CONTENT_TYPE "content-type"
    17 X_REQUEST_ID "x-request-id"
    18 VARY "vary"
}

impl Fields {
    /// A field that tells shared caches more than `Cache-Control` does (RFC 9213, and what came before it).
    pub const TARGETED_CACHE: Fields = Fields(1 << 29);
    /// A name that begins with `x-` or `forwarded`, as those do that only trusted peers may tell.
    pub const EXTENDED: Fields = Fields(1 << 30);
    /// A name with an underscore or a dot, which some services take for a hyphen.
    pub const ALIAS: Fields = Fields(1 << 31);

    /// The fields that a message has.
    pub fn of(headers: &HeaderMap) -> Fields {
        headers.keys().fold(Fields::default(), |found, name| found.and(Fields::named(name.as_str())))
    }

    /// Which of them a name is; it is in lower case.
    pub fn named(name: &str) -> Fields {
        let alias = if name.contains(['_', '.']) { Fields::ALIAS } else { Fields::default() };
        alias.and(Fields::plainly_named(name))
    }

    /// True when one of `fields` is there.
    pub fn has(self, fields: Fields) -> bool {
        self.0 & fields.0 != 0
    }

    /// These and those.
    pub const fn and(self, fields: Fields) -> Fields {
        Fields(self.0 | fields.0)
    }

    fn plainly_named(name: &str) -> Fields {
        let is = |known: &str, field| if name == known { field } else { Fields::default() };
        if name.starts_with("x-") || name.starts_with("forwarded") {
            // one that browsers and probes send, and that is nobody's secret
            return match name {
                "x-request-id" => Fields::X_REQUEST_ID,
                "x-accel-expires" => Fields::TARGETED_CACHE,
                _ => Fields::EXTENDED,
            };
        }
        // by length first: one comparison is enough for nearly every name
        match name.len() {
            2 => is("te", Fields::TE),
            3 => is("via", Fields::VIA),
            4 => is("date", Fields::DATE).and(is("vary", Fields::VARY)),
            6 => is("expect", Fields::EXPECT).and(is("cookie", Fields::COOKIE)),
            7 => is("upgrade", Fields::UPGRADE).and(is("trailer", Fields::TRAILER)),
            10 => {
                let found = is("connection", Fields::CONNECTION).and(is("keep-alive", Fields::KEEP_ALIVE));
                found.and(is("tracestate", Fields::TRACESTATE))
            }
            11 => is("traceparent", Fields::TRACEPARENT),
            12 => is("content-type", Fields::CONTENT_TYPE),
            13 => is("cache-control", Fields::CACHE_CONTROL),
            14 => is("content-length", Fields::CONTENT_LENGTH).and(is("http2-settings", Fields::HTTP2_SETTINGS)),
            16 => is("proxy-connection", Fields::PROXY_CONNECTION),
            17 => {
                let targeted = is("cdn-cache-control", Fields::TARGETED_CACHE);
                let targeted = targeted.and(is("surrogate-control", Fields::TARGETED_CACHE));
                targeted.and(is("transfer-encoding", Fields::TRANSFER_ENCODING))
            }
            28 => is("cloudflare-cdn-cache-control", Fields::TARGETED_CACHE),
            _ => Fields::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn what_is_there_is_found_and_nothing_else() {
        let others = [
            ("x-ringway-anything", Fields::EXTENDED),
            ("x-forwarded-for", Fields::EXTENDED),
            ("forwarded", Fields::EXTENDED),
            ("x-accel-expires", Fields::TARGETED_CACHE),
            ("surrogate-control", Fields::TARGETED_CACHE),
            ("cdn-cache-control", Fields::TARGETED_CACHE),
            ("cloudflare-cdn-cache-control", Fields::TARGETED_CACHE),
            ("user_id", Fields::ALIAS),
            ("x.user", Fields::ALIAS),
            ("x-user.id", Fields::EXTENDED.and(Fields::ALIAS)),
            ("accept", Fields::default()),
            ("from", Fields::default()),
        ];
        for (name, field) in NAMED.iter().chain(&others) {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
            assert_eq!(Fields::of(&headers), *field, "{name}");
        }
    }
}
