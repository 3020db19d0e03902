//! Gates that somebody else answers: a Prometheus, a web service.
//!
//! Each has a task of its own while its rollout is watched, beside the loop of rollouts, which reads the latest answer
//! and never waits for one. A source that is down, slow or confused is `unknown`: nothing is passed and nothing taken
//! back because of it.

mod question;
mod standing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::task::AbortHandle;

use super::view::GateView;
use crate::config::files::References;
use crate::config::schema::{self, File};
use crate::control::outside::Outside;
use crate::control::plans::harm_action;
use crate::rollout::input::{CohortReading, Verdict};
use crate::rollout::plan::HarmAction;
use question::Question;
use standing::Standing;
pub(super) use standing::Word;

/// All gates of the file that others answer.
#[derive(Default)]
pub(super) struct Asked {
    /// By service and gate.
    gates: BTreeMap<(String, String), Gate>,
    outside: Option<Outside>,
}

struct Gate {
    question: Question,
    on_harm: HarmAction,
    standing: Arc<Mutex<Standing>>,
    /// While it is asked.
    task: Option<AbortHandle>,
}

impl Asked {
    /// Other files are in force. Gates that are the same go on with what they have heard.
    pub(super) fn follow(&mut self, file: &File, references: &References) {
        let mut known = std::mem::take(&mut self.gates);
        for (service, written) in &file.services {
            let gates = written.rollout.iter().map(|rollout| &rollout.gates);
            for (name, question, on_harm) in gates.flat_map(|gates| questions(gates, references)) {
                let key = (service.clone(), name);
                let same = known.remove(&key).filter(|gate| gate.question == question);
                let standing = same.as_ref().map(|gate| Arc::clone(&gate.standing)).unwrap_or_default();
                let gate = Gate { question, on_harm, standing, task: None };
                self.gates.insert(key, gate);
            }
        }
        self.outside = Some(Outside::new(file, references));
    }

    /// Asks the gates of rollouts that are watched, and no others. Must be called within a runtime.
    pub(super) fn look(&mut self, is_watched: impl Fn(&str) -> bool) {
        let Some(outside) = &self.outside else { return };
        for ((service, name), gate) in &mut self.gates {
            match (is_watched(service), &gate.task) {
                (true, None) => {
                    let (question, standing) = (gate.question.clone(), Arc::clone(&gate.standing));
                    let ask = ask_forever(name.clone(), question, standing, outside.clone());
                    gate.task = Some(tokio::spawn(ask).abort_handle());
                }
                (false, Some(_)) => gate.forget(),
                (true, Some(_)) | (false, None) => {}
            }
        }
    }

    /// A person begins a rollout again: its gates are asked anew, and until they answer nothing is known of them.
    pub(super) fn begin_again(&mut self, service: &str) {
        let of_service = self.gates.iter_mut().filter(|((of, _), _)| of == service);
        of_service.for_each(|(_, gate)| gate.forget());
    }

    /// What the judge says of a cohort and what these gates say of its rollout, as one: the gravest wins.
    pub(super) fn join(&self, service: &str, mut reading: CohortReading, now: Instant) -> CohortReading {
        for (name, gate, word, text) in self.of(service, now) {
            weigh(&mut reading, name, word, gate.on_harm, text);
        }
        reading
    }

    /// What is shown of a service's gates. They are about all of its rollout, so they name no cohort.
    pub(super) fn views(&self, service: &str, now: Instant) -> Vec<GateView> {
        let views = self.of(service, now);
        views.map(|(name, _, word, text)| GateView::of_word("", name, word.as_str(), text)).collect()
    }

    fn of<'a>(&'a self, service: &'a str, now: Instant) -> impl Iterator<Item = (&'a str, &'a Gate, Word, String)> {
        let of_service = self.gates.iter().filter(move |((of, _), gate)| of == service && gate.task.is_some());
        of_service.map(move |((_, name), gate)| {
            let standing = gate.standing.lock().unwrap_or_else(PoisonError::into_inner);
            let (word, text) = standing.word(name, gate.question.every, now);
            (name.as_str(), gate, word, text)
        })
    }
}

impl Gate {
    fn forget(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.standing = Arc::default();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

fn questions(gates: &schema::Gates, references: &References) -> Vec<(String, Question, HarmAction)> {
    // what somebody else measures stops a rollout, and takes nothing back unless the file says so
    let action = |on_harm: Option<schema::HarmAction>| on_harm.map_or(HarmAction::Pause, harm_action);
    let queries = gates.prometheus.iter();
    let queries = queries.map(|gate| (gate.name.clone(), Question::of_query(gate, references), action(gate.on_harm)));
    let services = gates.http.iter();
    let services =
        services.map(|gate| (gate.name.clone(), Question::of_service(gate, references), action(gate.on_harm)));
    queries.chain(services).collect()
}

/// Lets a gate speak for a cohort if what it says is graver than what was said before.
pub(super) fn weigh(reading: &mut CohortReading, name: &str, word: Word, on_harm: HarmAction, text: String) {
    let verdict = match (word, on_harm) {
        (Word::Pass, _) => return,
        (Word::Harm, HarmAction::Rollback) => Verdict::Harm,
        (Word::Harm, HarmAction::Pause) => Verdict::PausingHarm,
        (Word::Waiting | Word::Unknown, _) => Verdict::Unknown,
    };
    if gravity(verdict) > gravity(reading.verdict) {
        reading.verdict = verdict;
        reading.gate = name.to_owned();
        reading.numbers = vec![("gate".to_owned(), name.to_owned()), ("answer".to_owned(), text.clone())];
        reading.sentence = text;
    }
}

fn gravity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Clear => 0,
        Verdict::Unknown => 1,
        Verdict::Frozen => 2,
        Verdict::PausingHarm => 3,
        Verdict::Harm => 4,
    }
}

async fn ask_forever(name: String, question: Question, standing: Arc<Mutex<Standing>>, outside: Outside) {
    loop {
        let heard = question.ask(&outside).await;
        let (is_error, before, after) = {
            let mut standing = standing.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let before = standing.word(&name, question.every, now).0;
            let is_error = standing.hear(heard, now);
            (is_error, before, standing.word(&name, question.every, now))
        };
        if before != after.0 {
            let (gate, verdict, text) = (&name, after.0.as_str(), &after.1);
            tracing::info!(gate, verdict, text, "a gate answers otherwise");
        }
        tokio::time::sleep(question.pause(is_error)).await;
    }
}

#[cfg(test)]
mod tests;
