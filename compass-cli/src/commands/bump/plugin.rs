use compass_manifest::bump::{BumpedPlugin, bump_plugin, set_plugin_version};
use compass_manifest::escape::escape;
use compass_manifest::version::{BumpLevel, PluginVersion};
use serde_json::json;

use super::{failure, not_written};
use crate::error::CliError;
use crate::fs;
use crate::output::Output;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The plugin, as its file is named
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    step: Step,
    /// Shows what would change, and writes nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Step {
    /// Counts up the first number: what was may break
    #[arg(long)]
    major: bool,
    /// Counts up the second number: there is something new
    #[arg(long)]
    minor: bool,
    /// Counts up the third number: something is mended; the default
    #[arg(long)]
    patch: bool,
    /// Writes this version, which must be greater
    #[arg(long, value_name = "VERSION")]
    to: Option<PluginVersion>,
}

pub(super) fn run(args: &Args, repository: &Repository, output: &Output) -> Result<(), CliError> {
    let policy = &repository.policy;
    let source = repository.plugin_manifest(&args.name)?.source;
    let bumped = match &args.step.to {
        Some(version) if version.is_prerelease() && !policy.plugins.prerelease => {
            return Err(CliError::usage(format!("`{version}` is a pre-release"))
                .hint("set `plugins.prerelease: true` in the policy to release those"));
        }
        Some(version) => set_plugin_version(&source, policy, version),
        None => bump_plugin(&source, policy, args.step.part()),
    };
    let bumped = bumped.map_err(|error| failure(&error))?;
    let before = repository.tree.get(source.path()).unwrap_or_default();
    if std::str::from_utf8(before).is_err() {
        return Err(CliError::check_failed(format!("{} is not UTF-8 text", source.path())));
    }
    if !args.dry_run {
        let bytes = with_mark_of(before, &bumped.text);
        fs::write(&repository.root.join(source.path()), &bytes)?;
    }
    show(args, source.path(), &bumped, output);
    Ok(())
}

fn show(args: &Args, path: &str, bumped: &BumpedPlugin, output: &Output) {
    let (old, new) = (bumped.old.to_string(), bumped.new.to_string());
    output.result(
        || {
            json!({
                "kind": "plugin",
                "name": args.name,
                "file": path,
                "old": old,
                "new": new,
                "changes": bumped.changes,
                "written": !args.dry_run,
            })
        },
        || format!("{}: {old} -> {new}\n", escape(path)),
    );
    not_written(output, args.dry_run);
}

impl Step {
    fn part(&self) -> BumpLevel {
        match (self.major, self.minor) {
            (true, _) => BumpLevel::Major,
            (_, true) => BumpLevel::Minor,
            _ => BumpLevel::Patch,
        }
    }
}

/// A text behind the byte order mark that a file has, where it has one.
fn with_mark_of(before: &[u8], text: &str) -> Vec<u8> {
    let mark = "\u{feff}".as_bytes();
    let kept = if before.starts_with(mark) { mark } else { &[] };
    [kept, text.as_bytes()].concat()
}
