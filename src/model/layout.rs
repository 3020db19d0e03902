use super::{BUCKETS, Bucket, Weight};

/// Which buckets belong to which variant of a cohort.
///
/// A variant's width is `floor(weight × 1,000,000 / sum)` buckets. The remainder variant takes what is left, in
/// the middle; of the others the first grows from bucket 0 upward, the second from the top downward, the third
/// upward behind the first, and so on. So a change of weights moves users only out of variants that shrank and
/// into variants that grew, as far as the layout allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Ascending, without gaps, covering all buckets; never empty.
    ranges: Vec<Range>,
}

/// A run of buckets that belongs to one variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First bucket.
    pub start: u32,
    /// One past the last bucket.
    pub end: u32,
    /// The variant's position among the service's variants.
    pub variant: usize,
}

/// Why weights have no layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// No variant has any share.
    #[error("the sum of the weights is 0")]
    NoShare,
}

impl Layout {
    /// Lays out `weights`, one for each variant of the service in the order of the file.
    ///
    /// `remainder` is the position of the remainder variant. When its weight is 0, the few buckets that rounding
    /// leaves over go to the variant with the largest weight instead.
    pub fn new(weights: &[Weight], remainder: usize) -> Result<Layout, LayoutError> {
        let sum: u128 = weights.iter().map(|weight| u128::from(weight.micros())).sum();
        if sum == 0 {
            return Err(LayoutError::NoShare);
        }
        let width = |weight: Weight| (u128::from(weight.micros()) * u128::from(BUCKETS) / sum) as u32;
        let (mut low, mut high) = (0, BUCKETS);
        let mut below = Vec::with_capacity(weights.len() + 1);
        let mut above = Vec::new();
        let others = weights.iter().enumerate().filter(|(variant, _)| *variant != remainder);
        for (turn, (variant, weight)) in others.enumerate() {
            let width = width(*weight);
            if turn % 2 == 0 {
                below.push(Range { start: low, end: low + width, variant });
                low += width;
            } else {
                above.push(Range { start: high - width, end: high, variant });
                high -= width;
            }
        }
        let has_remainder = weights.get(remainder).is_some_and(|weight| !weight.is_zero());
        let middle = if has_remainder { remainder } else { largest(weights) };
        below.push(Range { start: low, end: high, variant: middle });
        below.extend(above.into_iter().rev());
        below.retain(|range| range.start < range.end);
        Ok(Layout { ranges: below })
    }

    /// The variant of a bucket.
    pub fn variant_of(&self, bucket: Bucket) -> usize {
        let number = bucket.number();
        let mut variant = self.ranges[0].variant;
        for range in &self.ranges {
            if range.start > number {
                break;
            }
            variant = range.variant;
        }
        variant
    }

    /// The runs of buckets, ascending, without gaps.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// The only variant that has a share, if there is just one.
    pub fn only(&self) -> Option<usize> {
        let first = self.ranges[0].variant;
        self.ranges.iter().all(|range| range.variant == first).then_some(first)
    }

    /// How many buckets a variant has.
    pub fn width_of(&self, variant: usize) -> u32 {
        self.ranges.iter().filter(|range| range.variant == variant).map(|range| range.end - range.start).sum()
    }
}

fn largest(weights: &[Weight]) -> usize {
    let mut best = 0;
    for (variant, weight) in weights.iter().enumerate() {
        if *weight > weights[best] {
            best = variant;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weights(of: &[&str]) -> Vec<Weight> {
        of.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn layout(of: &[&str]) -> Layout {
        Layout::new(&weights(of), 0).unwrap()
    }

    #[test]
    fn one_in_ten_thousand_is_an_ordinary_weight() {
        let layout = layout(&["99.99", "0.01"]);
        assert_eq!(layout.width_of(1), 100);
        assert_eq!(layout.variant_of(Bucket::new(99).unwrap()), 1);
        assert_eq!(layout.variant_of(Bucket::new(100).unwrap()), 0);
    }

    #[test]
    fn the_first_other_grows_upward_and_the_second_downward() {
        let range = |start, end, variant| Range { start, end, variant };
        assert_eq!(
            layout(&["70", "10", "20"]).ranges(),
            [range(0, 100_000, 1), range(100_000, 800_000, 0), range(800_000, 1_000_000, 2)]
        );
    }

    #[test]
    fn rounding_leaves_nothing_to_a_variant_without_weight() {
        let layout = layout(&["0", "1", "2"]);
        assert_eq!((layout.width_of(0), layout.width_of(1), layout.width_of(2)), (0, 333_333, 666_667));
    }

    #[test]
    fn no_weight_no_layout() {
        assert_eq!(Layout::new(&weights(&["0", "0"]), 0), Err(LayoutError::NoShare));
        assert_eq!(Layout::new(&[], 0), Err(LayoutError::NoShare));
    }

    #[test]
    fn a_single_share_is_the_only_one() {
        assert_eq!(layout(&["100", "0"]).only(), Some(0));
        assert_eq!(layout(&["1", "1"]).only(), None);
    }

    fn micros() -> impl Strategy<Value = Weight> {
        (0u64..=1_000_000).prop_map(Weight::whole)
    }

    proptest! {
        #[test]
        fn every_bucket_belongs_to_one_variant(of in proptest::collection::vec(micros(), 1..6), remainder in 0usize..6) {
            prop_assume!(of.iter().any(|weight| !weight.is_zero()));
            let layout = Layout::new(&of, remainder % of.len()).unwrap();
            let mut next = 0;
            for range in layout.ranges() {
                prop_assert_eq!(range.start, next);
                prop_assert!(!of[range.variant].is_zero());
                next = range.end;
            }
            prop_assert_eq!(next, BUCKETS);
        }

        /// With two variants nobody moves who need not: only from the one that shrank to the one that grew.
        #[test]
        fn two_variants_move_the_least(a in 0u64..=100, b in 0u64..=100, bucket in 0..BUCKETS) {
            let of = |canary: u64| Layout::new(&[Weight::whole(100 - canary), Weight::whole(canary)], 0).unwrap();
            let bucket = Bucket::new(bucket).unwrap();
            let (before, after) = (of(a).variant_of(bucket), of(b).variant_of(bucket));
            if before != after {
                prop_assert_eq!(after == 1, b > a);
            }
        }

        /// With three, neither of the two that do not take part in a change moves anyone.
        #[test]
        fn three_variants_move_only_through_the_remainder(one in 0u64..=50, two in 0u64..=50, more in 0u64..=50, bucket in 0..BUCKETS) {
            let of = |one: u64, two: u64| Layout::new(&[Weight::whole(100 - one - two), Weight::whole(one), Weight::whole(two)], 0).unwrap();
            let bucket = Bucket::new(bucket).unwrap();
            let (before, after) = (of(one, two).variant_of(bucket), of(more, two).variant_of(bucket));
            if before == 2 || after == 2 {
                prop_assert_eq!(before, after);
            }
        }
    }
}
