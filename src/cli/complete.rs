//! What a shell offers after a word that was begun: commands, options, and the names of services, cohorts and variants.

use clap::{Arg, Command};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Exit;
use super::out::print;
use super::words::{each, word};
use crate::config::load_what_fits;
use crate::control::Doors;
use crate::control::client::{self, Door};
use crate::model::printable;

/// Print what may follow, one on each line. Shells ask this by themselves.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The words after `ringway`; the last one is the one that was begun, and may be empty
    #[arg(last = true, value_name = "WORDS")]
    words: Vec<String>,
}

/// Whoever types waits no longer for a process to answer.
const PATIENCE: Duration = Duration::from_millis(300);

/// What stands in the place of the word.
#[derive(Debug, Default)]
struct Place<'c> {
    /// The option or positional word that it is the value of.
    of: Option<&'c Arg>,
    /// The command whose options and commands may stand here.
    command: Option<&'c Command>,
    /// The service that was named.
    service: Option<String>,
    config: Option<String>,
    admin: Option<String>,
}

impl Args {
    pub(super) fn run(self, command: &Command) -> anyhow::Result<Exit> {
        let mut command = command.clone();
        command.build();
        let (begun, before) = self.words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
        let place = find(&command, before);
        let mut offers: Vec<String> = match place.of {
            Some(arg) => values(arg, &place),
            None => Vec::new(),
        };
        if let Some(command) = place.command.filter(|_| place.of.is_none_or(Arg::is_positional)) {
            let commands = command.get_subcommands().filter(|of| !of.is_hide_set());
            offers.extend(commands.map(|of| of.get_name().to_owned()));
            if begun.starts_with('-') {
                let options = command.get_arguments().filter(|arg| !arg.is_hide_set());
                offers.extend(options.filter_map(|arg| Some(format!("--{}", arg.get_long()?))));
            }
        }
        let fitting = offers.iter().filter(|offer| offer.starts_with(begun));
        print(&fitting.map(|offer| format!("{}\n", printable(offer))).collect::<String>())?;
        Ok(Exit::Yes)
    }
}

/// Goes through the words as the command line is read.
fn find<'c>(root: &'c Command, words: &[String]) -> Place<'c> {
    let mut command = root;
    let mut place = Place::default();
    let (mut at, mut position) = (None::<&Arg>, 1);
    // bash takes `--cohort=be` apart into three words
    for word in words.iter().map(String::as_str).filter(|word| *word != "=") {
        if word == "--" {
            return Place::default();
        }
        if let Some(arg) = at.take() {
            place.learn(arg, word);
            continue;
        }
        if word.starts_with('-') {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let option = command.get_arguments().find(|arg| is_named(arg, name));
            match (option.filter(|arg| arg.get_action().takes_values()), value) {
                (Some(arg), Some(value)) => place.learn(arg, value),
                (found, _) => at = found,
            }
            continue;
        }
        match command.find_subcommand(word) {
            Some(found) => (command, position) = (found, 1),
            None => {
                command.get_positionals().nth(position - 1).into_iter().for_each(|arg| place.learn(arg, word));
                position += 1;
            }
        }
    }
    place.of = at.or_else(|| command.get_positionals().nth(position - 1));
    place.command = Some(command);
    place
}

fn is_named(arg: &Arg, name: &str) -> bool {
    match name.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| name.strip_prefix('-').is_some_and(|of| of == short.to_string())),
    }
}

impl Place<'_> {
    fn learn(&mut self, arg: &Arg, value: &str) {
        match arg.get_id().as_str() {
            "service" => self.service = Some(value.to_owned()),
            "path" => self.config = Some(value.to_owned()),
            "admin" => self.admin = Some(value.to_owned()),
            _ => {}
        }
    }
}

/// The values that an option or positional word may have; none where it is free, or a file.
fn values(arg: &Arg, place: &Place<'_>) -> Vec<String> {
    let possible: Vec<String> =
        arg.get_possible_values().iter().filter(|of| !of.is_hide_set()).map(|of| of.get_name().to_owned()).collect();
    if !possible.is_empty() && arg.get_action().takes_values() {
        return possible;
    }
    let services = match arg.get_id().as_str() {
        "service" | "cohort" | "variant" => services(place),
        _ => return Vec::new(),
    };
    let is_wanted = |service: &&Value| place.service.as_ref().is_none_or(|name| service["name"] == name.as_str());
    let of = |list: &str| -> BTreeSet<String> {
        let wanted = each(&services).filter(is_wanted);
        wanted.flat_map(|service| each(&service[list])).map(|named| word(&named["name"])).collect()
    };
    match arg.get_id().as_str() {
        "service" => each(&services).map(|service| word(&service["name"])).collect(),
        "cohort" => of("cohorts").into_iter().collect(),
        _ => of("variants").into_iter().collect(),
    }
}

/// Services with their cohorts and variants: of the file, else of the process that runs.
fn services(place: &Place<'_>) -> Value {
    let variable = std::env::var_os("RINGWAY_CONFIG").map(PathBuf::from);
    let path = place.config.as_ref().map(PathBuf::from).or(variable).unwrap_or_else(|| PathBuf::from("ringway.yaml"));
    // `-` would read what somebody types
    let is_file = place.admin.is_none() && path != Path::new("-");
    if let Some(file) = is_file.then(|| load_what_fits(&path)).flatten() {
        let named = |name: &str| json!({ "name": name });
        let services = file.services.iter().map(|(name, service)| {
            let cohorts = service.cohorts.iter().map(|cohort| cohort.name.as_str()).filter(|name| *name != "everyone");
            json!({
                "name": name,
                "cohorts": cohorts.chain(["everyone"]).map(named).collect::<Vec<_>>(),
                "variants": service.variants.keys().map(|name| named(name)).collect::<Vec<_>>(),
            })
        });
        return services.collect::<Vec<_>>().into();
    }
    let at = match &place.admin {
        Some(admin) => client::Place::parse(admin, None).ok(),
        None => client::Place::of_doors(&Doors::of(&path)).ok(),
    };
    let token = std::env::var("RINGWAY_TOKEN").ok().filter(|token| !token.is_empty());
    let door = at.map(|place| Door { place, token });
    let answer = door.and_then(|door| client::page(&door, "/api/v1/services", PATIENCE).ok());
    answer.map_or(Value::Null, |mut answer| answer["services"].take())
}
