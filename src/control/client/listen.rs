//! Streams of the admin door: what comes is told part by part, and a connection that breaks is made again.

use super::{ANSWER_BYTES_MAX, ClientError, Door, request, stranger, understood, unreachable, with_token, within};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

/// The door says something at least every ten seconds: whoever is silent for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(35);
/// How long a door that was there may be away, as during a restart.
const AWAY_MAX: Duration = Duration::from_secs(30);
/// Between two attempts to come again.
const AGAIN_EVERY: Duration = Duration::from_secs(1);

/// One part of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// `event`, `tick`, `request` or `dropped`.
    pub name: String,
    /// The number of an event.
    pub id: Option<u64>,
    /// What it says.
    pub data: Value,
}

/// Listens until `on_part` has its answer, at most so long, to what came after the event `seen`. Blocks; not for async code.
///
/// A connection that breaks is made again for half a minute, and goes on after the last event that was seen. Fails when
/// the door is not there at the beginning, refuses, or stays away, and with [`ClientError::TimedOut`] in the end.
pub fn listen<T>(
    door: &Door,
    path: &str,
    mut seen: Option<u64>,
    patience: Duration,
    mut on_part: impl FnMut(Part) -> ControlFlow<T>,
) -> Result<T, ClientError> {
    within(door.to_string(), patience, async {
        let mut away: Option<Instant> = None;
        loop {
            match once(door, path, &mut seen, &mut away, &mut on_part).await {
                Ok(ControlFlow::Break(answer)) => return Ok(answer),
                Ok(ControlFlow::Continue(())) => _ = away.get_or_insert_with(Instant::now),
                // it was there, so it may come again
                Err(ClientError::Unreachable { .. }) if away.is_some_and(|since| since.elapsed() < AWAY_MAX) => {}
                Err(error) => return Err(error),
            }
            sleep(AGAIN_EVERY).await;
        }
    })
}

/// One connection, until it ends.
async fn once<T>(
    door: &Door,
    path: &str,
    seen: &mut Option<u64>,
    away: &mut Option<Instant>,
    on_part: &mut impl FnMut(Part) -> ControlFlow<T>,
) -> Result<ControlFlow<T>, ClientError> {
    let mut asked = with_token(request(Method::GET, &door.place.host(), path, String::new()), door)?;
    if let Some(id) = seen {
        asked.headers_mut().insert("last-event-id", HeaderValue::from(*id));
    }
    let name = door.to_string();
    let lost = |error: std::io::Error| unreachable(&name, &error);
    let response = open(door.place.connect().await.map_err(lost)?, asked).await.map_err(lost)?;
    if response.status() != StatusCode::OK {
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| stranger(&name))?.to_bytes();
        return Err(understood(name.clone(), status, &body).err().unwrap_or_else(|| stranger(&name)));
    }
    *away = None;
    let mut body = response.into_body();
    let mut parts = Parts::default();
    while let Ok(Some(Ok(frame))) = timeout(SILENCE_MAX, body.frame()).await {
        let Ok(bytes) = frame.into_data() else { continue };
        for part in parts.take(&bytes).map_err(|TooLong| stranger(&name))? {
            *seen = part.id.or(*seen);
            if let ControlFlow::Break(answer) = on_part(part) {
                return Ok(ControlFlow::Break(answer));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

async fn open(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    asked: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, std::io::Error> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    // it ends with the runtime, which is this call's own
    tokio::spawn(connection);
    let answer = timeout(SILENCE_MAX, sender.send_request(asked)).await;
    answer.map_err(std::io::Error::other)?.map_err(std::io::Error::other)
}

/// What has come of a stream, and is no whole part yet.
#[derive(Default)]
struct Parts(Vec<u8>);

/// A part that is longer than any answer may be.
#[derive(Debug)]
struct TooLong;

impl Parts {
    /// The parts that are whole with these bytes. What is no JSON is passed over, as comments are.
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<Part>, TooLong> {
        if self.0.len() + bytes.len() > ANSWER_BYTES_MAX {
            return Err(TooLong);
        }
        // the end of a part may lie across the old and the new bytes
        let mut from = self.0.len().saturating_sub(1);
        self.0.extend_from_slice(bytes);
        let mut parts = Vec::new();
        let mut begin = 0;
        while let Some(at) = self.0[from..].windows(2).position(|two| two == b"\n\n").map(|at| from + at) {
            parts.extend(part(&self.0[begin..at]));
            begin = at + 2;
            from = begin;
        }
        self.0.drain(..begin);
        Ok(parts)
    }
}

fn part(text: &[u8]) -> Option<Part> {
    let (mut name, mut id, mut data) = (None, None, None);
    for line in std::str::from_utf8(text).ok()?.lines() {
        match line.split_once(": ") {
            Some(("event", value)) => name = Some(value.to_owned()),
            Some(("id", value)) => id = value.parse().ok(),
            Some(("data", value)) => data = serde_json::from_str(value).ok(),
            _ => {}
        }
    }
    Some(Part { name: name?, id, data: data? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_whole_however_they_are_cut() {
        let text =
            b": hello\n\nretry: 2000\n\nevent: event\nid: 7\ndata: {\"a\":1}\n\nevent: tick\ndata: [2]\n\nevent: t";
        for size in 1..text.len() {
            let mut parts = Parts::default();
            let found: Vec<Part> = text.chunks(size).flat_map(|bytes| parts.take(bytes).unwrap()).collect();
            assert_eq!(found.len(), 2, "{size}");
            assert_eq!((found[0].id, &found[0].data["a"]), (Some(7), &1.into()));
            assert_eq!((found[1].name.as_str(), &found[1].data[0]), ("tick", &2.into()));
        }
    }

    #[test]
    fn a_part_without_an_end_is_not_kept_for_ever() {
        let mut parts = Parts::default();
        assert!(parts.take(&vec![b'x'; ANSWER_BYTES_MAX]).is_ok());
        assert!(parts.take(b"x").is_err());
    }
}
