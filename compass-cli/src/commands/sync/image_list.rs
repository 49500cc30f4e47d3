//! Lists of images: of people, and of earlier runs.

use std::path::{Path, PathBuf};

use compass_manifest::inventory;
use compass_registry::Platform;
use serde::Deserialize;

use super::ImageTransfer;
use super::report::{FAILED, FORMAT};
use crate::error::CliError;
use crate::regular_file;
use crate::repository::Repository;

/// What a file names.
pub(super) struct ImageList {
    /// The images of a list; what failed by a report.
    pub(super) transfers: Vec<ImageTransfer>,
    /// The platforms that a report was of; none where all were wanted.
    pub(super) platforms: Vec<Platform>,
    /// Whether it is the report of an earlier run, of which nothing may have failed.
    pub(super) is_report: bool,
}

#[derive(Deserialize)]
struct ReportFile {
    format: String,
    // Reports of earlier versions do not say it.
    #[serde(default)]
    platforms: Vec<String>,
    images: Vec<ReportImage>,
}

#[derive(Deserialize)]
struct ReportImage {
    source: String,
    release: String,
    result: String,
}

/// Reads the files that a path or pattern names.
pub(super) fn read(repository: &Repository, pattern: &str) -> Result<Vec<ImageList>, CliError> {
    let files = files(pattern)?;
    let read = files.iter().map(|path| read_file(repository, path));
    let read = read.collect::<Result<Vec<_>, _>>()?;
    if read.iter().all(|one| one.transfers.is_empty() && !one.is_report) {
        let message = format!("`{pattern}` names no image");
        return Err(CliError::usage(message).hint(FORM));
    }
    Ok(read)
}

/// The files that a path or pattern names.
pub(super) fn files(pattern: &str) -> Result<Vec<PathBuf>, CliError> {
    // A file may be called as a pattern is written.
    if Path::new(pattern).is_file() {
        return Ok(vec![PathBuf::from(pattern)]);
    }
    let bad = |error| CliError::usage(format!("`{pattern}` is no file name or pattern: {error}"));
    let found: Result<Vec<_>, _> = glob::glob(pattern).map_err(bad)?.collect();
    let found = found.map_err(|error| CliError::usage(format!("cannot read {error}")))?;
    if found.is_empty() {
        let message = format!("there is no list `{pattern}`");
        return Err(
            CliError::usage(message).hint("name a file, or a pattern as 'images-lists/*.list'")
        );
    }
    Ok(found)
}

fn read_file(repository: &Repository, path: &Path) -> Result<ImageList, CliError> {
    let shown = path.display().to_string();
    let bytes = regular_file::read_argument(path, READ_LIMIT)
        .map_err(|error| CliError::usage(format!("cannot read {shown}: {error}")))?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if text.trim_ascii_start().starts_with(b"{") {
        return failed(&shown, text);
    }
    let images = inventory::list_images(&shown, &bytes, &repository.policy);
    let images = images.map_err(|(line, error)| {
        let failure = CliError::usage(format!("{shown}:{line}: {}", error.message));
        failure.hint(error.help.unwrap_or(FORM))
    })?;
    let images = repository.target_images_of(images);
    let images = images.map_err(|failure| failure.as_config().hint(FORM))?;
    let transfers = images.iter().map(ImageTransfer::of).collect();
    Ok(ImageList { transfers, platforms: Vec::new(), is_report: false })
}

const FORM: &str = "a list has one `PROJECT/NAME:TAG` on a line, without a host";
/// Reports are larger than lists, and have some hundred bytes for each image.
const READ_LIMIT: u64 = 64 << 20;

fn failed(shown: &str, text: &[u8]) -> Result<ImageList, CliError> {
    let bad = |reason: String| CliError::usage(format!("{shown} is no report of `sync`: {reason}"));
    let report: ReportFile =
        serde_json::from_slice(text).map_err(|error| bad(error.to_string()))?;
    if report.format != FORMAT {
        return Err(bad(format!("its format is `{}`, and not `{FORMAT}`", report.format)));
    }
    let failed = report.images.into_iter().filter(|image| image.result == FAILED);
    let transfer = |image: ReportImage| {
        Ok(ImageTransfer { source: image.source.parse()?, release: image.release.parse()? })
    };
    let read = || {
        let platforms = report.platforms.iter().map(|platform| platform.parse());
        let platforms = platforms.collect::<Result<_, _>>()?;
        let transfers = failed.map(transfer).collect::<Result<_, _>>()?;
        Ok(ImageList { transfers, platforms, is_report: true })
    };
    read().map_err(|error: compass_registry::Error| bad(error.to_string()))
}
