//! Receipts of installations at a site, each a JSON document.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use compass_registry::Digest;
use serde::{Deserialize, Serialize};

use crate::error::{CliError, Result};
use crate::fs as files;

/// The version of the documents that this program reads and writes.
const FORMAT_VERSION: u32 = 1;

/// The maximum size of a receipt in bytes. A product has a few hundred files of some kilobytes.
const MAX_BYTES: u64 = 64 << 20;

/// The name of the journal of an unfinished hand-over.
const JOURNAL: &str = "unfinished.json";

/// The record of one installation. `docs/install.md` describes the document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    pub(crate) format_version: u32,
    /// `plugin`, `hotfix`, `product`, or `package` for a package of other tools.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// The digest of the bundle; `None` for a package of other tools.
    pub(crate) digest: Option<Digest>,
    /// The registry at the site, as `HOST[/PROJECT]`.
    pub(crate) registry: String,
    /// When the installation was complete, in UTC.
    pub(crate) time: String,
    pub(crate) images: Vec<ReceiptImage>,
    /// The rendered files, in which secret values are still variables.
    pub(crate) files: Vec<ReceiptFile>,
    /// The variables with secret values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) secret_variables: Vec<String>,
    /// How the files were handed over; `None` if they were not.
    pub(crate) hand_over: Option<String>,
    /// The file name of the receipt of the installation before.
    pub(crate) previous: Option<String>,
    /// Whether this installation handed over the files of an earlier one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_rollback: bool,
}

/// An image of an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReceiptImage {
    /// The reference at the site.
    pub(crate) reference: String,
    /// The digest at the site.
    pub(crate) digest: Digest,
}

/// A rendered file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReceiptFile {
    pub(crate) path: String,
    pub(crate) content: String,
}

impl Receipt {
    pub(crate) fn new(kind: &str, name: &str, version: &str, registry: String) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            kind: kind.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            digest: None,
            registry,
            time: now(),
            images: Vec::new(),
            files: Vec::new(),
            secret_variables: Vec::new(),
            hand_over: None,
            previous: None,
            is_rollback: false,
        }
    }

    /// Returns a receipt of the same contents, at this time.
    pub(crate) fn again(&self) -> Self {
        Self { time: now(), ..self.clone() }
    }
}

/// Returns the current time in UTC.
fn now() -> String {
    jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string()
}

/// The directory of all receipts of a site.
#[derive(Debug, Clone)]
pub(crate) struct Receipts {
    directory: PathBuf,
}

/// The receipts of one plugin, addon or product, locked against other installations.
#[derive(Debug)]
pub(crate) struct History {
    directory: PathBuf,
    receipts: Vec<(String, Receipt)>,
    _lock: File,
}

/// The applied files of an unfinished hand-over.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// The paths, with the digests of their contents.
    pub(crate) applied: Vec<(String, Digest)>,
}

impl Receipts {
    /// Returns the receipts in a directory, or in the default one.
    pub(crate) fn new(directory: Option<&Path>) -> Result<Self> {
        let default = || files::state_directory().map(|state| state.join("receipts"));
        let directory = directory.map(Path::to_owned).or_else(default).ok_or_else(|| {
            CliError::usage("the directory of the receipts is unknown, because HOME is not set")
                .hint("name it with `--receipts`")
        })?;
        Ok(Self { directory })
    }

    /// Creates the directory, and checks that receipts can be written to it.
    pub(crate) fn require_writable(&self) -> Result<()> {
        let created = fs::create_dir_all(&self.directory);
        created.map_err(|error| files::write_error(&self.directory, &error))?;
        files::require_writable(&self.directory.join("receipt"))
    }

    /// Opens the receipts of one plugin, addon or product, and waits until no other installation of
    /// it runs.
    pub(crate) fn history(&self, kind: &str, name: &str) -> Result<History> {
        let directory = self.directory.join(kind).join(directory_name(name));
        fs::create_dir_all(&directory).map_err(|error| files::write_error(&directory, &error))?;
        let path = directory.join(".lock");
        let lock = || {
            let file = File::options().create(true).write(true).truncate(false).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        let lock = lock().map_err(|error| files::write_error(&path, &error))?;
        let receipts = read_all(&directory)?;
        Ok(History { directory, receipts, _lock: lock })
    }

    /// Returns the latest receipt of each plugin, addon and product, sorted by kind and name.
    pub(crate) fn installed(&self) -> Result<Vec<Receipt>> {
        let mut installed = Vec::new();
        for kind in subdirectories(&self.directory)? {
            for directory in subdirectories(&kind)? {
                installed.extend(read_all(&directory)?.pop().map(|(_, receipt)| receipt));
            }
        }
        installed.sort_by(|one, two| (&one.kind, &one.name).cmp(&(&two.kind, &two.name)));
        Ok(installed)
    }
}

impl History {
    /// Returns the latest receipt with its file name.
    pub(crate) fn current(&self) -> Option<&(String, Receipt)> {
        self.receipts.last()
    }

