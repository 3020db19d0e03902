//! Everything that a configuration refers to, loaded, with each problem at the field that named the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FileProblem, Geo, GeoMmdb, GeoTable, KeySet, Secret, TlsFiles, Tokens, UserList};
use crate::config::Place;
use crate::config::paths::{each_path_of_gates, each_path_of_notifier, each_path_of_traces};
use crate::config::schema::{Condition, File, GeoSource};

/// The loaded files of one configuration. Looked up by the path that the configuration has.
#[derive(Clone, Debug, Default)]
pub struct References {
    geo: Option<Arc<Geo>>,
    user_lists: BTreeMap<PathBuf, Arc<UserList>>,
    keys: BTreeMap<PathBuf, Arc<KeySet>>,
    secrets: BTreeMap<PathBuf, Arc<Secret>>,
    tokens: Option<Arc<Tokens>>,
    tls: TlsFiles,
    paths: BTreeSet<PathBuf>,
}

impl References {
    /// Loads every file that the configuration names, each once, and tells every problem.
    pub fn load(file: &File) -> (References, Vec<(Place, String)>) {
        let mut loading = Loading::default();
        loading.geo(file);
        if let Some(path) = file.admin.as_ref().and_then(|admin| admin.tokens_file.as_ref()) {
            loading.tokens(path, Place::root().key("admin").key("tokensFile"));
        }
        for (at, listener) in file.listeners.iter().enumerate() {
            if let Some(jwt) = &listener.jwt {
                let place = Place::root().key("listeners").index(at).key("jwt").key("keysFile");
                loading.keys(&jwt.keys_file, place);
            }
        }
        for (name, service) in &file.services {
            let place = Place::root().key("services").key(name);
            if let Some(path) = &service.salt_file {
                loading.secret(path, place.key("saltFile"));
            }
            if let Some(path) = service.override_.as_ref().and_then(|rule| rule.secret_file.as_ref()) {
                loading.secret(path, place.key("override").key("secretFile"));
            }
            for (at, cohort) in service.cohorts.iter().enumerate() {
                if let Some(condition) = &cohort.when {
                    loading.condition(condition, &place.key("cohorts").index(at).key("when"));
                }
            }
            for gates in service.rollout.iter().map(|rollout| &rollout.gates) {
                let place = place.key("rollout").key("gates");
                each_path_of_gates(&mut gates.clone(), &place, &mut |place, path| loading.secret(path, place));
            }
            let outcomes = service.rollout.iter().flat_map(|rollout| &rollout.gates.outcomes).enumerate();
            for (at, outcome) in outcomes {
                if let Some(condition) = &outcome.among {
                    let place = place.key("rollout").key("gates").key("outcomes").index(at);
                    loading.condition(condition, &place.key("among"));
                }
            }
        }
        for (at, notifier) in file.notifiers.iter().enumerate() {
            let place = Place::root().key("notifiers").index(at);
            let load = &mut |place: Place, path: &mut PathBuf| {
                let is_url = place.to_string().ends_with("urlFile");
                loading.secret(path, place.clone());
                if is_url {
                    loading.url(path, place);
                }
            };
            each_path_of_notifier(&mut notifier.clone(), &place, load);
        }
        if let Some(traces) = file.telemetry.as_ref().and_then(|telemetry| telemetry.traces.as_ref()) {
            each_path_of_traces(&mut traces.clone(), &mut |place, path| loading.field(path, place));
        }
        let (tls, problems) = TlsFiles::load(file);
        loading.references.tls = tls;
        loading.problems.extend(problems);
        (loading.references, loading.problems)
    }

    /// Whom the admin door knows; `None` when the file names no tokens.
    pub fn tokens(&self) -> Option<&Arc<Tokens>> {
        self.tokens.as_ref()
    }

    /// Certificates, authorities and revocation lists.
    pub fn tls(&self) -> &TlsFiles {
        &self.tls
    }

    /// Where the place of a client comes from.
    pub fn geo(&self) -> Option<&Arc<Geo>> {
        self.geo.as_ref()
    }

    /// The user list of a path.
    pub fn user_list(&self, path: &Path) -> Option<Arc<UserList>> {
        self.user_lists.get(path).map(Arc::clone)
    }

    /// The key set of a path.
    pub fn keys(&self, path: &Path) -> Option<Arc<KeySet>> {
        self.keys.get(path).map(Arc::clone)
    }

    /// The secret (salt or key of overrides) of a path.
    pub fn secret(&self, path: &Path) -> Option<Arc<Secret>> {
        self.secrets.get(path).map(Arc::clone)
    }

    /// The files to watch, sorted: also those that could not be loaded, since they may be mended.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }
}

