//! From the tests to a reading: verdicts, and the numbers behind them.

use super::cohort::{Judge, Totals};
use super::reading::{Decision, Detail, Gate, GateReading, Reading, Verdict};
use super::rules::OnHarm;
use super::tick::{QUANTILE_LEVELS, Side, Tally};

/// Users of both variants below which their shares say nothing.
const SHARE_USERS_MIN: u64 = 10;

impl Judge {
    /// What follows from all that happened so far.
    pub(super) fn read(&mut self, at_s: u64) -> Reading {
        let (ln_combined, ln_needed) = (self.ln_rollback(), (1.0 / self.rules.alpha).ln());
        let mut gates: Vec<GateReading> =
            [self.errors_reading(), self.latency_reading()].into_iter().flatten().collect();
        gates.extend((0..self.outcomes.len()).map(|at| self.outcome_reading(at)));
        gates.extend([self.share_reading(), self.burn_reading(), self.collateral_reading(at_s)].into_iter().flatten());

        let takes_back = |gate: &&GateReading| gate.on_harm == OnHarm::Rollback && gate.gate.is_combined();
        let loudest = gates.iter().filter(takes_back).max_by(|a, b| a.ln_evidence.total_cmp(&b.ln_evidence));
        let is_combined_harm = ln_combined >= ln_needed
            && self.whole.requests() >= self.rules.min_requests
            && loudest.is_some_and(|gate| self.bad_events(gate) >= self.rules.min_bad);
        let alone = |on_harm: OnHarm| gates.iter().any(|gate| gate.verdict == Verdict::Harm && gate.on_harm == on_harm);
        let (rollback, pause) = (is_combined_harm || alone(OnHarm::Rollback), alone(OnHarm::Pause));
        let decision = self.decide(at_s, |on_harm| if on_harm == OnHarm::Rollback { rollback } else { pause });
        self.blame(&mut gates, decision, is_combined_harm);
        Reading { at_s, gates, ln_combined, ln_needed, decision, is_silent: self.silence.is_told(at_s) }
    }

    /// Verdicts of the gates that only decide together.
    fn blame(&self, gates: &mut [GateReading], decision: Decision, is_combined_harm: bool) {
        let freeze = self.rules.freeze_at.ln();
        let members = gates.iter().filter(|gate| gate.is_member());
        let most = members.map(|gate| gate.ln_evidence).fold(f64::NEG_INFINITY, f64::max);
        for gate in gates.iter_mut().filter(|gate| gate.is_member() && gate.verdict != Verdict::Unknown) {
            let is_suspect = gate.ln_evidence >= freeze || gate.ln_evidence >= most;
            if is_combined_harm && is_suspect {
                gate.verdict = Verdict::Harm;
            } else if decision != Decision::Clear && gate.ln_evidence >= freeze {
                gate.verdict = Verdict::Waiting;
            }
        }
    }

    fn errors_reading(&self) -> Option<GateReading> {
        let ln_evidence = self.ln_errors()?;
        let before = self.before.as_ref().filter(|before| before.knows_errors());
        let (stable, detail) = match before.and_then(|before| before.past) {
            Some(past) => (past.errors, Detail::Before),
            None if !self.has_control => (Tally::default(), Detail::Alone),
            None => (self.step.stable.errors, Detail::None),
        };
        let canary = self.step.canary.errors;
        // with nothing to compare with, a canary that fails more often than not speaks for itself
        let is_known = detail != Detail::Alone || ln_evidence >= self.rules.freeze_at.ln();
        Some(self.member(Gate::Errors, ln_evidence, (canary, stable), detail, is_known))
    }

    fn latency_reading(&self) -> Option<GateReading> {
        let (ln_evidence, test) = (self.ln_latency()?, self.latency.as_ref()?);
        let past = self.before.as_ref().filter(|before| before.knows_latency());
        let at = past.map_or(test.loudest(), |before| before.loudest());
        let Totals { canary, stable } = &self.step;
        let is_known = self.thresholds.is_some() && (past.is_some() || self.has_control);
        let detail =
            self.thresholds.filter(|_| is_known).map_or(self.nothing_to_compare(), |thresholds| Detail::Slow {
                level: QUANTILE_LEVELS[at],
                stable_us: thresholds.stable_us[at],
                canary_us: thresholds.canary_us[at],
                before: past.is_some(),
            });
        let before = || Tally::new(((1.0 - QUANTILE_LEVELS[at]) * 1e3).round() as u64, 1_000);
        let stable = if past.is_some() { before() } else { stable.slow[at] };
        Some(self.member(Gate::Latency, ln_evidence, (canary.slow[at], stable), detail, is_known))
    }

    /// Why latency is compared with nothing.
    fn nothing_to_compare(&self) -> Detail {
        if self.has_control { Detail::Unfrozen } else { Detail::Alone }
    }

    fn outcome_reading(&self, at: usize) -> GateReading {
        let of = |side: &Side| side.outcomes.get(at).copied().unwrap_or_default();
        let (rules, ln_evidence) = (&self.rules.outcomes[at], self.outcomes[at].ln_value());
        let counts = (of(&self.step.canary), of(&self.step.stable));
        let detail = if self.has_control { Detail::None } else { Detail::Alone };
        let mut reading = self.member(Gate::Outcome(at), ln_evidence, counts, detail, self.has_control);
        reading.on_harm = rules.on_harm;
        let is_harm = ln_evidence >= reading.ln_needed && self.bad_events(&reading) >= self.rules.min_bad;
        if rules.on_harm == OnHarm::Pause && reading.verdict == Verdict::Pass {
            reading.verdict = self.alone(is_harm, ln_evidence);
        }
        reading
    }

