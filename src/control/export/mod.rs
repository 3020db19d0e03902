//! Spans on their way to a tracer, beside the loop and never in its way.
//!
//! ```text
//! workers ─▶ queue (bounded, the newest go first) ─▶ batch ─▶ task of this thread ─▶ outside, again and again for a while
//! ```
//!
//! The task looks into the queue ten times a second rather than being woken for each span: waking it would cost the
//! workers a system call each time. It is there from the first configuration with a tracer on, and sends what waits
//! before the process ends.

mod answer;
mod batch;
mod receiver;
mod task;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

use super::outside::Outside;
use crate::config::files::References;
use crate::config::schema::{File, ParentFrom};
use crate::telemetry::spans::{Sampling, Spans};
use receiver::Receiver;
use task::{Counts, Shared};

pub(super) use task::Pace;

/// How long the process waits at its end for spans to be taken.
pub(super) const FLUSH_MAX: Duration = Duration::from_secs(3);

/// The sending of spans.
pub(super) struct Export {
    spans: Arc<Spans>,
    pace: Pace,
    /// `None` as long as no configuration has had a tracer.
    running: Option<Running>,
}

struct Running {
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

impl Export {
    pub(super) fn new(spans: Arc<Spans>, pace: Pace) -> Export {
        Export { spans, pace, running: None }
    }

    /// Other files are in force: spans are sampled and sent as they say. Must be called within a runtime when the file
    /// has a tracer.
    pub(super) fn follow(&mut self, file: &File, references: &References) {
        let traces = file.telemetry.as_ref().and_then(|telemetry| telemetry.traces.as_ref());
        let receiver = traces.and_then(|traces| Receiver::of(traces, references));
        let (Some(traces), Some(receiver)) = (traces, receiver) else {
            if traces.is_some() {
                tracing::error!("the header of a receiver of traces cannot be read: there are no spans");
            }
            // what waits goes where it was to go
            self.spans.sample(None);
            return;
        };
        self.lead_to(receiver, Outside::new(file, references));
        let share = traces.percent.map_or(1.0, |percent| percent.0.as_f64() / 100.0);
        self.spans.sample(Some(Sampling::new(share, traces.parent_from == ParentFrom::Everyone)));
    }

    fn lead_to(&mut self, receiver: Receiver, outside: Outside) {
        match &self.running {
            Some(running) => {
                let mut shared = running.shared.lock().unwrap_or_else(PoisonError::into_inner);
                (shared.receiver, shared.outside) = (receiver, outside);
            }
            None => {
                let Some(queue) = self.spans.take_queue() else { return };
                let shared = Arc::new(Mutex::new(Shared::new(receiver, outside)));
                let task = tokio::spawn(task::export_all(Arc::clone(&shared), queue, self.pace));
                self.running = Some(Running { shared, task });
            }
        }
    }

    /// What became of spans, by result; `None` while there has been no tracer.
    pub(super) fn facts(&self) -> Vec<(&'static str, u64)> {
        let Some(running) = &self.running else { return Vec::new() };
        let Counts { exported, rejected, failed } =
            running.shared.lock().unwrap_or_else(PoisonError::into_inner).counts;
        vec![("exported", exported), ("rejected", rejected), ("failed", failed), ("dropped", self.spans.dropped())]
    }

    /// The process ends: what waits is sent, within this time.
    pub(super) async fn flush(&mut self, within: Duration) {
        self.spans.sample(None);
        let Some(Running { shared, mut task }) = self.running.take() else { return };
        shared.lock().unwrap_or_else(PoisonError::into_inner).is_closing = true;
        if tokio::time::timeout(within, &mut task).await.is_err() {
            task.abort();
            tracing::warn!(
                waited_s = within.as_secs(),
                "the last spans were not sent: their receiver did not take them"
            );
        }
    }
}
