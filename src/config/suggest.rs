//! Did you mean.

/// The most candidates that are compared with a word.
const CANDIDATES_MAX: usize = 1_000;

/// The candidate that a misspelt word most likely meant.
pub(crate) fn closest<'c>(given: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let lower = given.to_lowercase();
    candidates
        .into_iter()
        .take(CANDIDATES_MAX)
        .map(|candidate| {
            let other = candidate.to_lowercase();
            let likeness = strsim::jaro_winkler(&lower, &other);
            let is_one_edit = strsim::damerau_levenshtein(&lower, &other) <= 1 && lower.len() > 2;
            (if is_one_edit { likeness.max(0.9) } else { likeness }, candidate)
        })
        .filter(|(likeness, _)| *likeness >= 0.82)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Words in a row, at most a dozen: `a`, `b`, `c`.
pub(crate) fn listed<'c>(words: impl IntoIterator<Item = &'c str>) -> String {
    const SHOWN_MAX: usize = 12;
    let words: Vec<&str> = words.into_iter().collect();
    let shown: Vec<String> = words.iter().take(SHOWN_MAX).map(|word| format!("`{word}`")).collect();
    let more = words.len().saturating_sub(SHOWN_MAX);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// A help text for a name that does not exist.
pub(crate) fn known<'c>(given: &str, what: &str, names: impl IntoIterator<Item = &'c str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match closest(given, names.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if names.is_empty() => format!("there are no {what}"),
        None => format!("the {what} are {}", listed(names)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_understood() {
        for (given, meant) in [("cannary", "canary"), ("Stable", "stable"), ("hashon", "hashOn"), ("sevice", "service")]
        {
            assert_eq!(closest(given, ["canary", "stable", "hashOn", "service"]), Some(meant));
        }
        assert_eq!(closest("banana", ["canary", "stable"]), None);
        assert_eq!(known("x", "variants", ["a", "b"]), "the variants are `a`, `b`");
    }
}
