//! The texts of the pages.

mod chinese;
mod english;

use compass_bundle::document::BundleKind;
use compass_manifest::review::{Statement, Verdict};

use super::language::Language;
use crate::pull_request::TargetKind;

/// The texts in one language.
pub(super) struct Texts {
    pub(super) language: Language,
    pub(super) product: &'static str,
    pub(super) skip_to_content: &'static str,
    pub(super) navigation: &'static str,
    pub(super) queue: &'static str,
    pub(super) packages: &'static str,
    pub(super) updated: &'static str,
    pub(super) not_scanned: &'static str,
    pub(super) scan_failed: &'static str,
    pub(super) look_failed: &'static str,
    pub(super) list_failed: &'static str,
    pub(super) not_listed: &'static str,
    pub(super) no_pulls: &'static str,
    pub(super) no_packages: &'static str,
    pub(super) not_in_queue: &'static str,
    pub(super) draft: &'static str,
    pub(super) opened_by: &'static str,
    pub(super) next: &'static str,
    pub(super) blocked: &'static str,
    pub(super) ready: &'static str,
    pub(super) done: &'static str,
    /// These are marks beside titles.
    pub(super) done_short: &'static str,
    pub(super) ready_short: &'static str,
    pub(super) missing: fn(usize) -> String,
    pub(super) refused: &'static str,
    pub(super) failed: &'static str,
    pub(super) roles: &'static str,
    pub(super) on_forge: &'static str,
    pub(super) commit: &'static str,
    pub(super) base: &'static str,
    pub(super) road: &'static str,
    pub(super) road_done: &'static str,
    pub(super) road_here: &'static str,
    pub(super) road_ahead: &'static str,
    pub(super) conditions: &'static str,
    pub(super) condition: &'static str,
    pub(super) state: &'static str,
    pub(super) details: &'static str,
    pub(super) contents: &'static str,
    pub(super) image: &'static str,
    pub(super) source_registry: &'static str,
    pub(super) release_registry: &'static str,
    pub(super) bundle: &'static str,
    pub(super) no_images: &'static str,
    pub(super) no_version: &'static str,
    pub(super) requests: &'static str,
    pub(super) command: &'static str,
    pub(super) by: &'static str,
    pub(super) result: &'static str,
    pub(super) notes: &'static str,
    pub(super) package: &'static str,
    pub(super) size: &'static str,
    pub(super) published: &'static str,
    pub(super) unknown: &'static str,
    pub(super) present: &'static str,
    pub(super) absent: &'static str,
    pub(super) differs: &'static str,
    pub(super) no_digest: &'static str,
    pub(super) newest_first: &'static str,
    pub(super) earlier: &'static str,
    pub(super) later: &'static str,
    pub(super) pages: &'static str,
    pub(super) not_found: &'static str,
    pub(super) not_found_hint: &'static str,
    pub(super) to_queue: &'static str,
    pub(super) granted: &'static str,
    pub(super) unchanged: &'static str,
    pub(super) outdated: &'static str,
    pub(super) open: &'static str,
    pub(super) request_refused: &'static str,
    /// Separates a name from its value.
    pub(super) colon: &'static str,
    pub(super) omitted: fn(usize) -> String,
    pub(super) all_packages: fn(usize) -> String,
    pub(super) age: fn(Age) -> String,
    /// The name of a role.
    pub(super) role: fn(&str) -> String,
    /// Describes a state of the queue, if it is one of the usual process.
    pub(super) state_name: fn(&str) -> Option<&'static str>,
    pub(super) guard_name: fn(&str) -> Option<&'static str>,
    /// Words a statement; its items follow in lines of their own.
    pub(super) statement: fn(&Statement) -> String,
    /// What to do about a statement, for which the second argument has the words in English.
    pub(super) help: fn(&Statement, &str) -> Option<String>,
    pub(super) package_kind: fn(BundleKind) -> &'static str,
    pub(super) target_kind: fn(TargetKind) -> &'static str,
    pub(super) verdict: fn(Verdict) -> &'static str,
}

/// The time since something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    Now,
    Minutes(i64),
    Hours(i64),
    Days(i64),
}

impl Texts {
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &english::TEXTS,
            Language::Chinese => &chinese::TEXTS,
        }
    }
}

impl Age {
    pub(super) fn of_seconds(seconds: i64) -> Self {
        match seconds {
            ..60 => Self::Now,
            60..3600 => Self::Minutes(seconds / 60),
            3600..172_800 => Self::Hours(seconds / 3600),
            _ => Self::Days(seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use compass_manifest::review::{Guard, Queue};

    use super::*;

    #[test]
    fn texts_name_all_guards_and_states() {
        for texts in [&english::TEXTS, &chinese::TEXTS] {
            for label in Queue::default().labels() {
                assert!((texts.state_name)(label).is_some(), "{label}");
            }
            for guard in Guard::ALL {
                assert!((texts.guard_name)(guard.name()).is_some(), "{guard}");
            }
        }
    }

    #[test]
    fn age_is_rounded_down() {
        for (seconds, age) in [
            (-5, Age::Now),
            (59, Age::Now),
            (3599, Age::Minutes(59)),
            (172_799, Age::Hours(47)),
            (172_800, Age::Days(2)),
        ] {
            assert_eq!(Age::of_seconds(seconds), age, "{seconds}");
        }
        assert_eq!((english::TEXTS.age)(Age::Hours(1)), "1 hour ago");
        assert_eq!((english::TEXTS.age)(Age::Days(2)), "2 days ago");
        assert_eq!((chinese::TEXTS.age)(Age::Minutes(5)), "5 分钟前");
    }
}
