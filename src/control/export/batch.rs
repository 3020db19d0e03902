//! Spans that are sent together.

use std::time::Instant;

use crate::telemetry::protobuf::Message;

/// Spans that are sent together, at most.
pub(super) const SPANS_MAX: usize = 512;
/// Bytes of them after which no more are added.
pub(super) const BYTES_MAX: usize = 512 << 10;

const SCOPE_SPANS_SPANS: u64 = 2;

/// Spans that are sent together, as fields of a message `ScopeSpans`.
#[derive(Debug, Default)]
pub(super) struct Batch {
    spans: Message,
    pub(super) count: u64,
    /// When the first one came.
    pub(super) since: Option<Instant>,
}

impl Batch {
    pub(super) fn push(&mut self, span: &[u8]) {
        self.since.get_or_insert_with(Instant::now);
        self.spans.bytes(SCOPE_SPANS_SPANS, span);
        self.count += 1;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.spans.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= SPANS_MAX as u64 || self.spans.0.len() >= BYTES_MAX
    }
}
