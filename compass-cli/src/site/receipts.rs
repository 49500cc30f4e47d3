//! Receipts of installations at a site, each a JSON document.

mod history;

use std::fs;
use std::path::{Path, PathBuf};

use compass_registry::Digest;
use serde::{Deserialize, Serialize};

use crate::error::{CliError, Result};
use crate::fs as files;
use crate::output::Output;

pub(crate) use history::{History, Journal};

/// The kinds of packages, each with a directory of receipts.
const KINDS: [&str; 4] = ["plugin", "hotfix", "product", "package"];

/// The version of the documents that this program reads and writes.
const FORMAT_VERSION: u32 = 1;

/// The maximum size of a receipt in bytes. A product has a few hundred files of some kilobytes.
const MAX_BYTES: u64 = 64 << 20;

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

    /// Whether another receipt is of the same images and files.
    fn has_contents_of(&self, other: &Self) -> bool {
        self.version == other.version
            && self.digest == other.digest
            && self.registry == other.registry
            && self.images == other.images
            && self.files == other.files
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

    /// Checks that the next receipt of a plugin, addon or product can be written, and that the latest one
    /// can be read.
    pub(crate) fn check(&self, kind: &str, name: &str, size: u64) -> Result<()> {
        self.latest(kind, name)?;
        let created = fs::create_dir_all(&self.directory);
        created.map_err(|error| files::write_error(&self.directory, &error))?;
        files::require_creatable(&self.directory_of(kind, name), size)
    }

    /// Opens the receipts of one plugin, addon or product, and waits until no other installation of
    /// it runs.
    pub(crate) async fn history(&self, kind: &str, name: &str, output: &Output) -> Result<History> {
        let what = format!("waiting for another installation of {kind} {name}");
        let (directory, output) = (self.directory_of(kind, name), output.clone());
        let open = move || History::open(directory, || output.status(&what));
        tokio::task::spawn_blocking(open).await?
    }

    /// Returns the latest receipt of a plugin, addon or product.
    pub(crate) fn latest(&self, kind: &str, name: &str) -> Result<Option<Receipt>> {
        latest(&self.directory_of(kind, name))
    }

    /// Returns the latest receipts with a name, which may be `<kind>/<name>`.
    pub(crate) fn named(&self, name: &str) -> Result<Vec<Receipt>> {
        let qualified = name.split_once('/').filter(|(kind, _)| KINDS.contains(kind));
        let places = match qualified {
            Some(place) => vec![place],
            None => KINDS.map(|kind| (kind, name)).to_vec(),
        };
        let receipts = places.into_iter().map(|(kind, name)| self.latest(kind, name));
        receipts.filter_map(Result::transpose).collect()
    }

    /// Returns the latest receipt of each product.
    pub(crate) fn products(&self) -> Result<Vec<Receipt>> {
        let directories = subdirectories(&self.directory.join("product"))?;
        directories.iter().filter_map(|directory| latest(directory).transpose()).collect()
    }

    /// Returns the latest receipt of each plugin, addon and product, sorted by kind and name, and the
    /// errors of those that cannot be read.
    pub(crate) fn installed(&self) -> Result<(Vec<Receipt>, Vec<CliError>)> {
        let (mut installed, mut errors) = (Vec::new(), Vec::new());
        for kind in subdirectories(&self.directory)? {
            for directory in subdirectories(&kind)? {
                match latest(&directory) {
                    Ok(receipt) => installed.extend(receipt),
                    Err(error) => errors.push(error),
                }
            }
        }
        installed.sort_by(|one, two| (&one.kind, &one.name).cmp(&(&two.kind, &two.name)));
        Ok((installed, errors))
    }

    fn directory_of(&self, kind: &str, name: &str) -> PathBuf {
        self.directory.join(kind).join(directory_name(name))
    }
}

/// Returns the file names of the receipts in a directory, in order.
fn receipt_names(directory: &Path) -> Result<Vec<String>> {
    let entries = read_directory(directory)?.into_iter();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| number(name).is_some()).collect();
    names.sort_by_key(|name| number(name));
    Ok(names)
}

fn latest(directory: &Path) -> Result<Option<Receipt>> {
    let names = receipt_names(directory)?;
    names.last().map(|name| read(&directory.join(name))).transpose()
}

