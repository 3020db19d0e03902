//! Spans of one length, as far back as they reach.

use super::frame::Span;
use std::collections::VecDeque;

/// Spans of one length, the oldest first.
#[derive(Debug)]
pub(super) struct Tier {
    /// Seconds of a span.
    pub(super) step: u64,
    /// Seconds that all of them reach back.
    pub(super) reach: u64,
    /// What they may take; beyond, the oldest go first.
    bytes_max: usize,
    pub(super) spans: VecDeque<Span>,
    pub(super) bytes: usize,
    /// The second after which all that happened is here.
    pub(super) known_from: Option<u64>,
    /// The second up to which all that happened is here.
    pub(super) until: u64,
}

impl Tier {
    /// Spans that reach back for a window of so many seconds, and a tenth more: steps begin before the window does.
    pub(super) fn new(step: u64, window: u64, bytes_max: usize) -> Tier {
        let reach = window + window / 10;
        Tier { step, reach, bytes_max, spans: VecDeque::new(), bytes: 0, known_from: None, until: 0 }
    }

    /// Takes a span that ends at this second, or learns that nothing happened until then.
    pub(super) fn push(&mut self, until: u64, span: Option<Span>) {
        self.until = until;
        if let Some(span) = span {
            self.bytes += span.bytes;
            self.spans.push_back(span);
        }
        self.forget();
    }

    /// Those that end after `from` and not after `until`, the oldest first.
    pub(super) fn between(&self, from: u64, until: u64) -> impl Iterator<Item = &Span> {
        let first = self.spans.partition_point(|span| span.at <= from);
        let end = self.spans.partition_point(|span| span.at <= until);
        self.spans.range(first..end.max(first))
    }

    fn forget(&mut self) {
        let too_old = self.until.saturating_sub(self.reach);
        while let Some(first) = self.spans.front() {
            let is_too_much = self.bytes > self.bytes_max;
            if first.at > too_old && !is_too_much {
                break;
            }
            if is_too_much {
                self.known_from = Some(first.at);
            }
            self.bytes -= first.bytes;
            self.spans.pop_front();
        }
    }
}
