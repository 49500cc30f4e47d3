//! `compass diff`.

mod markdown;
mod published;

use std::process::ExitCode;

use compass_bundle::store::redact_url;
use compass_bundle::{Comparison, DocumentChange, FileChange, ImageChange, Package, compare};
use compass_manifest::diff::{Difference, differences};
use compass_manifest::yaml;
use compass_registry::{Descriptor, Platform, RegistryPrefix};
use serde_json::{Value, json};

use self::markdown::to_markdown;
use crate::display::{counted, human_bytes, printable};
use crate::error::{CliError, Result};
use crate::global_args::{Format, GlobalArgs};
use crate::image_usage::open;
use crate::output::{self, Output};
use crate::rule_gate::GateArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The old package: a path, or an http, https, s3 or oss URL; with `--published`, the kind of a
    /// target: `plugin`, `hotfix` or `product`
    old: String,
    /// The new package; with `--published`, the name of a plugin, ADDON-HOTFIXVERSION of a hotfix, or
    /// the version of a product
    new: String,
    /// Compares the last published bundle with the planned bundle of a target; no layer is read
    #[arg(long)]
    published: bool,
    /// The store with the published bundles [default: the policy's]
    #[arg(long, value_name = "URL", requires = "published")]
    store: Option<String>,
    /// Reads the images of the plan from `HOST[/PROJECT]` instead of the release registry
    #[arg(long, value_name = "PLACE", requires = "published")]
    from: Option<RegistryPrefix>,
    #[command(flatten)]
    gate: GateArgs,
}

/// The names of a planned bundle and of the published one.
struct Sides {
    /// The version and the URL of the published bundle; `None` if there is none.
    old: Option<(String, String)>,
    name: String,
    version: String,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let (comparison, sides) = match args.published {
        true => {
            published::run(args, global, output).await.map(|(one, sides)| (one, Some(sides)))?
        }
        false if args.gate.no_check.is_some() => {
            let message = "`--no-check` has no effect without `--published`: no rule is applied";
            return Err(CliError::usage(message));
        }
        false => (compare_packages([&args.old, &args.new], global, output).await?, None),
    };
    match output.format {
        Format::Markdown => output::print(&to_markdown(&comparison, sides.as_ref())),
        _ => output.result(
            || to_json(&comparison, sides.as_ref()),
            || first_line(sides.as_ref()) + &to_text(&comparison),
        ),
    }
    Ok(ExitCode::SUCCESS)
}

async fn compare_packages(
    [old_address, new_address]: [&str; 2],
    global: &GlobalArgs,
    output: &Output,
) -> Result<Comparison> {
    let (old, new) = (open(old_address, global).await?, open(new_address, global).await?);
    let comparison = compare(&old, &new).await?;
    for (address, package) in [(old_address, &old), (new_address, &new)] {
        warn_of_problems(&redact_url(address), package, output);
    }
    Ok(comparison)
}

/// Names the published bundle and the planned one.
fn first_line(sides: Option<&Sides>) -> String {
    match sides {
        None => String::new(),
        Some(Sides { old: Some((before, url)), name, version }) => {
            format!(
                "{} {} -> {} ({})\n",
                printable(name),
                printable(before),
                printable(version),
                printable(url)
            )
        }
        Some(Sides { old: None, name, version }) => {
            format!("{} {}: no other version is published\n", printable(name), printable(version))
        }
    }
}

/// Prints the problems and unread parts of a package: differences may be missing because of them.
fn warn_of_problems(name: &str, package: &Package, output: &Output) {
    for problem in package.problems() {
        let file = problem.file.filter(|file| !problem.what.starts_with(file.as_str()));
        let file = file.map(|file| format!("{}: ", printable(&file))).unwrap_or_default();
        output.warn(&format!("{name}: {file}{}", printable(&problem.what)));
    }
    for note in package.notes().into_iter().chain(package.unavailable_layers()) {
        output.warn(&note);
    }
}

/// Compares two YAML or JSON texts by structure; `None` if one of them is neither.
fn structural_diff(old: &[u8], new: &[u8]) -> Option<Vec<Difference>> {
    let parse = |bytes| yaml::parse(std::str::from_utf8(bytes).ok()?).ok();
    Some(differences(&parse(old)?, &parse(new)?))
}

fn file_diff(change: &FileChange) -> Option<Vec<Difference>> {
    let (old, new) = change.texts.as_ref()?;
    structural_diff(old, new)
}

fn config_diff(change: &ImageChange) -> Vec<Difference> {
    let differences = change.configs.as_ref().and_then(|(old, new)| structural_diff(old, new));
    differences.unwrap_or_default()
}

fn total_size(layers: &[Descriptor]) -> u64 {
    layers.iter().map(|layer| layer.size).sum()
}

