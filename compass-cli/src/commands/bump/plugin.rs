//! `compass bump plugin`.

use compass_manifest::bump::{BumpedPlugin, bump_plugin, set_plugin_version};
use compass_manifest::escape::escape;
use compass_manifest::version::{BumpLevel, PluginVersion};
use serde_json::json;

use super::{bump_error, print_dry_run};
use crate::error::{CliError, Result};
use crate::fs;
use crate::output::Output;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The name of the plugin, which is that of its file
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    level: Level,
    /// Shows the changes without writing them
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Level {
    /// Increments the first number: incompatible changes
    #[arg(long)]
    major: bool,
    /// Increments the second number: new features
    #[arg(long)]
    minor: bool,
    /// Increments the third number: bug fixes; the default
    #[arg(long)]
    patch: bool,
    /// Sets this version, which must be greater
    #[arg(long, value_name = "VERSION")]
    to: Option<PluginVersion>,
}

pub(super) fn run(args: &Args, repository: &Repository, output: &Output) -> Result<()> {
    let policy = &repository.policy;
    let source = repository.plugin_manifest(&args.name)?.source;
    let bumped = match &args.level.to {
        Some(version) if version.is_prerelease() && !policy.plugins.prerelease => {
            return Err(CliError::usage(format!("`{version}` is a pre-release"))
                .hint("set `plugins.prerelease: true` in the policy to allow pre-releases"));
        }
        Some(version) => set_plugin_version(&source, policy, version),
        None => bump_plugin(&source, policy, args.level.level()),
    };
    let bumped = bumped.map_err(|error| bump_error(&error))?;
    let before = repository.tree.get(source.path()).unwrap_or_default();
    if std::str::from_utf8(before).is_err() {
        return Err(CliError::check_failed(format!("{} is not UTF-8 text", source.path())));
    }
    if !args.dry_run {
        let bytes = with_byte_order_mark_of(before, &bumped.text);
        fs::write(&repository.root.join(source.path()), &bytes)?;
    }
    print(args, source.path(), &bumped, output);
    Ok(())
}

fn print(args: &Args, path: &str, bumped: &BumpedPlugin, output: &Output) {
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
    print_dry_run(output, args.dry_run);
}

impl Level {
    fn level(&self) -> BumpLevel {
        match (self.major, self.minor) {
            (true, _) => BumpLevel::Major,
            (_, true) => BumpLevel::Minor,
            _ => BumpLevel::Patch,
        }
    }
}

/// Adds the byte order mark of the previous content to a text.
fn with_byte_order_mark_of(before: &[u8], text: &str) -> Vec<u8> {
    let mark = "\u{feff}".as_bytes();
    let kept = if before.starts_with(mark) { mark } else { &[] };
    [kept, text.as_bytes()].concat()
}
