//! `compass images`.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::error::Result;
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::repository::{Repository, TargetImage};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One or more targets: `plugin NAME`, `hotfix ADDON-HOTFIXVERSION` or `product VERSION`
    #[arg(required_unless_present = "all")]
    target: Vec<String>,
    /// Lists the images of all plugins, hotfixes and addons
    #[arg(long, conflicts_with = "target")]
    all: bool,
    /// Shows the source reference before each release reference
    #[arg(long)]
    resolved: bool,
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let repository = Repository::open(global)?;
    let (images, problems) = match args.all {
        true => repository.all_images(),
        false => (repository.target_images(&args.target)?, Vec::new()),
    };
    let line = |image: &TargetImage| match args.resolved {
        true => format!("{} {}\n", image.source, image.release),
        false => format!("{}\n", image.release),
    };
    if args.all && repository.tree.files().next().is_none() {
        output.warn("the directories of the policy contain no manifests");
    }
    for problem in &problems {
        output.warn(problem);
    }
    output.result(
        || json!({"images": images.iter().map(image_json).collect::<Vec<_>>()}),
        || images.iter().map(line).collect(),
    );
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn image_json(image: &TargetImage) -> Value {
    let path = image.release.repository().as_str();
    let (project, repository) = path.split_once('/').unwrap_or(("", path));
    json!({
        "file": image.file,
        "line": image.line,
        "path": image.path,
        "written": image.written,
        "project": project,
        "repository": repository,
        "tag": image.release.tag().map(ToString::to_string),
        "release": image.release.to_string(),
        "source": image.source.to_string(),
    })
}
