use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;

use super::headers::{
    TRACEPARENT, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID, X_RINGWAY_COHORT,
    X_RINGWAY_SERVICE, X_RINGWAY_VARIANT,
};
use crate::upstream::http1::push_field;

/// The fields that a request gets from us, on top of those that it came with.
///
/// They are not put into the map of its header: toward HTTP/1.1 they are written where they are needed, and cost
/// neither a look-up nor memory. Toward HTTP/2, which wants a map, [`Additions::insert_into`] does it.
#[derive(Clone)]
pub(super) struct Additions<'r> {
    /// The way of the request up to here, and this process.
    pub(super) via: &'r HeaderValue,
    /// The peer, and whom a trusted one spoke for.
    pub(super) forwarded_for: Cow<'r, HeaderValue>,
    /// Unless a trusted peer said it.
    pub(super) scheme: Option<&'static str>,
    /// Unless a trusted peer said it.
    pub(super) forwarded_host: Option<&'r HeaderValue>,
    /// Unless a trusted peer gave one.
    pub(super) request_id: Option<[u8; 36]>,
    /// Unless the request came with a valid one.
    pub(super) traceparent: Option<[u8; 55]>,
    /// The decided service, cohort and variant.
    pub(super) decided: [&'r HeaderValue; 3],
    /// What the variant sets: it replaces anything of the same name.
    pub(super) set: &'r [(HeaderName, HeaderValue)],
}

/// Fields of our own, at most.
const OWN_MAX: usize = 9;

impl Additions<'_> {
    /// Writes them as header lines of HTTP/1.1.
    pub(super) fn write_to(&self, lines: &mut Vec<u8>) {
        self.for_each(|name, value| push_field(lines, name, value.as_bytes()));
    }

    /// Puts them into a map.
    pub(super) fn insert_into(&self, headers: &mut HeaderMap) {
        headers.reserve(self.set.len() + OWN_MAX);
        self.for_each(|name, value| {
            let value = match value {
                Value::Known(value) => Ok(value.clone()),
                Value::Word(word) => Ok(HeaderValue::from_static(word)),
                Value::Made(bytes) => HeaderValue::from_bytes(bytes),
            };
            if let Ok(value) = value {
                headers.append(name, value);
            }
        });
    }

    fn for_each(&self, mut add: impl FnMut(&HeaderName, Value<'_>)) {
        for (name, value) in self.set {
            add(name, Value::Known(value));
        }
        let mut add = |name: &HeaderName, value: Value<'_>| {
            if self.set.is_empty() || !self.set.iter().any(|(set, _)| set == name) {
                add(name, value);
            }
        };
        let [service, cohort, variant] = self.decided;
        add(&header::VIA, Value::Known(self.via));
        add(&X_FORWARDED_FOR, Value::Known(&self.forwarded_for));
        if let Some(scheme) = self.scheme {
            add(&X_FORWARDED_PROTO, Value::Word(scheme));
        }
        if let Some(host) = self.forwarded_host {
            add(&X_FORWARDED_HOST, Value::Known(host));
        }
        if let Some(id) = &self.request_id {
            add(&X_REQUEST_ID, Value::Made(id));
        }
        if let Some(context) = &self.traceparent {
            add(&TRACEPARENT, Value::Made(context));
        }
        add(&X_RINGWAY_SERVICE, Value::Known(service));
        add(&X_RINGWAY_COHORT, Value::Known(cohort));
        add(&X_RINGWAY_VARIANT, Value::Known(variant));
    }
}

/// Most values are there already, and cost no memory in a map.
enum Value<'v> {
    Known(&'v HeaderValue),
    Word(&'static str),
    Made(&'v [u8]),
}

impl Value<'_> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Value::Known(value) => value.as_bytes(),
            Value::Word(word) => word.as_bytes(),
            Value::Made(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_map_say_the_same_and_what_a_variant_sets_replaces_ours() {
        let [via, peer, host, name] = ["1.1 x", "1.2.3.4", "a", "n"].map(HeaderValue::from_static);
        let set = [(X_REQUEST_ID, HeaderValue::from_static("mine"))];
        let additions = Additions {
            via: &via,
            forwarded_for: Cow::Borrowed(&peer),
            scheme: Some("http"),
            forwarded_host: Some(&host),
            request_id: Some([b'i'; 36]),
            traceparent: Some([b't'; 55]),
            decided: [&name; 3],
            set: &set,
        };
        let (mut lines, mut map) = (Vec::new(), HeaderMap::new());
        additions.write_to(&mut lines);
        additions.insert_into(&mut map);
        let lines = String::from_utf8(lines).unwrap();
        assert_eq!(lines.lines().count(), 9);
        assert_eq!(map.len(), 9);
        for (name, value) in &map {
            assert!(lines.contains(&format!("{name}: {}\r\n", value.to_str().unwrap())), "{name}");
        }
        assert_eq!(map["x-request-id"], "mine");
    }
}
