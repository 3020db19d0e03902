//! The page of the command line, from the same descriptions as `--help`.

use clap::Command;
use std::fmt::Write;

/// One section a command, in the order of `ringway --help`.
pub fn page(generated: &str, root: &Command) -> String {
    let mut page = format!(
        "# The command line\n\n{generated}\n\n`ringway COMMAND --help` prints the same, and `ringway man DIR` writes it as manual \
         pages. Standard output is data,\nstandard error is talk; off a terminal there is neither colour nor a moving cursor.\n\n\
         | exit code | meaning |\n| --- | --- |\n| 0 | yes, or done |\n| 1 | the answer is no |\n| 2 | usage or input |\n\
         | 3 | cannot reach, or not let in |\n| 4 | timed out |\n| 5 | refused by the state of a rollout, or changed meanwhile |\n\
         | 70 | a bug |\n\nWhat makes things safer never asks. What raises a share asks on a terminal, and needs `--yes` elsewhere. Commands \
         find a running\nprocess by the file, so in its folder nothing needs to be named; over a unix socket they need no token.\n"
    );
    let mut root = root.clone();
    root.build();
    root.get_subcommands()
        .filter(|command| !command.is_hide_set())
        .for_each(|command| section(&mut page, "ringway", command));
    page
}

fn section(page: &mut String, before: &str, command: &Command) {
    let name = format!("{before} {}", command.get_name());
    let nested: Vec<&Command> = command.get_subcommands().filter(|of| of.get_name() != "help").collect();
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    writeln!(page, "\n## {name}\n\n{}", escaped(&about)).unwrap();
    let arguments: Vec<_> = command.get_arguments().filter(|of| !of.is_hide_set() && of.get_id() != "help").collect();
    if nested.is_empty() && !arguments.is_empty() {
        writeln!(page, "\n| argument | meaning |\n| --- | --- |").unwrap();
    }
    for argument in arguments.iter().filter(|_| nested.is_empty()) {
        let value = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
        let value = value.filter(|_| argument.get_action().takes_values());
        let words = match (argument.get_long(), value) {
            (Some(long), Some(value)) => format!("--{long} {value}"),
            (Some(long), None) => format!("--{long}"),
            (None, value) => value.unwrap_or_default(),
        };
        let short = argument.get_short().map_or_else(String::new, |short| format!("-{short}, "));
        let mut text = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let possible: Vec<String> = argument.get_possible_values().iter().map(|of| of.get_name().to_owned()).collect();
        if !possible.is_empty() && argument.get_action().takes_values() {
            write!(text, ": {}", possible.join(", ")).unwrap();
        }
        if let Some(default) = argument.get_default_values().first().filter(|_| argument.get_action().takes_values()) {
            write!(text, " [default: {}]", default.to_string_lossy()).unwrap();
        }
        writeln!(page, "| `{short}{words}` | {} |", escaped(&text)).unwrap();
    }
    if let Some(examples) = command.get_after_help().map(ToString::to_string) {
        let lines: Vec<&str> = examples.lines().filter(|line| line.starts_with("  ")).map(str::trim).collect();
        if !lines.is_empty() {
            writeln!(page, "\n```\n{}\n```", lines.join("\n")).unwrap();
        }
    }
    nested.into_iter().for_each(|of| section(page, &name, of));
}

/// A bar would end the cell of a table, and a `<` begin a tag.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
