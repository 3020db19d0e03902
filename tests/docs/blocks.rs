//! The blocks of pages in Markdown, with what stands behind their fence.

use std::fmt;
use std::path::{Path, PathBuf};

/// A fenced or indented block.
pub struct Block {
    /// From the root of the repository.
    pub page: String,
    /// The line on which its text begins.
    pub line: usize,
    /// The first word behind the fence; nothing for indented ones.
    pub language: String,
    /// The second word: `part`, a name of a file, or whose it is.
    pub word: String,
    pub text: String,
    pub is_indented: bool,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.page, self.line)
    }
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// README.md and every page below docs/, in order.
pub fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "md") {
                pages.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    pages.sort();
    pages
}

pub fn of(page: &str) -> Vec<Block> {
    let text = read(page);
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let taken = match lines[at].strip_prefix("```") {
            Some(info) => fenced(page, &lines, at, info, &mut blocks),
            None if lines[at].starts_with("    ") && (at == 0 || lines[at - 1].is_empty()) => {
                indented(page, &lines, at, &mut blocks)
            }
            None => 1,
        };
        at += taken;
    }
    blocks
}

fn fenced(page: &str, lines: &[&str], at: usize, info: &str, blocks: &mut Vec<Block>) -> usize {
    let length = lines[at + 1..].iter().position(|line| *line == "```");
    let length = length.unwrap_or_else(|| panic!("{page}:{}: the block has no end", at + 1));
    let (language, word) = info.split_once(' ').unwrap_or((info, ""));
    blocks.push(Block {
        page: page.to_owned(),
        line: at + 2,
        language: language.to_owned(),
        word: word.trim().to_owned(),
        text: lines[at + 1..at + 1 + length].join("\n") + "\n",
        is_indented: false,
    });
    length + 2
}

/// Lines with four spaces before them; empty ones in between belong to them.
fn indented(page: &str, lines: &[&str], at: usize, blocks: &mut Vec<Block>) -> usize {
    let ends = |line: &&str| !line.is_empty() && !line.starts_with("    ");
    let length = lines[at..].iter().position(ends).unwrap_or(lines.len() - at);
    let text: Vec<&str> = lines[at..at + length].iter().map(|line| line.get(4..).unwrap_or("")).collect();
    blocks.push(Block {
        page: page.to_owned(),
        line: at + 1,
        language: String::new(),
        word: String::new(),
        text: text.join("\n").trim_end().to_owned() + "\n",
        is_indented: true,
    });
    length
}

/// The text of the program, with literals that go over several lines as one.
pub fn program() -> String {
    let mut text = String::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                text += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let mut pieces = text.split("\\\n");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.trim_start())
}

/// Writes `part` behind the fence of a block.
pub fn mark(block: &Block) {
    let text = read(&block.page);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[block.line - 2] = format!("```{} part", block.language);
    std::fs::write(root().join(&block.page), lines.join("\n") + "\n").unwrap();
}

/// Links of a page to files that are not there, and to headings that they do not have.
pub fn dead_links(page: &str) -> Vec<String> {
    let text = read(page);
    let here = Path::new(page).parent().unwrap();
    let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    let inner = links.filter(|link| !link.contains("://") && !link.is_empty());
    inner.filter(|link| !leads_somewhere(page, here, link)).map(|link| format!("{page}: {link}")).collect()
}

fn leads_somewhere(page: &str, here: &Path, link: &str) -> bool {
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { root().join(page) } else { root().join(here).join(path) };
    if heading.is_empty() || target.extension().is_none_or(|kind| kind != "md") {
        return target.exists();
    }
    let Ok(text) = std::fs::read_to_string(target) else { return false };
    text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading)
}

/// A heading as a link names it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
