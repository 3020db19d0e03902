use bytes::Bytes;
use http::HeaderValue;
use std::time::SystemTime;

/// The date as HTTP writes it (RFC 9110 §5.6.7), written anew when the second has changed.
pub(super) struct Date {
    value: HeaderValue,
}

impl Date {
    /// The date of now.
    pub(super) fn now() -> Date {
        let text = httpdate::fmt_http_date(SystemTime::now().max(SystemTime::UNIX_EPOCH));
        Date { value: HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("")) }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.value.as_bytes()
    }

    /// As a field has it, without a copy.
    pub(super) fn value(&self) -> HeaderValue {
        self.value.clone()
    }
}
