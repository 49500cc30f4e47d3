//! The elements that several pages have.

use compass_manifest::review::{Evidence, GuardReport, NextStep, Statement, Verdict};
use jiff::{Timestamp, Unit};
use maud::{Markup, html};

use super::super::ReleasePull;
use super::super::texts::{Age, Texts};
use crate::pull_request::TargetFacts;

/// A point in time, with its distance from now.
pub(super) fn time(texts: &Texts, at: Timestamp, now: Timestamp) -> Markup {
    let rounded = at.round(Unit::Second).unwrap_or(at);
    let age = Age::of_seconds(now.as_second() - at.as_second());
    html! {
        time datetime=(rounded) title=(minute(at)) { ((texts.age)(age)) }
    }
}

/// A point in time as `2026-11-29 03:07 UTC`.
pub(super) fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A message above the content. `kind` is `bad`, `warn` or `wait`.
pub(super) fn notice(kind: &str, text: &str, reason: Option<&str>) -> Markup {
    html! {
        div.notice.(kind) {
            p { (text) }
            @if let Some(reason) = reason { p.reason lang="en" { (reason) } }
        }
    }
}

/// The name of a state, and its label.
pub(super) fn state_name<'l>(texts: &Texts, label: Option<&'l str>) -> &'l str {
    match label {
        Some(label) => (texts.state_name)(label).unwrap_or(label),
        None => texts.not_in_queue,
    }
}

/// A short mark with a state that is also given as text.
pub(super) fn badge(kind: &str, text: &str) -> Markup {
    html! { span.badge.(kind) { (text) } }
}

pub(super) fn verdict(texts: &Texts, verdict: Verdict) -> Markup {
    let kind = match verdict {
        Verdict::Holds => "good",
        Verdict::Fails => "bad",
        Verdict::Unknown => "warn",
    };
    badge(kind, (texts.verdict)(verdict))
}

pub(super) fn evidence(texts: &Texts, evidence: &Evidence) -> Markup {
    let (kind, text, reason) = match evidence {
        Evidence::Yes => ("good", texts.present, None),
        Evidence::No(reason @ Statement::OtherDigest { .. }) => {
            ("bad", texts.differs, Some(reason))
        }
        Evidence::No(reason @ Statement::NotInSource) => ("bad", texts.unknown, Some(reason)),
        Evidence::No(reason) => ("bad", texts.absent, Some(reason)),
        Evidence::Unknown(reason) => ("warn", texts.unknown, Some(reason)),
    };
    html! {
        (badge(kind, text))
        @if let Some(reason) = reason {
            " " span.muted { (statement(texts, reason)) }
        }
    }
}

/// The name of a guard in the language of the page.
pub(super) fn guard_name<'g>(texts: &Texts, guard: &'g GuardReport) -> &'g str {
    (texts.guard_name)(guard.guard).unwrap_or(guard.guard)
}

/// The reason of a guard, and what to do.
pub(super) fn guard_details(texts: &Texts, guard: &GuardReport) -> Markup {
    let lines = guard.help.split_once('\n').map(|(_, lines)| lines);
    let help = (texts.help)(&guard.finding, &guard.help);
    html! {
        (statement_with_items(texts, &guard.finding))
        @if let Some(help) = help { p.help { (with_code(&help)) } }
        @if let Some(lines) = lines { pre tabindex="0" { (lines) } }
    }
}

/// A statement. The reasons that other programs give are marked as English.
pub(super) fn statement(texts: &Texts, statement: &Statement) -> Markup {
    line(&(texts.statement)(statement), &foreign_reasons(statement))
}

/// A statement whose first line is a sentence, and whose further lines are items.
fn statement_with_items(texts: &Texts, statement: &Statement) -> Markup {
    let (text, reasons) = ((texts.statement)(statement), foreign_reasons(statement));
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let items: Vec<&str> = lines.collect();
    html! {
        p { (line(first, &reasons)) }
        @if !items.is_empty() {
            ul { @for item in items { li { (line(item, &reasons)) } } }
        }
    }
}

/// A line, which may end with a reason in English.
fn line(text: &str, reasons: &[&str]) -> Markup {
    let split = |reason: &&str| Some((text.strip_suffix(reason)?, text.len() - reason.len()));
    match reasons.iter().filter(|reason| !reason.is_empty()).find_map(split) {
        Some((before, at)) => {
            html! { (with_code(before)) span lang="en" { (with_code(&text[at..])) } }
        }
        None => with_code(text),
    }
}

/// The reasons in a statement that other programs worded in English.
fn foreign_reasons(statement: &Statement) -> Vec<&str> {
    match statement {
        Statement::Text(reason)
        | Statement::SourceNotKnown(reason)
        | Statement::InvalidPackage { reason, .. } => vec![reason],
        Statement::BundleNotPublished(reason) | Statement::BundleNotKnown(reason) => {
            foreign_reasons(reason)
        }
        Statement::ImagesMissing { images, .. } | Statement::ImagesNotKnown { images, .. } => {
            images.iter().flat_map(|(_, reason)| foreign_reasons(reason)).collect()
        }
        _ => Vec::new(),
    }
}

/// A text in which backquotes mark code.
pub(super) fn with_code(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 0 { (part) } @else { code { (part) } }
        }
    }
}

/// The people that can do a step: the roles, and the known accounts.
pub(super) fn people(texts: &Texts, next: &NextStep) -> Markup {
    html! {
        @for (index, role) in next.who.iter().enumerate() {
            @if index > 0 { " " (texts.roles) " " }
            strong { ((texts.role)(role.as_str())) }
        }
        @if !next.people.is_empty() {
            span.people { @for login in &next.people { " " span.login { "@" (login) } } }
        }
    }
}

/// The kind, name and version of a target.
pub(super) fn target(texts: &Texts, facts: &TargetFacts) -> Markup {
    html! {
        span.target {
            span.muted { ((texts.target_kind)(facts.target.kind)) } " "
            strong { bdi { (facts.target.name) } } " "
            @match &facts.version {
                Some(version) => span { (version) },
                None => span.muted { (texts.no_version) },
            }
        }
    }
}

/// The title of a pull request. Its direction does not affect the text around it.
pub(super) fn title(release: &ReleasePull) -> Markup {
    let pull = &release.pull;
    html! { span.number { "#" (pull.number) } " " bdi { (pull.title) } }
}

/// A link to the forge, if the address is one of the web.
pub(super) fn forge_link(texts: &Texts, release: &ReleasePull) -> Markup {
    let url = &release.pull.url;
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    html! { @if is_web { a.button href=(url) rel="noreferrer" { (texts.on_forge) } } }
}

#[cfg(test)]
mod tests {
    use compass_manifest::review::RegistryRole;

    use super::super::super::language::Language;
    use super::*;

    #[test]
    fn statement_marks_english_reasons() {
        let texts = Texts::of(Language::Chinese);
        let reason = || Statement::Text("connection refused".to_owned());
        let image = "h.example/gpu:v1".parse().unwrap();
        let registry = RegistryRole::Source;
        for sample in [
            reason(),
            Statement::BundleNotKnown(Box::new(reason())),
            Statement::ImagesNotKnown { registry, images: vec![(image, reason())] },
        ] {
            let page = statement_with_items(texts, &sample).into_string();
            assert!(page.contains("<span lang=\"en\">connection refused</span>"), "{page}");
        }
        let page = statement(texts, &Statement::NoTag).into_string();
        assert!(!page.contains("lang"), "{page}");
    }
}
