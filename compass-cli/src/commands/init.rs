//! `compass init`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use compass_bundle::internal::write_file_below;
use compass_manifest::finding::Severity;
use compass_manifest::policy::POLICY_FILE;
use compass_manifest::policy_draft::PolicyDraft;
use compass_manifest::{Check, EntryKind, Report, rules};
use serde_json::json;

use crate::built_in_policy::BUILT_IN_POLICY;
use crate::checkout::Checkout;
use crate::display::counted;
use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::repository::Repository;
use crate::rule_files::READ_LIMIT;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Prints the policy instead of writing it
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    if global.policy.is_some() {
        let message = "`compass init` does not read a policy";
        return Err(CliError::usage(message).hint("omit `--policy`"));
    }
    let root = root(global)?;
    let file = root.join(POLICY_FILE);
    if !args.dry_run && file.symlink_metadata().is_ok() {
        return Err(CliError::usage(format!("{} exists already", file.display()))
            .hint("remove it first, or print a draft: `compass init --dry-run`"));
    }
    let checkout = Checkout::open(&root, global.repo.is_some())?;
    let text = draft(&checkout)?;
    let policy = BUILT_IN_POLICY.overlay(POLICY_FILE, text.as_bytes())?;
    rules::verify_policy(&policy, &[])?;
    let repository = Repository::with_policy(root, checkout, policy)?;
    let report = Check::new(repository.release()).run();
    if !args.dry_run {
        let bytes = text.clone().into_bytes().into();
        write_file_below(&repository.root, POLICY_FILE, &bytes, 0o644)?;
    }
    print(args, &file, &text, &report, output);
    Ok(ExitCode::SUCCESS)
}

/// The directory of `--repo`, the git work tree around the current directory, or that directory.
fn root(global: &GlobalArgs) -> Result<PathBuf> {
    if let Some(root) = &global.repo {
        return match root.is_dir() {
            true => Ok(root.clone()),
            false => Err(CliError::usage(format!("{} is not a directory", root.display()))),
        };
    }
    let current = std::env::current_dir().map_err(|error| CliError::external(&error))?;
    let is_work_tree = |directory: &&Path| directory.join(".git").exists();
    Ok(current.ancestors().find(is_work_tree).unwrap_or(&current).to_owned())
}

/// The number of files that are in memory at a time.
const FILES_AT_A_TIME: usize = 64;

/// Drafts the policy from the regular files of a repository.
fn draft(checkout: &Checkout) -> Result<String> {
    let files = checkout.files().filter(|(_, kind)| *kind == EntryKind::File);
    let paths: Vec<&str> =
        files.map(|(path, _)| path).filter(|path| PolicyDraft::reads(path)).collect();
    let mut draft = PolicyDraft::default();
    for paths in paths.chunks(FILES_AT_A_TIME) {
        for (path, bytes) in paths.iter().zip(checkout.read(paths, READ_LIMIT)?) {
            draft.add_file(path, &bytes);
        }
    }
    Ok(draft.to_yaml(&BUILT_IN_POLICY))
}

fn print(args: &Args, file: &Path, text: &str, report: &Report, output: &Output) {
    let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
    let written = !args.dry_run;
    output.result(
        || {
            json!({
                "file": file,
                "policy": text,
                "written": written,
                "errors": errors,
                "checkWarnings": warnings,
            })
        },
        || match written {
            true => format!("{} was written\n", file.display()),
            false => text.to_owned(),
        },
    );
    let (all_errors, all_warnings) = (counted(errors, "error"), counted(warnings, "warning"));
    let found = format!("with this policy, `compass check` finds {all_errors} and {all_warnings}");
    output.status(&match errors {
        0 => found,
        _ => format!("{found}; `compass check --base REV` reports only those that a change adds"),
    });
}
