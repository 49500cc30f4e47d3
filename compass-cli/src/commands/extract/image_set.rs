//! `compass extract --images`: several images as one archive.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use compass_bundle::{Image, OutputStream, Package, stream_images, write_images};
use compass_registry::Reference;
use glob::Pattern;
use serde_json::json;

use super::{Args, STDOUT, refuse_terminal, target_path};
use crate::display::printable;
use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::image_usage::open;
use crate::output::Output;
use crate::package_verification::check_damage;

/// The name of the archive in a directory.
const FILE_NAME: &str = "images.tar";

/// Writes the images that match patterns to a file or to stdout.
pub(super) async fn extract(
    patterns: &[String],
    args: &Args,
    global: &GlobalArgs,
    output: &Output,
) -> Result<ExitCode> {
    let patterns = patterns.iter().map(|text| parse(text)).collect::<Result<Vec<_>>>()?;
    if args.writes_to_stdout() {
        refuse_terminal()?;
    }
    let package = open(&args.bundle, global).await?;
    let images = select(&package, &patterns)?;
    images.iter().flat_map(|image| image.notes).for_each(|note| output.warn(note));
    let (shown, place) = (output.progress("extract"), args.registry.as_ref());
    let (progress, path) = (shown.shared(), target(args)?);
    let written = match args.writes_to_stdout() {
        true => {
            let mut stdout = tokio::io::stdout();
            let stream = OutputStream::new(&mut stdout, &path);
            stream_images(&images, place, stream, &*progress).await
        }
        false => write_images(&images, place, &path, &*progress).await,
    };
    drop((shown, progress));
    check_damage(&package, written.as_ref().err(), output).await?;
    let (size, path) = (written?, path.display().to_string());
    let json = || json!({"paths": [path], "size": size});
    match args.writes_to_stdout() {
        true => output.result_to_stderr(json, String::new),
        false => output.result(json, || printable(&path) + "\n"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The file to write, or `-` for stdout.
fn target(args: &Args) -> Result<PathBuf> {
    let output = args.output.as_deref().unwrap_or(Path::new(STDOUT));
    match args.writes_to_stdout() {
        true => Ok(output.to_owned()),
        false => target_path(output, FILE_NAME),
    }
}

fn parse(text: &str) -> Result<Pattern> {
    Pattern::new(text)
        .map_err(|error| CliError::usage(format!("invalid pattern `{text}`: {}", error.msg)))
}

/// The images that match one of the patterns; all images if there is none.
fn select<'p>(package: &'p Package, patterns: &[Pattern]) -> Result<Vec<Image<'p>>> {
    let images = package.images();
    if images.is_empty() {
        let message = format!("{} contains no image", package.name());
        return Err(CliError::check_failed(message));
    }
    for pattern in patterns {
        if !images.iter().any(|image| matches(pattern, image.reference)) {
            let error = CliError::usage(format!("no image matches `{pattern}`"));
            return Err(error.hint("`compass inspect` lists the images"));
        }
    }
    let is_selected = |image: &Image<'_>| {
        patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, image.reference))
    };
    Ok(images.into_iter().filter(is_selected).collect())
}

/// Whether a pattern matches a reference, with or without its tag and the first elements of its name.
fn matches(pattern: &Pattern, reference: &Reference) -> bool {
    let whole = reference.to_string();
    let untagged = format!("{}/{}", reference.host(), reference.repository());
    [whole, untagged].iter().any(|name| {
        let starts = name.match_indices('/').map(|(at, _)| at + 1);
        std::iter::once(0).chain(starts).any(|start| pattern.matches(&name[start..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_matches_end_of_name() {
        let reference: Reference = "harbor.example:8443/release/web-ui:v1".parse().unwrap();
        for (pattern, expected) in [
            ("web-ui", true),
            ("web*", true),
            ("web", false),
            ("release/web-ui:v1", true),
            ("release/*", true),
            ("*:v1", true),
            ("*:v2", false),
            ("harbor.example:8443/*", true),
            ("eb-ui", false),
            ("?eb-ui:v[12]", true),
        ] {
            assert_eq!(matches(&parse(pattern).unwrap(), &reference), expected, "{pattern}");
        }
        assert!(parse("[").is_err());
    }
}
