//! The events of a forge: which pull requests an event affects.
//!
//! Nothing else of a payload is used. The state of a pull request is read from the forge.

use std::io::Read;

use serde::Deserialize;

use crate::forge::RepoName;

/// The events that concern pull requests.
pub(super) const EVENTS: [&str; 7] = [
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "pull_request_review_thread",
    "issue_comment",
    "push",
    "label",
];

/// The pull requests that an event affects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Affected {
    Nothing,
    /// The event is of another repository.
    OtherRepository,
    Pull(u64),
    /// The open pull requests for a base branch.
    Base(String),
    /// All open pull requests.
    All,
}

/// The fields of payloads that are used. All are optional, because payloads change.
#[derive(Deserialize)]
struct Payload {
    pull_request: Option<Numbered>,
    issue: Option<Issue>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Numbered {
    number: u64,
}

#[derive(Deserialize)]
struct Issue {
    number: u64,
    /// Only pull requests have this field.
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

/// Reads which pull requests of a repository an event affects.
///
/// # Errors
/// If the payload is not JSON.
pub(super) fn affected(
    event: &str,
    payload: impl Read,
    repository: &RepoName,
) -> Result<Affected, serde_json::Error> {
    let payload: Payload = match serde_json::from_reader(payload) {
        Ok(payload) => payload,
        // An unknown form of a known event. Looking at all pull requests includes the one that it affects.
        Err(error) if error.is_data() && EVENTS.contains(&event) => return Ok(Affected::All),
        Err(error) if error.is_data() => return Ok(Affected::Nothing),
        Err(error) => return Err(error),
    };
    let name = repository.to_string();
    let is_other = |one: &Repository| !one.full_name.eq_ignore_ascii_case(&name);
    if payload.repository.as_ref().is_some_and(is_other) {
        return Ok(Affected::OtherRepository);
    }
    Ok(match event {
        "pull_request"
        | "pull_request_review"
        | "pull_request_review_comment"
        | "pull_request_review_thread" => {
            payload.pull_request.map_or(Affected::All, |pull| Affected::Pull(pull.number))
        }
        "issue_comment" => match payload.issue {
            Some(Issue { number, pull_request: Some(_) }) => Affected::Pull(number),
            Some(_) => Affected::Nothing,
            None => Affected::All,
        },
        "push" => match payload.reference.as_deref().map(|name| name.strip_prefix("refs/heads/")) {
            Some(Some(branch)) => Affected::Base(branch.to_owned()),
            // A tag.
            Some(None) => Affected::Nothing,
            None => Affected::All,
        },
        // A label was renamed or deleted.
        "label" => Affected::All,
        _ => Affected::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(event: &str, payload: &str) -> Affected {
        let repository = "caicloud/compass-release".parse().unwrap();
        affected(event, payload.as_bytes(), &repository).unwrap()
    }

    #[test]
    fn affected_reads_numbers_and_branches() {
        let here = r#""repository":{"full_name":"Caicloud/Compass-Release"}"#;
        for (event, fields, expected) in [
            ("pull_request", r#""number":7,"pull_request":{"number":7,"x":1}"#, Affected::Pull(7)),
            ("pull_request_review", r#""pull_request":{"number":8}"#, Affected::Pull(8)),
            ("issue_comment", r#""issue":{"number":9,"pull_request":{}}"#, Affected::Pull(9)),
            ("issue_comment", r#""issue":{"number":9}"#, Affected::Nothing),
            ("issue_comment", r#""issue":{"number":9,"pull_request":null}"#, Affected::Nothing),
            ("push", r#""ref":"refs/heads/release/2.7""#, Affected::Base("release/2.7".into())),
            ("push", r#""ref":"refs/tags/v2.7.0""#, Affected::Nothing),
            ("label", r#""action":"edited""#, Affected::All),
            ("ping", r#""zen":"…""#, Affected::Nothing),
            ("check_run", r#""pull_request":{"number":1}"#, Affected::Nothing),
        ] {
            assert_eq!(read(event, &format!("{{{fields},{here}}}")), expected, "{event} {fields}");
        }
    }

    proptest! {
        #[test]
        fn affected_any_json_is_read(
            event in prop::sample::select(vec!["pull_request", "issue_comment", "push", "label", "ping"]),
            key in prop::sample::select(vec!["pull_request", "issue", "ref", "repository", "x"]),
            value in "null|-?[1-9][0-9]{0,25}|\"[a-z/]{0,20}\"|\\[\\]|\\{\"(number|full_name)\":(-?[1-9][0-9]{0,25}|\"[a-z/]{0,9}\")\\}",
        ) {
            let payload = format!("{{\"{key}\":{value}}}");
            let repository = "a/b".parse().unwrap();
            prop_assert!(affected(event, payload.as_bytes(), &repository).is_ok(), "{payload}");
        }

        #[test]
        fn affected_any_bytes_do_not_panic(bytes in any::<Vec<u8>>()) {
            let repository = "a/b".parse().unwrap();
            drop(affected("pull_request", bytes.as_slice(), &repository));
        }
    }

    #[test]
    fn affected_other_repository_is_ignored() {
        let payload =
            r#"{"pull_request":{"number":7},"repository":{"full_name":"mallory/compass-release"}}"#;
        assert_eq!(read("pull_request", payload), Affected::OtherRepository);
    }

    #[test]
    fn affected_unknown_form_scans_all() {
        assert_eq!(read("pull_request", "{}"), Affected::All);
        assert_eq!(read("pull_request", r#"{"pull_request":{"number":"7"}}"#), Affected::All);
        assert_eq!(read("issue_comment", r#"{"issue":[]}"#), Affected::All);
        assert_eq!(read("ping", "[]"), Affected::Nothing);
        let repository = "a/b".parse().unwrap();
        assert!(affected("pull_request", &b"{\"number\":"[..], &repository).is_err());
        assert!(affected("ping", &b""[..], &repository).is_err());
    }

    #[test]
    fn affected_published_payloads_are_read() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/forge/payloads");
        let Ok(events) = std::fs::read_dir(directory) else {
            println!("skipped: {directory} is absent");
            return;
        };
        let repository = "Codertocat/Hello-World".parse().unwrap();
        let mut pulls = 0;
        for event in events.map(Result::unwrap) {
            let name = event.file_name().into_string().unwrap();
            for payload in std::fs::read_dir(event.path()).unwrap().map(Result::unwrap) {
                let bytes = std::fs::read(payload.path()).unwrap();
                let affected = affected(&name, bytes.as_slice(), &repository).unwrap();
                let is_pull = matches!(affected, Affected::Pull(_));
                if name.starts_with("pull_request") {
                    assert!(is_pull || affected == Affected::OtherRepository, "{payload:?}");
                }
                pulls += usize::from(is_pull);
            }
        }
        assert!(pulls > 10, "{pulls}");
    }
}