fn to_json(comparison: &Comparison, sides: Option<&Sides>) -> Value {
    let difference = |one: &Difference| json!({"path": one.path, "old": one.old, "new": one.new});
    let all = |found: Vec<Difference>| found.iter().map(difference).collect::<Vec<_>>();
    let field = |one: &DocumentChange| json!({"path": one.field, "old": one.old, "new": one.new});
    let change = |old: bool, new: bool| match (old, new) {
        (false, _) => "added",
        (_, false) => "removed",
        _ => "changed",
    };
    let files = comparison.files.iter().map(|file| {
        json!({
            "path": file.path,
            "change": change(file.old.is_some(), file.new.is_some()),
            "oldSize": file.old,
            "newSize": file.new,
            "oldMode": file.modes.map(|(old, _)| octal(old)),
            "newMode": file.modes.map(|(_, new)| octal(new)),
            "differences": file_diff(file).map(all),
        })
    });
    let images = comparison.images.iter().map(|image| {
        let side = |side: &compass_bundle::ImageSide| {
            json!({"reference": side.reference, "digest": side.digest, "absent": side.omitted_platforms})
        };
        json!({
            "name": image.name,
            "change": change(image.old.is_some(), image.new.is_some()),
            "old": image.old.as_ref().map(side),
            "new": image.new.as_ref().map(side),
            "sharedLayers": image.shared,
            "removedLayers": image.removed,
            "addedLayers": image.added,
            "config": all(config_diff(image)),
        })
    });
    let mut value = json!({
        "oldSize": comparison.sizes.0,
        "newSize": comparison.sizes.1,
        "document": comparison.document.iter().map(field).collect::<Vec<_>>(),
        "sharedBytes": comparison.shared_bytes,
        "newBytes": comparison.new_bytes,
        "sameImages": comparison.unchanged_images,
        "files": files.collect::<Vec<_>>(),
        "images": images.collect::<Vec<_>>(),
    });
    if let Some(Sides { old, name, version }) = sides {
        let old = old.as_ref();
        value["planned"] = json!({"name": name, "version": version});
        value["published"] =
            json!(old.map(|(version, url)| json!({"version": version, "url": url})));
    }
    value
}

fn to_text(comparison: &Comparison) -> String {
    let mut text = String::new();
    if !comparison.document.is_empty() {
        text.push_str(&format!("~ {}\n", compass_bundle::document::FILE_NAME));
    }
    for DocumentChange { field, old, new, .. } in &comparison.document {
        text.push_str(&line(field, old.as_deref(), new.as_deref()));
    }
    for file in &comparison.files {
        text.push_str(&format!(
            "{} {}\n",
            sign(file.old.is_some(), file.new.is_some()),
            printable(&file.path)
        ));
        if let Some((old, new)) = file.modes {
            text.push_str(&line("mode", Some(&octal(old)), Some(&octal(new))));
        }
        text.push_str(&lines(&file_diff(file).unwrap_or_default()));
    }
    for image in &comparison.images {
        let sign = sign(image.old.is_some(), image.new.is_some());
        let tags = [&image.old, &image.new];
        let tags: Vec<_> = tags.iter().filter_map(|side| side.as_ref()).collect();
        let mut tags: Vec<_> = tags.iter().map(|side| side.reference.as_str()).collect();
        tags.dedup();
        text.push_str(&format!("{sign} {}\n", tags.join(" -> ")));
        text.push_str(&format!(
            "    layers: {} shared ({}), {} removed ({}), {} added ({})\n",
            image.shared.len(),
            human_bytes(total_size(&image.shared)),
            image.removed.len(),
            human_bytes(total_size(&image.removed)),
            image.added.len(),
            human_bytes(total_size(&image.added)),
        ));
        text.push_str(&lines(&config_diff(image)));
        if let (Some(old), Some(new)) = (&image.old, &image.new)
            && old.omitted_platforms != new.omitted_platforms
        {
            let (old, new) = (platforms(&old.omitted_platforms), platforms(&new.omitted_platforms));
            text.push_str(&format!("    omitted platforms: {old} -> {new}\n"));
        }
    }
    let (old, new) = comparison.sizes;
    text + &format!(
        "{} unchanged; {} of blobs shared, {} new; old size {}, new size {}\n",
        counted(comparison.unchanged_images, "image"),
        human_bytes(comparison.shared_bytes),
        human_bytes(comparison.new_bytes),
        human_bytes(old),
        human_bytes(new)
    )
}

fn platforms(platforms: &[Platform]) -> String {
    let names: Vec<_> = platforms.iter().map(Platform::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn sign(old: bool, new: bool) -> char {
    match (old, new) {
        (false, _) => '+',
        (_, false) => '-',
        _ => '~',
    }
}

fn lines(differences: &[Difference]) -> String {
    let shown = |one: &Difference| line(&one.path, one.old.as_deref(), one.new.as_deref());
    differences.iter().map(shown).collect()
}

fn line(what: &str, old: Option<&str>, new: Option<&str>) -> String {
    let value = |value: Option<&str>| printable(value.unwrap_or("none"));
    format!("    {}: {} -> {}\n", printable(what), value(old), value(new))
}

/// Formats permissions in octal, as for `chmod`.
fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}
