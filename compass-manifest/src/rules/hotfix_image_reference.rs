use super::base_addon;
use crate::escape::quote;
use crate::image_refs;
use crate::policy::VersionFormat;
use crate::repository::{HotfixFile, ReleaseRepository};
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Spanned;

pub(crate) static RULE: Rule = Rule::new(
    "hotfix-image-reference",
    "the images of a hotfix are `[[ registry_release ]]/<component>:<tag>`",
    apply,
)
.with_docs(RuleDocs {
    what: "\
Checks the image of every container and init container: it consists of a template variable for the
registry, a component and a tag. If the patched addon is known and the version is a HOTFIXVERSION,
the images that differ from the addon must have that version as their tag.",
    why: "\
A site cannot reach the registry of a reference with a host. It does not pull a changed image whose
tag it already has.",
    example: "\
```yaml
containers:
- image: cargo.example/release/console-web:v2.7.0-20180605-p1
```",
    fix: "Write the reference from the help text.",
});

fn apply(context: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for hotfix in &context.repository.hotfixes {
        for container in &hotfix.values.containers {
            if let Some(image) = &container.image {
                check_syntax(context.repository, hotfix, image, sink);
            }
        }
        if let (Some(VersionFormat::Hotfix), Some(version)) = (hotfix.path.format, hotfix.version())
        {
            check_changed(context, hotfix, version, sink);
        }
    }
}

fn check_syntax(
    repository: &ReleaseRepository,
    hotfix: &HotfixFile,
    written: &Spanned<String>,
    sink: &mut FindingSink<'_>,
) {
    let name = written.value.rsplit('/').next().unwrap_or_default();
    let variable =
        repository.policy.templates.variable_for_project("release").unwrap_or("registry_release");
    let message = match image_refs::resolve(&written.value, &repository.policy) {
        Ok(image) if image.host.is_none() => return,
        Ok(image) => {
            let host = image.host.unwrap_or_default();
            format!("the image has the registry host {}", quote(&host))
        }
        Err(reason) => format!("{} is not an image reference: {reason}", quote(&written.value)),
    };
    let help = format!("write `[[ {variable} ]]/{name}`");
    sink.add(&hotfix.document.source, written.span, message, help);
}

fn check_changed(
    context: &RuleContext<'_>,
    hotfix: &HotfixFile,
    version: &str,
    sink: &mut FindingSink<'_>,
) {
    let Some(addon) = base_addon::of(context, hotfix) else { return };
    for container in &hotfix.values.containers {
        let Some(image) = &container.image else { continue };
        let old = addon.values.containers.iter().find(|old| old.path == container.path);
        let old = old.and_then(|old| old.image.as_ref()).map(|image| &image.value);
        let Ok(resolved) = image_refs::resolve(&image.value, &context.repository.policy) else {
            continue;
        };
        if old != Some(&image.value) && resolved.tag.as_deref() != Some(version) {
            let tag = resolved.tag.unwrap_or_default();
            sink.add(
                &hotfix.document.source,
                image.span,
                format!("the image differs from the addon's, but its tag is {}", quote(&tag)),
                format!("tag it {}", quote(version)),
            );
        }
    }
}
