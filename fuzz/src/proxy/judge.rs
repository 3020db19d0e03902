//! Whether what came of an input is what a strict reading of its bytes allows.

use super::answers::{self, Answer, Ended};
use super::house::Observed;
use super::oracle::{self, Expected, First};
use super::script::{Answering, End, Script};
use super::service::{Reading, Seen};

/// Something that the client has sent, and the method by which an answer to it is read.
struct Sent {
    expected: Expected,
    method: String,
}

/// What an input over HTTP/1.1 must have led to.
///
/// # Errors
/// What a proxy must never do.
pub fn judge(script: &Script, observed: &Observed) -> Result<(), String> {
    forwarded_well(observed)?;
    let sent = read_all(&script.sent());
    let answers = answers(&sent, observed)?;
    let of = |(number, at): &(usize, usize)| &observed.connections[*number].requests[*at];
    let seen: Vec<&Seen> = observed.order.iter().map(of).collect();
    requests_are_the_clients(&sent, &seen, script.is_calm())?;
    let tunnels = observed.connections.iter().filter_map(|connection| connection.tunnel.as_ref());
    let switches = answers.iter().filter(|answer| answer.status == 101).count();
    if tunnels.filter(|came| !came.is_empty()).count() > switches {
        return Err("bytes went through a tunnel that the client knows nothing of".to_owned());
    }
    answers_are_their_own(&answers, &sent, &seen)
}

/// What reaches the service, whatever came from the client.
pub fn forwarded_well(observed: &Observed) -> Result<(), String> {
    let violations: Vec<_> = observed.connections.iter().flat_map(|connection| &connection.violations).collect();
    if violations.is_empty() { Ok(()) } else { Err(format!("{violations:?}")) }
}

fn read_all(mut bytes: &[u8]) -> Vec<Sent> {
    let mut all = Vec::new();
    loop {
        let First { mut expected, length, is_last, .. } = oracle::first(bytes);
        if expected == Expected::Open && !bytes.is_empty() {
            // empty lines, after which a request was waited for
            expected = Expected::Refused;
        }
        let method = match &expected {
            Expected::Request { request, .. } | Expected::Unfinished(request) => request.method.clone(),
            Expected::Hostless(method) => method.clone(),
            // what it was to be
            Expected::Refused if bytes.trim_ascii_start().starts_with(b"HEAD ") => "HEAD".to_owned(),
            Expected::Refused | Expected::Open => String::new(),
        };
        all.push(Sent { expected, method });
        if is_last {
            return all;
        }
        bytes = &bytes[length..];
    }
}

/// The client's answers, each to the letter, and at most one for each request.
fn answers(sent: &[Sent], observed: &Observed) -> Result<Vec<Answer>, String> {
    let ended = if observed.was_reset { Ended::Broken } else { Ended::InPeace };
    let (mut rest, mut all) = (&observed.client[..], Vec::<Answer>::new());
    for sent in sent.iter().filter(|sent| sent.expected != Expected::Open) {
        let Some(answer) = answers::first(rest, &sent.method, ended)? else { break };
        rest = &rest[answer.length..];
        let (is_last, is_switch) = (answer.is_last, answer.status == 101);
        all.push(answer);
        if is_switch {
            return Ok(all);
        }
        if is_last {
            break;
        }
    }
    // a head that breaks off belongs to an answer that is not there
    let is_cut = answers::first(rest, "", ended) == Ok(None) && all.last().is_none_or(|last| !last.is_last);
    if rest.is_empty() || (is_cut && all.len() < sent.len()) {
        return Ok(all);
    }
    Err(format!("the client was sent more than {} answers: {}", all.len(), rest.escape_ascii()))
}

/// What the service saw, in order, is what the client has sent.
fn requests_are_the_clients(sent: &[Sent], seen: &[&Seen], is_calm: bool) -> Result<(), String> {
    let mut next = 0;
    for (number, seen_now) in seen.iter().enumerate() {
        let is_again = number > 0 && is_sent_again(seen[number - 1], seen_now);
        let found = (next..sent.len()).find(|at| is_of(&sent[*at].expected, seen_now, is_calm));
        match found {
            _ if is_again => {}
            // nobody knows where the one after it would begin
            Some(_) if !seen_now.is_whole && seen_now.answering.is_none() => next = sent.len(),
            Some(found) => next = found + 1,
            None => {
                let sent: Vec<_> = sent.iter().map(|sent| &sent.expected).collect();
                return Err(format!("the service saw {seen_now:?}, but the client sent {sent:?}"));
            }
        }
    }
    Ok(())
}

/// A request that was lost with its connection, without a byte of an answer, and can do no harm.
fn is_sent_again(before: &Seen, now: &Seen) -> bool {
    let was_lost = before.answering.as_ref().is_some_and(|answering| answering.end != End::Stays)
        && before.reading() == Reading::None;
    let is_safe = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"].contains(&&*now.request.method);
    was_lost && is_safe && before.request == now.request
}

/// What the service saw is what the client has sent here.
fn is_of(expected: &Expected, seen: &Seen, is_calm: bool) -> bool {
    let (request, may_break_off) = match expected {
        Expected::Request { request, may_be_refused } => {
            let is_cut = seen.answering.as_ref().is_some_and(|answering| *answering != Answering::ok());
            (request, *may_be_refused || is_cut || !is_calm)
        }
        Expected::Unfinished(request) if !seen.is_whole => (request, true),
        Expected::Unfinished(_) | Expected::Hostless(_) | Expected::Refused | Expected::Open => return false,
    };
    let is_plain = |text: &str| {
        text.starts_with('/')
            && !text.contains("//")
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "/_-".contains(c))
    };
    let is_body = match seen.is_whole {
        true => seen.request.body == request.body,
        false => may_break_off && request.body.starts_with(&seen.request.body),
    };
    let is_target = !is_plain(&request.target) || seen.request.target == request.target;
    seen.request.method == request.method && is_target && is_body
}

/// Each answer that is not the proxy's is what the service has answered to that request.
fn answers_are_their_own(answers: &[Answer], sent: &[Sent], seen: &[&Seen]) -> Result<(), String> {
    let mut seen = seen.iter();
    for (answer, sent) in answers.iter().zip(sent) {
        if is_ours(answer, &sent.method) {
            continue;
        }
        if !seen.any(|seen| is_of(&sent.expected, seen, false) && is_answer_of(answer, seen)) {
            return Err(format!("{answer:?} is not what the service has answered"));
        }
    }
    Ok(())
}

/// The proxy has made it.
fn is_ours(answer: &Answer, method: &str) -> bool {
    let is_error = answer.status >= 400;
    let text = format!("{} ", answer.status);
    is_error && (method == "HEAD" || text.as_bytes().starts_with(&answer.body) || answer.body.starts_with(text.as_bytes()))
        || answer.status == 204 && !answer.all("allow").is_empty()
        // an error in the words of gRPC
        || !answer.all("grpc-status").is_empty()
}

fn is_answer_of(answer: &Answer, seen: &Seen) -> bool {
    match seen.reading() {
        Reading::Clear(said) => {
            let is_body = match answer.is_whole {
                true => said.is_whole && said.body == answer.body,
                false => said.body.starts_with(&answer.body),
            };
            said.status == answer.status && is_body
        }
        Reading::Doubtful | Reading::Odd => true,
        Reading::None => false,
    }
}
