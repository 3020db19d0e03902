//! The result of a comparison, as text.

use std::fmt::Write;

use crate::cli::out::counted;
use crate::model::{grouped, percent};
use crate::routing::compare::{CohortChange, Comparison, Move, Presence, ServiceChange};

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
