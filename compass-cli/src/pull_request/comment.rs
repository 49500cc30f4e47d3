//! The text of the comment of this program, in Markdown.
//!
//! The text depends only on the state of the pull request, so that the same state has the same text.
//! Texts of other people are shown as code: the forge does not render code, and does not notify the
//! accounts that it names.

use std::fmt::Write as _;

use compass_manifest::escape::escape;
use compass_manifest::review::{
    Evidence, GuardReport, NextStep, Origin, Outcome, Role, Transition, Verdict,
};

use super::record::MARKER;
use super::{PullReview, TargetFacts, holds};

/// The maximum number of requests in the comment.
const MAX_REQUESTS: usize = 10;

/// The maximum number of characters of the visible text.
const MAX_TEXT: usize = 30_000;

/// The maximum number of characters of the comment. The forge accepts 65536.
const MAX_COMMENT: usize = 65_000;

/// Writes the comment.
pub(super) fn render(review: &PullReview) -> String {
    let mut text = String::new();
    headline(&mut text, review);
    targets(&mut text, &review.targets);
    next_steps(&mut text, review);
    requests(&mut text, review);
    remarks(&mut text, review);
    let record = review.record.to_line();
    let limit = MAX_TEXT.min(MAX_COMMENT.saturating_sub(record.len()));
    if text.chars().count() > limit {
        text = text.chars().take(limit).collect::<String>() + "…\n";
    }
    format!("{MARKER}\n{text}\n{record}\n")
}

fn headline(text: &mut String, review: &PullReview) {
    let _ = match &review.status.state {
        Some(state) => writeln!(text, "**Release queue:** {}", code(&format!("queue/{state}"))),
        None => writeln!(text, "**Release queue:** not in the queue"),
    };
    let commit: String = review.pull.head.commit.chars().take(12).collect();
    let _ = writeln!(
        text,
        "\nThis is for commit {}. A push that changes the release files takes back the steps.\n",
        code(&commit)
    );
}

fn targets(text: &mut String, targets: &[TargetFacts]) {
    if targets.is_empty() {
        return;
    }
    text.push_str("| release | version | source registry | release registry | store |\n");
    text.push_str("|---|---|---|---|---|\n");
    for facts in targets {
        let version = facts.version.as_deref().map_or_else(|| "?".to_owned(), code);
        let count = |of: fn(&super::ImageFacts) -> &Evidence| {
            let present = facts.images.iter().filter(|image| holds(of(image))).count();
            format!("{present} of {} images", facts.images.len())
        };
        let store = match &facts.bundle.published {
            Evidence::Yes => "published",
            Evidence::No(_) => "not published",
            Evidence::Unknown(_) => "–",
        };
        let _ = writeln!(
            text,
            "| {} | {version} | {} | {} | {store} |",
            code(&facts.target.to_string()),
            count(|image| &image.in_source),
            count(|image| &image.in_release),
        );
    }
    text.push('\n');
    for facts in targets {
        if let Some(error) = &facts.error {
            let _ =
                writeln!(text, "{}: {}\n", code(&facts.target.to_string()), code(&error.message));
        }
        if let (Some(url), Evidence::Yes) = (&facts.bundle.url, &facts.bundle.published) {
            let _ = writeln!(text, "{}: {}\n", code(&facts.target.to_string()), code(url));
        }
    }
}

fn next_steps(text: &mut String, review: &PullReview) {
    if review.status.is_done() {
        text.push_str("This is the end of the queue: nothing is left to do.\n\n");
    }
    for next in &review.status.next {
        let _ = writeln!(text, "**Next:** {} by {}\n", code(&next.command), people(next));
        let open: Vec<_> =
            next.guards.iter().filter(|guard| guard.verdict != Verdict::Holds).collect();
        if open.is_empty() {
            text.push_str("- all conditions of this step hold\n");
        }
        for guard in open {
            write_guard(text, guard);
        }
        text.push('\n');
    }
    if let Some(failure) = &review.record.failure {
        let _ = writeln!(text, "**The last run failed.**\n\n{}\n", block(&failure.text));
    }
}

/// The accounts that can do a step. The policy names them, so that they are notified.
fn people(next: &NextStep) -> String {
    let roles: Vec<&str> = next.who.iter().map(Role::as_str).collect();
    let roles = roles.join(" or ");
    let is_login =
        |login: &&String| login.chars().all(|c| c.is_ascii_alphanumeric() || "-_/[]".contains(c));
    let people: Vec<_> =
        next.people.iter().filter(is_login).map(|login| format!("@{login}")).collect();
    if people.is_empty() { roles } else { format!("{roles} ({})", people.join(", ")) }
}

