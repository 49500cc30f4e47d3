use std::collections::BTreeSet;

use compass_manifest::bump::{
    HotfixOrigin, HotfixRequest, NewHotfix, known_product_versions, new_hotfix,
};
use compass_manifest::version::{Date, HotfixVersion, ProductVersion};
use serde_json::json;

use super::{failure, not_written};
use crate::base as git_base;
use crate::error::CliError;
use crate::fs;
use crate::output::Output;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The addon: its name, GROUP-ADDON, or NAMESPACE/GROUP/ADDON; or a hotfix of it, as
    /// web-v2.7.0-20180605-p1, to begin the one after that
    #[arg(value_name = "ADDON")]
    target: String,
    /// The product version that is patched; otherwise the newest release among git tags, product
    /// manifests and the policy
    #[arg(long, value_name = "VERSION")]
    base: Option<ProductVersion>,
    /// What the hotfix begins from
    #[arg(long, value_enum, default_value_t = Origin::Previous, value_name = "ORIGIN")]
    from: Origin,
    /// The day of the hotfix; otherwise that of `SOURCE_DATE_EPOCH`, or today
    #[arg(long, value_name = "YYYYMMDD", value_parser = date)]
    date: Option<Date>,
    /// Shows what would be made, and writes nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Origin {
    /// The previous hotfix of the addon and product version; the addon if there is none
    Previous,
    /// The addon, without what earlier hotfixes changed
    Addon,
}

pub(super) fn run(args: &Args, repository: &Repository, output: &Output) -> Result<(), CliError> {
    let (tree, policy) = (&repository.tree, &repository.policy);
    let (addon, after) = split(&args.target);
    let base = base(args, after.as_ref(), repository, output)?;
    let date = args.date.or(after.as_ref().map(HotfixVersion::date)).map_or_else(today, Ok)?;
    let git = repository.checkout.git();
    let tagged =
        git.map(|git| git_base::product(git, &base, policy, |_| true)).transpose()?.flatten();
    if tagged.is_none() {
        output.warn(&format!(
            "there is no git tag for {base}: the addon's values are those of the working tree"
        ));
    }
    let addons = tagged.as_ref().unwrap_or(tree);
    let origin = match args.from {
        Origin::Previous => HotfixOrigin::PreviousHotfix,
        Origin::Addon => HotfixOrigin::Addon,
    };
    let request = HotfixRequest::new(addon, &base, date).with_origin(origin);
    let file = new_hotfix(tree, policy, addons, &request).map_err(|e| failure(&e))?;
    if let Some(after) = after.as_ref().filter(|after| **after >= file.version) {
        let message = format!("there is no hotfix `{}`", args.target);
        return Err(CliError::usage(message).hint(format!(
            "the next one of that day would be `{}`, not one after {after}",
            file.version
        )));
    }
    if !args.dry_run {
        fs::create(repository, &file.path, file.text.as_bytes())?;
    }
    show(args, &file, output);
    Ok(())
}

/// The product version that is patched.
fn base(
    args: &Args,
    after: Option<&HotfixVersion>,
    repository: &Repository,
    output: &Output,
) -> Result<ProductVersion, CliError> {
    let tags = repository.checkout.git().map(crate::git::Git::tags).transpose()?;
    let tags = tags.unwrap_or_default();
    let tagged: BTreeSet<ProductVersion> = tags.iter().filter_map(|tag| tag.parse().ok()).collect();
    let known = known_product_versions(&repository.tree, &repository.policy);
    let asked = match (&args.base, after) {
        (Some(base), Some(after)) if !base.is_same_release(after.base()) => {
            let message = format!("`{after}` is no hotfix of the product {base}");
            return Err(CliError::usage(message).hint("leave `--base` away"));
        }
        (Some(base), _) => base,
        (None, Some(after)) => after.base(),
        (None, None) => return newest(&tagged, &known),
    };
    let mut all = tagged.iter().chain(&known);
    if all.clone().any(|version| version.is_same_release(asked)) {
        return Ok(asked.clone());
    }
    if all.next().is_none() {
        output.warn(&format!(
            "no git tag, product manifest or policy says whether there is a product {asked}"
        ));
        return Ok(asked.clone());
    }
    let names: Vec<_> = tagged.iter().chain(&known).map(ProductVersion::as_str).collect();
    let fetch =
        repository.checkout.git().map(|git| git.fetch_tag_command(asked.as_str())).transpose()?;
    let fetch = fetch.flatten().map(|fetch| format!("; {fetch} may fetch its tag"));
    let known = format!("products known here: {}", names.join(", "));
    Err(CliError::usage(format!("there is no product {asked}"))
        .hint(known + fetch.as_deref().unwrap_or_default()))
}

/// The newest release. Tags come first: a manifest may be of a version that is being prepared.
fn newest(
    tagged: &BTreeSet<ProductVersion>,
    known: &[ProductVersion],
) -> Result<ProductVersion, CliError> {
    let tags: Vec<&ProductVersion> = tagged.iter().collect();
    let known: Vec<&ProductVersion> = known.iter().collect();
    let newest = [tags, known].into_iter().find_map(|versions| {
        let released = versions.iter().filter(|version| !version.is_prerelease()).max();
        released.or_else(|| versions.iter().max()).map(|version| (*version).clone())
    });
    newest.ok_or_else(|| {
        CliError::usage("no git tag, product manifest or policy names a product version")
            .hint("say which one is patched: `--base v2.7.0`")
    })
}

fn show(args: &Args, file: &NewHotfix, output: &Output) {
    let (path, new) = (&file.path, file.version.to_string());
    let old = file.changes.first().map_or("", |change| change.old.as_str());
    output.result(
        || {
            json!({
                "kind": "hotfix",
                "name": file.addon,
                "file": path,
                "from": file.from,
                "previous": file.previous.as_ref().map(ToString::to_string),
                "old": old,
                "new": new,
                "changes": file.changes,
                "written": !args.dry_run,
            })
        },
        || format!("{path}: {old} -> {new}\n  begins from {}\n", file.from),
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

/// The day of `SOURCE_DATE_EPOCH` in UTC, so that it is the same everywhere; otherwise today in the
/// local time zone.
fn today() -> Result<Date, CliError> {
    let day = match crate::source_date_epoch::read()? {
        Some(seconds) => jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX))
            .map(|time| time.to_zoned(jiff::tz::TimeZone::UTC))
            .ok(),
        None => Some(jiff::Zoned::now()),
    };
    let date = day.and_then(|day| {
        let year = u16::try_from(day.year()).ok()?;
        Date::new(year, u8::try_from(day.month()).ok()?, u8::try_from(day.day()).ok()?)
    });
    date.ok_or_else(|| {
        CliError::usage("the clock shows no day of the calendar")
            .hint("say which: `--date YYYYMMDD`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_prefers_tagged_releases() {
        let parse = |texts: &[&str]| -> Vec<ProductVersion> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let newest = |tags: &[&str], known: &[&str]| {
            let tagged = parse(tags).into_iter().collect();
            newest(&tagged, &parse(known)).map(|version| version.to_string()).ok()
        };
        let found = newest(&["v2.6.0", "v2.7.0-ga", "v2.8.0-rc.1"], &["v2.9.0"]);
        assert_eq!(found.as_deref(), Some("v2.7.0-ga"));
        assert_eq!(newest(&["v2.8.0-rc.1"], &["v2.7.0"]).as_deref(), Some("v2.8.0-rc.1"));
        assert_eq!(newest(&[], &["v2.6.0", "v2.7.0"]).as_deref(), Some("v2.7.0"));
        assert_eq!(newest(&[], &[]), None);
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
