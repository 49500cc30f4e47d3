//! The lists of published packages.

use compass_bundle::document::BundleKind;
use compass_bundle::store::StoredBundle;
use jiff::Timestamp;
use maud::{Markup, html};

use super::super::texts::Texts;
use super::Page;
use super::elements::{minute, notice};
use crate::display::human_bytes;

/// The number of packages on a page.
const PER_PAGE: usize = 100;

/// Says that the list could not be read, or was not read yet.
pub(super) fn list_notice(page: &Page<'_>) -> Markup {
    html! {
        @if let Some(error) = &page.state.packages_error {
            (notice("warn", page.texts.list_failed, Some(error)))
        } @else if page.state.packages.is_none() {
            (notice("wait", page.texts.not_listed, None))
        }
    }
}

/// The newest packages of a kind, with a link to all.
pub(super) fn newest(page: &Page<'_>, kind: BundleKind, count: usize) -> Markup {
    let (texts, bundles) = (page.texts, of_kind(page, kind));
    let name = (texts.package_kind)(kind);
    html! {
        @if !bundles.is_empty() {
            (table(texts, name, bundles.iter().take(count).copied()))
            @if bundles.len() > count {
                p { a href={ "/packages/" (kind.as_str()) } {
                    ((texts.all_packages)(bundles.len())) span.hidden { " " (name) }
                } }
            }
        }
    }
}

/// The content of a page with the packages of a kind, and its title.
pub(super) fn content(
    page: &Page<'_>,
    kind: &str,
    number: usize,
) -> Option<(&'static str, Markup)> {
    let kinds = [BundleKind::Plugin, BundleKind::Hotfix, BundleKind::Product];
    let kind = kinds.into_iter().find(|one| one.as_str() == kind)?;
    let (texts, bundles) = (page.texts, of_kind(page, kind));
    let pages = bundles.len().div_ceil(PER_PAGE).max(1);
    if number >= pages {
        return None;
    }
    let (title, address) = ((texts.package_kind)(kind), format!("/packages/{}", kind.as_str()));
    let shown = bundles.iter().skip(number * PER_PAGE).take(PER_PAGE).copied();
    let content = html! {
        h1 { (title) }
        (list_notice(page))
        @if let Some(packages) = &page.state.packages { p.muted { code { (packages.store) } } }
        @if bundles.is_empty() { p.empty { (texts.no_packages) } }
        @else { (table(texts, title, shown)) }
        @if pages > 1 {
            nav.pages aria-label=(texts.pages) {
                @if number > 0 { a href={ (address) "?page=" (number) } { (texts.later) } }
                span.muted { (number + 1) " / " (pages) }
                @if number + 1 < pages {
                    a href={ (address) "?page=" (number + 2) } { (texts.earlier) }
                }
            }
        }
        p { a href="/" { (texts.to_queue) } }
    };
    Some((title, content))
}

fn of_kind<'p>(page: &'p Page<'_>, kind: BundleKind) -> Vec<&'p StoredBundle> {
    let bundles = page.state.packages.iter().flat_map(|packages| &packages.bundles);
    bundles.filter(|bundle| bundle.kind == kind).collect()
}

fn table<'b>(texts: &Texts, name: &str, bundles: impl Iterator<Item = &'b StoredBundle>) -> Markup {
    html! {
        div.panel { table.packages {
            caption { (name) " " span.muted { (texts.newest_first) } }
            thead { tr {
                th scope="col" { (texts.package) }
                th.right scope="col" { (texts.size) }
                th scope="col" { (texts.published) }
            } }
            tbody { @for bundle in bundles { (row(texts, bundle)) } }
        } }
    }
}

fn row(texts: &Texts, bundle: &StoredBundle) -> Markup {
    let published = bundle.published.parse::<Timestamp>().map(minute);
    html! {
        tr {
            th scope="row" {
                span.name { (bundle.name) } " " span.version { (bundle.version) }
                div.digest { @match bundle.digest {
                    Some(digest) => code title=(digest) { (digest) },
                    None => span.muted { (texts.no_digest) },
                } }
            }
            td.right { (human_bytes(bundle.size)) }
            td { (published.as_deref().unwrap_or(&bundle.published)) }
        }
    }
}
