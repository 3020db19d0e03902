use super::Exit;
use super::out::print_json;
use crate::config::json_schema;

/// Print the JSON Schema of the file.
///
/// For completion and hints in editors: `ringway schema > ringway.schema.json`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        print_json(&json_schema())?;
        Ok(Exit::Yes)
    }
}
