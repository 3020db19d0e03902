use http::StatusCode;

use crate::model::{Failure, FallbackCause, Fault, Outcome};
use crate::routing::limit::Quota;
use crate::routing::request::Refused;
use crate::upstream::BodyError;

/// Why a request was not answered by its variant. Each one says what the client is told, what the log is told, and
/// whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// The request cannot be understood in only one way, or is beyond a limit.
    Refused(Refused),
    /// A longer body than the listener allows.
    BodyTooLarge,
    /// The request came by here before.
    Loop,
    /// The connection's certificate does not vouch for the request's host (RFC 9110 §15.5.20).
    Misdirected,
    /// No route leads anywhere.
    NoRoute,
    /// More requests than the listener or the route allows.
    RateLimited(Quota),
    /// The client was too slow with its body.
    ClientTimeout,
    /// The client broke off its body.
    ClientAborted,
    /// No connection to any endpoint, and no fallback.
    NoEndpoint(FallbackCause),
    /// No connection, because this machine has no descriptor, port or memory left.
    Exhausted,
    /// The endpoint closed the connection without an answer.
    Reset,
    /// The process is short of memory.
    Overloaded,
    /// The endpoint's answer is not one.
    BadAnswer,
    /// The endpoint did not answer in time.
    AnswerTimeout,
    /// A fault of the file answers with this status instead of the variant.
    Injected(u16),
}

impl ProxyError {
    /// The status that the client gets.
    pub fn status(self) -> StatusCode {
        match self {
            ProxyError::Refused(refused) => refused.status(),
            ProxyError::ClientAborted => StatusCode::BAD_REQUEST,
            ProxyError::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ProxyError::Loop => StatusCode::LOOP_DETECTED,
            ProxyError::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            ProxyError::NoRoute => StatusCode::NOT_FOUND,
            ProxyError::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            ProxyError::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
            ProxyError::NoEndpoint(FallbackCause::ConnectTimeout) | ProxyError::AnswerTimeout => {
                StatusCode::GATEWAY_TIMEOUT
            }
            ProxyError::NoEndpoint(
                FallbackCause::Connect
                | FallbackCause::Resolve
                | FallbackCause::Ejected
                | FallbackCause::Limit
                | FallbackCause::Retry
                | FallbackCause::Tls,
            )
            | ProxyError::Overloaded
            | ProxyError::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
            ProxyError::Reset | ProxyError::BadAnswer => StatusCode::BAD_GATEWAY,
            ProxyError::Injected(status) => StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// The short text that the client gets.
    pub fn reason(self) -> &'static str {
        match self {
            ProxyError::Refused(refused) => refused.reason(),
            ProxyError::BodyTooLarge => "request body too large",
            ProxyError::Loop => "the request came by here before",
            ProxyError::Misdirected => "this connection was opened for another host",
            ProxyError::NoRoute => "no route for this request",
            ProxyError::RateLimited(_) => "too many requests",
            ProxyError::ClientTimeout => "the request body came too slowly",
            ProxyError::ClientAborted => "the request body broke off",
            ProxyError::NoEndpoint(FallbackCause::ConnectTimeout) => "connecting to the service took too long",
            ProxyError::NoEndpoint(
                FallbackCause::Connect
                | FallbackCause::Resolve
                | FallbackCause::Ejected
                | FallbackCause::Retry
                | FallbackCause::Tls,
            ) => "no endpoint of the service is reachable",
            ProxyError::Overloaded => "short of memory, try again later",
            ProxyError::NoEndpoint(FallbackCause::Limit) => "the service has all the requests that it may have",
            ProxyError::Exhausted => "the proxy can open no more connections",
            ProxyError::Reset => "the service closed the connection",
            ProxyError::BadAnswer => "the service sent an invalid answer",
            ProxyError::AnswerTimeout => "the service took too long",
            ProxyError::Injected(_) => "a fault was injected",
        }
    }

    /// The response flag in the access log: Envoy's letters, so that existing tools can read it.
    pub fn flag(self) -> &'static str {
        match self {
            ProxyError::Refused(_) | ProxyError::BodyTooLarge | ProxyError::Loop | ProxyError::Misdirected => "DPE",
            ProxyError::NoRoute => "NR",
            ProxyError::RateLimited(_) => "RL",
            ProxyError::ClientTimeout => "SI",
            ProxyError::ClientAborted => "DC",
            ProxyError::NoEndpoint(FallbackCause::Connect | FallbackCause::ConnectTimeout | FallbackCause::Tls) => "UF",
            ProxyError::NoEndpoint(FallbackCause::Resolve | FallbackCause::Ejected | FallbackCause::Retry) => "UH",
            ProxyError::NoEndpoint(FallbackCause::Limit) => "UO",
            ProxyError::Overloaded | ProxyError::Exhausted => "OM",
            ProxyError::Reset => "UC",
            ProxyError::BadAnswer => "UPE",
            ProxyError::AnswerTimeout => "UT",
            ProxyError::Injected(_) => "FI",
        }
    }

