use crate::escape::quote;
use crate::finding::Severity;
use crate::repository::ValuesFile;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule = Rule::new(
    "stale-description",
    "a description `<name>-v<version>` has the current version",
    apply,
)
.with_severity(Severity::Note)
.with_docs(RuleDocs {
    what: "\
Compares the version at the end of `_config._metadata.description` with `_metadata.version`.",
    why: "Readers of the description see a wrong version.",
    example: "\
```yaml
_metadata: {name: hodor, version: v1.0.5, description: hodor-v1.0.0}
```",
    fix: "Update the version in the description, or remove it.",
});

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for ValuesFile { document, values } in repository.values_files() {
        let (Some(description), Some(version)) = (&values.description, &values.version) else {
            continue;
        };
        let named = named_version(&description.value, &version.value);
        if let Some(named) = named.filter(|named| *named != version.value) {
            let message = format!(
                "the description has the version {}, but the version is {}",
                quote(named),
                quote(&version.value)
            );
            let help = "update the version in the description, or remove it";
            sink.add(&document.source, description.span, message, help).related(
                &document.source,
                version.span,
                "the version",
            );
        }
    }
}

/// Returns the version at the end of `<name>-<version>`, if possible `expected`.
fn named_version<'d>(description: &'d str, expected: &str) -> Option<&'d str> {
    if description.contains(char::is_whitespace) {
        return None;
    }
    // Try the expected version first, because the end of the name is ambiguous: a name may end like
    // a version (`kube-dns-v2-v1.0.0`), and a version may begin like a name
    // (`kube-state-metrics-release-v1.1.0`).
    if let Some(name) = description.strip_suffix(expected).and_then(|name| name.strip_suffix('-')) {
        return Some(&description[name.len() + 1..]);
    }
    let starts = description.match_indices("-v").map(|(at, _)| at);
    let at = starts
        .into_iter()
        .find(|at| *at > 0 && description[at + 2..].starts_with(|c: char| c.is_ascii_digit()))?;
    Some(&description[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::named_version;

    #[test]
    fn named_version_follows_name() {
        let named = |description| named_version(description, "v1.0.0");
        assert_eq!(named("console-web-v2.7.0"), Some("v2.7.0"));
        assert_eq!(named("-v2.7.0"), None);
        assert_eq!(named("console-vnc"), None);
        assert_eq!(named("as of console-web-v2.7.0"), None);
        assert_eq!(named("kube-dns-v2-v1.0.0"), Some("v1.0.0"));
        assert_eq!(named("kube-dns-v2-v1.0.1"), Some("v2-v1.0.1"));
        let release = "kube-state-metrics-release-v1.1.0";
        assert_eq!(named_version(release, "release-v1.1.0"), Some("release-v1.1.0"));
    }
}
