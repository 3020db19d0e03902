//! The file as people write it, and everything that can be wrong with it.
//!
//! ```text
//! read → parse → merge → shape → check      text → tree → one tree → schema::File → diagnostics
//! ```
//!
//! [`load()`] does it all: it gives a [`Loaded`] configuration without errors, or [`ConfigErrors`] with every error
//! that there is. The files that a configuration refers to are read elsewhere; their problems come back through
//! [`Loaded::file_problems`], and those of its tests through [`Loaded::test_failures`].

mod check;
pub mod codes;
mod decode;
mod diagnostic;
pub mod files;
mod foreign;
mod load;
mod merge;
mod parse;
mod paths;
mod place;
mod read;
pub mod render;
pub mod schema;
mod shape;
mod source;
mod suggest;
pub mod template;
mod tree;
pub mod values;
pub mod window;
mod written;

pub use check::is_name;
pub use codes::{Code, Severity};
pub use diagnostic::{ConfigErrors, Diagnostic, Label};
pub use foreign::foreign;
pub use load::{FILE_BYTES_MAX, Loaded, TestFailure, load, load_texts, load_what_fits};
pub use place::{Place, Step};
pub(crate) use read::files_of;
pub use source::{Position, Source, Span};
pub use written::Written;

/// A configuration to start from, with a comment for everything that most people need.
pub const STARTER: &str = include_str!("starter.yaml");

/// The JSON Schema (draft 2020-12) of the file, for editors.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(schema::File).to_value()
}

#[cfg(test)]
mod corpus;