    /// Whose fault it is.
    pub fn fault(self) -> Fault {
        match self {
            ProxyError::Refused(_)
            | ProxyError::BodyTooLarge
            | ProxyError::Loop
            | ProxyError::Misdirected
            | ProxyError::NoRoute
            | ProxyError::RateLimited(_)
            | ProxyError::ClientTimeout
            | ProxyError::ClientAborted => Fault::Downstream,
            ProxyError::NoEndpoint(_)
            | ProxyError::Reset
            | ProxyError::BadAnswer
            | ProxyError::AnswerTimeout
            | ProxyError::Injected(_) => Fault::Upstream,
            ProxyError::Overloaded | ProxyError::Exhausted => Fault::Ours,
        }
    }

    /// True when the endpoint was given the request: its body was asked for, and may be read to its end.
    pub(super) fn comes_after_the_body(self) -> bool {
        match self {
            ProxyError::Reset | ProxyError::BadAnswer | ProxyError::AnswerTimeout => true,
            ProxyError::Refused(_)
            | ProxyError::NoEndpoint(_)
            | ProxyError::Overloaded
            | ProxyError::Exhausted
            | ProxyError::BodyTooLarge
            | ProxyError::Loop
            | ProxyError::Misdirected
            | ProxyError::NoRoute
            | ProxyError::RateLimited(_)
            | ProxyError::ClientTimeout
            | ProxyError::ClientAborted
            | ProxyError::Injected(_) => false,
        }
    }

    /// How the variant failed, if it did.
    pub fn failure(self) -> Failure {
        match self {
            ProxyError::NoEndpoint(_) => Failure::Connect,
            ProxyError::Reset | ProxyError::BadAnswer => Failure::Reset,
            ProxyError::AnswerTimeout => Failure::Timeout,
            // as if the variant had answered so; the others are nobody's, or the client's
            _ => Failure::Status5xx,
        }
    }

    /// How a request that ended so is recorded for its variant.
    pub fn outcome(self) -> Outcome {
        match (self, self.fault()) {
            (ProxyError::ClientAborted, _) => Outcome::Cancelled,
            // as if the variant had answered so
            (ProxyError::Injected(status), _) => Outcome::of_status(status),
            (_, Fault::Downstream) => Outcome::Rejected,
            (_, Fault::Upstream) => Outcome::Error,
            (_, Fault::Ours) => Outcome::Internal,
        }
    }
}

impl From<Refused> for ProxyError {
    fn from(refused: Refused) -> ProxyError {
        ProxyError::Refused(refused)
    }
}

impl From<BodyError> for ProxyError {
    fn from(error: BodyError) -> ProxyError {
        match error {
            BodyError::TooLarge => ProxyError::BodyTooLarge,
            BodyError::Broken => ProxyError::ClientAborted,
        }
    }
}
