use std::time::{SystemTime, UNIX_EPOCH};

use compass_manifest::bump::{NewFile, new_hotfix, newest_product};
use compass_manifest::version::{Date, HotfixVersion, ProductVersion};
use serde_json::json;

use super::{failure, not_written};
use crate::base as git_base;
use crate::failure::Failure;
use crate::output::Output;
use crate::repository::Repository;
use crate::save;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The addon: its name, GROUP-ADDON, or NAMESPACE/GROUP/ADDON; or a hotfix of it, as
    /// web-v2.7.0-20180605-p1, to begin the one after that
    #[arg(value_name = "ADDON")]
    target: String,
    /// The product version that is patched; otherwise the newest one known
    #[arg(long, value_name = "VERSION")]
    base: Option<ProductVersion>,
    /// The day of the hotfix; otherwise today
    #[arg(long, value_name = "YYYYMMDD", value_parser = date)]
    date: Option<Date>,
    /// Shows what would be made, and writes nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args, repository: &Repository, output: &Output) -> Result<(), Failure> {
    let (tree, policy) = (&repository.tree, &repository.policy);
    let (addon, after) = split(&args.target);
    let base = match (&args.base, &after) {
        (Some(base), Some(after)) if !base.is_same_release(after.base()) => {
            let message = format!("`{after}` is no hotfix of the product {base}");
            return Err(Failure::usage(message).hint("leave `--base` away"));
        }
        (_, Some(after)) => after.base().clone(),
        (Some(base), None) => base.clone(),
        (None, None) => newest_product(tree, policy).ok_or_else(|| {
            Failure::usage("the repository names no product version")
                .hint("say which one is patched: `--base v2.7.0`")
        })?,
    };
    let date = args.date.or(after.as_ref().map(HotfixVersion::date)).map_or_else(today, Ok)?;
    let git = repository.checkout.git();
    let tagged =
        git.map(|git| git_base::product(git, &base, policy, |_| true)).transpose()?.flatten();
    if tagged.is_none() {
        output.note(&format!(
            "there is no git tag for {base}: the addon's values are those of the working tree"
        ));
    }
    let addons = tagged.as_ref().unwrap_or(tree);
    let file = new_hotfix(tree, policy, addon, &base, date, addons).map_err(|e| failure(&e))?;
    if let Some(after) = after.as_ref().filter(|after| **after >= file.version) {
        let message = format!("there is no hotfix `{}`", args.target);
        return Err(Failure::usage(message).hint(format!(
            "the next one of that day would be `{}`, not one after {after}",
            file.version
        )));
    }
    if let Some(after) = &after {
        output.note(&format!(
            "it begins with the addon of {base}: what {after} changed is to be changed here as well"
        ));
    }
    if !args.dry_run {
        save::create(repository, &file.path, file.text.as_bytes())?;
    }
    show(args, &file, output);
    Ok(())
}

fn show(args: &Args, file: &NewFile, output: &Output) {
    let (path, new) = (&file.path, file.version.to_string());
    let old = file.changes.first().map_or("", |change| change.old.as_str());
    output.result(
        || {
            json!({
                "kind": "hotfix",
                "name": file.addon,
                "file": path,
                "from": file.from,
                "old": old,
                "new": new,
                "changes": file.changes,
                "written": !args.dry_run,
            })
        },
        || format!("{path}: {old} -> {new}\n"),
    );
    not_written(output, args.dry_run);
}

/// An addon, and the HOTFIXVERSION behind it where there is one.
fn split(target: &str) -> (&str, Option<HotfixVersion>) {
    let versions = target.match_indices("-v").filter_map(|(at, _)| {
        let version = target[at + 1..].parse().ok()?;
        Some((&target[..at], Some(version)))
    });
    versions.last().unwrap_or((target, None))
}

fn date(text: &str) -> Result<Date, String> {
    Date::parse(text).ok_or_else(|| "not a calendar date as 20180605".to_owned())
}

/// The day that it is in UTC, so that two people in two places begin the same one.
fn today() -> Result<Date, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    day(now / 86_400).ok_or_else(|| {
        Failure::usage("the clock shows no day of the calendar")
            .hint("say which: `--date YYYYMMDD`")
    })
}

/// The date of a day counted from 1 January 1970. Years are taken to begin in March, so that the
/// day that leap years add is their last.
fn day(since_epoch: u64) -> Option<Date> {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    const MARCH_OF_YEAR_0_TO_EPOCH: u64 = 719_468;
    let days = since_epoch + MARCH_OF_YEAR_0_TO_EPOCH;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let day = day - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_since_1970_are_dates() {
        let shown = |seconds: u64| day(seconds / 86_400).unwrap().to_string();
        for (seconds, date) in [
            (0, "19700101"),
            (951_782_400, "20000229"),
            (951_868_800, "20000301"),
            (1_528_156_800, "20180605"),
            (1_735_603_200, "20241231"),
            (4_107_542_399, "21000228"),
            (4_107_542_400, "21000301"),
        ] {
            assert_eq!(shown(seconds), date);
        }
    }

    #[test]
    fn a_target_is_an_addon_or_a_hotfix_of_it() {
        let shown = |target: &str| {
            let (addon, version) = split(target);
            (addon.to_owned(), version.map(|version| version.to_string()))
        };
        assert_eq!(shown("console-web"), ("console-web".to_owned(), None));
        assert_eq!(shown("web-v2"), ("web-v2".to_owned(), None));
        for (addon, version) in
            [("web", "v2.7.0-20180605-p1"), ("web-v2", "v2.7.0-ga-20180605-p10")]
        {
            let expected = (addon.to_owned(), Some(version.to_owned()));
            assert_eq!(shown(&format!("{addon}-{version}")), expected);
        }
    }
}
