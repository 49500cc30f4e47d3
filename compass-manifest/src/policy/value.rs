//! Reads and validates the values of a policy.

use crate::escape::quote;
use crate::schema::Schema;
use crate::source::Span;
use crate::yaml::Node;

/// A text, or a list of texts.
pub(super) const TEXTS: Schema = Schema::OneOrMore(&Schema::Text);

/// An invalid value: its span, the problem, and how to fix it.
pub(super) struct ValueError {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) help: String,
}

pub(super) fn value_error(
    span: Span,
    message: impl Into<String>,
    help: impl Into<String>,
) -> ValueError {
    ValueError { span, message: message.into(), help: help.into() }
}

pub(super) fn flag(node: &Node) -> bool {
    node.text().is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

pub(super) fn text(node: &Node) -> String {
    node.text().unwrap_or_default().to_owned()
}

pub(super) fn texts(node: &Node) -> Vec<String> {
    node.items().iter().filter_map(Node::text).map(str::to_owned).collect()
}

/// Returns the items of a list; a scalar is a list of one item.
pub(super) fn one_or_more(node: &Node) -> &[Node] {
    if node.text().is_some() { std::slice::from_ref(node) } else { node.items() }
}

pub(super) fn directories(node: &Node) -> Result<Vec<String>, ValueError> {
    one_or_more(node).iter().map(relative_directory).collect()
}

pub(super) fn store_url(node: &Node) -> Result<String, ValueError> {
    let text = text(node);
    let known = ["file://", "oss://", "s3://"]
        .iter()
        .any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    if known {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err(value_error(
            node.span,
            format!("{} is not the URL of a store", quote(&text)),
            "write `oss://BUCKET`, `s3://BUCKET` or `file:///DIRECTORY`",
        ))
    }
}

/// Reads a list of platforms, which must not be empty.
pub(super) fn platforms(node: &Node) -> Result<Vec<String>, ValueError> {
    if node.items().is_empty() {
        return Err(value_error(node.span, "no platform is listed", "write `[linux/amd64]`"));
    }
    node.items().iter().map(platform).collect()
}

fn platform(node: &Node) -> Result<String, ValueError> {
    let text = node.text().unwrap_or_default();
    let parts: Vec<&str> = text.split('/').collect();
    if (2..=3).contains(&parts.len()) && parts.iter().all(|part| !part.is_empty()) {
        Ok(text.to_owned())
    } else {
        Err(value_error(
            node.span,
            format!("{} is not a platform", quote(text)),
            "write `OS/ARCH`, for example `linux/amd64`",
        ))
    }
}

fn relative_directory(node: &Node) -> Result<String, ValueError> {
    let text = node.text().unwrap_or_default().trim_end_matches('/');
    let inside = !text.is_empty() && text.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if inside {
        Ok(text.to_owned())
    } else {
        Err(value_error(
            node.span,
            format!("{} is not a directory inside the release repository", quote(text)),
            "write a relative path without `.` and `..`",
        ))
    }
}
