//! The result of a comparison, as text and as `ringway.diff/v1`.

use serde_json::{Value, json};
use std::fmt::Write;

use super::compare::{CohortChange, Comparison, Move, Presence, ServiceChange};
use crate::cli::out::counted;
use crate::model::{grouped, percent};

pub(super) fn text(comparison: &Comparison) -> String {
    let [old, new] = &comparison.revs;
    let mut text = format!("rev {old} → rev {new}\n");
    for service in &comparison.services {
        text.push('\n');
        // writing to a string does not fail
        let _ = service_text(service, comparison.is_synthetic, &mut text);
    }
    if comparison.have_routes_changed {
        text += "\nroutes have changed: requests may reach other services; `ringway explain` tells which\n";
    }
    text.push('\n');
    text += if comparison.may_anyone_move() { "somebody moves, or may move\n" } else { "nobody moves\n" };
    text
}

fn service_text(service: &ServiceChange, is_synthetic: bool, text: &mut String) -> std::fmt::Result {
    match service.presence {
        Presence::Added => return writeln!(text, "{}: new", service.name),
        Presence::Removed => return writeln!(text, "{}: gone", service.name),
        Presence::Both => {}
    }
    writeln!(text, "{}", service.name)?;
    if service.has_salt_changed {
        writeln!(text, "  the salt changed: every user is dealt anew")?;
    }
    if service.have_conditions_changed {
        writeln!(text, "  the cohorts changed: who belongs to them depends on the requests")?;
    }
    let users = if is_synthetic { "made-up user" } else { "user" };
    writeln!(
        text,
        "  {} of {} move to another variant, {} to another cohort (user key as {})",
        grouped(service.moved as u64),
        counted(service.users, users),
        grouped(service.cohort_changed as u64),
        service.fed.join(" and "),
    )?;
    if service.unfit > 0 {
        writeln!(text, "  {} left out: the key cannot be there", counted(service.unfit, users))?;
    }
    for one in &service.moves {
        let part = percent(one.users as f64 / service.users as f64);
        writeln!(text, "    {}: {} ({part} of them)", path(one), grouped(one.users as u64))?;
    }
    let widths = widths(service);
    let (cohort, variant) = widths;
    writeln!(text, "\n  {:cohort$}  {:variant$}  {:>10}  {:>10}", "COHORT", "VARIANT", "BEFORE", "AFTER")?;
    for cohort in &service.cohorts {
        cohort_text(cohort, service.has_salt_changed, widths, text)?;
    }
    Ok(())
}

fn widths(service: &ServiceChange) -> (usize, usize) {
    let cohorts = service.cohorts.iter().map(|cohort| cohort.name.chars().count());
    let variants = service.cohorts.iter().flat_map(|cohort| &cohort.variants);
    (cohorts.max().unwrap_or(0).max(6), variants.map(|(name, ..)| name.chars().count()).max().unwrap_or(0).max(7))
}

fn cohort_text(
    cohort: &CohortChange,
    has_salt_changed: bool,
    widths: (usize, usize),
    text: &mut String,
) -> std::fmt::Result {
    let share = |share: Option<f64>| share.map_or("-".to_owned(), percent);
    for (at, (variant, before, after)) in cohort.variants.iter().enumerate() {
        let name = if at == 0 { cohort.name.as_str() } else { "" };
        let (before, after) = (share(*before), share(*after));
        write!(text, "  {name:0$}  {variant:1$}  {before:>10}  {after:>10}", widths.0, widths.1)?;
        let how = if has_salt_changed { "expected" } else { "exact" };
        match cohort.moved {
            Some(moved) if at == 0 && moved > 0.0 => writeln!(text, "   {} of it moves ({how})", percent(moved))?,
            None if at == 0 => writeln!(text, "   new or gone")?,
            _ => text.push('\n'),
        }
    }
    Ok(())
}

/// `canary → stable (everyone)` or `stable (everyone) → canary (beta)`.
fn path(one: &Move) -> String {
    let (from, to) = (&one.from, &one.to);
    if from.cohort == to.cohort {
        format!("{} → {} ({})", from.variant, to.variant, from.cohort)
    } else {
        format!("{} ({}) → {} ({})", from.variant, from.cohort, to.variant, to.cohort)
    }
}

/// `ringway.diff/v1`.
pub(super) fn json(comparison: &Comparison) -> Value {
    json!({
        "schema": "ringway.diff/v1",
        "old": comparison.revs[0],
        "new": comparison.revs[1],
        "moves": comparison.may_anyone_move(),
        "routesChanged": comparison.have_routes_changed,
        "synthetic": comparison.is_synthetic,
        "services": comparison.services.iter().map(service_json).collect::<Vec<_>>(),
    })
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
