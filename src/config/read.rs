//! Files to texts: each is opened once, and no more of it is read than its limit.

use super::codes::Code;
use super::diagnostic::Diagnostic;
use super::load::FILE_BYTES_MAX;
use super::source::{Source, Span};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most files of a directory.
const FILES_MAX: usize = 1_000;

/// What was read, and what could not be.
#[derive(Default)]
pub(crate) struct Texts {
    pub(crate) sources: Vec<Source>,
    pub(crate) problems: Vec<Diagnostic>,
}

/// Reads a file, a directory, or for `-` standard input.
pub(crate) fn read(path: &Path) -> Texts {
    let mut texts = Texts::default();
    if path == Path::new("-") {
        texts.add("<stdin>", PathBuf::from("."), bounded(io::stdin().lock()));
        return texts;
    }
    if !path.is_dir() {
        texts.add_file(path);
        return texts;
    }
    match files_of(path) {
        Ok(files) if files.is_empty() => {
            let message = format!("{}: there is no *.yaml or *.yml file in this directory", path.display());
            texts.problems.push(Diagnostic::new(Code::NoFiles, message));
        }
        Ok(files) if files.len() > FILES_MAX => {
            let message = format!("{}: there are more than {FILES_MAX} files in this directory", path.display());
            texts.problems.push(Diagnostic::new(Code::FileTooLarge, message));
        }
        Ok(files) => files.iter().for_each(|file| texts.add_file(file)),
        Err(error) => texts.problems.push(unreadable(&path.display().to_string(), &error)),
    }
    texts
}

impl Texts {
    fn add_file(&mut self, path: &Path) {
        let name = path.display().to_string();
        let base = path.parent().unwrap_or(Path::new(".")).to_path_buf();
        match File::open(path) {
            Ok(file) => {
                let is_writable = is_writable_by_others(&file);
                self.add(&name, base, bounded(file));
                if is_writable {
                    let message = format!("{name}: everybody on this machine can change this file");
                    let found = Diagnostic::new(Code::WritableByOthers, message);
                    self.problems.push(found.help(format!("chmod o-w {name}")));
                }
            }
            Err(error) => self.problems.push(unreadable(&name, &error)),
        }
    }

    fn add(&mut self, name: &str, base: PathBuf, bytes: io::Result<Vec<u8>>) {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => return self.problems.push(unreadable(name, &error)),
        };
        if bytes.len() > FILE_BYTES_MAX {
            let message = format!("{name}: the file is larger than {FILE_BYTES_MAX} bytes");
            let found = Diagnostic::new(Code::FileTooLarge, message);
            return self.problems.push(found.help("split it into a directory of files, or use wildcards"));
        }
        let source = self.sources.len();
        let (text, valid) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                (String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned(), Some(valid))
            }
        };
        if let Some(start) = valid {
            let span = Span { source, start, end: start };
            let found = Diagnostic::new(Code::NotUtf8, "here is a byte that is not UTF-8").at(span);
            self.problems.push(found.help("save the file as UTF-8"));
        }
        self.sources.push(Source { base, ..Source::new(name, text) });
    }
}

fn unreadable(name: &str, error: &io::Error) -> Diagnostic {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    let found = Diagnostic::new(Code::FileUnreadable, format!("{name}: {reason}"));
    match error.kind() {
        io::ErrorKind::NotFound => found.help("`ringway init` writes a file to start from; `-c` names another one"),
        _ => found,
    }
}

fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The files of a directory by name. Names that begin with a dot are passed over: editors' swap files, and the
/// `..data` entries by which Kubernetes swaps a ConfigMap.
pub(crate) fn files_of(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        // a named pipe would hold up every reload; a link that leads nowhere is told as an error
        let is_file = std::fs::metadata(&path).map_or(true, |metadata| metadata.is_file());
        if !is_hidden && is_yaml && is_file {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(unix)]
fn is_writable_by_others(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o002 != 0)
}

#[cfg(not(unix))]
fn is_writable_by_others(_: &File) -> bool {
    false
}
