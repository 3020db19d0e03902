use serde_json::json;
use std::env::consts::{ARCH, OS};

use super::Exit;
use super::out::{Output, print, print_json};

/// Print the version.
///
/// The version, the platform, and what it speaks.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How it is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What this build can do that another may not.
const FEATURES: [&str; 5] = ["http1", "h2c", "websocket", "mmdb", "jwt"];

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match self.output {
            Output::Text => print(&format!("ringway {VERSION} ({OS} {ARCH}; {})\n", FEATURES.join(", ")))?,
            Output::Json => print_json(&json!({
                "schema": "ringway.version/v1", "version": VERSION, "os": OS, "arch": ARCH, "features": FEATURES,
            }))?,
        }
        Ok(Exit::Yes)
    }
}
