//! `set-weight --write FILE`: other numbers in the file, and nothing else.

use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use crate::cli::Exit;
use crate::cli::out::{print, say};
use crate::cli::prepared::{assemble_path, tell_errors};
use crate::config::schema::{File, Service};
use crate::config::{Loaded, Place, Source, Span, load_texts};
use crate::control::permanent::{Stand, Wanted, permanent, split_of, stand};
use crate::model::Weight;
use crate::rollout::split::Split;
use crate::routing::prepare::{Prepared, prepare};
use crate::telemetry::Registry;
use crate::upstream::Upstreams;

/// A weight that a file is to have.
#[derive(Clone, Copy)]
pub(super) struct WeightInFile<'w> {
    /// The file, or a folder of files.
    pub(super) path: &'w Path,
    pub(super) service: &'w str,
    pub(super) cohort: &'w str,
    pub(super) variant: &'w str,
    /// Percent of the cohort.
    pub(super) share: Weight,
}

/// One number in a text.
struct Edit {
    span: Span,
    line: usize,
    before: String,
    after: String,
}

impl WeightInFile<'_> {
    /// Edits the file after `is_sure`, unless it is only asked what would be done.
    pub(super) fn run(self, is_dry_run: bool, is_sure: impl FnOnce() -> bool) -> anyhow::Result<Exit> {
        let prepared = match assemble_path(self.path) {
            Ok(prepared) => prepared,
            Err(errors) => {
                tell_errors(&errors);
                bail!("{} has errors; nothing was written", self.path.display());
            }
        };
        let edits = self.edits(&prepared)?;
        let Some(first) = edits.first() else {
            print(&format!("{} says so already\n", self.path.display()))?;
            return Ok(Exit::Yes);
        };
        let at = first.span.source;
        if edits.iter().any(|edit| edit.span.source != at) {
            bail!("the numbers stand in several files; nothing was written");
        }
        let text = edited(&prepared.loaded.sources[at].text, &edits);
        self.check(&prepared.loaded, at, &text)?;
        let name = &prepared.loaded.sources[at].name;
        for Edit { line, before, after, .. } in &edits {
            print(&format!("{name}:{line}: {before} → {after}\n"))?;
        }
        if is_dry_run {
            return Ok(Exit::Yes);
        }
        if !self.is_safer(&prepared) && !is_sure() {
            return Ok(Exit::Input);
        }
        replace(Path::new(name), &prepared.loaded.sources[at].text, &text)?;
        say(&format!(
            "wrote {name}; a Ringway that runs with it sees that by itself, and `ringway reload` waits for it"
        ));
        let back: Vec<String> = edits.iter().map(|edit| format!("line {}: {}", edit.line, edit.before)).collect();
        say(&format!("to undo it, write what stood there: {}", back.join(", ")));
        Ok(Exit::Yes)
    }

    /// The variant whose users know it gets more, or another one less.
    fn is_safer(&self, prepared: &Prepared) -> bool {
        let Some(served) = prepared.snapshot.service(self.service) else { return false };
        let cohort = served.cohorts.iter().find(|cohort| *cohort.name == *self.cohort);
        let remainder = &served.variants[served.remainder].name;
        let has = cohort.map(|cohort| {
            let weights = served.variants.iter().zip(cohort.weights_in_file());
            Split::of_weights(weights.map(|(variant, weight)| (&*variant.name, *weight)), remainder).of(self.variant)
        });
        has.is_some_and(|has| if **remainder == *self.variant { self.share >= has } else { self.share <= has })
    }

    /// The numbers to change. Fails when one of them is not there as a plain number.
    fn edits(&self, prepared: &Prepared) -> anyhow::Result<Vec<Edit>> {
        let loaded = &prepared.loaded;
        let (service, name) = (self.service, self.cohort);
        let served = prepared.snapshot.service(service).with_context(|| format!("there is no service `{service}`"))?;
        let cohort = served.cohorts.iter().find(|cohort| *cohort.name == *name);
        let cohort = cohort.with_context(|| format!("service {service} has no cohort `{name}`"))?;
        if !served.variants.iter().any(|variant| *variant.name == *self.variant) {
            bail!("service {service} has no variant `{}`", self.variant);
        }
        let wanted = Wanted { cohort: Some(name), variant: self.variant, share: self.share };
        let split = split_of(served, cohort, &wanted);
        let split = split.with_context(|| format!("the other variants leave less than {} % of {name}", self.share))?;
        let Some(patch) = permanent(&loaded.file, served, &wanted) else { return Ok(Vec::new()) };
        let by_hand = |why: &str| anyhow::anyhow!("{why}, so nothing was written; write this by hand:\n\n{patch}");
        let written = loaded.file.services.get(service).context("the service is in no file")?;
        let place = |variant: &str| {
            let of_service = Place::root().key("services").key(service);
            match stand(written, name) {
                Stand::Variants => Some(of_service.key("variants").key(variant).key("weight")),
                Stand::Cohort(at) => Some(of_service.key("cohorts").index(at).key("weights").key(variant)),
                Stand::Nowhere => None,
            }
        };
        let numbers: BTreeMap<String, (Span, &str)> =
            loaded.written().into_iter().map(|of| (of.place.to_string(), (of.span, of.text))).collect();
        let mut edits = Vec::new();
        for variant in &served.variants {
            let after = split.of(&variant.name).to_string();
            let place =
                place(&variant.name).ok_or_else(|| by_hand(&format!("cohort {name} has no weights of its own")))?;
            let Some((span, before)) = numbers.get(&place.to_string()) else {
                if split.of(&variant.name).is_zero() && !place.to_string().ends_with(".weight") {
                    continue;
                }
                return Err(by_hand(&format!("{place} does not stand in the file")));
            };
            let source = &loaded.sources[span.source];
            // a number in quotes, of an alias, or with a tag is not as it is read
            if source.slice(*span).trim_end() != *before || before.parse::<Weight>().is_err() {
                return Err(by_hand(&format!("{place} is not a plain number there")));
            }
            if *before != after {
                let line = source.position(span.start).line;
                let span = Span { end: span.start + before.len(), ..*span };
                edits.push(Edit { span, line, before: (*before).to_owned(), after });
            }
        }
        Ok(edits)
    }

    /// The new text must say what was asked for, and otherwise what the old one says.
    fn check(&self, loaded: &Loaded, at: usize, text: &str) -> anyhow::Result<()> {
        let mut sources: Vec<Source> = loaded.sources.clone();
        sources[at].text = text.to_owned();
        let again = load_texts(sources).and_then(|again| prepare(again, &Upstreams::default(), &Registry::new(1, 0)));
        let again = match again {
            Ok(again) => again,
            Err(errors) => {
                tell_errors(&errors);
                bail!("the file would have errors; nothing was written");
            }
        };
        let served = again.snapshot.service(self.service);
        let cohort = served.and_then(|served| served.cohorts.iter().find(|cohort| *cohort.name == *self.cohort));
        let is_as_asked = served.zip(cohort).is_some_and(|(served, cohort)| {
            let weights = served.variants.iter().zip(cohort.weights_in_file());
            let remainder = &served.variants[served.remainder].name;
            let split = Split::of_weights(weights.map(|(variant, weight)| (&*variant.name, *weight)), remainder);
            split.of(self.variant) == self.share
        });
        let rest = |file: &File| -> File {
            let mut file = file.clone();
            file.services.get_mut(self.service).into_iter().for_each(|service| forget(service, self.cohort));
            file
        };
        if !is_as_asked || rest(&again.loaded.file) != rest(&loaded.file) {
            bail!("the number stands for several places, as an anchor does; nothing was written, edit it by hand");
        }
        Ok(())
    }
}

