use clap_complete::Shell;

use super::Exit;
use super::out::print;

/// Print what a shell needs for completion.
///
/// For example: `ringway completions bash > /etc/bash_completion.d/ringway`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Args {
    pub(super) fn run(self, mut command: clap::Command) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "ringway", &mut script);
        print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Yes)
    }
}
