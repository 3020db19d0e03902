use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Exit;
use super::out::{counted, print, say};
use crate::config::render::{Format, Report};
use crate::config::{FILE_BYTES_MAX, Source, load_texts};
use crate::migrate::{Kind, migrate};
use crate::model::printable;

/// Write a ringway.yaml that does what the files of another proxy do.
///
/// The file goes to standard output, with a comment for everything that does not carry over; standard error lists the
/// same. Exit code 1 when something was left out. Nothing is asked of a cluster: give the objects as files.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ringway migrate ingress-nginx shop.yaml shop-canary.yaml > ringway.yaml\n  \
    kubectl get httproute -o yaml | ringway migrate gateway-api - > ringway.yaml")]
pub(super) struct Args {
    /// What the files are
    #[arg(value_enum, value_name = "KIND")]
    kind: From,
    /// The files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Exit code 0 also when something was left out
    #[arg(long)]
    allow_partial: bool,
}

/// Whose files can be read.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// Ingress objects with canary annotations
    IngressNginx,
    /// HTTPRoute objects
    GatewayApi,
    /// Rollout objects with the canary strategy, with their Services and AnalysisTemplates
    ArgoRollouts,
    /// nginx configuration with split_clients
    Nginx,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let kind = match self.kind {
            From::IngressNginx => Kind::IngressNginx,
            From::GatewayApi => Kind::GatewayApi,
            From::ArgoRollouts => Kind::ArgoRollouts,
            From::Nginx => Kind::Nginx,
        };
        let sources: Vec<Source> = self.files.iter().map(|path| read(path)).collect::<anyhow::Result<_>>()?;
        let migrated = migrate(kind, &sources).map_err(|problem| anyhow!(problem))?;
        for remark in &migrated.remarks {
            let word = if remark.is_left_out { "left out" } else { "differs" };
            say(&printable(&format!("{word}: {}: {}", remark.origin, remark.text)));
        }
        if let Err(errors) = load_texts(vec![Source::new("<what came out>", migrated.text.clone())]) {
            say(&Report::from(&errors).render(Format::Text, false));
            bail!(
                "what came out is no valid file, because of values that were taken over as they are; mend them where they came from"
            );
        }
        print(&migrated.text)?;
        let left_out = migrated.left_out().count();
        if left_out == 0 {
            say("nothing was left out");
        } else {
            say(&format!("{} left out; each is a comment in the file", counted(left_out, "thing")));
        }
        Ok(if left_out == 0 || self.allow_partial { Exit::Yes } else { Exit::No })
    }
}

fn read(path: &Path) -> anyhow::Result<Source> {
    let most = FILE_BYTES_MAX as u64 + 1;
    let (name, mut text) = (path.display().to_string(), String::new());
    let read = if path == Path::new("-") {
        std::io::stdin().take(most).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(most).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read {name}"))?;
    if text.len() > FILE_BYTES_MAX {
        bail!("{name} is larger than 1 MiB: migrate it in parts");
    }
    Ok(Source::new(name, text))
}
