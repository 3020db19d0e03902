//! A loaded configuration, ready to serve: its files read and its snapshot compiled.

use crate::config::files::References;
use crate::config::{Code, ConfigErrors, Diagnostic, Loaded};
use crate::routing::{Foundation, Snapshot, compile};
use crate::telemetry::Registry;
use crate::upstream::Upstreams;

/// What a reload publishes.
pub struct Prepared {
    /// What serves requests.
    pub snapshot: Snapshot,
    /// The files that the configuration names.
    pub references: References,
    /// What was loaded.
    pub loaded: Loaded,
}

/// Reads the files that a configuration names, and compiles it.
pub fn prepare(loaded: Loaded, upstreams: &Upstreams, registry: &Registry) -> Result<Prepared, ConfigErrors> {
    let (references, problems) = References::load(&loaded.file);
    if !problems.is_empty() {
        let found = loaded.file_problems(problems);
        return Err(loaded.refuse(found));
    }
    match compile(&loaded.file, &loaded.rev, &Foundation { references: &references, upstreams, registry }) {
        Ok(snapshot) => Ok(Prepared { snapshot, references, loaded }),
        Err(error) => {
            let span = loaded.span_of(&error.place);
            Err(loaded.refuse(vec![Diagnostic::new(Code::ReferencedFile, error.message).at(span)]))
        }
    }
}
