//! Reads image lists, and the reports of earlier runs.

use std::path::{Path, PathBuf};

use compass_manifest::inventory;
use compass_registry::Platform;
use serde::Deserialize;

use super::ImageTransfer;
use crate::error::{CliError, Result};
use crate::image_transfer::{FAILED, FORMAT};
use crate::regular_file;
use crate::repository::{Repository, TargetImage};

/// The images of a list or report.
pub(super) struct ImageList {
    /// All images of a list; the failed images of a report.
    pub(super) transfers: Vec<ImageTransfer>,
    /// The requested platforms of a report; empty for all.
    pub(super) platforms: Vec<Platform>,
    /// Whether this is a report, which may have no failed images.
    pub(super) is_report: bool,
}

#[derive(Deserialize)]
struct ReportFile {
    format: String,
    // Reports of earlier versions do not have it.
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
pub(super) fn read(repository: &Repository, pattern: &str) -> Result<Vec<ImageList>> {
    let files = files(pattern)?;
    let read = files.iter().map(|path| read_file(repository, path));
    let read = read.collect::<Result<Vec<_>, _>>()?;
    if read.iter().all(|one| one.transfers.is_empty() && !one.is_report) {
        let message = format!("`{pattern}` names no image");
        return Err(CliError::usage(message).hint(LIST_FORM));
    }
    Ok(read)
}

/// The files that a path or pattern names.
pub(super) fn files(pattern: &str) -> Result<Vec<PathBuf>> {
    // The name of a file may contain the characters of a pattern.
    if Path::new(pattern).is_file() {
        return Ok(vec![PathBuf::from(pattern)]);
    }
    let bad =
        |error| CliError::usage(format!("`{pattern}` is not a file name or pattern: {error}"));
    let found: Result<Vec<_>, _> = glob::glob(pattern).map_err(bad)?.collect();
    let found = found.map_err(|error| CliError::usage(format!("cannot read {error}")))?;
    if found.is_empty() {
        let message = format!("there is no list `{pattern}`");
        return Err(CliError::usage(message)
            .hint("use a file name or a pattern such as 'images-lists/*.list'"));
    }
    Ok(found)
}

fn read_file(repository: &Repository, path: &Path) -> Result<ImageList> {
    let shown = path.display().to_string();
    let bytes = regular_file::read_argument(path, READ_LIMIT)
        .map_err(|error| CliError::usage(format!("cannot read {shown}: {error}")))?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if text.trim_ascii_start().starts_with(b"{") {
        return read_report(&shown, text);
    }
    let images = inventory::list_images(&shown, &bytes, &repository.policy);
    let images = images.map_err(|(line, error)| {
        let cli_error = CliError::usage(format!("{shown}:{line}: {}", error.message));
        cli_error.hint(error.help.unwrap_or(LIST_FORM))
    })?;
    let images = repository.resolve_images(images);
    let images = images.map_err(|error| error.into_config().hint(LIST_FORM))?;
    let has_tag = |image: &TargetImage| {
        image.written.rsplit('/').next().is_some_and(|name| name.contains([':', '@']))
    };
    if let Some(untagged) = images.iter().find(|image| !has_tag(image)) {
        let TargetImage { line, written, .. } = untagged;
        let message = format!("{shown}:{line}: `{written}` has no tag");
        return Err(CliError::usage(message).hint(LIST_FORM));
    }
    let transfers = images.iter().map(ImageTransfer::of).collect();
    Ok(ImageList { transfers, platforms: Vec::new(), is_report: false })
}

const LIST_FORM: &str = "a list has one `PROJECT/NAME:TAG` in each line, without a host";

/// The maximum size of a file. Reports have some hundred bytes for each image.
const READ_LIMIT: u64 = 64 << 20;

fn read_report(shown: &str, text: &[u8]) -> Result<ImageList> {
    let bad =
        |reason: String| CliError::usage(format!("{shown} is not a report of `sync`: {reason}"));
    let report: ReportFile =
        serde_json::from_slice(text).map_err(|error| bad(error.to_string()))?;
    if report.format != FORMAT {
        return Err(bad(format!("the format is `{}` instead of `{FORMAT}`", report.format)));
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
