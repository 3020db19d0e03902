//! Which conditions follow from which, as far as it is plain to see.

use crate::config::schema::Condition;
use crate::model::Weight;

/// How much work is spent on it: a hostile file gets no answer instead of a long wait.
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Budget {
        Budget(1_000_000)
    }
}

impl Budget {
    fn spend(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 > 0
    }
}

/// True when `outer` certainly holds wherever `inner` does. False when it does not, or is not plain to see.
pub(super) fn is_implied(outer: &Condition, inner: &Condition, budget: &mut Budget) -> bool {
    if !budget.spend() {
        return false;
    }
    if is_always_true(outer, budget) || outer == inner {
        return true;
    }
    match (outer, inner) {
        (_, Condition::Any(parts)) if !parts.is_empty() => parts.iter().all(|part| is_implied(outer, part, budget)),
        (Condition::Any(parts), _) if parts.iter().any(|part| is_implied(part, inner, budget)) => true,
        (_, Condition::All(parts)) => parts.iter().any(|part| is_implied(outer, part, budget)),
        (Condition::All(parts), _) if !parts.is_empty() => parts.iter().all(|part| is_implied(part, inner, budget)),
        (Condition::Method(outer), Condition::Method(inner)) | (Condition::Host(outer), Condition::Host(inner)) => {
            !inner.is_empty() && inner.iter().all(|one| outer.contains(one))
        }
        (Condition::ClientIp(outer), Condition::ClientIp(inner)) => {
            !inner.is_empty() && inner.iter().all(|one| outer.iter().any(|network| network.contains(one)))
        }
        _ => false,
    }
}

/// True for conditions that hold for every request.
pub(super) fn is_always_true(condition: &Condition, budget: &mut Budget) -> bool {
    if !budget.spend() {
        return false;
    }
    match condition {
        Condition::Any(parts) => parts.iter().any(|part| is_always_true(part, budget)),
        Condition::All(parts) => !parts.is_empty() && parts.iter().all(|part| is_always_true(part, budget)),
        Condition::Not(part) => is_never_true(part),
        Condition::Percent(share) => share.0 >= Weight::HUNDRED,
        Condition::ClientIp(networks) => {
            let all_of = |is_v4: bool| networks.iter().any(|n| n.prefix_len() == 0 && n.addr().is_ipv4() == is_v4);
            all_of(true) && all_of(false)
        }
        _ => false,
    }
}

fn is_never_true(condition: &Condition) -> bool {
    matches!(condition, Condition::Percent(share) if share.0.is_zero())
}
