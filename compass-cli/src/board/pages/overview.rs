//! The page with the release queue, and the newest packages.

use compass_bundle::document::BundleKind;
use compass_manifest::review::{NextStep, Verdict};
use maud::{Markup, html};

use super::super::ReleasePull;
use super::Page;
use super::condition::Condition;
use super::elements::{badge, guard_name, notice, people, state_name, target, time, title};
use super::packages;

/// The number of packages of each kind on this page.
const NEWEST: usize = 6;

/// The maximum number of missing conditions of a pull request on this page.
const MAX_MISSING: usize = 4;

pub(super) fn content(page: &Page<'_>) -> Markup {
    let texts = page.texts;
    let groups = groups(page);
    html! {
        h1 { (texts.queue) }
        (page.scan_notice())
        @if groups.is_empty() {
            @if page.state.scanned.is_some() { p.empty { (texts.no_pulls) } }
        } @else {
            (stages(page, &groups))
        }
        @for (label, releases) in &groups {
            section aria-labelledby=(anchor(*label)) {
                h2 id=(anchor(*label)) {
                    (state_name(texts, *label)) " " span.count { (releases.len()) }
                    @if let Some(label) = label { " " code.muted { "queue/" (label) } }
                }
                @for release in releases { (card(page, release)) }
            }
        }
        (errors(page))
        section aria-labelledby="packages" {
            h2 id="packages" { (texts.packages) }
            (packages::list_notice(page))
            @if let Some(stored) = &page.state.packages {
                @if stored.bundles.is_empty() { p.empty { (texts.no_packages) } }
            }
            @for kind in [BundleKind::Plugin, BundleKind::Hotfix, BundleKind::Product] {
                (packages::newest(page, kind, NEWEST))
            }
        }
    }
}

/// The releases by label, in the order of the queue. Those before the queue come first.
fn groups<'p>(page: &'p Page<'_>) -> Vec<(Option<&'p str>, Vec<&'p ReleasePull>)> {
    let mut groups: Vec<(Option<&str>, Vec<&ReleasePull>)> = Vec::new();
    for release in page.state.pulls.values() {
        let label = release.status.state.as_deref();
        match groups.iter_mut().find(|(one, _)| *one == label) {
            Some((_, releases)) => releases.push(release),
            None => groups.push((label, vec![release])),
        }
    }
    groups.sort_by_key(|(label, releases)| {
        let queue = &releases[0].queue;
        label.and_then(|label| queue.iter().position(|one| one == label))
    });
    groups
}

/// The states of the queue in their order, with the numbers of pull requests.
fn stages(page: &Page<'_>, groups: &[(Option<&str>, Vec<&ReleasePull>)]) -> Markup {
    let queue = groups.first().and_then(|(_, releases)| releases.first());
    let queue = queue.into_iter().flat_map(|release| &release.queue);
    let queue: Vec<Option<&str>> = queue.map(|label| Some(label.as_str())).collect();
    // Labels that the queue does not have come first, as their groups do.
    let others = groups.iter().map(|(label, _)| *label).filter(|label| !queue.contains(label));
    let labels: Vec<Option<&str>> = others.chain(queue.iter().copied()).collect();
    html! {
        ol.stages aria-label=(page.texts.road) {
            @for label in labels {
                @let count = groups.iter().find(|(one, _)| *one == label).map_or(0, |(_, all)| all.len());
                @let name = state_name(page.texts, label);
                li.(if count > 0 { "some" } else { "none" }) {
                    @if count > 0 {
                        a href={ "#" (anchor(label)) } { span.count { (count) } " " (name) }
                    } @else { span.count { "0" } " " (name) }
                }
            }
        }
    }
}

/// The name of a section. An HTML name has no spaces, which a label can have.
fn anchor(label: Option<&str>) -> String {
    format!("state-{}", label.unwrap_or_default().replace(char::is_whitespace, "_"))
}

fn card(page: &Page<'_>, release: &ReleasePull) -> Markup {
    let (texts, pull) = (page.texts, &release.pull);
    let condition = Condition::of(release);
    html! {
        article.card.(condition.kind()) {
            div.head {
                h3 { a href={ "/pull/" (pull.number) } { (title(release)) } }
                p.marks {
                    @if pull.is_draft { (badge("wait", texts.draft)) " " }
                    (condition.badge(texts))
                }
            }
            p.meta {
                @for facts in &release.targets { (target(texts, facts)) " " }
                span.muted {
                    (texts.opened_by) " @" (pull.author.login)
                    @if let Some(created) = pull.created { " · " (time(texts, created, page.now)) }
                }
            }
            @if page.state.errors.contains_key(&pull.number) {
                (notice("warn", texts.look_failed, None))
            }
            @for next in &release.status.next { (next_step(page, next)) }
        }
    }
}

fn next_step(page: &Page<'_>, next: &NextStep) -> Markup {
    let texts = page.texts;
    let missing: Vec<_> =
        next.guards.iter().filter(|guard| guard.verdict != Verdict::Holds).collect();
    html! {
        dl.step {
            dt { (texts.next) }
            dd { code { (next.command) } " " span.who { (people(texts, next)) } }
            dt { (texts.blocked) }
            dd {
                @if missing.is_empty() { span.good { (texts.ready) } }
                @else {
                    ul.missing {
                        @for guard in missing.iter().take(MAX_MISSING) {
                            li.unknown[guard.verdict == Verdict::Unknown] {
                                (guard_name(texts, guard))
                                @if guard.verdict == Verdict::Unknown {
                                    " " span.muted { "(" ((texts.verdict)(guard.verdict)) ")" }
                                }
                            }
                        }
                        @if missing.len() > MAX_MISSING { li { "+" (missing.len() - MAX_MISSING) } }
                    }
                }
            }
        }
    }
}

/// The pull requests that could not be read at all yet.
fn errors(page: &Page<'_>) -> Markup {
    let unread =
        page.state.errors.iter().filter(|(number, _)| !page.state.pulls.contains_key(number));
    html! {
        @for (number, error) in unread.take(20) {
            (notice("bad", &format!("#{number}"), Some(error)))
        }
    }
}
