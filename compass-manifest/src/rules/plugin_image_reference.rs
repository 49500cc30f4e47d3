use super::plugin_name_mismatch::IMAGE_PREFIX;
use crate::escape::{quote, quote_name};
use crate::image::ImageReference;
use crate::repository::PluginFile;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule = Rule::new(
    "plugin-image-reference",
    "`spec.service.image` is `<release registry>/compass-plugins-<plugin>:<VERSION>`",
    apply,
)
.with_docs(RuleDocs {
    what: "\
Checks that `spec.service.image` is in the release registry, is named `compass-plugins-…`, and has
`spec.version` as its tag.",
    why: "\
A site cannot pull an image from another registry. If the tag is not the version, the package
contains another version than its name says.",
    example: "\
```yaml
spec:
  version: v0.1.4
  service:
    image: harbor.example/release/compass-plugins-gpu-manager:v0.1.3
```",
    fix: "Write the reference from the help text.",
});

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for plugin in &repository.plugins {
        check(plugin, &repository.policy.registries.release, sink);
    }
}

fn check(plugin: &PluginFile, registry: &str, sink: &mut FindingSink<'_>) {
    let Some(written) = &plugin.manifest.image else {
        return;
    };
    let version = plugin.manifest.version.as_ref();
    let tag = version.map_or("VERSION", |version| &version.value);
    let expected = format!("{registry}/{IMAGE_PREFIX}{}:{tag}", plugin.stem);
    let help = format!("write {}", quote_name(&expected));
    match written.value.parse::<ImageReference>() {
        Err(error) => {
            sink.add(&plugin.document.source, written.span, error.to_string(), help);
        }
        Ok(image) => {
            for problem in problems(&image, registry, tag) {
                let finding =
                    sink.add(&plugin.document.source, written.span, problem.message, help.clone());
                if let Some(version) = version.filter(|_| problem.about_version) {
                    finding.related(&plugin.document.source, version.span, "the version");
                }
            }
        }
    }
}

struct Problem {
    message: String,
    about_version: bool,
}

fn problems(image: &ImageReference, registry: &str, version: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |about_version, message| problems.push(Problem { message, about_version });
    let project = image.without_version();
    let project = project.strip_suffix(image.name()).unwrap_or(&project).trim_end_matches('/');
    if project != registry {
        add(
            false,
            format!(
                "the image is in {} instead of the release registry {}",
                quote_name(project),
                quote_name(registry)
            ),
        );
    }
    if !image.name().starts_with(IMAGE_PREFIX) {
        add(
            false,
            format!("the image name {} does not begin with `{IMAGE_PREFIX}`", quote(image.name())),
        );
    }
    match image.tag() {
        None => add(true, "the image has no tag".to_owned()),
        Some(tag) if tag != version => {
            add(
                true,
                format!("the image's tag is {}, but the version is {}", quote(tag), quote(version)),
            );
        }
        Some(_) => {}
    }
    problems
}
