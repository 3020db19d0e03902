//! A gate in one sentence, with the numbers behind it.

use super::history::HISTORY_REQUESTS_MIN;
use super::latency::FREEZE_REQUESTS_MIN;
use super::reading::{Detail, Gate, GateReading, Verdict};
use super::tick::Tally;
use crate::model::{grouped, percent};

/// `errors 2.3 % against stable 0.07 %, n = 4,118, evidence 31 of 20`. `outcomes` are the names of the rules' outcomes,
/// in their order.
pub fn sentence(reading: &GateReading, outcomes: &[&str]) -> String {
    let name = match reading.gate {
        Gate::Outcome(at) => outcomes.get(at).copied().unwrap_or("outcome"),
        other => other.as_str(),
    };
    let (canary, stable) = (share(reading.canary), share(reading.stable));
    let n = grouped(reading.canary.of);
    let evidence = format!("evidence {} of {}", amount(reading.ln_evidence), amount(reading.ln_needed));
    if let Some(text) = calm(reading, &canary) {
        return text;
    }
    match reading.detail {
        Detail::Slow { level, canary_us, .. } if reading.gate == Gate::Collateral => {
            let (limit, p) = (milliseconds(canary_us), shown_level(level));
            let of = format!("p{p}, with what is tolerated");
            format!("stable got worse since the rollout began: {stable} slower than {limit} ({of}), {evidence}")
        }
        Detail::None if reading.gate == Gate::Collateral => {
            format!("stable got worse since the rollout began: errors {stable}, {evidence}")
        }
        Detail::Alone | Detail::Unfrozen => format!("{name} {canary}, n = {n}, compared with nothing"),
        Detail::None => format!("{name} {canary} against stable {stable}, n = {n}, {evidence}"),
        Detail::Before => format!("{name} {canary} against {stable} before the step, n = {n}, {evidence}"),
        Detail::Slow { level, canary_us, before, .. } => {
            let whose = if before { "before the step" } else { "stable" };
            let (limit, p) = (milliseconds(canary_us), shown_level(level));
            format!("latency: {canary} slower than {limit} (p{p}) against {whose} {stable}, n = {n}, {evidence}")
        }
        Detail::Share(expected) => {
            let users = grouped(reading.canary.of);
            format!("users: canary got {canary} of {users}, the weights say {}, {evidence}", percent(rounded(expected)))
        }
        Detail::Burn { long, short, above } => {
            format!(
                "error budget burns {long:.1} times too fast ({short:.1} lately), allowed {above}, errors {canary}, n = {n}"
            )
        }
    }
}

/// Of gates that are about stable, or about who got what, as long as they have nothing to complain of.
fn calm(reading: &GateReading, canary: &str) -> Option<String> {
    let n = grouped(reading.canary.of);
    let text = match (reading.gate, reading.verdict) {
        (Gate::Collateral, Verdict::Pass) => "stable is as it was before the rollout".to_owned(),
        (Gate::Collateral, Verdict::Unknown) => {
            "stable's past is too short to say whether it got worse since the rollout began".to_owned()
        }
        (Gate::SampleRatio, Verdict::Unknown) => "nobody is split: all get the same version".to_owned(),
        (Gate::Errors | Gate::Latency | Gate::Outcome(_), Verdict::Unknown) if reading.canary.of == 0 => {
            format!("nothing was seen of the new version yet, and {}", nothing_to_compare(reading.detail)?)
        }
        (Gate::Errors | Gate::Outcome(_), Verdict::Unknown) => {
            format!("{canary} of {n} requests, compared with nothing: {}", nothing_to_compare(reading.detail)?)
        }
        (Gate::Latency, Verdict::Unknown) => format!("compared with nothing: {}", nothing_to_compare(reading.detail)?),
        _ => return None,
    };
    Some(text)
}

fn nothing_to_compare(detail: Detail) -> Option<String> {
    match detail {
        Detail::Alone => Some(format!(
            "nobody is on stable, and it had too few requests here in the 15 minutes before the step ({HISTORY_REQUESTS_MIN} \
             are enough); `holdback: 2` keeps some users there"
        )),
        Detail::Unfrozen => Some(format!(
            "what is slow is not known before stable has had {FREEZE_REQUESTS_MIN} answers in this cohort"
        )),
        _ => None,
    }
}

