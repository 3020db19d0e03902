//! `GET /stream`: events as they happen, and once a second how it goes, to all who look on.
//!
//! ```text
//! once a second: status and rollouts, written once ─┐  (for each role, as what can be asked differs)
//! each event ───────────────────────────────────────┴─▶ a short queue for each viewer ─▶ its connection
//! ```
//!
//! Whoever does not take what waits for them is closed: a browser comes again by itself, tells the last event that it has
//! seen, and gets those that it has missed.

use super::caller::Caller;
use super::events::event;
use super::rollouts::rollouts;
use super::room::Room;
use super::status::status;
use super::stay::Stay;
use crate::config::schema::Role;
use crate::control::Handle;
use crate::control::events::PastEvent;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{MissedTickBehavior, interval};

/// Parts that may wait for a viewer; one who takes none for as many seconds is closed.
pub(super) const WAITING_MAX: usize = 16;
/// Events that are sent to somebody who comes again; of more, the latest.
const REPLAY_MAX: usize = 1_000;
/// Seconds between comments, which keep proxies from closing the connection.
const COMMENT_EVERY: u64 = 10;
/// How soon a browser comes again, in milliseconds.
const RETRY_MS: u64 = 2_000;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// All who look on. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Viewers(Arc<Mutex<Vec<Viewer>>>);

struct Viewer {
    parts: mpsc::Sender<Bytes>,
    stay: Stay,
    caller: Caller,
    /// Events up to this one are known to it.
    seen: u64,
}

/// An answer that goes on: parts as they come.
pub(super) struct Parts(pub(super) mpsc::Receiver<Bytes>);

/// The first viewer starts what sends to all of them, and the last one ends it.
pub(super) async fn stream(
    State(room): State<Room>,
    Extension(stay): Extension<Stay>,
    caller: Caller,
    headers: HeaderMap,
) -> Response {
    let last_seen = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.trim().parse::<u64>().ok());
    let (parts, queue) = mpsc::channel(WAITING_MAX);
    let first = {
        let mut viewers = room.viewers.lock();
        let events = room.handle.events();
        // before the last event is read, so that none is missed in between
        let told = events.look_on();
        let seen = events.last_id();
        let mut missed = last_seen.map_or_else(Vec::new, |id| events.after(id, REPLAY_MAX));
        missed.retain(|event| event.id <= seen);
        let mut begin = format!("retry: {RETRY_MS}\n\n");
        missed.iter().for_each(|event| begin.push_str(&of_event(event)));
        begin.push_str(&Tick::of(&room.handle).text(&room, &caller));
        // the queue is new, and has room for it
        let _ = parts.try_send(Bytes::from(begin));
        viewers.push(Viewer { parts, stay, caller, seen });
        (viewers.len() == 1).then_some(told)
    };
    if let Some(told) = first {
        tokio::spawn(send(room, told));
    }
    events_response(queue)
}

/// An answer of events that is not over before whoever looks goes away.
pub(super) fn events_response(queue: mpsc::Receiver<Bytes>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CONNECTION, "close")];
    (headers, Body::new(Parts(queue))).into_response()
}

/// Sends to all viewers until there are none.
async fn send(room: Room, mut events: broadcast::Receiver<Arc<PastEvent>>) {
    let viewers = &room.viewers;
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    second.tick().await;
    let mut seconds = 0u64;
    loop {
        let is_over = tokio::select! {
            told = events.recv() => match told {
                Ok(event) => viewers.tell_event(&event),
                // so many at once that some are missing: whoever comes again gets them
                Err(RecvError::Lagged(_)) => viewers.close(),
                Err(RecvError::Closed) => true,
            },
            _ = second.tick() => {
                seconds += 1;
                let comment = if seconds.is_multiple_of(COMMENT_EVERY) { ":\n\n" } else { "" };
                viewers.tell_tick(&room, comment)
            }
        };
        if is_over {
            return;
        }
    }
}

/// How it goes, as it is sent once a second.
pub(super) struct Tick {
    unix_ms: u64,
    status: Value,
}

impl Tick {
    pub(super) fn of(handle: &Handle) -> Tick {
        Tick { unix_ms: super::history::unix_ms(), status: status(handle) }
    }