/// The references so far, the problems so far, and why files that were tried before did not load.
#[derive(Default)]
struct Loading {
    references: References,
    problems: Vec<(Place, String)>,
    failed: BTreeMap<(Kind, PathBuf), String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Geo,
    UserList,
    Keys,
    Secret,
    Tokens,
}

impl Loading {
    fn geo(&mut self, file: &File) {
        let place = Place::root().key("geo");
        let mut geo = BTreeMap::new();
        match &file.geo {
            None => return,
            Some(GeoSource::Header(name)) => match name.parse() {
                Ok(name) => self.references.geo = Some(Arc::new(Geo::Header(name))),
                Err(_) => self.problems.push((place.key("header"), format!("`{name}` is not a header name"))),
            },
            Some(GeoSource::Mmdb(path)) => {
                self.file(Kind::Geo, path, place.key("mmdb"), &mut geo, |path| {
                    GeoMmdb::load(path).map(|database| Geo::Mmdb(database.into()))
                });
            }
            Some(GeoSource::Table(path)) => {
                self.file(Kind::Geo, path, place.key("table"), &mut geo, |path| {
                    GeoTable::load(path).map(|table| Geo::Table(table.into()))
                });
            }
        }
        self.references.geo = geo.into_values().next().or(self.references.geo.take());
    }

    fn keys(&mut self, path: &Path, place: Place) {
        let mut known = std::mem::take(&mut self.references.keys);
        self.file(Kind::Keys, path, place, &mut known, KeySet::load);
        self.references.keys = known;
    }

    fn secret(&mut self, path: &Path, place: Place) {
        let mut known = std::mem::take(&mut self.references.secrets);
        self.file(Kind::Secret, path, place, &mut known, Secret::load);
        self.references.secrets = known;
    }

    fn tokens(&mut self, path: &Path, place: Place) {
        let mut known = BTreeMap::new();
        self.file(Kind::Tokens, path, place, &mut known, Tokens::load);
        self.references.tokens = known.into_values().next();
    }

    /// A secret that must be an address.
    fn url(&mut self, path: &Path, place: Place) {
        let Some(secret) = self.references.secrets.get(path) else { return };
        let text = std::str::from_utf8(secret.expose()).map(str::trim).unwrap_or_default();
        let is_url = text.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
        });
        if !is_url {
            self.problems.push((place, format!("{} is not an absolute URL such as https://..", path.display())));
        }
    }

    /// A secret that must be the value of a header field.
    fn field(&mut self, path: &Path, place: Place) {
        self.secret(path, place.clone());
        let Some(secret) = self.references.secrets.get(path) else { return };
        if http::HeaderValue::from_bytes(secret.expose().trim_ascii()).is_err() {
            self.problems.push((place, format!("{} holds what cannot stand in a header", path.display())));
        }
    }

    fn user_list(&mut self, path: &Path, place: Place) {
        let mut known = std::mem::take(&mut self.references.user_lists);
        self.file(Kind::UserList, path, place, &mut known, UserList::load);
        self.references.user_lists = known;
    }

    /// Conditions nest no deeper than the file does, whose depth is bounded where it is read.
    fn condition(&mut self, condition: &Condition, place: &Place) {
        match condition {
            Condition::Any(parts) => self.conditions(parts, &place.key("any")),
            Condition::All(parts) => self.conditions(parts, &place.key("all")),
            Condition::Not(part) => self.condition(part, &place.key("not")),
            Condition::UserList(list) => self.user_list(&list.file, place.key("userList").key("file")),
            _ => {}
        }
    }

    fn conditions(&mut self, parts: &[Condition], place: &Place) {
        for (at, part) in parts.iter().enumerate() {
            self.condition(part, &place.index(at));
        }
    }

    /// Loads a file unless it was tried before; a problem is told at each field that names the file.
    fn file<T>(
        &mut self,
        kind: Kind,
        path: &Path,
        place: Place,
        known: &mut BTreeMap<PathBuf, Arc<T>>,
        load: impl FnOnce(&Path) -> Result<T, FileProblem>,
    ) {
        self.references.paths.insert(path.to_owned());
        if known.contains_key(path) {
            return;
        }
        let key = (kind, path.to_owned());
        if let Some(message) = self.failed.get(&key) {
            self.problems.push((place, message.clone()));
            return;
        }
        match load(path) {
            Ok(loaded) => {
                known.insert(path.to_owned(), Arc::new(loaded));
            }
            Err(problem) => {
                let message = message(path, &problem);
                self.problems.push((place, message.clone()));
                self.failed.insert(key, message);
            }
        }
    }
}

