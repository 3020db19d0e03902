//! Numbers in a row, as which the judge's state is kept between two lives of a process.
//!
//! Bits of floats, not their decimals: what is read back must be what was written. Reading checks every length, so
//! that a file that somebody else wrote is refused and not believed.

/// Writes.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) words: Vec<u64>,
}

/// Reads what a [`Writer`] wrote.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    words: std::slice::Iter<'a, u64>,
}

impl Writer {
    pub(super) fn number(&mut self, number: u64) {
        self.words.push(number);
    }

    pub(super) fn float(&mut self, float: f64) {
        self.words.push(float.to_bits());
    }

    pub(super) fn optional(&mut self, number: Option<u64>) {
        self.number(u64::from(number.is_some()));
        self.number(number.unwrap_or_default());
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(words: &'a [u64]) -> Reader<'a> {
        Reader { words: words.iter() }
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.words.next().copied()
    }

    /// A number that is at most `most`.
    pub(super) fn below(&mut self, most: u64) -> Option<u64> {
        self.number().filter(|number| *number <= most)
    }

    /// A float that is a number; it may be infinite.
    pub(super) fn float(&mut self) -> Option<f64> {
        self.number().map(f64::from_bits).filter(|float| !float.is_nan())
    }

    /// A part of a whole.
    pub(super) fn part(&mut self) -> Option<f64> {
        self.float().filter(|part| (0.0..=1.0).contains(part))
    }

    pub(super) fn optional(&mut self) -> Option<Option<u64>> {
        let is_there = self.below(1)?;
        let number = self.number()?;
        Some((is_there == 1).then_some(number))
    }

    /// Whether all has been read.
    pub(super) fn is_done(&self) -> bool {
        self.words.as_slice().is_empty()
    }
}
