//! A file or a directory to a checked [`schema::File`](super::schema::File).

use super::check;
use super::codes::Code;
use super::diagnostic::{ConfigErrors, Diagnostic, sort};
use super::paths::{each_path, each_path_text, resolve};
use super::place::Place;
use super::schema::File;
use super::source::{Source, Span};
use super::tree::Node;
use super::{merge, parse, read, shape};
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says. All paths are absolute.
    pub file: File,
    /// The texts it was read from.
    pub sources: Vec<Source>,
    /// What looks wrong but can be used: warnings and notes.
    pub warnings: Vec<Diagnostic>,
    /// The revision: the first 6 hexadecimal digits of SHA-256 over the texts.
    pub rev: String,
    tree: Node,
}

/// Why a test of the file fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestFailure {
    /// The expectation that is not met, such as `tests[0].expect.cohort`.
    pub place: Place,
    /// What came instead.
    pub message: String,
}

/// Reads and checks a file, a directory of `*.yaml` and `*.yml` files, or for `-` standard input.
///
/// Files of a directory are read in the order of their names; hidden ones and the `..data` entries of a mounted
/// ConfigMap are passed over, symbolic links are followed.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    let texts = read::read(path);
    load_with(texts.sources, texts.problems)
}

/// What fits of a file or directory, whatever else is wrong with it: for those who look for the doors of a process that
/// runs with what stood there before. `None` when it cannot be read at all.
pub fn load_what_fits(path: &Path) -> Option<File> {
    let mut sources = read::read(path).sources;
    for source in &mut sources {
        // a person in the middle of an edit must still be able to take a version back
        if parse::parse(source, 0).0.is_none() {
            source.text = blocks_of_doors(&source.text);
        }
    }
    let trees = sources.iter().enumerate().filter_map(|(index, source)| parse::parse(source, index).0);
    let mut tree = merge::merge(trees.collect()).0?;
    let mut file = shape::shape(&mut tree).file;
    make_paths_absolute(&mut file, &tree, &sources);
    Some(file)
}

/// The keys of a file that say where a process is to be asked.
const KEYS_OF_DOORS: [&str; 2] = ["admin:", "telemetry:"];

/// Of a text that is no YAML as a whole, what stands under the keys of the doors.
fn blocks_of_doors(text: &str) -> String {
    let (mut found, mut is_door) = (String::new(), false);
    for line in text.lines() {
        if line.starts_with(|first: char| !first.is_whitespace() && first != '#') {
            is_door = KEYS_OF_DOORS.iter().any(|key| line.starts_with(key));
        }
        if is_door {
            found.push_str(line);
            found.push('\n');
        }
    }
    found
}

/// Checks texts that were read elsewhere. Pure: looks at no file.
pub fn load_texts(sources: Vec<Source>) -> Result<Loaded, ConfigErrors> {
    load_with(sources, Vec::new())
}

impl Loaded {
    pub(super) fn tree(&self) -> &Node {
        &self.tree
    }

    /// The span to show for a place.
    pub fn span_of(&self, place: &Place) -> Span {
        span_of(&self.tree, &self.sources, place)
    }

    /// The files that it names, whether they are there or not.
    pub fn named_files(&self) -> BTreeSet<PathBuf> {
        let mut paths = BTreeSet::new();
        each_path(&mut self.file.clone(), &mut |place, path| {
            if place != Place::root().key("stateDir") {
                paths.insert(path.clone());
            }
        });
        paths
    }

    /// What the readers of referenced files found, as diagnostics.
    pub fn file_problems(&self, problems: impl IntoIterator<Item = (Place, String)>) -> Vec<Diagnostic> {
        let diagnostic =
            |(place, message): (Place, String)| Diagnostic::new(Code::ReferencedFile, message).at(self.span_of(&place));
        self.sorted(problems.into_iter().map(diagnostic).collect())
    }

    /// The tests that fail, as diagnostics.
    pub fn test_failures(&self, failures: impl IntoIterator<Item = TestFailure>) -> Vec<Diagnostic> {
        let diagnostic = |failure: TestFailure| {
            let found = Diagnostic::new(Code::TestFailed, failure.message).at(self.span_of(&failure.place));
            found.help("`ringway explain` shows each condition with the value that it saw")
        };
        self.sorted(failures.into_iter().map(diagnostic).collect())
    }

    /// The errors of a configuration that was fine by itself, together with its warnings.
    pub fn refuse(self, errors: Vec<Diagnostic>) -> ConfigErrors {
        let mut diagnostics = self.warnings;
        diagnostics.extend(errors);
        sort(&mut diagnostics);
        ConfigErrors { sources: self.sources, diagnostics }
    }

    fn sorted(&self, mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
        sort(&mut diagnostics);
        diagnostics
    }
}