    /// As somebody of this role sees it.
    pub(super) fn text(&self, room: &Room, caller: &Caller) -> String {
        let value = json!({
            "schema": "ringway.tick/v1",
            "unixMs": self.unix_ms,
            "status": self.status,
            "rollouts": rollouts(room, caller)["rollouts"],
        });
        part("tick", None, &value)
    }
}

fn of_event(of: &PastEvent) -> String {
    part("event", Some(of.id), &event(of))
}

/// One event of the stream. JSON has no line breaks of its own.
pub(super) fn part(name: &str, id: Option<u64>, value: &Value) -> String {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    format!("event: {name}\n{id}data: {value}\n\n")
}

impl Viewers {
    fn lock(&self) -> MutexGuard<'_, Vec<Viewer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_event(&self, event: &PastEvent) -> bool {
        let part = Bytes::from(of_event(event));
        self.tell(|viewer| {
            let is_new = viewer.seen < event.id;
            viewer.seen = viewer.seen.max(event.id);
            is_new.then(|| part.clone())
        })
    }

    /// Written once for all who can ask the same.
    fn tell_tick(&self, room: &Room, comment: &str) -> bool {
        let tick = Tick::of(&room.handle);
        let mut written: Vec<(Role, Vec<String>, Bytes)> = Vec::new();
        self.tell(|viewer| {
            let Caller { role, groups, .. } = &viewer.caller;
            let known = written.iter().find(|(of, by, _)| of == role && by == groups).map(|(_, _, part)| part.clone());
            Some(known.unwrap_or_else(|| {
                let part = Bytes::from(format!("{comment}{}", tick.text(room, &viewer.caller)));
                written.push((*role, groups.clone(), part.clone()));
                part
            }))
        })
    }

    /// Closes those who do not keep up. True when nobody is left.
    fn tell(&self, mut part: impl FnMut(&mut Viewer) -> Option<Bytes>) -> bool {
        let mut viewers = self.lock();
        viewers.retain_mut(|viewer| {
            let is_well = part(viewer).is_none_or(|part| viewer.parts.try_send(part).is_ok());
            if !is_well {
                viewer.stay.end();
            }
            is_well && !viewer.parts.is_closed()
        });
        viewers.is_empty()
    }

    fn close(&self) -> bool {
        let mut viewers = self.lock();
        viewers.drain(..).for_each(|viewer| viewer.stay.end());
        true
    }
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::caller::Proof;
    use super::*;

    fn viewer(viewers: &Viewers, seen: u64) -> (mpsc::Receiver<Bytes>, Stay) {
        let (parts, queue) = mpsc::channel(WAITING_MAX);
        let stay = Stay::default();
        let caller = Caller { name: None, role: Role::Viewer, groups: Vec::new(), proof: Proof::Machine };
        viewers.lock().push(Viewer { parts, stay: stay.clone(), caller, seen });
        (queue, stay)
    }

    #[tokio::test]
    async fn who_takes_nothing_is_closed_and_the_others_are_not() {
        let viewers = Viewers::default();
        let ((mut quick, _), (_slow, stay)) = (viewer(&viewers, 0), viewer(&viewers, 0));
        for _ in 0..=WAITING_MAX {
            assert!(!viewers.tell(|_| Some(Bytes::from_static(b"x"))));
            assert!(quick.try_recv().is_ok());
        }
        assert_eq!(viewers.lock().len(), 1);
        stay.over().await;
        drop(quick);
        assert!(viewers.tell(|_| Some(Bytes::from_static(b"x"))), "nobody is left");
    }

    #[test]
    fn an_event_is_told_once() {
        let viewers = Viewers::default();
        let (mut knows, _) = viewer(&viewers, 7);
        let (mut knows_not, _) = viewer(&viewers, 6);
        let event = PastEvent { id: 7, kind: "paused".into(), sentence: "two\nlines".into(), ..PastEvent::default() };
        viewers.tell_event(&event);
        assert!(knows.try_recv().is_err());
        let part = String::from_utf8(knows_not.try_recv().unwrap().to_vec()).unwrap();
        assert!(part.starts_with("event: event\nid: 7\ndata: {\"id\":7,") && part.ends_with("}\n\n"), "{part}");
        assert_eq!(part.matches('\n').count(), 4);
    }
}