/// `95`, `99.9`.
fn shown_level(level: f64) -> f64 {
    (level * 1e4).round() / 100.0
}

fn share(tally: Tally) -> String {
    percent(rounded(tally.rate()))
}

/// To two significant digits, or three from 10 % on.
fn rounded(rate: f64) -> f64 {
    if rate <= 0.0 {
        return 0.0;
    }
    let unit = 10f64.powf(rate.log10().floor() - 1.0).min(0.001);
    ((rate / unit).round() * unit).max(1e-6)
}

fn milliseconds(us: u64) -> String {
    match us {
        0..10_000 => format!("{:.1} ms", us as f64 / 1e3),
        10_000..10_000_000 => format!("{} ms", grouped(us / 1_000)),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// Evidence from its logarithm: whole from 10 on, and no longer counted beyond a million.
fn amount(ln: f64) -> String {
    match ln.exp() {
        tiny if tiny < 0.05 => "0".to_owned(),
        small if small < 9.95 => {
            let text = format!("{small:.1}");
            text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
        }
        // cut, not rounded, so that 19.9 never reads as enough
        large if large < 1e6 => grouped((large + 1e-9) as u64),
        _ => "over a million".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::OnHarm;
    use super::*;

    fn reading(gate: Gate, canary: (u64, u64), stable: (u64, u64), evidence: f64, detail: Detail) -> GateReading {
        GateReading {
            gate,
            verdict: Verdict::Harm,
            on_harm: OnHarm::Rollback,
            ln_evidence: evidence.ln(),
            ln_needed: f64::ln(20.0),
            canary: Tally::new(canary.0, canary.1),
            stable: Tally::new(stable.0, stable.1),
            detail,
        }
    }

    #[test]
    fn each_gate_has_its_sentence() {
        let slow = Detail::Slow { level: 0.99, stable_us: 160_000, canary_us: 181_000, before: false };
        let burn = Detail::Burn { long: 22.04, short: 30.0, above: 14.4 };
        for (reading, text) in [
            (
                reading(Gate::Errors, (95, 4_118), (70, 100_000), 31.2, Detail::None),
                "errors 2.3 % against stable 0.07 %, n = 4,118, evidence 31 of 20",
            ),
            (
                reading(Gate::Errors, (3, 10), (1, 100_000), 1e9, Detail::Before),
                "errors 30 % against 0.001 % before the step, n = 10, evidence over a million of 20",
            ),
            (
                reading(Gate::Latency, (31, 1_000), (10, 1_000), 19.97, slow),
                "latency: 3.1 % slower than 181 ms (p99) against stable 1 %, n = 1,000, evidence 19 of 20",
            ),
            (
                reading(Gate::Outcome(0), (3, 300), (30, 300), 4.04, Detail::None),
                "orders 1 % against stable 10 %, n = 300, evidence 4 of 20",
            ),
            (
                reading(Gate::SampleRatio, (50, 100), (0, 0), 5_000.0, Detail::Share(0.05)),
                "users: canary got 50 % of 100, the weights say 5 %, evidence 5,000 of 20",
            ),
            (
                reading(Gate::Burn, (22, 1_000), (0, 0), 1.0, burn),
                "error budget burns 22.0 times too fast (30.0 lately), allowed 14.4, errors 2.2 %, n = 1,000",
            ),
            (
                reading(Gate::Collateral, (0, 0), (7, 100), 25.0, Detail::None),
                "stable got worse since the rollout began: errors 7 %, evidence 25 of 20",
            ),
            (
                reading(Gate::Collateral, (0, 0), (7, 100), 25.0, slow),
                "stable got worse since the rollout began: 7 % slower than 181 ms (p99, with what is tolerated), evidence 25 of 20",
            ),
        ] {
            assert_eq!(sentence(&reading, &["orders"]), text);
        }
    }

    #[test]
    fn small_shares_keep_two_digits() {
        for (events, text) in [(0, "0 %"), (1, "0.0001 %"), (123, "0.012 %"), (456_789, "45.7 %"), (1_000_000, "100 %")]
        {
            assert_eq!(share(Tally::new(events, 1_000_000)), text);
        }
    }
}
