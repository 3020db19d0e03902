use http::HeaderMap;

/// Which of the fields that mean something to a proxy a message has: found in one pass over its names, so that the
/// many that are absent need no look-up each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(u32);

impl Fields {
    pub(super) const CONNECTION: Fields = Fields(1);
    pub(super) const TE: Fields = Fields(1 << 1);
    pub(super) const TRANSFER_ENCODING: Fields = Fields(1 << 2);
    pub(super) const UPGRADE: Fields = Fields(1 << 3);
    pub(super) const KEEP_ALIVE: Fields = Fields(1 << 4);
    pub(super) const PROXY_CONNECTION: Fields = Fields(1 << 5);
    pub(super) const HTTP2_SETTINGS: Fields = Fields(1 << 6);
    pub(super) const TRAILER: Fields = Fields(1 << 7);
    pub(super) const EXPECT: Fields = Fields(1 << 8);
    pub(super) const VIA: Fields = Fields(1 << 9);
    pub(super) const X_FORWARDED_FOR: Fields = Fields(1 << 10);
    pub(super) const TRACESTATE: Fields = Fields(1 << 11);
    pub(super) const OURS: Fields = Fields(1 << 12);

    /// The fields that a message has.
    pub(super) fn of(headers: &HeaderMap) -> Fields {
        let mut found = Fields::default();
        for name in headers.keys() {
            found.0 |= Fields::named(name.as_str()).0;
        }
        found
    }

    /// True when one of `fields` is there.
    pub(super) fn has(self, fields: Fields) -> bool {
        self.0 & fields.0 != 0
    }

    /// These and those.
    pub(super) const fn and(self, fields: Fields) -> Fields {
        Fields(self.0 | fields.0)
    }

    fn named(name: &str) -> Fields {
        // by length first: one comparison is enough for nearly every name
        let found = match name.len() {
            2 => [("te", Fields::TE)].as_slice(),
            3 => &[("via", Fields::VIA)],
            6 => &[("expect", Fields::EXPECT)],
            7 => &[("upgrade", Fields::UPGRADE), ("trailer", Fields::TRAILER)],
            10 => &[
                ("connection", Fields::CONNECTION),
                ("keep-alive", Fields::KEEP_ALIVE),
                ("tracestate", Fields::TRACESTATE),
            ],
            14 => &[("http2-settings", Fields::HTTP2_SETTINGS)],
            15 => &[("x-forwarded-for", Fields::X_FORWARDED_FOR)],
            16 => &[("proxy-connection", Fields::PROXY_CONNECTION)],
            17 => &[("transfer-encoding", Fields::TRANSFER_ENCODING)],
            _ => &[],
        };
        match found.iter().find(|(known, _)| *known == name) {
            Some((_, field)) => *field,
            None if name.starts_with("x-ringway-") => Fields::OURS,
            None => Fields::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn what_is_there_is_found_and_nothing_else() {
        let names = [
            ("connection", Fields::CONNECTION),
            ("te", Fields::TE),
            ("transfer-encoding", Fields::TRANSFER_ENCODING),
            ("upgrade", Fields::UPGRADE),
            ("keep-alive", Fields::KEEP_ALIVE),
            ("proxy-connection", Fields::PROXY_CONNECTION),
            ("http2-settings", Fields::HTTP2_SETTINGS),
            ("trailer", Fields::TRAILER),
            ("expect", Fields::EXPECT),
            ("via", Fields::VIA),
            ("x-forwarded-for", Fields::X_FORWARDED_FOR),
            ("tracestate", Fields::TRACESTATE),
            ("x-ringway-anything", Fields::OURS),
            ("accept", Fields::default()),
            ("x-forwarded-foo", Fields::default()),
        ];
        for (name, field) in names {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
            assert_eq!(Fields::of(&headers), field, "{name}");
        }
    }
}
