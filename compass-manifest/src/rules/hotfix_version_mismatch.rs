use std::borrow::Cow;

use crate::escape::quote;
use crate::finding::Severity;
use crate::image_refs;
use crate::policy::VersionFormat;
use crate::repository::{HotfixFile, ReleaseRepository};
use crate::rule::{FindingSink, Rule, RuleContext};

pub(crate) static RULE: Rule = Rule {
    code: "hotfix-version-mismatch",
    summary: "path, `_metadata.version` and an image of a hotfix name one version",
    severity: Severity::Error,
    docs: "\
### What it does
Compares the version in a hotfix's path with `_config._metadata.version`, and that with the tags of
its containers: one of them must be it. Where the path has the component's own version, it may have
more behind it, and may spell `-patch-2` as `-p2`.

### Why is this bad?
The version is typed three times. Where one was forgotten, the package does not hold what its name
says, or the addon is not seen to have changed.

### Example
`dex-cauth-v2.1.4-20180725/…` with
```yaml
_metadata: {name: dex-cauth, version: v2.1.5}
```

### What to do
Correct the one that is wrong.
",
    apply,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for hotfix in &repository.hotfixes {
        let Some(written) = &hotfix.values.version else { continue };
        let version = repository.policy.templates.fill(&written.value);
        let version = version.unwrap_or(Cow::Borrowed(&written.value));
        let source = &hotfix.document.source;
        if let Some(path) = &hotfix.path.version
            && !agrees(hotfix.path.format, path, &version)
        {
            let message =
                format!("the version is {} here, and {} in the path", quote(&version), quote(path));
            sink.add(source, written.span, message, "use one version in both places");
        }
        let tags = tags(repository, hotfix);
        if !tags.is_empty() && !tags.iter().any(|tag| *tag == version) {
            let tags = tags.join("`, `");
            let message =
                format!("no container has the tag {}; there is {}", quote(&version), quote(&tags));
            let help = "the version is that of an image that the hotfix brings";
            sink.add(source, written.span, message, help);
        }
    }
}

fn agrees(form: Option<VersionFormat>, path: &str, written: &str) -> bool {
    if path == written {
        return true;
    }
    form == Some(VersionFormat::Component) && (holds(path, written) || same_patch(path, written))
}

/// Whether the version stands in the path's at the boundaries of its parts.
fn holds(path: &str, written: &str) -> bool {
    path.match_indices(written).any(|(at, _)| {
        let before = path[..at].chars().next_back();
        let after = path[at + written.len()..].chars().next();
        before.is_none_or(|c| c == '-') && after.is_none_or(|c| c == '-')
    })
}

/// `v3.1.53-20180627-p2` and `v3.1.53-patch-2` are one patch of one version.
fn same_patch(path: &str, written: &str) -> bool {
    let Some((base, number)) = written.split_once("-patch-") else { return false };
    let rest = path.strip_prefix(base).and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| rest.rsplit('-').next() == Some(&format!("p{number}")))
}

fn tags(repository: &ReleaseRepository, hotfix: &HotfixFile) -> Vec<String> {
    let containers = hotfix.values.containers.iter().filter(|container| !container.init);
    let images = containers.filter_map(|container| container.image.as_ref());
    let read =
        images.filter_map(|image| image_refs::resolve(&image.value, &repository.policy).ok());
    read.filter_map(|image| image.tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_version_may_have_more_behind_it() {
        let component = Some(VersionFormat::Component);
        for (path, written) in [
            ("v2.1.4-fix-306", "v2.1.4"),
            ("v0.5.11-v2.7.0-20180615-p1", "v2.7.0-20180615-p1"),
            ("v3.1.53-20180627-p2", "v3.1.53-patch-2"),
        ] {
            assert!(agrees(component, path, written), "{path} {written}");
            assert!(!agrees(Some(VersionFormat::Hotfix), path, written), "{path} {written}");
        }
    }

    #[test]
    fn parts_of_a_version_do_not_agree_with_the_whole() {
        for (path, written) in [
            ("v2.1.45", "v2.1.4"),
            ("v2.1.4-20180725", "v2.1.5"),
            ("rv2.1.4", "v2.1.4"),
            ("v3.1.53-20180627-p12", "v3.1.53-patch-2"),
            ("v3.1.57-20180615-p1", "v3.1.53-patch-1"),
        ] {
            assert!(!agrees(Some(VersionFormat::Component), path, written), "{path} {written}");
        }
    }
}
