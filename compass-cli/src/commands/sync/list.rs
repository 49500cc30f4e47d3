//! Lists of images: of people, and of earlier runs.

use std::path::{Path, PathBuf};

use compass_manifest::inventory;
use compass_manifest::source::SourceFile;
use compass_registry::Platform;
use serde::Deserialize;

use super::Route;
use super::report::{FAILED, FORMAT};
use crate::failure::Failure;
use crate::repository::Repository;

/// What a file names.
pub(super) struct Listed {
    /// The images of a list; what failed by a report.
    pub(super) routes: Vec<Route>,
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
pub(super) fn read(repository: &Repository, pattern: &str) -> Result<Vec<Listed>, Failure> {
    let files = files(pattern)?;
    let read = files.iter().map(|path| read_file(repository, path));
    let read = read.collect::<Result<Vec<_>, _>>()?;
    if read.iter().all(|one| one.routes.is_empty() && !one.is_report) {
        let message = format!("`{pattern}` names no image");
        return Err(Failure::usage(message).hint("a list has one `PROJECT/NAME:TAG` on a line"));
    }
    Ok(read)
}

fn files(pattern: &str) -> Result<Vec<PathBuf>, Failure> {
    // A file may be called as a pattern is written.
    if Path::new(pattern).is_file() {
        return Ok(vec![PathBuf::from(pattern)]);
    }
    let bad = |error| Failure::usage(format!("`{pattern}` is no file name or pattern: {error}"));
    let found: Result<Vec<_>, _> = glob::glob(pattern).map_err(bad)?.collect();
    let found = found.map_err(|error| Failure::usage(format!("cannot read {error}")))?;
    if found.is_empty() {
        let message = format!("there is no list `{pattern}`");
        return Err(
            Failure::usage(message).hint("name a file, or a pattern as 'images-lists/*.list'")
        );
    }
    Ok(found)
}

fn read_file(repository: &Repository, path: &Path) -> Result<Listed, Failure> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::usage(format!("cannot read {shown}: {error}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{shown} is not UTF-8 text")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim_start().starts_with('{') {
        return failed(&shown, text);
    }
    let source = SourceFile::new(shown, text.to_owned());
    let (mut routes, mut bad) = (Vec::new(), Vec::new());
    for image in inventory::listed_images(&source) {
        match repository.target_image(image)? {
            Ok(image) => routes.push(Route::of(&image)),
            Err(failure) => bad.push(failure.message),
        }
    }
    if !bad.is_empty() {
        return Err(Failure::usage(bad.join("\n")));
    }
    Ok(Listed { routes, platforms: Vec::new(), is_report: false })
}

fn failed(shown: &str, text: &str) -> Result<Listed, Failure> {
    let bad = |reason: String| Failure::usage(format!("{shown} is no report of `sync`: {reason}"));
    let report: ReportFile = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
    if report.format != FORMAT {
        return Err(bad(format!("its format is `{}`, and not `{FORMAT}`", report.format)));
    }
    let failed = report.images.into_iter().filter(|image| image.result == FAILED);
    let route = |image: ReportImage| {
        Ok(Route { source: image.source.parse()?, release: image.release.parse()? })
    };
    let read = || {
        let platforms = report.platforms.iter().map(|platform| platform.parse());
        let platforms = platforms.collect::<Result<_, _>>()?;
        let routes = failed.map(route).collect::<Result<_, _>>()?;
        Ok(Listed { routes, platforms, is_report: true })
    };
    read().map_err(|error: compass_registry::Error| bad(error.to_string()))
}
