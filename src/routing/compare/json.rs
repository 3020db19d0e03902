//! The result of a comparison as `ringway.diff/v1`.

use serde_json::{Value, json};

use super::{Comparison, Presence, ServiceChange};

impl Comparison {
    /// `ringway.diff/v1`.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "schema": "ringway.diff/v1",
            "old": self.revs[0],
            "new": self.revs[1],
            "moves": self.may_anyone_move(),
            "routesChanged": self.have_routes_changed,
            "synthetic": self.is_synthetic,
            "services": self.services.iter().map(service_json).collect::<Vec<_>>(),
        })
    }
}

fn service_json(service: &ServiceChange) -> Value {
    let presence = match service.presence {
        Presence::Both => "both",
        Presence::Added => "added",
        Presence::Removed => "removed",
    };
    let moves = service.moves.iter().map(|one| {
        json!({
            "from": { "cohort": one.from.cohort, "variant": one.from.variant },
            "to": { "cohort": one.to.cohort, "variant": one.to.variant },
            "users": one.users,
        })
    });
    let cohorts = service.cohorts.iter().map(|cohort| {
        let variants = cohort
            .variants
            .iter()
            .map(|(name, before, after)| json!({ "name": name, "before": before, "after": after }));
        json!({ "name": cohort.name, "moved": cohort.moved, "variants": variants.collect::<Vec<_>>() })
    });
    json!({
        "name": service.name,
        "presence": presence,
        "saltChanged": service.has_salt_changed,
        "cohortsChanged": service.have_conditions_changed,
        "userKeyAs": service.fed,
        "users": service.users,
        "usersLeftOut": service.unfit,
        "moved": service.moved,
        "cohortChanged": service.cohort_changed,
        "moves": moves.collect::<Vec<_>>(),
        "cohorts": cohorts.collect::<Vec<_>>(),
    })
}
