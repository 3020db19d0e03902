/// Why a request got its variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A signed or trusted override asked for it.
    Override,
    /// The cohort's own weights give everything to this variant.
    Cohort,
    /// The user's bucket fell into the variant's share.
    Split,
    /// Only one variant of the service has any share.
    Only,
    /// The assigned variant had no usable endpoint, and this one stood in.
    Fallback,
    /// A rollout holds the user back or has taken the version away.
    Held,
}

impl Reason {
    /// Every reason, in the order of its index.
    pub const ALL: [Reason; 6] =
        [Reason::Override, Reason::Cohort, Reason::Split, Reason::Only, Reason::Fallback, Reason::Held];

    /// The word of the contract, as in metrics, logs and `explain`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Override => "override",
            Reason::Cohort => "cohort",
            Reason::Split => "split",
            Reason::Only => "only",
            Reason::Fallback => "fallback",
            Reason::Held => "held",
        }
    }

    /// The resolution reason of OpenFeature, as OpenTelemetry writes it.
    pub fn as_flag_reason(self) -> &'static str {
        match self {
            Reason::Override | Reason::Cohort => "targeting_match",
            Reason::Split | Reason::Held => "split",
            Reason::Only => "static",
            Reason::Fallback => "default",
        }
    }

    /// The position in [`Reason::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Whose fault it is that a request did not end well. Decides what a release is blamed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The client: malformed, too large, too slow, gone.
    Downstream,
    /// The variant: refused, reset, timed out, or answered with 5xx.
    Upstream,
    /// Ringway itself.
    Ours,
}

/// What came of a request that was assigned to a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// A whole answer with a status below 400.
    Success,
    /// A whole answer with a 4xx status: nobody's version is blamed for it.
    Rejected,
    /// The variant failed: 5xx, reset, timeout, or no connection.
    Error,
    /// The client went away before the answer was complete.
    Cancelled,
    /// Ringway failed.
    Internal,
}

impl Outcome {
    /// Every outcome, in the order of its index.
    pub const ALL: [Outcome; 5] =
        [Outcome::Success, Outcome::Rejected, Outcome::Error, Outcome::Cancelled, Outcome::Internal];

    /// The label value in metrics and the word in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Rejected => "rejected",
            Outcome::Error => "error",
            Outcome::Cancelled => "cancelled",
            Outcome::Internal => "internal",
        }
    }

    /// The position in [`Outcome::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The outcome of a complete answer of the variant by its status code.
    pub fn of_status(status: u16) -> Outcome {
        match status {
            0..400 => Outcome::Success,
            400..500 => Outcome::Rejected,
            500.. => Outcome::Error,
        }
    }

    /// Whose fault an unhappy outcome is; `None` for a success.
    pub fn fault(self) -> Option<Fault> {
        match self {
            Outcome::Success => None,
            Outcome::Rejected | Outcome::Cancelled => Some(Fault::Downstream),
            Outcome::Error => Some(Fault::Upstream),
            Outcome::Internal => Some(Fault::Ours),
        }
    }
}

/// How a variant failed a request: the words of `gates.errors.bad`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// It answered with a status from 500 on.
    #[default]
    Status5xx,
    /// It answered with a status of the 4xx class. Held against it only where the file says so.
    Status4xx,
    /// The connection broke, or what came was no answer.
    Reset,
    /// No answer in time, or none that went on.
    Timeout,
    /// No connection.
    Connect,
}

/// Why a variant could not serve a request that was assigned to it, so that its fallback did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FallbackCause {
    /// The connection was refused, reset or unreachable.
    Connect,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// The name of the endpoint has no address.
    Resolve,
    /// All endpoints are out of use because of earlier failures.
    Ejected,
    /// The variant's limits were reached.
    Limit,
    /// The variant failed the request, and the route's retry goes to the fallback.
    Retry,
    /// The TLS handshake with the endpoint failed.
    Tls,
}

impl FallbackCause {
    /// Every cause, in the order of its index.
    pub const ALL: [FallbackCause; 7] = [
        FallbackCause::Connect,
        FallbackCause::ConnectTimeout,
        FallbackCause::Resolve,
        FallbackCause::Ejected,
        FallbackCause::Limit,
        FallbackCause::Retry,
        FallbackCause::Tls,
    ];

    /// The label value in metrics and the word in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            FallbackCause::Connect => "connect",
            FallbackCause::ConnectTimeout => "connect_timeout",
            FallbackCause::Resolve => "resolve",
            FallbackCause::Ejected => "ejected",
            FallbackCause::Limit => "limit",
            FallbackCause::Retry => "retry",
            FallbackCause::Tls => "tls",
        }
    }

    /// The position in [`FallbackCause::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// What came of an attempt to send a request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RetryResult {
    /// It was answered, and not with what may be tried again.
    Success,
    /// It failed as well.
    Failure,
    /// It was not made: enough requests had been sent again.
    NoBudget,
}

impl RetryResult {
    /// Every result, in the order of its index.
    pub const ALL: [RetryResult; 3] = [RetryResult::Success, RetryResult::Failure, RetryResult::NoBudget];

    /// The label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            RetryResult::Success => "success",
            RetryResult::Failure => "failure",
            RetryResult::NoBudget => "no_budget",
        }
    }

    /// The position in [`RetryResult::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// What was injected into a request by a fault of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InjectedKind {
    /// It was held back.
    Delay,
    /// It was answered instead of the variant.
    Abort,
    /// Its connection or stream was broken off.
    Reset,
}

impl InjectedKind {
    /// Every kind, in the order of its index.
    pub const ALL: [InjectedKind; 3] = [InjectedKind::Delay, InjectedKind::Abort, InjectedKind::Reset];

    /// The label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            InjectedKind::Delay => "delay",
            InjectedKind::Abort => "abort",
            InjectedKind::Reset => "reset",
        }
    }

    /// The position in [`InjectedKind::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_positions() {
        assert!(Reason::ALL.iter().enumerate().all(|(at, reason)| reason.index() == at));
        assert!(Outcome::ALL.iter().enumerate().all(|(at, outcome)| outcome.index() == at));
        assert!(RetryResult::ALL.iter().enumerate().all(|(at, result)| result.index() == at));
        assert!(InjectedKind::ALL.iter().enumerate().all(|(at, kind)| kind.index() == at));
        assert!(FallbackCause::ALL.iter().enumerate().all(|(at, cause)| cause.index() == at));
    }

    #[test]
    fn a_client_error_is_not_blamed_on_the_variant() {
        assert_eq!(Outcome::of_status(404).fault(), Some(Fault::Downstream));
        assert_eq!(Outcome::of_status(503).fault(), Some(Fault::Upstream));
        assert_eq!(Outcome::of_status(304).fault(), None);
    }
}
