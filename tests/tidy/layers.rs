//! Which module may know which: imports go downward only.

use crate::none;
use crate::source::{code_of, rust, without_tests};

/// A layer, and what it may import beside itself. What is not in the table may import anything.
///
/// With the control plane gone the data plane goes on serving its last snapshot, because it cannot even name it.
const LAYERS: [(&str, &[&str]); 12] = [
    ("model", &[]),
    ("config", &["model"]),
    ("upstream", &["model"]),
    ("telemetry", &["model"]),
    ("rollout", &["model"]),
    ("routing", &["config", "model", "upstream", "telemetry"]),
    ("proxy", &["config", "model", "upstream", "telemetry", "routing"]),
    ("control", &["config", "model", "upstream", "telemetry", "rollout", "routing"]),
    ("simulate", &["config", "model", "upstream", "telemetry", "rollout", "routing", "control"]),
    ("ofrep", &["config", "model", "telemetry", "routing", "control"]),
    ("migrate", &["config", "model"]),
    ("admin", &["config", "model", "telemetry", "rollout", "routing", "control", "simulate"]),
];

/// What stands above all layers, so that nothing may import it but each other.
const TOP: [&str; 4] = ["cli", "server", "demo", "main"];

/// Files that may import more, with the reason.
const EXCEPTIONS: [(&str, &str); 1] =
    // the one place where the control thread hands snapshots and sockets to the workers
    [("src/control/workers.rs", "proxy")];

#[test]
fn imports_go_downward_only() {
    let mut violations = Vec::new();
    for file in rust("src") {
        let module = file.path.trim_start_matches("src/").trim_end_matches(".rs").split('/').next().unwrap().to_owned();
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == module) else { continue };
        for (line, imported) in imports(&file.path, &file.text) {
            let is_known = LAYERS.iter().any(|(layer, _)| *layer == imported) || TOP.contains(&imported.as_str());
            let is_allowed = imported == module
                || allowed.contains(&imported.as_str())
                || EXCEPTIONS.contains(&(file.path.as_str(), imported.as_str()));
            if is_known && !is_allowed {
                violations.push(format!("{}:{line}: `{module}` may not import `{imported}`", file.path));
            }
        }
    }
    none("layers import downward only; see ARCHITECTURE.md", violations);
}

#[test]
fn every_module_has_a_layer() {
    let known = |name: &str| LAYERS.iter().any(|(layer, _)| *layer == name) || TOP.contains(&name) || name == "lib";
    let mut violations = Vec::new();
    for file in rust("src") {
        let name = file.path.trim_start_matches("src/").trim_end_matches(".rs").split('/').next().unwrap();
        if !known(name) {
            violations.push(format!("{}: `{name}` stands in no layer of tests/tidy/layers.rs", file.path));
        }
    }
    none("every module belongs to a layer", violations);
}

/// The top-level modules that a file names by `crate::` or by `super::` that leaves its own, with their lines.
fn imports(path: &str, text: &str) -> Vec<(usize, String)> {
    let mut depth = path.trim_start_matches("src/").trim_end_matches(".rs").split('/').count();
    if path.ends_with("/mod.rs") {
        depth -= 1;
    }
    let code = code_of(without_tests(text));
    let mut found = Vec::new();
    for (line, text) in code.lines().enumerate() {
        let mut rest = text;
        while let Some(at) = rest.find("crate::") {
            rest = &rest[at + "crate::".len()..];
            found.extend(heads(rest).into_iter().map(|head| (line + 1, head)));
        }
        let out = "super::".repeat(depth);
        if let Some(at) = text.find(&out) {
            found.extend(heads(&text[at + out.len()..]).into_iter().map(|head| (line + 1, head)));
        }
    }
    found
}

/// `a` of `a::b`, or `a` and `c` of `{a::b, c}`.
fn heads(path: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    match path.strip_prefix('{') {
        Some(group) => group.split(',').map(|part| word(part.trim())).collect(),
        None => vec![word(path)],
    }
}

#[test]
fn imports_are_found_in_all_their_forms() {
    let text = "use crate::config::{a, b};\nuse crate::{model, proxy::c};\nfn f(x: crate::cli::X) {}\nuse super::super::admin::Y;\n\
                // crate::control\n#[cfg(test)]\nmod tests {\n    use crate::demo;\n}\n";
    let found: Vec<String> = imports("src/routing/view.rs", text).into_iter().map(|(_, name)| name).collect();
    assert_eq!(found, ["config", "model", "proxy", "cli", "admin"]);
}
