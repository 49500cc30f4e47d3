use std::borrow::Cow;

use crate::escape::quote;
use crate::image_refs;
use crate::policy::VersionFormat;
use crate::repository::{HotfixFile, ReleaseRepository};
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule = Rule::new(
    "hotfix-version-mismatch",
    "a hotfix has one version in its path, values and image",
    apply,
)
.with_docs(RuleDocs {
    what: "\
Compares `_config._metadata.version` with the version in the path and with the tags of the
containers: at least one tag must be equal. If the path has the component's own version, a suffix
may follow it, and `-patch-2` may be written as `-p2`.",
    why: "\
The version is written three times. If one is forgotten, the package has other contents than its
name says, or an installation does not see that the addon changed.",
    example: "\
`dex-cauth-v2.1.4-20180725/…` with
```yaml
_metadata: {name: dex-cauth, version: v2.1.5}
```",
    fix: "Correct the wrong version.",
});

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
                format!("the version is {} here, but {} in the path", quote(&version), quote(path));
            sink.add(source, written.span, message, "use the same version for both");
        }
        let tags = tags(repository, hotfix);
        if !tags.is_empty() && !tags.iter().any(|tag| *tag == version) {
            let tags = tags.join("`, `");
            let message = format!(
                "no container has the tag {}; the tags are {}",
                quote(&version),
                quote(&tags)
            );
            let help = "use the version of the changed image";
            sink.add(source, written.span, message, help);
        }
    }
}

fn agrees(format: Option<VersionFormat>, path: &str, written: &str) -> bool {
    if path == written {
        return true;
    }
    format == Some(VersionFormat::Component)
        && (contains_version(path, written) || same_patch(path, written))
}

/// Returns whether the path's version contains the written version.
///
/// The written version must be bounded by `-` or the ends of the path's version.
fn contains_version(path: &str, written: &str) -> bool {
    path.match_indices(written).any(|(at, _)| {
        let before = path[..at].chars().next_back();
        let after = path[at + written.len()..].chars().next();
        before.is_none_or(|c| c == '-') && after.is_none_or(|c| c == '-')
    })
}

/// Returns whether both versions are the same patch.
///
/// For example, `v3.1.53-20180627-p2` and `v3.1.53-patch-2` are the same patch.
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
    fn agrees_component_with_suffix_is_true() {
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
    fn agrees_partial_version_is_false() {
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
