use std::fmt;

/// A place in the file, as the keys and positions that lead to it: `services.shop.cohorts[2].when`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(Vec<Step>);

/// One step of a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Into a map.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl Place {
    /// The whole file.
    pub fn root() -> Place {
        Place::default()
    }

    /// The place below this one at a key of a map.
    pub fn key(&self, key: impl Into<String>) -> Place {
        self.then(Step::Key(key.into()))
    }

    /// The place below this one at a position of a list.
    pub fn index(&self, index: usize) -> Place {
        self.then(Step::Index(index))
    }

    /// The steps from the root.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The place without its last step.
    pub fn parent(&self) -> Place {
        Place(self.0.split_last().map_or(Vec::new(), |(_, above)| above.to_vec()))
    }

    /// True when this place lies below another one.
    pub fn is_below(&self, other: &Place) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }

    fn then(&self, step: Step) -> Place {
        let mut steps = self.0.clone();
        steps.push(step);
        Place(steps)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
