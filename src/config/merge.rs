//! Several files as one: lists follow one another, maps are united, and what stands in two files is an error.

use super::codes::Code;
use super::diagnostic::Diagnostic;
use super::tree::{Entry, Kind, Node};

/// Unites the trees of several files in their order.
pub(crate) fn merge(trees: Vec<Node>) -> (Option<Node>, Vec<Diagnostic>) {
    let mut trees = trees.into_iter();
    let Some(mut merged) = trees.next() else { return (None, Vec::new()) };
    let mut problems = Vec::new();
    for tree in trees {
        let span = tree.span;
        match (&mut merged.kind, tree.kind) {
            (Kind::Map(into), Kind::Map(from)) => {
                from.into_iter().for_each(|entry| unite(into, entry, &mut problems));
            }
            (_, Kind::Map(_)) | (_, Kind::Scalar { .. }) | (_, Kind::Seq(_)) => {
                problems.push(Diagnostic::new(Code::WrongType, "each file of a directory must be a map").at(span));
            }
        }
    }
    (Some(merged), problems)
}

/// Adds one top-level key of another file.
fn unite(into: &mut Vec<Entry>, entry: Entry, problems: &mut Vec<Diagnostic>) {
    let Some(first) = into.iter_mut().find(|first| first.key == entry.key) else {
        into.push(entry);
        return;
    };
    match (&mut first.value.kind, entry.value.kind) {
        (Kind::Seq(items), Kind::Seq(more)) => items.extend(more),
        (Kind::Map(entries), Kind::Map(more)) => {
            for inner in more {
                match entries.iter().find(|known| known.key == inner.key) {
                    Some(known) => problems.push(twice(&entry.key, known, &inner)),
                    None => entries.push(inner),
                }
            }
        }
        // Each file tells its editor the schema; it means nothing here.
        _ if entry.key == "$schema" => {}
        _ => {
            let message = format!("`{}` stands in two files", entry.key);
            let found = Diagnostic::new(Code::DefinedTwice, message).at(entry.key_span);
            problems.push(found.related(first.key_span, "first here").help("keep one of the two"));
        }
    }
}

fn twice(key: &str, known: &Entry, again: &Entry) -> Diagnostic {
    let message = format!("`{key}.{}` stands in two files", again.key);
    let found = Diagnostic::new(Code::DefinedTwice, message).at(again.key_span);
    found.related(known.key_span, "first here").help("keep one of the two")
}
