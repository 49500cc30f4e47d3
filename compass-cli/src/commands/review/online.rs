//! Reviews a pull request of the forge.

use std::fmt::Write as _;
use std::process::ExitCode;

use compass_manifest::review::Evidence;
use serde_json::{Value, json};

use super::Args;
use crate::display::human_bytes;
use crate::error::Result;
use crate::forge::{PullRequest, PullState, open_forge};
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::pull_request::{ImageFacts, PullReview, Reviewer, TargetFacts, Written};

pub(super) async fn run(
    number: u64,
    args: &Args,
    global: &GlobalArgs,
    output: &Output,
) -> Result<ExitCode> {
    let reviewer = Reviewer::open(open_forge(&args.forge)?, global, output)?;
    let (review, written) = match args.apply {
        true => reviewer.look_and_write(number).await?,
        false => (reviewer.look(number).await?, Vec::new()),
    };
    if args.apply && review.pull.state != PullState::Open {
        output.warn(&format!("#{number} is not open, so that nothing is written"));
    }
    output.result(|| to_json(&review, &written), || to_text(&review, &written));
    let is_refused = review.status.has_refusals();
    Ok(if is_refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn to_text(review: &PullReview, written: &[Written]) -> String {
    let PullRequest { number, title, author, .. } = &review.pull;
    let mut text = format!("#{number} {title} by @{}\n", author.login);
    for target in &review.targets {
        write_target(&mut text, target);
    }
    for remark in &review.remarks {
        let _ = writeln!(text, "  note: {remark}");
    }
    let _ = writeln!(text, "{}", review.status.to_string().trim_end());
    for one in written {
        let _ = writeln!(text, "{}", one.describe());
    }
    text
}

fn write_target(text: &mut String, facts: &TargetFacts) {
    let version = facts.version.as_deref().unwrap_or("without a version");
    let _ = writeln!(text, "releases {} {version}", facts.target);
    for image in &facts.images {
        let _ = writeln!(text, "  {}", image.release);
        let _ = writeln!(text, "    source registry: {}", describe(&image.in_source));
        let _ = writeln!(text, "    release registry: {}", describe(&image.in_release));
    }
    if let Some(error) = &facts.error {
        let _ = writeln!(text, "  error: {}", error.message);
        return;
    }
    let bundle = &facts.bundle;
    let size = bundle.size.map(|size| format!(", {}", human_bytes(size))).unwrap_or_default();
    let url = bundle.url.as_deref().unwrap_or("the bundle");
    let _ = writeln!(text, "  {url}{size}\n    store: {}", describe(&bundle.published));
}

fn describe(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Yes => "yes".to_owned(),
        Evidence::No(reason) => format!("no, {reason}"),
        Evidence::Unknown(reason) => format!("not known, {reason}"),
    }
}

fn to_json(review: &PullReview, written: &[Written]) -> Value {
    let PullRequest { number, title, url, author, head, base, state, labels, .. } = &review.pull;
    let mut value = serde_json::to_value(&review.status).unwrap_or_default();
    value["number"] = json!(number);
    value["title"] = json!(title);
    value["url"] = json!(url);
    value["author"] = json!(author.login);
    value["head"] = json!(head.commit);
    value["base"] = json!(base.name);
    value["open"] = json!(*state == PullState::Open);
    value["labels"] = json!(labels);
    value["targets"] = review.targets.iter().map(target_json).collect();
    value["notes"] = json!(review.remarks);
    value["failure"] = json!(review.record.failure.as_ref().map(|failure| &failure.text));
    value["comment"] = json!(review.comment);
    value["written"] = written.iter().map(Written::describe).collect();
    value
}

fn target_json(facts: &TargetFacts) -> Value {
    let bundle = &facts.bundle;
    json!({
        "kind": facts.target.kind.as_str(),
        "name": facts.target.name,
        "version": facts.version,
        "images": facts.images.iter().map(image_json).collect::<Vec<_>>(),
        "bundle": {
            "url": bundle.url,
            "size": bundle.size,
            "digest": bundle.digest,
            "published": evidence_json(&bundle.published),
        },
        "error": facts.error.as_ref().map(|error| &error.message),
    })
}

fn image_json(image: &ImageFacts) -> Value {
    json!({
        "source": image.source.to_string(),
        "release": image.release.to_string(),
        "digest": image.digest,
        "inSource": evidence_json(&image.in_source),
        "inRelease": evidence_json(&image.in_release),
    })
}

fn evidence_json(evidence: &Evidence) -> Value {
    match evidence {
        Evidence::Yes => json!({"result": "yes"}),
        Evidence::No(reason) => json!({"result": "no", "reason": reason}),
        Evidence::Unknown(reason) => json!({"result": "unknown", "reason": reason}),
    }
}
