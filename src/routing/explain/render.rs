//! An explanation, as text and as `ringway.explain/v1`.

use serde_json::{Value, json};
use std::fmt::Write;

use super::{Answer, Explanation, Refusal, Step};
use crate::model::percent;

impl Explanation {
    /// The explanation for people, with a line break at its end.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // writing to a string does not fail
        let _ = match &self.outcome {
            Ok(answer) => writeln!(text, "{}\n→ {}", self.request, headline(answer)),
            Err(Refusal { status, message, location: Some(_) }) => {
                writeln!(text, "{}\n→ redirected with {status}: {message}", self.request)
            }
            Err(refusal) => writeln!(text, "{}\n→ refused with {}: {}", self.request, refusal.status, refusal.message),
        };
        let _ = writeln!(text, "  revision {}\n", self.rev);
        let width = self.trace.iter().map(|step| step.kind.len()).max().unwrap_or(0);
        let mut previous = "";
        for step in &self.trace {
            let kind = if step.kind == previous { "" } else { step.kind };
            previous = step.kind;
            let _ = write!(text, "{kind:width$}  ");
            render(step, width + 2, &mut text);
        }
        text
    }

    /// `ringway.explain/v1`.
    pub fn to_json(&self) -> Value {
        let trace: Vec<Value> = self.trace.iter().map(step_json).collect();
        match &self.outcome {
            Ok(answer) => json!({
                "schema": "ringway.explain/v1",
                "service": answer.service,
                "route": answer.route,
                "cohort": answer.cohort,
                "variant": answer.variant,
                "reason": answer.reason.map(|reason| reason.as_str()),
                "bucket": answer.bucket,
                "userKey": { "from": answer.user_key.from, "present": answer.user_key.present },
                "shares": answer.shares.iter()
                    .map(|share| json!({ "variant": share.variant, "share": share.share }))
                    .collect::<Vec<_>>(),
                "refused": null,
                "redirect": null,
                "rev": self.rev,
                "trace": trace,
            }),
            Err(refusal) => json!({
                "schema": "ringway.explain/v1",
                "service": null, "route": null, "cohort": null, "variant": null, "reason": null, "bucket": null,
                "userKey": { "from": null, "present": false },
                "shares": [],
                "refused": refused(refusal),
                "redirect": refusal.location.as_ref().map(|to| json!({ "status": refusal.status, "location": to })),
                "rev": self.rev,
                "trace": trace,
            }),
        }
    }
}

fn refused(refusal: &Refusal) -> Option<Value> {
    let is_refused = refusal.location.is_none();
    is_refused.then(|| json!({ "status": refusal.status, "message": refusal.message }))
}

fn headline(answer: &Answer) -> String {
    let service = &answer.service;
    let drawn = || {
        let shares = answer.shares.iter().map(|share| format!("{} {}", share.variant, percent(share.share)));
        format!("by lot ({})", shares.collect::<Vec<_>>().join(", "))
    };
    let Some(cohort) = &answer.cohort else {
        return format!("service {service}; cohort and variant depend on the lot that a new user draws");
    };
    let variant = answer.variant.clone().unwrap_or_else(drawn);
    let reason = answer.reason.map_or("", |reason| reason.as_str());
    format!("service {service}, cohort {cohort}, variant {variant}; reason: {reason}")
}

fn render(step: &Step, indent: usize, text: &mut String) {
    let sign = match step.holds {
        Some(true) => "✔ ",
        Some(false) => "✗ ",
        None => "",
    };
    let _ = writeln!(text, "{sign}{}", step.text);
    for part in &step.parts {
        let _ = write!(text, "{:1$}", "", indent + 2);
        render(part, indent + 2, text);
    }
}

fn step_json(step: &Step) -> Value {
    let parts: Vec<Value> = step.parts.iter().map(step_json).collect();
    json!({ "step": step.kind, "holds": step.holds, "text": step.text, "parts": parts })
}
