//! `compass bump hotfix`.

use std::collections::BTreeSet;

use compass_bundle::internal::write_file_below;
use compass_manifest::bump::{
    HotfixOrigin, HotfixRequest, NewHotfix, known_product_versions, new_hotfix,
};
use compass_manifest::version::{Date, HotfixVersion, ProductVersion};
use serde_json::json;

use super::{bump_error, print_dry_run};
use crate::error::{CliError, Result};
use crate::output::Output;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The addon: NAME, GROUP-NAME or NAMESPACE/GROUP/NAME; or one of its hotfixes, such as
    /// web-v2.7.0-20180605-p1, to create the next one
    #[arg(value_name = "ADDON")]
    target: String,
    /// The product version to patch [default: the newest release in git tags, product manifests and
    /// the policy]
    #[arg(long, value_name = "VERSION")]
    base: Option<ProductVersion>,
    /// The values that the hotfix starts with
    #[arg(long, value_enum, default_value_t = Origin::Previous, value_name = "ORIGIN")]
    from: Origin,
    /// The day of the hotfix [default: that of `SOURCE_DATE_EPOCH`, or today]
    #[arg(long, value_name = "YYYYMMDD", value_parser = date)]
    date: Option<Date>,
    /// Shows the hotfix without writing it
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Origin {
    /// Those of the previous hotfix; those of the addon if there is none
    Previous,
    /// Those of the addon, without the changes of earlier hotfixes
    Addon,
}

pub(super) fn run(args: &Args, repository: &Repository, output: &Output) -> Result<()> {
    let policy = &repository.policy;
    let (addon, after) = split_target(&args.target);
    let base = base_version(args, after.as_ref(), repository, output)?;
    let date = args.date.or(after.as_ref().map(HotfixVersion::date)).map_or_else(today, Ok)?;
    let git = repository.checkout.git();
    let tagged = git.map(|git| git.product_tree(&base, policy, |_| true)).transpose()?.flatten();
    if tagged.is_none() {
        output
            .warn(&format!("there is no git tag for {base}: the addons of the work tree are used"));
    }
    let tagged = tagged.map(|tree| repository.parse(tree));
    let product = tagged.as_ref().unwrap_or_else(|| repository.release());
    let origin = match args.from {
        Origin::Previous => HotfixOrigin::PreviousHotfix,
        Origin::Addon => HotfixOrigin::Addon,
    };
    let request = HotfixRequest::new(addon, &base, date).with_origin(origin);
    let file =
        new_hotfix(repository.release(), product, &request).map_err(|error| bump_error(&error))?;
    if let Some(after) = after.as_ref().filter(|after| **after >= file.version) {
        let message = format!("there is no hotfix `{}`", args.target);
        return Err(CliError::usage(message).hint(format!(
            "the next hotfix of that day is `{}`, which is not after {after}",
            file.version
        )));
    }
    if !args.dry_run {
        write_new(repository, &file.path, file.text.as_bytes())?;
    }
    print(args, &file, output);
    Ok(())
}

/// Writes a new file of the repository. A file or a symbolic link in place of a parent directory is an
/// error, because its target may be outside of the repository.
fn write_new(repository: &Repository, path: &str, bytes: &[u8]) -> Result<()> {
    let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
    if let Some(file) = parents.into_iter().find(|parent| repository.tree.contains(parent)) {
        return Err(CliError::usage(format!("{file} is not a directory")));
    }
    let bytes = bytes.to_vec().into();
    Ok(write_file_below(&repository.root, path, &bytes, 0o644)?)
}

/// The product version to patch.
fn base_version(
    args: &Args,
    after: Option<&HotfixVersion>,
    repository: &Repository,
    output: &Output,
) -> Result<ProductVersion> {
    let tags = repository.checkout.git().map(crate::git::Git::tags).transpose()?;
    let tags = tags.unwrap_or_default();
    let tagged: BTreeSet<ProductVersion> = tags.iter().filter_map(|tag| tag.parse().ok()).collect();
    let known = known_product_versions(repository.release());
    let requested = match (&args.base, after) {
        (Some(base), Some(after)) if !base.is_same_release(after.base()) => {
            let message = format!("`{after}` is not a hotfix of the product {base}");
            return Err(CliError::usage(message).hint("omit `--base`"));
        }
        (Some(base), _) => base,
        (None, Some(after)) => after.base(),
        (None, None) => return newest(&tagged, &known),
    };
    let mut all = tagged.iter().chain(&known);
    if all.clone().any(|version| version.is_same_release(requested)) {
        return Ok(requested.clone());
    }
    if all.next().is_none() {
        output.warn(&format!(
            "no git tag, product manifest or policy names a product version, so {requested} cannot be \
             verified"
        ));
        return Ok(requested.clone());
    }
    let names: Vec<_> = tagged.iter().chain(&known).map(ProductVersion::as_str).collect();
    let fetch = repository
        .checkout
        .git()
        .map(|git| git.fetch_tag_command(requested.as_str()))
        .transpose()?;
    let fetch = fetch.flatten().map(|fetch| format!("; {fetch} may fetch the tag"));
    let known = format!("known products: {}", names.join(", "));
    Err(CliError::usage(format!("there is no product {requested}"))
        .hint(known + fetch.as_deref().unwrap_or_default()))
}

/// The newest release. Tags have precedence: a manifest may be of a version in preparation.
fn newest(tagged: &BTreeSet<ProductVersion>, known: &[ProductVersion]) -> Result<ProductVersion> {
    let tags: Vec<&ProductVersion> = tagged.iter().collect();
    let known: Vec<&ProductVersion> = known.iter().collect();
    let newest = [tags, known].into_iter().find_map(|versions| {
        let released = versions.iter().filter(|version| !version.is_prerelease()).max();
        released.or_else(|| versions.iter().max()).map(|version| (*version).clone())
    });
    newest.ok_or_else(|| {
        CliError::usage("no git tag, product manifest or policy names a product version")
            .hint("name the product version: `--base v2.7.0`")
    })
}

fn print(args: &Args, file: &NewHotfix, output: &Output) {
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
        || format!("{path}: {old} -> {new}\n  starts with {}\n", file.from),
    );
    print_dry_run(output, args.dry_run);
}

/// Splits a target into an addon and an optional hotfix version.
fn split_target(target: &str) -> (&str, Option<HotfixVersion>) {
    let versions = target.match_indices("-v").filter_map(|(at, _)| {
        let version = target[at + 1..].parse().ok()?;
        Some((&target[..at], Some(version)))
    });
    versions.last().unwrap_or((target, None))
}

fn date(text: &str) -> Result<Date, String> {
    Date::parse(text).ok_or_else(|| "expected a calendar date such as 20180605".to_owned())
}

/// Returns the day of a new hotfix.
///
/// It is that of `SOURCE_DATE_EPOCH` in UTC, so that it is reproducible; without the variable, it
/// is today in the local time zone.
fn today() -> Result<Date> {
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
        CliError::usage("the time of the system has no valid day").hint("use `--date YYYYMMDD`")
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
    fn split_target_addon_or_hotfix() {
        let shown = |target: &str| {
            let (addon, version) = split_target(target);
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