fn load_with(sources: Vec<Source>, mut problems: Vec<Diagnostic>) -> Result<Loaded, ConfigErrors> {
    let mut trees = Vec::new();
    let mut has_broken_source = problems.iter().any(Diagnostic::is_error);
    for (index, source) in sources.iter().enumerate() {
        if problems.iter().any(|found| found.code == Code::NotUtf8 && found.span.is_some_and(|at| at.source == index)) {
            continue;
        }
        let (tree, found) = parse::parse(source, index);
        has_broken_source |= tree.is_none();
        trees.extend(tree);
        problems.extend(found);
    }
    let (tree, found) = merge::merge(trees);
    has_broken_source |= !found.is_empty();
    problems.extend(found);
    let Some(mut tree) = tree else { return Err(errors(sources, problems)) };

    let shaped = shape::shape(&mut tree);
    let too_many = shaped.problems.len() >= shape::MISMATCHES_MAX;
    problems.extend(shaped.problems);
    let mut file = shaped.file;
    if too_many {
        let message = format!("only the first {} problems of this kind are shown", shape::MISMATCHES_MAX);
        problems.push(Diagnostic::new(Code::TooManyProblems, message));
        return Err(errors(sources, problems));
    }
    let is_whole = !has_broken_source && shaped.pruned.is_empty();
    let spans = |place: &Place| span_of(&tree, &sources, place);
    let checked = check::check(&file, &tree, &spans);
    problems.extend(
        checked
            .into_iter()
            .filter(|(place, found)| {
                is_whole
                    || !(found.code.is_about_several_parts() || shaped.pruned.iter().any(|gone| gone.is_below(place)))
            })
            .map(|(_, found)| found),
    );
    sort(&mut problems);
    if problems.iter().any(Diagnostic::is_error) {
        return Err(ConfigErrors { sources, diagnostics: problems });
    }
    make_paths_absolute(&mut file, &tree, &sources);
    let rev = revision(&sources);
    Ok(Loaded { file, sources, warnings: problems, rev, tree })
}

fn errors(sources: Vec<Source>, mut diagnostics: Vec<Diagnostic>) -> ConfigErrors {
    sort(&mut diagnostics);
    ConfigErrors { sources, diagnostics }
}

fn span_of(tree: &Node, sources: &[Source], place: &Place) -> Span {
    shape::span_at(tree, place, |span| match sources.get(span.source) {
        Some(source) => {
            let start = source.boundary(span.start);
            source.text[start..].find(['\n', '\r']).map_or(source.text.len(), |newline| start + newline)
        }
        None => span.end,
    })
}

fn make_paths_absolute(file: &mut File, tree: &Node, sources: &[Source]) {
    let base = |place: &Place| -> PathBuf {
        let span = tree.nearest(place).node.span;
        sources.get(span.source).map(|source| source.base.clone()).unwrap_or_default()
    };
    each_path(file, &mut |place, path| *path = resolve(&base(&place), path));
    each_path_text(file, &mut |place, text| {
        *text = resolve(&base(&place), Path::new(text.as_str())).to_string_lossy().into_owned();
    });
}

