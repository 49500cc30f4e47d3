//! The comparison of a target with its last published bundle.

use std::sync::Arc;

use compass_bundle::store::{StoredBundle, open_store};
use compass_bundle::{BundleContents, Comparison, Package, compare_with_plan};
use compass_manifest::version::{ComponentVersion, HotfixVersion, PluginVersion, ProductVersion};

use super::{Args, Sides};
use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::image_usage::open;
use crate::output::Output;
use crate::packaging::{self, ImageOrigin, Options, PlannedBundle};
use crate::registries::Registries;
use crate::repository::Repository;

/// Plans the bundle of a target, and compares it with the bundle published before it.
pub(super) async fn run(
    args: &Args,
    global: &GlobalArgs,
    output: &Output,
) -> Result<(Comparison, Sides)> {
    let repository = Repository::open(global)?;
    let release = repository.release_contents(&[args.old.clone(), args.new.clone()])?;
    repository.require_no_errors(&repository.files_below(&release.paths), &args.gate, output)?;
    let store = args.store.as_ref().or(repository.policy.store.as_ref());
    let store = store.ok_or_else(|| {
        CliError::usage("the policy names no store").hint("name one: `--store URL`")
    })?;
    let options = Options {
        origin: args.from.as_ref().map_or(ImageOrigin::Release, ImageOrigin::Other),
        allow_other_platform: true,
        ..Options::new(&repository, global.write_jobs())?
    };
    let published = open_store(store, &global.store_options())?.list().await?;
    let registries = Registries::new(&repository, global);
    let PlannedBundle { plan, contents, images } =
        packaging::plan(&repository, release, &options, &registries, output).await?;
    let previous = previous(&published, &contents);
    let package = match previous {
        Some(bundle) => Some(open(&bundle.url, global).await?),
        None => None,
    };
    let comparison =
        compare_with_plan(package.as_ref(), &plan, &contents, Arc::clone(&images)).await?;
    warn(package.as_ref(), output);
    let old = previous.map(|bundle| (bundle.version.clone(), bundle.url.clone()));
    Ok((comparison, Sides { old, name: contents.name.clone(), version: contents.version.clone() }))
}

fn warn(previous: Option<&Package>, output: &Output) {
    if previous.is_some_and(|package| package.as_bundle().is_none()) {
        output.warn("the published package was written by another tool");
    }
}

/// The bundle of the same plugin, addon or product with the greatest version before that of the plan. If
/// there is none, the one that was published last.
fn previous<'s>(
    published: &'s [StoredBundle],
    contents: &BundleContents,
) -> Option<&'s StoredBundle> {
    let same = published.iter().filter(|bundle| {
        bundle.kind == contents.kind
            && bundle.name == contents.name
            && bundle.version != contents.version
    });
    let same: Vec<&StoredBundle> = same.collect();
    let mut earlier: Vec<_> =
        same.iter().filter(|bundle| is_before(&bundle.version, &contents.version)).collect();
    earlier.sort_by(|one, two| match is_before(&one.version, &two.version) {
        true => std::cmp::Ordering::Less,
        false => std::cmp::Ordering::Greater,
    });
    let last = same.iter().max_by(|one, two| one.published.cmp(&two.published));
    earlier.pop().or(last).copied()
}

/// Whether one version precedes another, in the first form that both have.
fn is_before(one: &str, other: &str) -> bool {
    fn compare<V: std::str::FromStr + Ord>(one: &str, other: &str) -> Option<bool> {
        Some(one.parse::<V>().ok()? < other.parse::<V>().ok()?)
    }
    compare::<HotfixVersion>(one, other)
        .or_else(|| compare::<PluginVersion>(one, other))
        .or_else(|| compare::<ProductVersion>(one, other))
        .or_else(|| compare::<ComponentVersion>(one, other))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_before_compares_numbers() {
        for (one, other) in [
            ("v0.9.0", "v0.10.0"),
            ("v2.7.0-20180605-p9", "v2.7.0-20180605-p10"),
            ("v2.7.0-rc.1", "v2.7.0"),
            ("v3.1.9-fix-1", "v3.1.10"),
        ] {
            assert!(is_before(one, other) && !is_before(other, one), "{one} {other}");
        }
        assert!(!is_before("v1.0.0", "v1.0.0"));
    }
}
