//! What tokens are asked for: scopes as `repository:release/web:pull,push`, and whatever else a
//! registry names (distribution token specification).

/// Bytes of what a registry may ask for: no token service takes more in a request.
const MAX_SCOPE: usize = 8 << 10;

/// The scopes that are needed, and what the registry asks for besides, each subject once. A scope
/// that is not of the form `type:name:actions`, such as `aws` or `*`, is passed on as it is.
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

/// Those of a registry's scopes that are for every request: they name no single resource.
pub(super) fn resource_independent_scopes(asked: &str) -> String {
    let odd = asked.split_whitespace().filter(|scope| split(scope).is_none());
    odd.collect::<Vec<_>>().join(" ")
}

/// A scope's subject, `type:name`, and its actions.
fn split(scope: &str) -> Option<(&str, &str)> {
    scope.rsplit_once(':').filter(|(subject, _)| subject.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_merged_and_odd_ones_kept() {
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
    fn odd_scopes_are_for_everything() {
        assert_eq!(resource_independent_scopes("aws repository:a:pull *"), "aws *");
        assert_eq!(resource_independent_scopes("repository:a:pull"), "");
    }
}