/// Takes away the weights that may differ.
fn forget(service: &mut Service, cohort: &str) {
    match stand(service, cohort) {
        Stand::Cohort(at) => service.cohorts[at].weights = None,
        Stand::Variants => service.variants.values_mut().for_each(|variant| variant.weight = None),
        Stand::Nowhere => {}
    }
}

/// The text with the edits.
fn edited(text: &str, edits: &[Edit]) -> String {
    let mut edits: Vec<&Edit> = edits.iter().collect();
    edits.sort_by_key(|edit| edit.span.start);
    let (mut to, mut from) = (String::with_capacity(text.len() + 16), 0);
    for edit in edits {
        to.push_str(&text[from..edit.span.start]);
        to.push_str(&edit.after);
        from = edit.span.end;
    }
    to.push_str(&text[from..]);
    to
}

/// Puts the new text in the place of the old one, whole or not at all, with the same mode and owner.
fn replace(path: &Path, before: &str, after: &str) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}; it is as it was", path.display());
    // of a symbolic link, what it leads to
    let path: PathBuf = path.canonicalize().with_context(cannot)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
    file.write_all(after.as_bytes()).with_context(cannot)?;
    let known = std::fs::metadata(&path).with_context(cannot)?;
    let made = file.as_file().metadata().with_context(cannot)?;
    if (made.uid(), made.gid()) != (known.uid(), known.gid()) {
        fchown(file.as_file(), Some(known.uid()), Some(known.gid())).with_context(cannot)?;
    }
    file.as_file().set_permissions(known.permissions()).with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    if std::fs::read(&path).with_context(cannot)? != before.as_bytes() {
        bail!("{} was changed meanwhile; nothing was written, ask again", path.display());
    }
    file.persist(&path).with_context(cannot)?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(cannot)
}