fn requests(text: &mut String, review: &PullReview) {
    let shown: Vec<&Transition> = review
        .status
        .transitions
        .iter()
        .filter(|transition| transition.outcome != Outcome::Unchanged)
        .collect();
    if shown.is_empty() {
        return;
    }
    text.push_str("**Requests**\n\n");
    let first = shown.len().saturating_sub(MAX_REQUESTS);
    if first > 0 {
        let _ = writeln!(text, "- {first} earlier requests are not shown");
    }
    for transition in &shown[first..] {
        let Transition { origin, by, to, outcome, guards, .. } = transition;
        let place = match origin {
            Origin::Body => "the description".to_owned(),
            Origin::Comment(index) => link(review.text_ids.get(*index)),
            _ => "a comment that was deleted or edited".to_owned(),
        };
        let command = code(&format!("/queue {to}"));
        let _ = write!(text, "- {command} by {} in {place}: ", code(by));
        let _ = match outcome {
            // Both are the same state, at different times.
            Outcome::Granted | Outcome::GrantedEarlier => writeln!(text, "done"),
            Outcome::Open => writeln!(text, "open, because something is not known"),
            Outcome::Outdated => {
                writeln!(text, "outdated, because the release files changed: give it again")
            }
            Outcome::Refused { reason, help } if guards.is_empty() => {
                writeln!(text, "refused: {} Help: {}", code(&reason.to_string()), code(help))
            }
            Outcome::Refused { .. } => writeln!(text, "refused"),
            _ => writeln!(text),
        };
        if matches!(outcome, Outcome::Refused { .. } | Outcome::Open) {
            let failing = guards.iter().filter(|guard| guard.verdict != Verdict::Holds);
            failing.for_each(|guard| write_guard_in(text, "  ", guard));
        }
    }
    text.push('\n');
}

fn link(id: Option<&i64>) -> String {
    match id {
        Some(id) if *id > 0 => format!("[a comment](#issuecomment-{id})"),
        Some(id) => format!("[a review](#pullrequestreview-{})", -id),
        None => "a comment".to_owned(),
    }
}

fn remarks(text: &mut String, review: &PullReview) {
    for remark in review.status.remarks.iter().chain(&review.remarks) {
        let _ = writeln!(text, "- note: {}", code(&remark.to_string()));
    }
}

fn write_guard(text: &mut String, guard: &GuardReport) {
    write_guard_in(text, "", guard);
}

fn write_guard_in(text: &mut String, indent: &str, guard: &GuardReport) {
    let verdict = match guard.verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "fails",
        Verdict::Unknown => "is not known",
    };
    let _ = writeln!(text, "{indent}- `{}` {verdict}:", guard.guard);
    for line in guard.explanation.lines() {
        let _ = writeln!(text, "{indent}  {}", code(line));
    }
    if guard.help.contains('\n') {
        let mut lines = guard.help.lines();
        let _ = writeln!(text, "\n{indent}  {}", code(lines.next().unwrap_or_default()));
        let _ = writeln!(text, "{indent}  ```\n{}\n{indent}  ```", indented(lines, indent));
    } else if !guard.help.is_empty() {
        let _ = writeln!(text, "\n{indent}  {}", code(&guard.help));
    }
}

fn indented<'l>(lines: impl Iterator<Item = &'l str>, indent: &str) -> String {
    let lines: Vec<_> =
        lines.map(|line| format!("{indent}  {}", escape(&line.replace('`', "'")))).collect();
    lines.join("\n")
}

/// A text as code in one line.
fn code(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "'");
    // A pipe would end the cell of a table.
    match line.as_str() {
        "" => String::new(),
        line => format!("`{}`", escape(line).replace('|', "¦")),
    }
}

/// A text as a block of code.
fn block(text: &str) -> String {
    let lines: Vec<_> =
        text.lines().map(|line| escape(&line.replace('`', "'")).into_owned()).collect();
    format!("```\n{}\n```", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_shows_hostile_text_inertly() {
        for (text, shown) in [
            ("@everyone", "`@everyone`"),
            ("a`b``c", "`a'b''c`"),
            ("a\n/queue done\n| x |", "`a /queue done ¦ x ¦`"),
            ("<!-- compass:record -->", "`<!-- compass:record -->`"),
            (" ", ""),
        ] {
            assert_eq!(code(text), shown);
        }
        assert_eq!(block("a\n```\n@b"), "```\na\n'''\n@b\n```");
    }
}
