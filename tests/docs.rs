//! What the documents say to type is typed, and what they say to write is checked.
//!
//! - Commands are blocks of `sh`, lines behind `$ ` in blocks of `console`, and indented blocks that begin with a command.
//!   The commands of a page run in their order, in a folder of its own, against this build; ports are free ones. A
//!   command ends with 0, or with what its comment says: `# exit code 1`. `ringway run` and `ringway demo` stay in the
//!   background; `rehearse` plays one run, however many its page wants. What a page needs beforehand stands in `tests/docs/PAGE.sh`.
//! - A block whose first line names a file behind its language (as in `yaml ringway.yaml`) is saved under that name when
//!   its turn comes.
//! - YAML with `listeners` and `services` is a whole file and must pass `check`. Anything else is marked `part` and may
//!   lack what stands elsewhere in a file, or it is marked as something else, and listed in `NOT_OURS`.
//!   `UPDATE=1 cargo test --test docs` marks what is no whole file and has no mark as `part`.
//! - What cannot be run is listed in `NOT_RUN`, with the reason.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "docs/blocks.rs"]
mod blocks;
#[path = "docs/script.rs"]
mod script;
#[path = "docs/yaml.rs"]
mod yaml;

use blocks::{Block, pages};
use std::collections::BTreeSet;

/// Commands that are not run: the page, how they begin, and why.
const NOT_RUN: &[(&str, &str, &str)] = &[
    ("README.md", "./tests/run.sh", "runs this test"),
    ("docs/reliability.md", "./tests/run.sh", "runs this test"),
    ("docs/guides/docker.md", "cd deploy/compose && docker", "needs a container engine"),
    ("docs/guides/docker.md", "docker", "needs a container engine"),
    ("docs/guides/kubernetes.md", "kubectl", "needs a cluster, or its tools"),
    ("docs/guides/kubernetes.md", "helm", "needs a cluster, or its tools"),
    ("docs/guides/sign-in.md", "RINGWAY_TOKEN=", "asks another machine"),
    ("docs/guides/sign-in.md", "ringway rollback shop --admin", "asks another machine"),
    ("docs/guides/notifications.md", "ringway notify test", "calls people"),
    ("docs/guides/systemd.md", "sudo", "changes the machine"),
    ("docs/guides/systemd.md", "ringway check -c /etc", "a file of the machine"),
    ("docs/guides/systemd.md", "systemd-analyze", "run by deploy/check.sh, where it is installed"),
    ("docs/guides/systemd.md", "promtool", "run by deploy/check.sh, where it is installed"),
    ("docs/reliability.md", "tests/dashboard/run.sh", "needs a browser, and runs by itself"),
    ("docs/reliability.md", "RINGWAY_", "runs other tests, for minutes"),
    ("docs/reliability.md", "RUSTC_BOOTSTRAP=1", "needs cargo-fuzz, and runs for minutes"),
    ("docs/statistics.md", "RINGWAY_RUNS=", "runs other tests, for hours"),
];

/// YAML that is not a file of Ringway: the word behind `yaml`, and whose it is.
const NOT_OURS: &[(&str, &str)] = &[];

/// Languages of blocks that are neither commands nor files: what programs print, and what others read.
const LANGUAGES: &[&str] = &["", "text", "json", "promql", "ini", "toml", "python", "csv", "http"];

/// Pages that are generated, and whose blocks are checked where they are written.
const GENERATED: &[&str] = &["docs/reference/config.md", "docs/reference/diagnostics.md"];

fn all() -> Vec<Block> {
    let pages = pages().into_iter().filter(|page| !GENERATED.contains(&page.as_str()));
    let blocks: Vec<Block> = pages.flat_map(|page| blocks::of(&page)).collect();
    assert!(blocks.len() >= 50, "only {} blocks were found", blocks.len());
    blocks
}

#[test]
fn every_command_does_what_its_page_says() {
    let blocks = all();
    let mut used = BTreeSet::new();
    let mut scripts = Vec::new();
    for page in pages() {
        let of_page: Vec<&Block> = blocks.iter().filter(|block| block.page == page).collect();
        scripts.extend(script::of(&page, &of_page, NOT_RUN, &mut used));
    }
    assert!(scripts.len() >= 5, "only {} pages have commands", scripts.len());
    let failed = script::run_all(scripts);
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    let left: Vec<_> = NOT_RUN.iter().enumerate().filter(|(at, _)| !used.contains(at)).collect();
    assert!(left.is_empty(), "listed as not run, and in no page: {left:?}");
}

#[test]
fn every_file_and_part_of_one_is_valid() {
    let blocks = all();
    let mut used = BTreeSet::new();
    let yaml: Vec<&Block> = blocks.iter().filter(|block| block.language == "yaml").collect();
    assert!(yaml.len() >= 15, "only {} blocks of YAML", yaml.len());
    if std::env::var_os("UPDATE").is_some() {
        yaml.iter().filter(|block| yaml::is_unmarked(block)).for_each(|block| blocks::mark(block));
        return;
    }
    let problems: Vec<String> = yaml.iter().filter_map(|block| yaml::problem(block, NOT_OURS, &mut used)).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    let left: Vec<_> = NOT_OURS.iter().filter(|(word, _)| !used.contains(word)).collect();
    assert!(left.is_empty(), "listed as not ours, and in no page: {left:?}");
}

#[test]
fn every_block_is_of_a_known_kind_and_json_is_json() {
    for block in all().iter().filter(|block| !block.is_indented) {
        let known = matches!(block.language.as_str(), "sh" | "console" | "yaml");
        assert!(known || LANGUAGES.contains(&block.language.as_str()), "{block}: what is `{}`?", block.language);
        let is_abridged = block.text.contains("..") || block.text.contains('…');
        if block.language == "json" && !is_abridged {
            serde_json::from_str::<serde_json::Value>(&block.text).unwrap_or_else(|error| panic!("{block}: {error}"));
        }
    }
}

/// Every page is in the list of pages, and every link between pages leads somewhere.
#[test]
fn every_page_is_listed_and_every_link_leads_somewhere() {
    let list = blocks::read("docs/README.md");
    for page in pages() {
        let Some(name) = page.strip_prefix("docs/").filter(|name| *name != "README.md") else { continue };
        assert!(list.contains(&format!("({name})")), "{page} is not in docs/README.md");
    }
    let dead: Vec<String> = pages().iter().flat_map(|page| blocks::dead_links(page)).collect();
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

/// What the page of failures says that one sees is what the program says.
#[test]
fn every_text_of_the_failure_table_is_in_the_program() {
    let page = blocks::read("docs/operations/failures.md");
    let program = blocks::program();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).collect();
    assert!(rows.len() >= 30, "only {} rows", rows.len());
    let cells = rows.iter().filter_map(|row| row.split(" | ").next());
    let texts = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).flat_map(|text| text.split(".."));
    let unknown: Vec<&str> = texts.map(str::trim).filter(|text| !program.contains(text)).collect();
    assert!(unknown.is_empty(), "not in the program: {unknown:#?}");
}