/// The field of a receipt that all versions of the format have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versioned {
    format_version: u32,
}

fn read(path: &Path) -> Result<Receipt> {
    let failed =
        |why: String| CliError::usage(format!("cannot read the receipt {}: {why}", path.display()));
    let damaged = |why: String| failed(why).hint("move the file away to continue without it");
    let size = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > MAX_BYTES {
        return Err(damaged(format!("it has {size} bytes")));
    }
    let text = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let Versioned { format_version } =
        serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if format_version != FORMAT_VERSION {
        return Err(failed(format!("its format version is {format_version}"))
            .hint("use the version of compass that wrote it, or a newer one"));
    }
    serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))
}

/// Returns the number in the file name of a receipt, such as `000001.json`.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json")?;
    let is_number = digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// Returns the directory for a name. Different names have different directories.
fn directory_name(name: &str) -> String {
    let mut directory = String::new();
    for c in name.chars() {
        let is_hidden = c == '.' && directory.is_empty();
        if !is_hidden && (c.is_alphanumeric() || matches!(c, '.' | '_' | '-')) {
            directory.push(c);
        } else {
            let encoded = c.to_string().into_bytes().into_iter().map(|byte| format!("%{byte:02X}"));
            directory.extend(encoded);
        }
    }
    if directory.is_empty() { "%".to_owned() } else { directory }
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
    use proptest::prelude::*;

    use super::*;

    fn receipts() -> (tempfile::TempDir, Receipts) {
        let directory = tempfile::tempdir().unwrap();
        let receipts = Receipts::new(Some(directory.path())).unwrap();
        (directory, receipts)
    }

    fn history(receipts: &Receipts) -> Result<History> {
        History::open(receipts.directory_of("plugin", "gpu"), || {})
    }

    fn add(receipts: &Receipts, version: &str) -> PathBuf {
        let receipt = Receipt::new("plugin", "gpu", version, "site/x".to_owned());
        history(receipts).unwrap().add(receipt).unwrap()
    }

    #[test]
    fn directory_name_hostile_names_stay_below_directory() {
        let names = ["..", "a/../b", "", ".lock", "a\0b", "a b", "a_b", "%", "a%20b"];
        let directories: std::collections::BTreeSet<_> =
            names.iter().map(|name| directory_name(name)).collect();
        assert_eq!(directories.len(), names.len());
        for safe in directories {
            assert!(!safe.contains(['/', '\0']) && !safe.starts_with('.'), "{safe}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn receipt_of_any_bytes_is_refused(
            bytes in prop_oneof![any::<Vec<u8>>(), "\\{\"formatVersion\":[0-9]{1,12},\"x\":.{0,9}\\}".prop_map(String::into_bytes)],
        ) {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), bytes).unwrap();
            let error = read(file.path()).unwrap_err();
            prop_assert!(error.message.starts_with("cannot read the receipt "), "{}", error.message);
        }
    }

    #[test]
    fn receipt_of_newer_format_is_refused() {
        let (_directory, receipts) = receipts();
        let path = add(&receipts, "v1");
        fs::write(&path, r#"{"formatVersion": 2, "kind": {"of": "another type"}}"#).unwrap();
        let error = history(&receipts).unwrap_err();
        assert!(error.message.contains("format version is 2"), "{error}");
        assert!(error.hint.unwrap().contains("newer"));
    }

    #[test]
    fn receipt_damaged_leaves_others_readable() {
        let (_directory, receipts) = receipts();
        let old = add(&receipts, "v1");
        let new = add(&receipts, "v2");
        fs::write(old, "").unwrap();
        assert_eq!(receipts.latest("plugin", "gpu").unwrap().unwrap().version, "v2");
        assert!(history(&receipts).unwrap().before().is_err());
        let whole = fs::read(&new).unwrap();
        fs::write(&new, &whole[..whole.len() / 2]).unwrap();
        let error = receipts.check("plugin", "gpu", 0).unwrap_err();
        assert!(error.hint.unwrap().contains("move the file away"));
        receipts.check("plugin", "cpu", 0).unwrap();
        let (installed, errors) = receipts.installed().unwrap();
        assert_eq!((installed.len(), errors.len()), (0, 1));
    }
}
