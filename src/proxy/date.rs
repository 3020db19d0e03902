use std::time::SystemTime;

/// The date as HTTP writes it (RFC 9110 §5.6.7), written anew when the second has changed.
pub(super) struct Date {
    text: String,
}

impl Date {
    /// The date of now.
    pub(super) fn now() -> Date {
        Date { text: httpdate::fmt_http_date(SystemTime::now()) }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}
