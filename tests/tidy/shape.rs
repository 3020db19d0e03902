//! How long files and functions may be, and that each file says what it is for.

use crate::none;
use crate::source::{code_of, rust};

/// Lines of a file, its tests included. Beyond, it holds two things.
const FILE_LINES_MAX: usize = 460;

/// Lines of a function: what fits a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Longer files, with their own limit and the reason.
const LONG_FILES: [(&str, usize, &str); 3] = [
    ("src/config/schema.rs", 580, "the whole file format on one page, in the order in which it is written"),
    ("src/config/decode.rs", 480, "one small reader for each type of value; half of it are tests"),
    ("src/routing/compile.rs", 480, "the whole way from the file to the snapshot, read from top to bottom"),
];

/// Longer functions, with the reason.
const LONG_FUNCTIONS: [(&str, &str, &str); 0] = [];

#[test]
fn files_are_short() {
    let mut violations = Vec::new();
    for file in ["src", "tests", "benches", "fuzz"].iter().flat_map(|folder| rust(folder)) {
        let exception = LONG_FILES.iter().find(|(path, _, _)| *path == file.path);
        let most = exception.map_or(FILE_LINES_MAX, |(_, most, _)| *most);
        let lines = file.text.lines().count();
        if lines > most {
            violations.push(format!("{}: {lines} lines, at most {most}", file.path));
        }
    }
    none("a file that is longer holds two things: split it by what it is about", violations);
}

#[test]
fn functions_fit_a_screen() {
    let mut violations = Vec::new();
    for file in ["src", "tests", "benches", "fuzz"].iter().flat_map(|folder| rust(folder)) {
        for (line, name, lines) in functions(&file.text) {
            let is_known = LONG_FUNCTIONS.iter().any(|(path, known, _)| *path == file.path && *known == name);
            if lines > FUNCTION_LINES_MAX && !is_known && !is_table(&file.text, line, lines) {
                violations.push(format!("{}:{line}: `{name}` has {lines} lines", file.path));
            }
        }
    }
    none(&format!("functions have at most {FUNCTION_LINES_MAX} lines"), violations);
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut violations = Vec::new();
    for file in rust("src") {
        if !is_described(&file.text) {
            violations.push(format!("{}: begin it with `//!`, or describe its first type with `///`", file.path));
        }
    }
    none("every module has a doc comment", violations);
}

/// The functions of rustfmt's output with their first line and number of lines: each ends at the first brace that
/// closes at its own indentation.
fn functions(text: &str) -> Vec<(usize, String, usize)> {
    let code = code_of(text);
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let closes = |line: &&str| line.trim_end() == format!("{}}}", " ".repeat(indent));
        let is_one_line = line.trim_end().ends_with('}') || line.trim_end().ends_with(';');
        if let Some(length) = lines[at..].iter().position(closes).filter(|_| !is_one_line) {
            found.push((at + 1, name, length + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "fn")?;
    let is_qualified = words[..at].iter().all(|word| word.starts_with("pub") || ["const", "async"].contains(word));
    let name: String = words.get(at + 1)?.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    is_qualified.then_some(name)
}

/// A test that is a table of cases may be as long as it has cases: most of its lines are literals.
fn is_table(text: &str, line: usize, lines: usize) -> bool {
    let body: Vec<&str> = text.lines().skip(line).take(lines).collect();
    let is_case = |line: &&&str| {
        let line = line.trim();
        line.starts_with(['(', '"', ')', '[', ']']) || line.starts_with("b\"") || line.ends_with(',')
    };
    body.iter().filter(is_case).count() * 10 >= lines * 6
}

fn is_described(text: &str) -> bool {
    if text.starts_with("//!") || text.starts_with("#!") || text.trim().is_empty() {
        return true;
    }
    let is_aside = |line: &str| {
        let line = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        ["use ", "mod ", "const ", "static ", "type ", "#[", "//"].iter().any(|start| line.starts_with(start))
            && !line.starts_with("///")
    };
    let mut in_use = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        if in_use || line.starts_with("use ") || line.starts_with("pub use ") {
            in_use = !line.trim_end().ends_with(';');
        } else if !is_aside(line) && !line.starts_with([' ', ']', '}']) {
            return line.starts_with("///");
        }
    }
    false
}

#[test]
fn functions_are_measured_from_their_name_to_their_brace() {
    let text =
        "pub fn a() {\n    if x {\n    }\n}\n\nimpl X {\n    async fn b() -> T {\n        \"}\"\n    }\n}\nfn c() {}\n";
    let found = functions(text);
    assert_eq!(found, [(1, "a".to_owned(), 4), (7, "b".to_owned(), 3)]);
}
