//! A loaded file to a snapshot that may be published: what `check` and a reload have in common.
//!
//! ```text
//! loaded → references → compile → tests → prepared
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::compile::{CompileError, Foundation, compile};
use super::expect::{self, Verdict};
use super::overlay::Overlay;
use super::snapshot::Snapshot;
use crate::config::files::References;
use crate::config::render::TestCounts;
use crate::config::{Code, ConfigErrors, Diagnostic, Loaded};
use crate::telemetry::Registry;
use crate::upstream::Upstreams;

/// A configuration that may be published.
pub struct Prepared {
    /// What serves requests.
    pub snapshot: Snapshot,
    /// The loaded files that the configuration names; [`References::paths`] are the ones to watch.
    pub references: References,
    /// The configuration, with its warnings.
    pub loaded: Loaded,
}

/// Loads what the configuration names, compiles it, and runs its tests.
///
/// Slots that a refused configuration asked of `registry` stay there until [`Registry::keep`] is told which ones
/// are in force.
///
/// # Errors
/// A named file cannot be used, or a test fails: every such problem, and the warnings.
pub fn prepare(loaded: Loaded, upstreams: &Upstreams, registry: &Registry) -> Result<Prepared, ConfigErrors> {
    let prepared = assemble(loaded, upstreams, registry)?;
    let verdicts = prepared.verdicts();
    prepared.judged(&verdicts)
}

/// Does the same as [`prepare`], but for the tests.
///
/// # Errors
/// A named file cannot be used.
pub fn assemble(loaded: Loaded, upstreams: &Upstreams, registry: &Registry) -> Result<Prepared, ConfigErrors> {
    let (references, problems) = References::load(&loaded.file);
    if !problems.is_empty() {
        let problems = loaded.file_problems(problems);
        return Err(loaded.refuse(problems));
    }
    let overlay = Overlay::default();
    let foundation = Foundation { references: &references, upstreams, registry, overlay: &overlay };
    // A reload must outlive whatever a file does to the compiler; the hook has told where it happened.
    let compiled = catch_unwind(AssertUnwindSafe(|| compile(&loaded.file, &loaded.rev, &foundation)));
    let problem = match compiled {
        Ok(Ok(snapshot)) => return Ok(Prepared { snapshot, references, loaded }),
        Ok(Err(error)) => {
            let at = loaded.span_of(&error.place);
            Diagnostic::new(Code::InvalidValue, error.to_string()).at(at)
        }
        Err(_) => Diagnostic::new(Code::NotSupported, "compiling this file met a bug in ringway; please report it"),
    };
    Err(loaded.refuse(vec![problem]))
}

/// Compiles what was prepared before, with weights in force that are not the file's. Its tests are about the file, and
/// are not run again.
///
/// # Errors
/// None for a configuration that was compiled before.
pub fn recompile(
    loaded: &Loaded,
    references: &References,
    upstreams: &Upstreams,
    registry: &Registry,
    overlay: &Overlay,
) -> Result<Snapshot, CompileError> {
    compile(&loaded.file, &loaded.rev, &Foundation { references, upstreams, registry, overlay })
}

impl Prepared {
    /// Runs the tests of the file.
    pub fn verdicts(&self) -> Vec<Verdict> {
        expect::run_tests(&self.loaded.file, &self.snapshot)
    }

    /// The configuration itself when all of its tests pass.
    ///
    /// # Errors
    /// A test fails: every expectation that is not met, and the warnings.
    pub fn judged(self, verdicts: &[Verdict]) -> Result<Prepared, ConfigErrors> {
        let failures: Vec<_> = verdicts.iter().flat_map(|verdict| verdict.failures.iter().cloned()).collect();
        if failures.is_empty() {
            return Ok(self);
        }
        let failures = self.loaded.test_failures(failures);
        Err(self.loaded.refuse(failures))
    }
}

/// How many tests passed and failed.
pub fn count(verdicts: &[Verdict]) -> TestCounts {
    let passed = verdicts.iter().filter(|verdict| verdict.has_passed()).count();
    TestCounts { passed, failed: verdicts.len() - passed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load_texts};

    const SHOP: &str = "listeners: [{ address: 127.0.0.1:8080 }]\nservices:\n  shop:\n    \
        variants: { stable: { endpoints: [127.0.0.1:1] } }\n";

    fn prepared(text: &str) -> Result<Prepared, ConfigErrors> {
        let loaded = load_texts(vec![Source::new("a.yaml", text)]).unwrap_or_else(|errors| panic!("{errors}"));
        prepare(loaded, &Upstreams::default(), &Registry::new(1, 10_000))
    }

    fn refused(text: &str) -> String {
        prepared(text).err().expect("the configuration is refused").to_string()
    }

    #[test]
    fn a_good_file_becomes_a_snapshot_with_its_revision() {
        let prepared = prepared(SHOP).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(*prepared.snapshot.rev, *prepared.loaded.rev);
        assert_eq!(prepared.references.paths().count(), 0);
    }

    #[test]
    fn a_missing_file_is_told_at_the_field_that_names_it() {
        let message = refused(&format!("{SHOP}    saltFile: /nowhere/salt\n"));
        assert!(message.starts_with("a.yaml:5:15: RW0601: /nowhere/salt"), "{message}");
    }

    #[test]
    fn a_failed_test_refuses_the_file_at_the_expectation() {
        let test = "tests:\n  - request: { url: 'http://a/' }\n    expect: { variant: stable, reason: split }\n";
        let message = refused(&format!("{SHOP}{test}"));
        assert_eq!(message, "a.yaml:7:40: RW0701: the reason is `only`, not `split`");
    }
}