/// Names and directories do not count: replicas that read the same texts have the same revision.
fn revision(sources: &[Source]) -> String {
    let mut bytes = Vec::new();
    for source in sources {
        bytes.extend_from_slice(&(source.text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(source.text.as_bytes());
    }
    let hash = digest(&SHA256, &bytes);
    hash.as_ref().iter().take(3).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::Condition;

    const LISTENER: &str = "listeners: [{ address: 127.0.0.1:8080 }]\n";
    const SHOP: &str = "services:\n  shop:\n    variants: { stable: { endpoints: [127.0.0.1:3001] } }\n";

    fn codes(errors: ConfigErrors) -> Vec<String> {
        errors.diagnostics.iter().map(|found| found.code.to_string()).collect()
    }

    #[test]
    fn a_directory_is_one_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("10-listeners.yaml", &format!("$schema: a.json\n{LISTENER}telemetry: {{ maxSeries: 100 }}\n"));
        write("20-shop.yml", &format!("$schema: b.json\n{SHOP}telemetry: {{ address: 127.0.0.1:9000 }}\n"));
        write(".hidden.yaml", "broken: [");
        write("notes.txt", "broken: [");
        std::fs::create_dir(dir.path().join("..data")).unwrap();
        let loaded = load(dir.path()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!((loaded.file.listeners.len(), loaded.file.services.len(), loaded.sources.len()), (1, 1, 2));
        let telemetry = loaded.file.telemetry.unwrap();
        assert_eq!((telemetry.max_series, telemetry.address.map(|a| a.port())), (Some(100), Some(9000)));
        assert_eq!(loaded.rev.len(), 6);

        write("30-again.yaml", SHOP);
        let errors = load(dir.path()).unwrap_err();
        assert_eq!(errors.diagnostics[0].related.len(), 1);
        assert!(errors.to_string().contains("30-again.yaml:2:3: RW0024: `services.shop` stands in two files"));
    }

    #[test]
    fn an_empty_directory_and_no_file_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(codes(load(dir.path()).unwrap_err()), ["RW0025"]);
        assert_eq!(codes(load(&dir.path().join("none.yaml")).unwrap_err()), ["RW0001"]);
    }

    #[test]
    fn doors_are_found_in_a_file_that_is_being_edited() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        let doors =
            "# ours\nadmin:\n  # only here\n  address: 127.0.0.1:9911\ntelemetry: { address: 127.0.0.1:9912 }\n";
        for broken in ["services: [", "a: b: c", "services:\n  shop: { variants: {", "a: &a [*b]"] {
            for text in [format!("{doors}{broken}\n"), format!("{broken}\n{doors}")] {
                std::fs::write(&path, &text).unwrap();
                assert!(load(&path).is_err(), "{text}");
                let Some(file) = load_what_fits(&path) else { panic!("{text}") };
                let found = file.telemetry.and_then(|telemetry| telemetry.address).map(|address| address.port());
                assert_eq!((found, file.admin.is_some()), (Some(9912), true), "{text}");
            }
        }
    }

    #[test]
    fn a_file_is_read_no_further_than_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        std::fs::write(&path, vec![b'#'; FILE_BYTES_MAX + 1]).unwrap();
        assert_eq!(codes(load(&path).unwrap_err()), ["RW0002"]);
        std::fs::write(&path, b"listeners:\n  - \xff\n").unwrap();
        let errors = load(&path).unwrap_err();
        assert!(errors.to_string().contains("a.yaml:2:5: RW0003"), "{errors}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_everybody_can_change_is_named() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        std::fs::write(&path, format!("{LISTENER}{SHOP}")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let warnings = load(&path).unwrap().warnings;
        assert_eq!(warnings.iter().map(|found| found.code).collect::<Vec<_>>(), [Code::WritableByOthers]);
    }

    #[test]
    fn paths_start_from_the_file_that_names_them() {
        let text =
            format!("{LISTENER}{SHOP}    cohorts:\n      - {{ name: b, when: {{ userList: {{ file: b.txt }} }} }}\n");
        let source = Source { base: PathBuf::from("/etc/ringway"), ..Source::new("a.yaml", text) };
        let loaded = load_texts(vec![source]).unwrap_or_else(|errors| panic!("{errors}"));
        let Some(Condition::UserList(list)) = &loaded.file.services["shop"].cohorts[0].when else { panic!() };
        assert_eq!(list.file, PathBuf::from("/etc/ringway/b.txt"));
    }

    #[test]
    fn the_revision_depends_on_the_texts_alone() {
        let rev = |name: &str, text: &str| load_texts(vec![Source::new(name, text)]).unwrap().rev;
        let text = format!("{LISTENER}{SHOP}");
        assert_eq!(rev("a.yaml", &text), rev("b.yaml", &text));
        assert_ne!(rev("a.yaml", &text), rev("a.yaml", &format!("{text}# edited\n")));
    }

    #[test]
    fn problems_of_referenced_files_and_tests_get_their_place() {
        let text = format!("{LISTENER}{SHOP}    saltFile: salt.key\n");
        let loaded = load_texts(vec![Source::new("a.yaml", text)]).unwrap();
        let place = Place::root().key("services").key("shop").key("saltFile");
        let found = loaded.file_problems([(place, "salt.key: no such file".to_owned())]);
        let errors = loaded.refuse(found);
        assert_eq!(errors.to_string(), "a.yaml:5:15: RW0601: salt.key: no such file");
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_are_passed_over() {
        let text = format!("\u{feff}{LISTENER}{SHOP}    salt: a\n    bogus: b\n").replace('\n', "\r\n");
        let errors = load_texts(vec![Source::new("a.yaml", text)]).unwrap_err();
        assert_eq!(errors.to_string(), "a.yaml:6:5: RW0014: there is no key `bogus` here");
    }

    #[test]
    fn all_errors_are_found_at_once() {
        let text = "listeners: [{ addres: 127.0.0.1:8080, trustedProxies: [10.0.0.0/99] }]\n\
            services:\n  shop:\n    fallback: nowhere\n    variants:\n      stable: { weigth: 5, endpoints: [a:b] }\n\
            bogus: 1\n";
        let errors = load_texts(vec![Source::new("a.yaml", text)]).unwrap_err();
        assert_eq!(codes(errors), ["RW0014", "RW0018", "RW0014", "RW0106", "RW0014"]);
    }
}