/// `beta.txt:12 is not ..` or `beta.txt does not exist`: problems are told as what the file (or its line) is or has.
pub(super) fn message(path: &Path, problem: &FileProblem) -> String {
    match problem.line {
        Some(line) => format!("{}:{line} {}", path.display(), problem.message),
        None if !path.exists() => {
            format!("{} {}; paths are relative to the configuration file", path.display(), problem.message)
        }
        None => format!("{} {}", path.display(), problem.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Directory(tempfile::TempDir);

    impl Directory {
        fn new() -> Directory {
            Directory(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn with(self, name: &str, content: &str) -> Directory {
            std::fs::write(self.path(name), content).unwrap();
            std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
            self
        }

        fn file(&self, yaml: &str) -> File {
            let text = yaml.replace("DIR", &self.0.path().display().to_string());
            let source = crate::config::Source { name: "test".to_owned(), text, base: self.0.path().to_owned() };
            crate::config::load_texts(vec![source]).unwrap().file
        }
    }

    const ALL: &str = "
listeners:
  - { address: 127.0.0.1:0 }
  - { address: 127.0.0.2:0, jwt: { keysFile: DIR/keys.json } }
geo: { table: DIR/geo.csv }
services:
  shop:
    saltFile: DIR/salt
    override: { header: x-canary, secretFile: DIR/override.key }
    variants: { stable: { endpoints: [127.0.0.1:1] } }
    cohorts:
      - { name: a, when: { userList: { file: DIR/beta.txt } } }
      - { name: b, when: { any: [ { percent: 1 }, { all: [ { not: { userList: { file: DIR/deep.txt } } } ] } ] } }
      - { name: c, when: { userList: { file: DIR/beta.txt } } }
";

    #[test]
    fn everything_that_is_named_is_loaded() {
        let directory = Directory::new()
            .with("keys.json", include_str!("../../../tests/vectors/jwt/keys.json"))
            .with("geo.csv", "cidr,country\n192.0.2.0/24,NO\n")
            .with("salt", "pepper\n")
            .with("override.key", "open sesame")
            .with("beta.txt", "u-1\n")
            .with("deep.txt", "u-2\n");
        let (references, problems) = References::load(&directory.file(ALL));
        assert_eq!(problems, []);
        assert!(references.user_list(&directory.path("beta.txt")).unwrap().contains(b"u-1"));
        assert!(references.user_list(&directory.path("deep.txt")).unwrap().contains(b"u-2"));
        assert_eq!(references.secret(&directory.path("salt")).unwrap().expose(), b"pepper");
        assert_eq!(references.secret(&directory.path("override.key")).unwrap().expose(), b"open sesame");
        assert_eq!(references.keys(&directory.path("keys.json")).unwrap().len(), 4);
        assert!(matches!(references.geo().unwrap().as_ref(), Geo::Table(table) if table.len() == 1));
        assert!(references.user_list(&directory.path("salt")).is_none());
        let names: Vec<_> = references.paths().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["beta.txt", "deep.txt", "geo.csv", "keys.json", "override.key", "salt"]);
    }

    #[test]
    fn each_problem_is_told_at_each_field_that_names_the_file() {
        let directory =
            Directory::new().with("geo.csv", "cidr,country\nten,NO\n").with("salt", "").with("deep.txt", "x");
        let (references, problems) = References::load(&directory.file(ALL));
        let places: Vec<String> = problems.iter().map(|(place, _)| place.to_string()).collect();
        assert_eq!(
            places,
            [
                "geo.table",
                "listeners[1].jwt.keysFile",
                "services.shop.saltFile",
                "services.shop.override.secretFile",
                "services.shop.cohorts[0].when.userList.file",
                "services.shop.cohorts[2].when.userList.file",
            ]
        );
        assert!(problems[0].1.contains("geo.csv:2 has `ten` as cidr"), "{}", problems[0].1);
        assert!(problems[1].1.contains("keys.json does not exist"), "{}", problems[1].1);
        assert_eq!(problems[4].1, problems[5].1);
        assert_eq!(references.paths().count(), 6, "a file that may be mended is watched");
        assert!(references.geo().is_none());
        assert!(references.user_list(&directory.path("deep.txt")).is_some());
    }

    #[test]
    fn a_place_in_the_tree_of_conditions_is_told_exactly() {
        let directory = Directory::new().with("beta.txt", "x");
        let (_, problems) = References::load(&directory.file(ALL));
        let deep = "services.shop.cohorts[1].when.any[1].all[0].not.userList.file";
        assert!(problems.iter().any(|(place, _)| place.to_string() == deep));
    }

    #[test]
    fn a_header_needs_no_file() {
        let directory = Directory::new();
        let (references, problems) = References::load(&directory.file("{ geo: { header: cf-ipcountry }, listeners: [{ address: 127.0.0.1:1, trustedProxies: [10.0.0.0/8] }], services: { shop: { variants: { stable: { endpoints: [127.0.0.1:1] } } } } }"));
        assert_eq!((references.paths().count(), problems.len()), (0, 0));
        assert!(matches!(references.geo().unwrap().as_ref(), Geo::Header(name) if name == "cf-ipcountry"));
    }
}
