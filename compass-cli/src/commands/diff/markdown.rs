//! A comparison as Markdown, for a comment on a pull request.

use compass_bundle::{Comparison, ImageChange, ImageSide};
use compass_manifest::escape::escape;

use super::{Sides, file_diff, total_size};
use crate::display::human_bytes;

/// The maximum number of rows of a table. Forges limit the size of comments.
const MAX_ROWS: usize = 60;

/// Formats a comparison. `sides` are `None` for two packages that were named.
pub(super) fn to_markdown(comparison: &Comparison, sides: Option<&Sides>) -> String {
    let mut text = heading(comparison, sides);
    let images: Vec<String> = comparison.images.iter().map(image_row).collect();
    text.push_str(&table("| image | before | after | layers shared | removed | added |", &images));
    let fields: Vec<String> = comparison
        .files
        .iter()
        .flat_map(|file| {
            let path = code(&file.path);
            let changed = file_diff(file).unwrap_or_default();
            let row = |old: Option<&str>, new: Option<&str>, field: &str| {
                format!("| {path} | {field} | {} | {} |", value(old), value(new))
            };
            match (file.old, file.new, changed.is_empty()) {
                (Some(_), Some(_), false) => changed
                    .iter()
                    .map(|one| row(one.old.as_deref(), one.new.as_deref(), &code(&one.path)))
                    .collect(),
                (old, new, _) => {
                    let size = |size: Option<u64>| size.map(human_bytes);
                    vec![row(size(old).as_deref(), size(new).as_deref(), "(file)")]
                }
            }
        })
        .collect();
    text.push_str(&table("| file | field | before | after |", &fields));
    text
}

fn heading(comparison: &Comparison, sides: Option<&Sides>) -> String {
    let (old, new) = (human_bytes(comparison.sizes.0), human_bytes(comparison.sizes.1));
    let layers = format!(
        "{} of layers and configurations are new, {} are shared",
        human_bytes(comparison.new_bytes),
        human_bytes(comparison.shared_bytes)
    );
    let unchanged = comparison.unchanged_images;
    match sides {
        None => format!("Size {old} → {new}: {layers}. Unchanged images: {unchanged}.\n"),
        Some(Sides { old: None, name, version }) => {
            format!("### {} {}\n\nThe first package: {new}.\n", escape(name), escape(version))
        }
        Some(Sides { old: Some((before, url)), name, version }) => format!(
            "### {} {}\n\nCompared with {} ({}): size {old} → {new}, {layers}. Unchanged images: \
             {unchanged}.\n",
            escape(name),
            escape(version),
            code(before),
            code(url),
        ),
    }
}

fn table(heading: &str, rows: &[String]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let columns = heading.matches('|').count() - 1;
    let mut text = format!("\n{heading}\n{}|\n", "|---".repeat(columns));
    text.extend(rows.iter().take(MAX_ROWS).map(|row| format!("{row}\n")));
    if rows.len() > MAX_ROWS {
        text.push_str(&format!("\nand {} more\n", rows.len() - MAX_ROWS));
    }
    text
}

fn image_row(image: &ImageChange) -> String {
    let side = |side: &Option<ImageSide>| {
        let tag = side.as_ref().map(|side| {
            let after = side.reference.rsplit_once('/').map_or(&*side.reference, |(_, last)| last);
            after.split_once([':', '@']).map_or(after, |(_, tag)| tag).to_owned()
        });
        value(tag.as_deref().map(|tag| format!("`{tag}`")).as_deref())
    };
    let layers = |layers: &[compass_registry::Descriptor]| {
        format!("{} ({})", layers.len(), human_bytes(total_size(layers)))
    };
    format!(
        "| {} | {} | {} | {} | {} | {} |",
        code(&image.name),
        side(&image.old),
        side(&image.new),
        layers(&image.shared),
        layers(&image.removed),
        layers(&image.added),
    )
}

/// Formats a value that may already be in backticks.
fn value(text: Option<&str>) -> String {
    match text {
        None => "–".to_owned(),
        Some(text) => match text.strip_prefix('`').and_then(|text| text.strip_suffix('`')) {
            Some(inner) => code(inner),
            None => code(text),
        },
    }
}

/// Formats untrusted text as code in a cell of a table.
fn code(text: &str) -> String {
    format!("`{}`", escape(text).replace('`', "'").replace('|', "\\|"))
}
