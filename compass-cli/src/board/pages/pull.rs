//! The page of a pull request.

use compass_manifest::review::{NextStep, Outcome, Statement, Transition};
use maud::{Markup, html};

use super::super::ReleasePull;
use super::super::texts::Texts;
use super::Page;
use super::condition::Condition;
use super::elements::{
    badge, evidence, forge_link, guard_details, guard_name, notice, people, state_name, statement,
    target, time, title, verdict, with_code,
};
use crate::display::human_bytes;
use crate::pull_request::TargetFacts;

/// The number of characters of a commit.
const SHORT_COMMIT: usize = 12;

pub(super) fn content(page: &Page<'_>, release: &ReleasePull) -> Markup {
    let (texts, pull) = (page.texts, &release.pull);
    let short: String = pull.head.commit.chars().take(SHORT_COMMIT).collect();
    html! {
        h1 { (title(release)) }
        p.marks {
            @if pull.is_draft { (badge("wait", texts.draft)) " " }
            (Condition::of(release).badge(texts))
        }
        p.meta.muted {
            (texts.opened_by) " @" (pull.author.login)
            @if let Some(created) = pull.created { " · " (time(texts, created, page.now)) }
            " · " (texts.commit) " " code { (short) }
            " · " (texts.base) " " code { (pull.base.name) }
        }
        p { (forge_link(texts, release)) }
        (road(texts, release))
        (page.scan_notice())
        @if let Some(error) = page.state.errors.get(&pull.number) {
            (notice("warn", texts.look_failed, Some(error)))
        }
        @if let Some(failure) = &release.failure {
            (notice("bad", texts.failed, Some(failure)))
        }
        @if release.status.is_done() { p { (texts.done) } }
        @for next in &release.status.next { (next_step(texts, next)) }
        @if !release.targets.is_empty() {
            section.panel aria-labelledby="contents" {
                h2 id="contents" { (texts.contents) }
                @for facts in &release.targets { (contents(texts, facts)) }
            }
        }
        (requests(texts, release))
        (remarks(texts, release))
    }
}

/// The states of the queue as a list, with the current one marked.
fn road(texts: &Texts, release: &ReleasePull) -> Markup {
    let state = release.status.state.as_deref();
    let here = release.queue.iter().position(|label| Some(label.as_str()) == state);
    html! {
        ol.road aria-label=(texts.road) {
            @for (index, label) in release.queue.iter().enumerate() {
                @let (kind, text) = match here {
                    Some(here) if index < here => ("past", texts.road_done),
                    Some(here) if index == here => ("here", texts.road_here),
                    _ => ("ahead", texts.road_ahead),
                };
                li.(kind) aria-current=[(kind == "here").then_some("step")] {
                    (state_name(texts, Some(label))) span.hidden { (texts.colon) (text) }
                }
            }
        }
        @if state.is_none() { p.muted { (texts.not_in_queue) } }
    }
}

fn next_step(texts: &Texts, next: &NextStep) -> Markup {
    let id = format!("next-{}", next.to);
    html! {
        section.panel aria-labelledby=(id) {
            h2 id=(id) { (texts.next) (texts.colon) (state_name(texts, Some(&next.to))) }
            p { code { (next.command) } " " span.who { (people(texts, next)) } }
            @if !next.guards.is_empty() {
                table.guards {
                    caption { (texts.conditions) }
                    thead { tr {
                        th scope="col" { (texts.condition) }
                        th scope="col" { (texts.state) }
                        th scope="col" { (texts.details) }
                    } }
                    tbody {
                        @for guard in &next.guards {
                            tr {
                                th scope="row" { (guard_name(texts, guard)) }
                                td { (verdict(texts, guard.verdict)) }
                                td { (guard_details(texts, guard)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn contents(texts: &Texts, facts: &TargetFacts) -> Markup {
    html! {
        h3 { (target(texts, facts)) }
        @if let Some(error) = &facts.error {
            @let reason = [&error.message].into_iter().chain(error.causes.first());
            @let reason: Vec<&str> = reason.map(String::as_str).collect();
            (notice("bad", &(texts.statement)(&Statement::NotReleasable), Some(&reason.join(": "))))
        } @else {
            @if facts.images.is_empty() { p.muted { (texts.no_images) } }
            @else {
                table.images {
                    caption.hidden { (texts.contents) (texts.colon) (facts.target.name) }
                    thead { tr {
                        th scope="col" { (texts.image) }
                        th scope="col" { (texts.source_registry) }
                        th scope="col" { (texts.release_registry) }
                    } }
                    tbody { @for image in &facts.images {
                        tr {
                            th scope="row" { code { (image.release) } }
                            td data-label=(texts.source_registry) { (evidence(texts, &image.in_source)) }
                            td data-label=(texts.release_registry) { (evidence(texts, &image.in_release)) }
                        }
                    } }
                }
            }
            (bundle(texts, facts))
        }
    }
}

fn bundle(texts: &Texts, facts: &TargetFacts) -> Markup {
    let bundle = &facts.bundle;
    html! {
        dl.bundle {
            dt { (texts.bundle) }
            dd {
                (evidence(texts, &bundle.published))
                @if let Some(url) = &bundle.url { div { code { (url) } } }
                @if let Some(size) = bundle.size { div.muted { (human_bytes(size)) } }
                @if let Some(digest) = &bundle.digest { div.digest { code { (digest) } } }
            }
        }
    }
}

fn requests(texts: &Texts, release: &ReleasePull) -> Markup {
    let status = &release.status;
    html! {
        @if !status.transitions.is_empty() {
            section.panel aria-labelledby="requests" {
                h2 id="requests" { (texts.requests) }
                @if status.omitted_requests > 0 {
                    p.muted { ((texts.omitted)(status.omitted_requests)) }
                }
                table.requests {
                    caption.hidden { (texts.requests) }
                    thead { tr {
                        th scope="col" { (texts.command) }
                        th scope="col" { (texts.by) }
                        th scope="col" { (texts.result) }
                    } }
                    tbody { @for transition in &status.transitions { (request(texts, transition)) } }
                }
            }
        }
    }
}

fn request(texts: &Texts, transition: &Transition) -> Markup {
    let (kind, text) = match &transition.outcome {
        Outcome::Granted | Outcome::GrantedEarlier => ("good", texts.granted),
        Outcome::Unchanged => ("wait", texts.unchanged),
        Outcome::Outdated => ("wait", texts.outdated),
        Outcome::Open => ("warn", texts.open),
        _ => ("bad", texts.request_refused),
    };
    html! {
        tr {
            th scope="row" { code { "/queue " (transition.to) } }
            td { "@" (transition.by) }
            td {
                (badge(kind, text))
                @if let Outcome::Refused { reason, help } = &transition.outcome {
                    @for line in (texts.statement)(reason).lines().take(1) { p { (with_code(line)) } }
                    @if let Some(help) = (texts.help)(reason, help) { p.help { (with_code(&help)) } }
                }
            }
        }
    }
}

fn remarks(texts: &Texts, release: &ReleasePull) -> Markup {
    let remarks: Vec<&Statement> = release.status.remarks.iter().chain(&release.remarks).collect();
    html! {
        @if !remarks.is_empty() {
            section.panel aria-labelledby="notes" {
                h2 id="notes" { (texts.notes) }
                ul { @for remark in remarks {
                    li { (statement(texts, remark)) }
                } }
            }
        }
    }
}
