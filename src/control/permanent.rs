//! What people write into the file so that what they did stays: as YAML, with the lines around it.

use crate::config::schema::{File, Service};
use crate::model::Weight;
use crate::rollout::split::Split;
use crate::routing::snapshot::{Cohort, Service as Served};
use std::fmt::Write;

const EVERYONE: &str = "everyone";

/// A share that a cohort is to have of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<'w> {
    /// The cohort; `None`: each one.
    pub cohort: Option<&'w str>,
    /// The variant.
    pub variant: &'w str,
    /// Percent of the cohort.
    pub share: Weight,
}

/// Where the weights of a cohort stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// With the variants, for `everyone` alone.
    Variants,
    /// With the cohort, at this position of `cohorts`.
    Cohort(usize),
    /// Nowhere of its own: it has those of the variants, which others have too.
    Nowhere,
}

/// The lines of the file that make it permanent; `None` when the file says the same already, or when it cannot be so.
pub fn permanent(file: &File, served: &Served, wanted: &Wanted<'_>) -> Option<String> {
    let written = file.services.get(&*served.name)?;
    let (mut of_variants, mut of_cohorts) = (String::new(), String::new());
    for cohort in served.cohorts.iter().filter(|of| wanted.cohort.is_none_or(|name| *of.name == *name)) {
        let Some(split) = split_of(served, cohort, wanted) else { continue };
        if split == in_file(served, cohort) {
            continue;
        }
        let shares = served.variants.iter().map(|variant| (&*variant.name, split.of(&variant.name)));
        if stand(written, &cohort.name) == Stand::Variants {
            shares.for_each(|(variant, share)| {
                let _ = writeln!(of_variants, "      {variant}: {{ weight: {share} }}");
            });
        } else {
            let shares: Vec<String> = shares.map(|(variant, share)| format!("{variant}: {share}")).collect();
            let (name, shares) = (&cohort.name, shares.join(", "));
            let _ = write!(of_cohorts, "      - name: {name}\n        weights: {{ {shares} }}\n");
        }
    }
    if of_variants.is_empty() && of_cohorts.is_empty() {
        return None;
    }
    let mut text = format!("services:\n  {}:\n", served.name);
    for (key, lines) in [("variants", of_variants), ("cohorts", of_cohorts)] {
        if !lines.is_empty() {
            let _ = write!(text, "    {key}:\n{lines}");
        }
    }
    Some(text)
}

/// How the file would split a cohort. `None`: the other variants leave too little, or there is no such variant.
pub fn split_of(served: &Served, cohort: &Cohort, wanted: &Wanted<'_>) -> Option<Split> {
    served.variants.iter().find(|variant| *variant.name == *wanted.variant)?;
    in_file(served, cohort).with(wanted.variant, wanted.share, remainder(served))
}

/// Where the weights of a cohort stand.
pub fn stand(written: &Service, cohort: &str) -> Stand {
    let at = written.cohorts.iter().position(|of| *of.name == *cohort && of.weights.is_some());
    let have_none = written.cohorts.iter().filter(|of| of.name != EVERYONE && of.weights.is_none()).count();
    match at {
        Some(at) => Stand::Cohort(at),
        None if cohort == EVERYONE && have_none == 0 => Stand::Variants,
        None => Stand::Nowhere,
    }
}

fn in_file(served: &Served, cohort: &Cohort) -> Split {
    let weights =
        served.variants.iter().zip(cohort.weights_in_file()).map(|(variant, weight)| (&*variant.name, *weight));
    Split::of_weights(weights, remainder(served))
}

fn remainder(served: &Served) -> &str {
    &served.variants[served.remainder].name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load_texts};
    use crate::routing::prepare::{Prepared, assemble};
    use crate::telemetry::Registry;
    use crate::upstream::Upstreams;

    const COHORTS: &str =
        "cohorts:\n      - { name: staff, when: { header: { name: x, exact: y } }, weights: { canary: 100 } }\n";

    fn prepared(cohorts: &str) -> Prepared {
        let text = format!(
            "listeners: [{{ address: 127.0.0.1:81 }}]\nservices:\n  shop:\n    variants:\n      \
             stable: {{ weight: 19, endpoints: [127.0.0.1:1] }}\n      canary: {{ weight: 1, endpoints: [127.0.0.1:2] }}\n    {cohorts}"
        );
        let loaded = load_texts(vec![Source::new("a.yaml", text)]).unwrap_or_else(|errors| panic!("{errors}"));
        assemble(loaded, &Upstreams::default(), &Registry::new(1, 100)).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn patch(prepared: &Prepared, cohort: Option<&str>, share: u64) -> Option<String> {
        let served = prepared.snapshot.service("shop").unwrap();
        permanent(&prepared.loaded.file, served, &Wanted { cohort, variant: "canary", share: Weight::whole(share) })
    }

    #[test]
    fn weights_are_told_where_they_stand() {
        let plain = prepared("");
        assert_eq!(
            patch(&plain, Some("everyone"), 7).unwrap(),
            "services:\n  shop:\n    variants:\n      stable: { weight: 93 }\n      canary: { weight: 7 }\n"
        );
        assert_eq!(patch(&plain, Some("everyone"), 5), None, "19 to 1 is the same");
        let with_staff = prepared(COHORTS);
        assert_eq!(
            patch(&with_staff, Some("staff"), 50).unwrap(),
            "services:\n  shop:\n    cohorts:\n      - name: staff\n        weights: { stable: 50, canary: 50 }\n"
        );
        assert_eq!(
            patch(&with_staff, None, 0).unwrap(),
            "services:\n  shop:\n    variants:\n      stable: { weight: 100 }\n      canary: { weight: 0 }\n    cohorts:\n      \
             - name: staff\n        weights: { stable: 100, canary: 0 }\n"
        );
    }

    #[test]
    fn a_cohort_that_shares_its_weights_gets_some_of_its_own() {
        let sharing = prepared("cohorts:\n      - { name: beta, when: { header: { name: x, exact: y } } }\n");
        for cohort in ["beta", "everyone"] {
            let patch = patch(&sharing, Some(cohort), 7).unwrap();
            assert!(
                patch.contains(&format!("- name: {cohort}\n        weights: {{ stable: 93, canary: 7 }}\n")),
                "{patch}"
            );
        }
    }
}
