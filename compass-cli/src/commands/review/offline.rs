//! Reviews a pull request from files.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use compass_manifest::Check;
use compass_manifest::finding::Severity;
use compass_manifest::image::ImageReference;
use compass_manifest::review::forge::{self, PayloadError, PullRequest};
use compass_manifest::review::{Evidence, Facts, ReleaseImage};
use serde::Deserialize;
use serde_json::Value;

use super::{Args, FileArgs};
use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::regular_file;
use crate::repository::Repository;

pub(super) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let repository = Repository::open(global)?;
    let mut facts = pull_request(&args.files)?;
    repository.policy.review.grant_roles(&mut facts);
    let report = Check::new(repository.release()).run();
    facts.check_errors = Some(report.count(Severity::Error));
    let known = args.files.facts.as_deref().map(KnownFacts::read).transpose()?.unwrap_or_default();
    if !args.target.is_empty() {
        facts.images = Some(images(&repository, &args.target, &known)?);
        for owners in repository.owners(&args.target)? {
            facts.add_owners(owners);
        }
    }
    facts.bundle = match known.bundle {
        Some(true) => Evidence::Yes,
        Some(false) => Evidence::No("the store does not have it".into()),
        None => Evidence::Unknown("the store was not queried".into()),
    };
    let status = repository.policy.review.queue.evaluate(&facts);
    output.result(
        || serde_json::to_value(&status).unwrap_or_default(),
        || format!("{}\n", status.to_string().trim_end()),
    );
    Ok(if status.has_refusals() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Body, author, labels and comments: each from its own argument, otherwise from the event.
fn pull_request(args: &FileArgs) -> Result<Facts> {
    let event = args.event.as_deref().map(read_event).transpose()?;
    let body = args.body.as_deref().map(read_text).transpose()?;
    if event.is_none() && body.is_none() {
        return Err(CliError::usage("no pull request was given").hint(
            "use `--number N`, `--event FILE` for its event, or `--body FILE` for its body",
        ));
    }
    let event = event.unwrap_or_default();
    let author = args.author.clone().unwrap_or(event.author);
    let mut facts = Facts::new(author, body.unwrap_or(event.body));
    facts.labels = args.labels.clone().unwrap_or(event.labels);
    facts.comments = match &args.comments {
        Some(file) => {
            let comments = forge::parse_comments(&read_pages(file)?);
            comments.map_err(|error| input_error(file, &error, COMMENTS_FORM))?
        }
        None => event.comment.into_iter().collect(),
    };
    Ok(facts)
}

const COMMENTS_FORM: &str = "expected a list, such as that of `gh api --paginate --slurp repos/OWNER/NAME/issues/NUMBER/comments`";

fn read_event(file: &Path) -> Result<PullRequest> {
    let event = PullRequest::from_event(&read_json(file)?);
    event.map_err(|error| {
        let hint =
            "use the file of `GITHUB_EVENT_PATH`, or the body of the pull request with `--body FILE`";
        input_error(file, &error, hint)
    })
}

fn input_error(file: &Path, error: &PayloadError, hint: &str) -> CliError {
    CliError::usage(format!("cannot use {}: {error}", file.display())).hint(hint)
}

/// The known contents of the registries and the store.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct KnownFacts {
    in_source: Option<BTreeSet<String>>,
    in_release: Option<BTreeSet<String>>,
    bundle: Option<bool>,
}

impl KnownFacts {
    fn read(file: &Path) -> Result<Self> {
        let invalid = |error: &dyn std::fmt::Display| {
            CliError::usage(format!("cannot use {}: {error}", file.display())).hint(
                r#"expected `{"in_source": ["HOST/PATH:TAG"], "in_release": [], "bundle": true}`"#,
            )
        };
        let bytes = read(file)?;
        // `serde` would accept a list as the values of the fields.
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(invalid(&"expected an object, found a list"));
        }
        let known: Self = serde_json::from_slice(&bytes).map_err(|error| invalid(&error))?;
        let named = known.in_source.iter().chain(&known.in_release).flatten();
        for reference in named {
            reference.parse::<ImageReference>().map_err(|error| invalid(&error))?;
        }
        Ok(known)
    }
}

fn images(
    repository: &Repository,
    target: &[String],
    known: &KnownFacts,
) -> Result<Vec<ReleaseImage>> {
    let evidence = |present: &Option<BTreeSet<String>>, reference: &str| match present {
        Some(present) if present.contains(reference) => Evidence::Yes,
        Some(_) => Evidence::No("the registry does not have it".into()),
        None => Evidence::Unknown("the registry was not queried".into()),
    };
    let images = repository.target_images(target)?.into_iter().map(|image| {
        let (source, release) = (image.source.to_string(), image.release.to_string());
        let mut image = ReleaseImage::new(
            source.parse().map_err(CliError::usage)?,
            release.parse().map_err(CliError::usage)?,
        );
        image.in_source = evidence(&known.in_source, &source);
        image.in_release = evidence(&known.in_release, &release);
        Ok(image)
    });
    images.collect()
}

/// The maximum size of a file; forges send events of up to 25 MB.
const READ_LIMIT: u64 = 64 << 20;

/// Reads a file, without a byte order mark.
fn read(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = regular_file::read_argument(file, READ_LIMIT)
        .map_err(|error| CliError::usage(format!("cannot read {}: {error}", file.display())))?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        let message = format!("{} is UTF-16 instead of UTF-8 text", file.display());
        return Err(CliError::usage(message).hint("save it as UTF-8"));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}

fn read_text(file: &Path) -> Result<String> {
    String::from_utf8(read(file)?)
        .map_err(|_| CliError::usage(format!("{} is not UTF-8 text", file.display())))
}

fn read_json(file: &Path) -> Result<Value> {
    serde_json::from_slice(&read(file)?).map_err(|error| not_json(file, &error))
}

/// Reads one JSON value, or a sequence of values as a list.
///
/// `gh api --paginate` without `--slurp` prints a list for each page, and with `--jq '.[]'` an
/// object for each comment.
fn read_pages(file: &Path) -> Result<Value> {
    let bytes = read(file)?;
    let values = serde_json::Deserializer::from_slice(&bytes).into_iter();
    let mut values: Vec<Value> =
        values.collect::<Result<_, _>>().map_err(|error| not_json(file, &error))?;
    match values.len() {
        0 => Err(CliError::usage(format!("{} is empty", file.display())).hint(COMMENTS_FORM)),
        1 => Ok(values.remove(0)),
        _ => Ok(Value::Array(values)),
    }
}

fn not_json(file: &Path, error: &serde_json::Error) -> CliError {
    CliError::usage(format!("{} is not JSON: {error}", file.display()))
}
