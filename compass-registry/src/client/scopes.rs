//! Token scopes such as `repository:release/web:pull,push` (distribution token specification).

/// Longer scope lists of a registry are ignored: token services reject such requests.
const MAX_SCOPE: usize = 8 << 10;

/// Merges the scopes that a request needs with those that the registry asks for.
///
/// Each resource is listed once, with all its actions. A scope that is not of the form
/// `type:name:actions`, such as `aws` or `*`, is passed on unchanged.
pub(super) fn merge_scopes(needed: &str, asked: &str) -> Vec<String> {
    let asked = if asked.len() <= MAX_SCOPE { asked } else { "" };
    let mut merged: Vec<(&str, Option<Vec<&str>>)> = Vec::new();
    for scope in needed.split_whitespace().chain(asked.split_whitespace()) {
        let (subject, actions) = match split(scope) {
            Some((subject, actions)) => (subject, Some(actions)),
            None => (scope, None),
        };
        let known = merged
            .iter_mut()
            .find(|(known, list)| *known == subject && list.is_some() == actions.is_some());
        match (known, actions) {
            (Some((_, Some(list))), Some(actions)) => {
                for action in actions.split(',') {
                    if !list.contains(&action) {
                        list.push(action);
                    }
                }
            }
            (Some(_), _) => {}
            (None, actions) => {
                merged.push((subject, actions.map(|actions| actions.split(',').collect())));
            }
        }
    }
    let text = |(subject, actions): (&str, Option<Vec<&str>>)| match actions {
        Some(actions) => format!("{subject}:{}", actions.join(",")),
        None => subject.to_owned(),
    };
    merged.into_iter().map(text).collect()
}

/// Returns the scopes of a challenge that name no resource and so apply to every request.
pub(super) fn resource_independent_scopes(asked: &str) -> String {
    let odd = asked.split_whitespace().filter(|scope| split(scope).is_none());
    odd.collect::<Vec<_>>().join(" ")
}

/// Splits a scope into its resource, `type:name`, and its actions.
fn split(scope: &str) -> Option<(&str, &str)> {
    scope.rsplit_once(':').filter(|(subject, _)| subject.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_scopes_keeps_nonstandard_scopes() {
        for (needed, asked, scopes) in [
            ("repository:a:pull", "", vec!["repository:a:pull"]),
            ("", "", vec![]),
            ("repository:a:pull,push", "repository:a:pull", vec!["repository:a:pull,push"]),
            ("repository:a:pull", "repository:a:pull,push", vec!["repository:a:pull,push"]),
            (
                "repository:a:pull,push repository:b:pull",
                "repository:b:pull registry:catalog:*",
                vec!["repository:a:pull,push", "repository:b:pull", "registry:catalog:*"],
            ),
            ("repository:a:pull", "aws", vec!["repository:a:pull", "aws"]),
            ("repository:a:pull", "* aws *", vec!["repository:a:pull", "*", "aws"]),
            ("repository:a:pull", "a:b", vec!["repository:a:pull", "a:b"]),
            (
                "repository:a:pull",
                "repository(plugin):a:pull",
                vec!["repository:a:pull", "repository(plugin):a:pull"],
            ),
        ] {
            assert_eq!(merge_scopes(needed, asked), scopes, "{needed} and {asked}");
        }
        let long = "x".repeat(MAX_SCOPE + 1);
        assert_eq!(merge_scopes("repository:a:pull", &long), ["repository:a:pull"]);
    }

    #[test]
    fn nonstandard_scopes_apply_to_every_request() {
        assert_eq!(resource_independent_scopes("aws repository:a:pull *"), "aws *");
        assert_eq!(resource_independent_scopes("repository:a:pull"), "");
    }
}
