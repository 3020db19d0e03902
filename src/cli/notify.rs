use anyhow::bail;
use clap::Subcommand;
use serde_json::json;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::Exit;
use super::out::{Output, print, print_json, say};
use super::prepared::ConfigPath;
use crate::control::notify::{Note, Recipient, Verdict, verdict};
use crate::control::outside::Outside;

/// Try those who are told about rollouts.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Send a test to one notifier of the file, or to all; what calls people is taken back at once.
    Test(Test),
}

/// Sends from this machine by the file, its addresses and secrets; no running process is asked.
#[derive(Debug, clap::Args)]
struct Test {
    /// The notifier's name [default: all]
    name: Option<String>,
    #[command(flatten)]
    config: ConfigPath,
    /// How the result is written; the exit code is the same
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// What came of a notifier.
struct Tried {
    notifier: String,
    verdict: Verdict,
    milliseconds: u128,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let Kind::Test(test) = self.kind;
        let Some(prepared) = test.config.assemble_or_tell() else { return Ok(Exit::No) };
        let (file, references) = (&prepared.loaded.file, &prepared.references);
        let is_wanted = |name: &str| test.name.as_deref().is_none_or(|wanted| wanted == name);
        let wanted: Vec<_> = file.notifiers.iter().filter(|notifier| is_wanted(&notifier.name)).collect();
        if wanted.is_empty() {
            match &test.name {
                Some(name) => {
                    let known: Vec<&str> = file.notifiers.iter().map(|notifier| notifier.name.as_str()).collect();
                    bail!("there is no notifier `{name}`; the file has: {}", known.join(", "));
                }
                None => bail!("the file has no `notifiers`; see docs/guides/notifications.md"),
            }
        }
        let outside = Outside::new(file, references);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tried: Vec<Tried> = runtime.block_on(async {
            let mut tried = Vec::new();
            for notifier in wanted {
                match Recipient::of(notifier, references) {
                    Some(recipient) => tried.push(try_out(&recipient, &outside).await),
                    None => tried.push(Tried {
                        notifier: notifier.name.clone(),
                        verdict: Verdict::Refused { why: "one of its files holds no text".to_owned() },
                        milliseconds: 0,
                    }),
                }
            }
            tried
        });
        tell(&tried, test.output)?;
        Ok(exit(&tried))
    }
}

/// Both notes of the trial; the first one that is not delivered is the last.
async fn try_out(recipient: &Recipient, outside: &Outside) -> Tried {
    let began = Instant::now();
    let mut verdict_of_all = Verdict::Delivered;
    for note in Note::trials().iter().filter(|note| recipient.wants(note)) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let Some(ask) = recipient.ask(note, now) else { continue };
        verdict_of_all = verdict(&outside.ask(ask).await);
        if verdict_of_all != Verdict::Delivered {
            break;
        }
    }
    let milliseconds = began.elapsed().as_millis();
    Tried { notifier: recipient.name.clone(), verdict: verdict_of_all, milliseconds }
}

fn tell(tried: &[Tried], output: Output) -> std::io::Result<()> {
    let why = |tried: &Tried| match &tried.verdict {
        Verdict::Delivered => None,
        Verdict::Again { why, .. } | Verdict::Refused { why } => Some(why.clone()),
    };
    if output == Output::Json {
        let one = |tried: &Tried| {
            json!({
                "name": tried.notifier,
                "delivered": tried.verdict == Verdict::Delivered,
                "milliseconds": tried.milliseconds,
                "problem": why(tried),
            })
        };
        let all: Vec<_> = tried.iter().map(one).collect();
        return print_json(&json!({ "schema": "ringway.notify-test/v1", "notifiers": all }));
    }
    for one in tried {
        match why(one) {
            None => print(&format!("✔ {}: delivered in {} ms\n", one.notifier, one.milliseconds))?,
            Some(why) => print(&format!("✗ {}: not delivered: {why}\n", one.notifier))?,
        }
    }
    if tried.iter().all(|one| one.verdict == Verdict::Delivered) {
        say("look whether it has arrived: a delivery says only that it was taken");
    }
    Ok(())
}

fn exit(tried: &[Tried]) -> Exit {
    if tried.iter().any(|one| matches!(one.verdict, Verdict::Refused { .. })) {
        return Exit::No;
    }
    if tried.iter().any(|one| matches!(one.verdict, Verdict::Again { .. })) { Exit::Unreachable } else { Exit::Yes }
}