    /// Returns the receipt before the latest one.
    pub(crate) fn previous(&self) -> Option<&(String, Receipt)> {
        let name = self.current()?.1.previous.as_ref()?;
        self.receipts.iter().find(|(one, _)| one == name)
    }

    /// Writes a receipt as the latest one, and ends the journal. Returns the path.
    pub(crate) fn add(&self, mut receipt: Receipt) -> Result<PathBuf> {
        receipt.previous = self.current().map(|(name, _)| name.clone());
        let last = receipt.previous.as_deref().and_then(number).unwrap_or(0);
        let path = self.directory.join(format!("{:06}.json", last + 1));
        write_json(&path, &receipt)?;
        self.clear_journal()?;
        Ok(path)
    }

    /// Returns the journal of an unfinished hand-over; empty if there is none.
    pub(crate) fn journal(&self) -> Journal {
        let text = fs::read(self.directory.join(JOURNAL)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes the journal.
    pub(crate) fn set_journal(&self, journal: &Journal) -> Result<()> {
        write_json(&self.directory.join(JOURNAL), journal)
    }

    pub(crate) fn clear_journal(&self) -> Result<()> {
        let path = self.directory.join(JOURNAL);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(files::write_error(&path, &error))
            }
            _ => Ok(()),
        }
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| CliError::external(&error))?;
    text.push(b'\n');
    files::write(path, &text)
}

/// Reads all receipts of a directory, in order.
fn read_all(directory: &Path) -> Result<Vec<(String, Receipt)>> {
    let mut receipts = Vec::new();
    for entry in read_directory(directory)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if number(&name).is_some() {
            receipts.push((name, read(&entry.path())?));
        }
    }
    receipts.sort_by_key(|(name, _)| number(name));
    Ok(receipts)
}

fn read(path: &Path) -> Result<Receipt> {
    let failed = |why: String| {
        CliError::usage(format!("cannot read the receipt {}: {why}", path.display()))
            .hint("move the file away to install without it")
    };
    let size = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > MAX_BYTES {
        return Err(failed(format!("it has {size} bytes")));
    }
    let text = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let receipt: Receipt =
        serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    match receipt.format_version {
        FORMAT_VERSION => Ok(receipt),
        other => Err(failed(format!("its format version is {other}: use a newer compass"))),
    }
}

/// Returns the number in the file name of a receipt, such as `000001.json`.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json")?;
    let is_number = digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// Returns a name that is safe for a directory.
fn directory_name(name: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = name.chars().map(|c| if is_safe(c) { c } else { '_' }).collect();
    if name.starts_with('.') || name.is_empty() { format!("_{name}") } else { name }
}

fn read_directory(directory: &Path) -> Result<Vec<fs::DirEntry>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect),
    };
    entries.map_err(|error: std::io::Error| {
        CliError::external(&error).context(format!("cannot read {}", directory.display()))
    })
}

fn subdirectories(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = read_directory(directory)?.into_iter().map(|entry| entry.path());
    Ok(entries.filter(|path| path.is_dir()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_receipts_are_numbered_and_linked() {
        let directory = tempfile::tempdir().unwrap();
        let receipts = Receipts::new(Some(directory.path())).unwrap();
        for version in ["v1", "v2", "v3"] {
            let history = receipts.history("plugin", "gpu").unwrap();
            let receipt = Receipt::new("plugin", "gpu", version, "site/x".to_owned());
            history.add(receipt).unwrap();
        }
        let history = receipts.history("plugin", "gpu").unwrap();
        let (name, current) = history.current().unwrap();
        assert_eq!((name.as_str(), current.version.as_str()), ("000003.json", "v3"));
        assert_eq!(history.previous().unwrap().1.version, "v2");
        assert_eq!(receipts.installed().unwrap().len(), 1);
    }

    #[test]
    fn history_hostile_name_stays_below_directory() {
        for name in ["..", "a/../b", "", ".lock", "a\0b"] {
            let safe = directory_name(name);
            assert!(!safe.contains(['/', '\0']) && !safe.starts_with('.'), "{safe}");
        }
    }

    #[test]
    fn receipt_of_newer_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let receipts = Receipts::new(Some(directory.path())).unwrap();
        let mut receipt = Receipt::new("plugin", "gpu", "v1", "site".to_owned());
        receipt.format_version = 2;
        receipts.history("plugin", "gpu").unwrap().add(receipt).unwrap();
        assert!(receipts.installed().unwrap_err().message.contains("format version is 2"));
    }
}
