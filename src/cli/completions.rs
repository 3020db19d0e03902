use clap_complete::Shell;

use super::Exit;
use super::out::print;

/// Print what a shell needs for completion; bash and zsh also complete names of services, cohorts and variants.
///
/// For example: `ringway completions bash > /etc/bash_completion.d/ringway`, or
/// `ringway completions zsh > ~/.zfunc/_ringway`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Asks the binary what may follow; where it knows nothing, files do.
const BASH: &str = r#"_ringway() {
    local word="${COMP_WORDS[COMP_CWORD]}"
    [[ $word == "=" ]] && word=""
    local words=("${COMP_WORDS[@]:1:COMP_CWORD-1}") offers
    offers="$("${COMP_WORDS[0]}" __complete -- "${words[@]}" "$word" 2>/dev/null)"
    local IFS=$'\n'
    COMPREPLY=($offers)
}
complete -o default -o bashdefault -F _ringway ringway
"#;

const ZSH: &str = r#"#compdef ringway
_ringway() {
    local -a offers
    offers=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT-1]}" "${PREFIX}" 2>/dev/null)}")
    offers=("${(@)offers:#}")
    if (( ${#offers} )); then
        compadd -- "${(@)offers}"
    else
        _files
    fi
}
if [[ "${funcstack[1]}" == "_ringway" ]]; then
    _ringway "$@"
else
    compdef _ringway ringway
fi
"#;

impl Args {
    pub(super) fn run(self, mut command: clap::Command) -> anyhow::Result<Exit> {
        match self.shell {
            Shell::Bash => print(BASH)?,
            Shell::Zsh => print(ZSH)?,
            other => {
                let mut script = Vec::new();
                clap_complete::generate(other, &mut command, "ringway", &mut script);
                print(&String::from_utf8_lossy(&script))?;
            }
        }
        Ok(Exit::Yes)
    }
}
