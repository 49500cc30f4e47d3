use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use compass_manifest::check;
use compass_manifest::finding::Severity;
use compass_manifest::review::{Evidence, Facts, Outcome, ReleaseImage, Standing};
use serde_json::Value;

use crate::cli::Global;
use crate::failure::Failure;
use crate::output::Output;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the pull request releases: `plugin NAME`, `hotfix ADDON-HOTFIXVERSION`
    target: Vec<String>,
    /// The event of a workflow run, in the forge's JSON form
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// The body of the pull request; otherwise the event's
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The comments: a JSON list of `{"user": {"login"}, "body"}`, as the forge's API gives it
    #[arg(long, value_name = "FILE")]
    comments: Option<PathBuf>,
    /// The labels, separated by commas; otherwise the event's
    #[arg(long, value_delimiter = ',')]
    labels: Option<Vec<String>>,
    /// The author; otherwise the event's
    #[arg(long, value_name = "LOGIN")]
    author: Option<String>,
    /// What is in the registries and the store: `{"in_source": […], "in_release": […],
    /// "bundle": true}`
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let repository = Repository::open(global)?;
    let mut facts = pull_request(args)?;
    for (role, accounts) in &repository.policy.review.roles {
        for account in accounts {
            facts.grant(account.trim_start_matches('@'), role);
        }
    }
    let report = check(&repository.tree, &repository.policy);
    facts.check_errors = Some(report.count(Severity::Error));
    let known = args.facts.as_deref().map(read_json).transpose()?.unwrap_or_default();
    if !args.target.is_empty() {
        facts.images = Some(images(&repository, &args.target, &known)?);
    }
    facts.bundle = match known["bundle"].as_bool() {
        Some(true) => Evidence::Yes,
        Some(false) => Evidence::No("it is not in the store".to_owned()),
        None => Evidence::Unknown("the store was not asked".to_owned()),
    };
    let standing = repository.policy.review.queue.standing(&facts);
    output.result(
        || serde_json::to_value(&standing).unwrap_or_default(),
        || format!("{}\n", standing.to_string().trim_end()),
    );
    Ok(if is_refused(&standing) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn is_refused(standing: &Standing) -> bool {
    standing.transitions.iter().any(|asked| matches!(asked.outcome, Outcome::Refused { .. }))
}

/// Body, author, labels and comments: each from its own argument, otherwise from the event.
fn pull_request(args: &Args) -> Result<Facts, Failure> {
    let event = args.event.as_deref().map(read_json).transpose()?.unwrap_or_default();
    let pull = ["pull_request", "issue"].into_iter().map(|key| &event[key]).find(|v| v.is_object());
    let pull = pull.cloned().unwrap_or_default();
    let body = match (&args.body, pull["body"].as_str()) {
        (Some(file), _) => read_text(file)?,
        (None, Some(body)) => body.to_owned(),
        (None, None) if pull.is_object() => String::new(),
        (None, None) => {
            return Err(Failure::usage("there is no pull request to look at")
                .hint("name its body with `--body FILE`, or its event with `--event FILE`"));
        }
    };
    let author = args.author.as_deref().or_else(|| pull["user"]["login"].as_str());
    let mut facts = Facts::new(author.unwrap_or_default(), body);
    facts.labels = args.labels.clone().unwrap_or_else(|| labels(&pull));
    if let Some(file) = &args.comments {
        let comments = read_json(file)?;
        let list = comments.as_array().ok_or_else(|| {
            Failure::usage(format!("{} is not a JSON list of comments", file.display()))
        })?;
        for comment in list {
            add_comment(&mut facts, comment);
        }
    } else if event["comment"].is_object() {
        add_comment(&mut facts, &event["comment"]);
    }
    Ok(facts)
}

fn labels(pull: &Value) -> Vec<String> {
    let labels = pull["labels"].as_array().into_iter().flatten();
    labels.filter_map(|label| label["name"].as_str()).map(str::to_owned).collect()
}

fn add_comment(facts: &mut Facts, comment: &Value) {
    let author = comment["user"]["login"].as_str().or_else(|| comment["author"].as_str());
    let text = comment["body"].as_str().or_else(|| comment["text"].as_str());
    facts.comment(author.unwrap_or_default(), text.unwrap_or_default());
}

fn images(
    repository: &Repository,
    target: &[String],
    known: &Value,
) -> Result<Vec<ReleaseImage>, Failure> {
    let there = |key: &str| -> Option<BTreeSet<String>> {
        let list = known[key].as_array()?.iter();
        Some(list.filter_map(Value::as_str).map(str::to_owned).collect())
    };
    let (in_source, in_release) = (there("in_source"), there("in_release"));
    let evidence = |there: &Option<BTreeSet<String>>, reference: &str| match there {
        Some(there) if there.contains(reference) => Evidence::Yes,
        Some(_) => Evidence::No("it is not there".to_owned()),
        None => Evidence::Unknown("the registry was not asked".to_owned()),
    };
    let images = repository.target_images(target)?.into_iter().map(|image| {
        let (source, release) = (image.source.to_string(), image.release.to_string());
        Ok(ReleaseImage {
            in_source: evidence(&in_source, &source),
            in_release: evidence(&in_release, &release),
            source: source.parse().map_err(Failure::usage)?,
            release: release.parse().map_err(Failure::usage)?,
        })
    });
    images.collect()
}

fn read_text(file: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(file)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_json(file: &Path) -> Result<Value, Failure> {
    serde_json::from_str(&read_text(file)?)
        .map_err(|error| Failure::usage(format!("{} is not JSON: {error}", file.display())))
}