    fn share_reading(&self) -> Option<GateReading> {
        let (test, alpha) = (self.sample_ratio.as_ref()?, self.rules.sample_ratio?);
        let (ln_evidence, ln_needed) = (test.ln_value(), (1.0 / alpha).ln());
        let counts = test.counts();
        let (canary, stable) = counts.map_or((0, 0), |counts| (counts.canary, counts.stable));
        let all = canary.saturating_add(stable);
        let verdict = match counts {
            _ if ln_evidence >= ln_needed => Verdict::Harm,
            None => Verdict::Unknown,
            Some(_) if all < SHARE_USERS_MIN => Verdict::Waiting,
            Some(_) => Verdict::Pass,
        };
        Some(GateReading {
            gate: Gate::SampleRatio,
            verdict,
            on_harm: OnHarm::Pause,
            ln_evidence,
            ln_needed,
            canary: Tally::new(canary, all),
            stable: Tally::new(stable, all),
            detail: Detail::Share(counts.map_or(0.0, |counts| counts.canary_share)),
        })
    }

    fn burn_reading(&self) -> Option<GateReading> {
        let (gate, rules) = (self.burn.as_ref()?, self.rules.burn.as_ref()?);
        let reading = gate.reading()?;
        let above = rules.windows.get(reading.window).map_or(f64::INFINITY, |window| window.above);
        // not evidence in the sense of the others: how far the budget burns beyond what is allowed
        let ln_evidence = (reading.long.min(reading.short) / above).max(f64::MIN_POSITIVE).ln();
        let mut errors = self.step.canary.errors;
        errors.add(self.step.stable.errors);
        Some(GateReading {
            gate: Gate::Burn,
            verdict: if reading.fires { Verdict::Harm } else { Verdict::Pass },
            on_harm: rules.on_harm,
            ln_evidence,
            ln_needed: 0.0,
            canary: errors,
            stable: self.step.stable.errors,
            detail: Detail::Burn { long: reading.long, short: reading.short, above },
        })
    }

    fn collateral_reading(&self, at_s: u64) -> Option<GateReading> {
        let (detectors, rules) = (self.collateral.as_ref()?, self.rules.collateral?);
        let (ln_evidence, ln_needed) = (detectors.ln_value(), rules.ticks_between_alarms.ln());
        let verdict = match () {
            _ if detectors.is_lasting(at_s, &rules) => Verdict::Harm,
            _ if detectors.is_alarm() => Verdict::Waiting,
            _ if detectors.errors.is_none() && self.thresholds.is_none() => Verdict::Unknown,
            _ => Verdict::Pass,
        };
        let Totals { canary, stable } = &self.step;
        let slow = detectors.loudest().zip(self.thresholds);
        let (at_fault, detail) = match slow {
            None => ((canary.errors, stable.errors), Detail::None),
            Some((at, thresholds)) => (
                (canary.slow[at], stable.late[at]),
                Detail::Slow {
                    level: QUANTILE_LEVELS[at],
                    stable_us: thresholds.stable_us[at],
                    canary_us: thresholds.canary_us[at],
                    before: true,
                },
            ),
        };
        let (canary, stable) = at_fault;
        let (gate, on_harm) = (Gate::Collateral, rules.on_harm);
        Some(GateReading { gate, verdict, on_harm, ln_evidence, ln_needed, canary, stable, detail })
    }

    /// A gate of the class that decides together.
    fn member(
        &self,
        gate: Gate,
        ln_evidence: f64,
        (canary, stable): (Tally, Tally),
        detail: Detail,
        is_known: bool,
    ) -> GateReading {
        let verdict = match is_known {
            false => Verdict::Unknown,
            true if self.step.canary.requests() < self.rules.min_requests => Verdict::Waiting,
            true => Verdict::Pass,
        };
        let ln_needed = (1.0 / self.rules.alpha).ln();
        GateReading { gate, verdict, on_harm: OnHarm::Rollback, ln_evidence, ln_needed, canary, stable, detail }
    }

    /// The verdict of a gate that decides alone.
    fn alone(&self, is_harm: bool, ln_evidence: f64) -> Verdict {
        match is_harm {
            true => Verdict::Harm,
            false if ln_evidence >= self.rules.freeze_at.ln() => Verdict::Waiting,
            false => Verdict::Pass,
        }
    }

    /// Bad events of the canary behind a gate since the judge began; of an outcome, those that did not happen.
    fn bad_events(&self, gate: &GateReading) -> u64 {
        match (gate.gate, gate.detail) {
            (Gate::Latency, Detail::Slow { level, .. }) => {
                let at = QUANTILE_LEVELS.iter().position(|known| *known == level).unwrap_or(0);
                self.whole.slow[at].events
            }
            (Gate::Outcome(at), _) => {
                let outcome = self.whole.outcomes.get(at).copied().unwrap_or_default();
                outcome.of.saturating_sub(outcome.events)
            }
            _ => self.whole.errors.events,
        }
    }
}

impl Gate {
    /// Whether it belongs to those whose evidence is combined, if its harm takes the version back.
    fn is_combined(self) -> bool {
        matches!(self, Gate::Errors | Gate::Latency | Gate::Outcome(_))
    }
}

impl GateReading {
    fn is_member(&self) -> bool {
        self.gate.is_combined() && self.on_harm == OnHarm::Rollback
    }
}
