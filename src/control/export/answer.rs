//! What a receiver answers.

use std::time::Duration;

use crate::control::outside::{Answered, Failed, first_words};
use crate::telemetry::protobuf::{Value, fields};

/// What became of an attempt to send spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It took them, but for some, and says why.
    Taken { rejected: u64, why: String },
    /// Another attempt may help, this long later at the earliest.
    Again { why: String, not_before: Duration },
    /// None will.
    Refused { why: String },
}

/// Judges what came back, as the specification of OTLP over HTTP has it: 429, 502, 503 and 504 are worth another attempt.
pub(super) fn verdict(answered: &Result<Answered, Failed>) -> Verdict {
    let answered = match answered {
        Ok(answered) => answered,
        Err(failed) if failed.is_final() => return Verdict::Refused { why: failed.to_string() },
        Err(failed) => return Verdict::Again { why: failed.to_string(), not_before: Duration::ZERO },
    };
    let why = || answered.complaint(message(&answered.body));
    match answered.status {
        200..=299 => {
            let (rejected, why) = rejected(&answered.body);
            Verdict::Taken { rejected, why }
        }
        429 | 502..=504 => Verdict::Again { why: why(), not_before: answered.retry_after.unwrap_or_default() },
        _ => Verdict::Refused { why: why() },
    }
}

/// Of an `ExportTraceServiceResponse`: how many spans were not taken, and why. A receiver that says nothing took all.
fn rejected(body: &[u8]) -> (u64, String) {
    let partial = fields(body).find_map(|(field, value)| match (field, value) {
        (1, Value::Bytes(partial)) => Some(partial),
        _ => None,
    });
    let (mut rejected, mut why) = (0, String::new());
    for (field, value) in fields(partial.unwrap_or_default()) {
        match (field, value) {
            (1, Value::Number(number)) => rejected = number,
            (2, Value::Bytes(text)) => why = first_words(text),
            _ => {}
        }
    }
    (rejected, why)
}

/// The message of a `google.rpc.Status`, or an answer that is text.
fn message(body: &[u8]) -> &[u8] {
    let message = fields(body).find_map(|(field, value)| match (field, value) {
        (2, Value::Bytes(text)) if std::str::from_utf8(text).is_ok() => Some(text),
        _ => None,
    });
    message.unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
    use prost::Message as _;

    fn answered(status: u16, body: impl Into<Bytes>) -> Result<Answered, Failed> {
        Ok(Answered { status, retry_after: Some(Duration::from_secs(7)), body: body.into(), is_cut: false })
    }

    #[test]
    fn what_may_go_well_later_is_tried_again_and_nothing_else() {
        for status in [429, 502, 503, 504] {
            let again = verdict(&answered(status, "busy"));
            let why = format!("it answered {status}: busy");
            assert_eq!(again, Verdict::Again { why, not_before: Duration::from_secs(7) });
        }
        for status in [301, 400, 401, 403, 404, 413, 415, 500, 501] {
            assert!(matches!(verdict(&answered(status, "")), Verdict::Refused { .. }), "{status}");
        }
        assert!(matches!(verdict(&Err(Failed::Connect { host: "a".into() })), Verdict::Again { .. }));
        assert!(matches!(verdict(&Err(Failed::NotUrl)), Verdict::Refused { .. }));
    }

    #[test]
    fn what_a_receiver_did_not_take_is_counted_with_its_reason() {
        let taken = |rejected, why: &str| Verdict::Taken { rejected, why: why.to_owned() };
        assert_eq!(verdict(&answered(200, "")), taken(0, ""));
        let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too\u{1b} old".into() };
        let response = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(verdict(&answered(200, response)), taken(3, "too\\u{1b} old"));
        assert_eq!(verdict(&answered(200, "{\"partialSuccess\":{}}")), taken(0, ""), "some answer in JSON");
    }

    #[test]
    fn the_message_of_a_refusal_is_shown() {
        let status = [&[0x08, 3, 0x12, 9][..], b"no tenant"].concat();
        assert_eq!(verdict(&answered(400, status)), Verdict::Refused { why: "it answered 400: no tenant".into() });
    }
}
