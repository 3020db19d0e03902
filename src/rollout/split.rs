//! How a cohort is split between variants, in percent that sum to 100.

use crate::model::Weight;

/// Shares of the variants of a service in one cohort. They always sum to [`Weight::HUNDRED`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split(Vec<(String, Weight)>);

impl Split {
    /// All of it to one variant.
    pub fn all(variant: &str) -> Split {
        Split(vec![(variant.to_owned(), Weight::HUNDRED)])
    }

    /// A share for one variant, the rest for another.
    pub fn between(to: &str, share: Weight, from: &str) -> Split {
        let share = share.min(Weight::HUNDRED);
        if share.is_zero() || to == from {
            return Split::all(from);
        }
        let rest = micros(Weight::HUNDRED.micros() - share.micros());
        let mut shares = vec![(to.to_owned(), share)];
        if !rest.is_zero() {
            shares.push((from.to_owned(), rest));
        }
        Split::sorted(shares)
    }

    /// The shares that weights of any sum mean; what rounding leaves over goes to `remainder`. Weights that sum to 0
    /// give all of it to `remainder`.
    pub fn of_weights<'w>(weights: impl IntoIterator<Item = (&'w str, Weight)>, remainder: &str) -> Split {
        let given: Vec<(&str, Weight)> = weights.into_iter().filter(|(_, weight)| !weight.is_zero()).collect();
        let sum: u128 = given.iter().map(|(_, weight)| u128::from(weight.micros())).sum();
        if sum == 0 {
            return Split::all(remainder);
        }
        let share = |weight: Weight| u128::from(weight.micros()) * u128::from(Weight::HUNDRED.micros()) / sum;
        let mut shares: Vec<(String, Weight)> = Vec::new();
        for (name, weight) in given {
            add(&mut shares, name, micros(u64::try_from(share(weight)).unwrap_or(0)));
        }
        let left = Weight::HUNDRED.micros().saturating_sub(shares.iter().map(|(_, share)| share.micros()).sum());
        let first = shares.first().map_or_else(|| remainder.to_owned(), |(name, _)| name.clone());
        let takes_rest = if shares.iter().any(|(name, _)| name == remainder) { remainder } else { first.as_str() };
        add(&mut shares, takes_rest, micros(left));
        Split::sorted(shares)
    }

    /// Another share for one variant. `remainder` gives or takes what the others do not; `None` when the others leave
    /// too little.
    pub fn with(&self, variant: &str, share: Weight, remainder: &str) -> Option<Split> {
        let others = self.0.iter().filter(|(name, _)| name != variant && name != remainder);
        let mut shares: Vec<(String, Weight)> = others.cloned().collect();
        if variant == remainder {
            // the others shrink or grow in proportion
            let rest = Weight::HUNDRED.micros().checked_sub(share.micros())?;
            let sum: u128 = shares.iter().map(|(_, share)| u128::from(share.micros())).sum();
            if sum == 0 {
                return (rest == 0).then(|| Split::all(variant));
            }
            for (_, other) in &mut shares {
                let part = u128::from(other.micros()) * u128::from(rest) / sum;
                *other = micros(u64::try_from(part).unwrap_or(0));
            }
        } else {
            add(&mut shares, variant, share);
        }
        let taken: u64 = shares.iter().map(|(_, share)| share.micros()).sum();
        let rest = Weight::HUNDRED.micros().checked_sub(taken)?;
        add(&mut shares, remainder, micros(rest));
        shares.retain(|(_, share)| !share.is_zero());
        Some(Split::sorted(shares))
    }

    /// The share of a variant, 0 to 100.
    pub fn of(&self, variant: &str) -> Weight {
        self.0.iter().find(|(name, _)| name == variant).map_or(Weight::ZERO, |(_, share)| *share)
    }

    /// Variants with their shares, by name; those without a share are left out.
    pub fn shares(&self) -> impl Iterator<Item = (&str, Weight)> {
        self.0.iter().map(|(name, share)| (name.as_str(), *share))
    }

    /// Reads shares that were written down; `None` unless they sum to 100 and each variant stands there once.
    pub fn from_shares(shares: Vec<(String, Weight)>) -> Option<Split> {
        let sum = shares.iter().try_fold(0u64, |sum, (_, share)| sum.checked_add(share.micros()))?;
        let split = Split::sorted(shares);
        let is_once = split.0.windows(2).all(|pair| pair[0].0 != pair[1].0);
        let has_zero = split.0.iter().any(|(_, share)| share.is_zero());
        (sum == Weight::HUNDRED.micros() && is_once && !has_zero).then_some(split)
    }

    fn sorted(mut shares: Vec<(String, Weight)>) -> Split {
        shares.sort();
        Split(shares)
    }
}

/// A weight of millionths. Sums of shares stay far below the largest weight.
fn micros(count: u64) -> Weight {
    Weight::from_micros(count)
}

fn add(shares: &mut Vec<(String, Weight)>, name: &str, share: Weight) {
    match shares.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = micros(known.micros() + share.micros()),
        None if share.is_zero() => {}
        None => shares.push((name.to_owned(), share)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(split: &Split) -> u64 {
        split.shares().map(|(_, share)| share.micros()).sum()
    }

    #[test]
    fn shares_are_percent() {
        let split = Split::between("canary", Weight::whole(10), "stable");
        assert_eq!((split.of("canary"), split.of("stable")), (Weight::whole(10), Weight::whole(90)));
        assert_eq!(Split::between("canary", Weight::ZERO, "stable"), Split::all("stable"));
        let thirds = [("a", Weight::whole(1)), ("b", Weight::whole(2))];
        let thirds = Split::of_weights(thirds, "b");
        assert_eq!((thirds.of("a").micros(), thirds.of("b").micros()), (33_333_333, 66_666_667));
        assert_eq!(Split::of_weights([], "stable"), Split::all("stable"));
    }

    #[test]
    fn one_share_changes_and_the_remainder_pays() {
        let three =
            Split::of_weights([("a", Weight::whole(50)), ("b", Weight::whole(30)), ("c", Weight::whole(20))], "a");
        let more = three.with("b", Weight::whole(60), "a").unwrap();
        assert_eq!(
            (more.of("a"), more.of("b"), more.of("c")),
            (Weight::whole(20), Weight::whole(60), Weight::whole(20))
        );
        assert_eq!(three.with("b", Weight::whole(90), "a"), None);
        let less = three.with("a", Weight::whole(75), "a").unwrap();
        assert_eq!(
            (less.of("a"), less.of("b"), less.of("c")),
            (Weight::whole(75), Weight::whole(15), Weight::whole(10))
        );
        assert_eq!(Split::all("a").with("a", Weight::whole(5), "a"), None);
    }

    proptest! {
        #[test]
        fn shares_always_sum_to_a_hundred(weights in proptest::collection::vec(0u64..2_000_000_000, 1..5), share in 0u64..=100) {
            let names = ["a", "b", "c", "d"];
            let given = weights.iter().zip(names).map(|(w, name)| (name, Weight::from_micros(*w)));
            let split = Split::of_weights(given, "a");
            prop_assert_eq!(sum(&split), Weight::HUNDRED.micros());
            for name in names {
                if let Some(changed) = split.with(name, Weight::whole(share), "a") {
                    prop_assert_eq!(sum(&changed), Weight::HUNDRED.micros());
                }
            }
            prop_assert_eq!(Split::from_shares(split.shares().map(|(n, s)| (n.to_owned(), s)).collect()), Some(split));
        }
    }
}
