use crate::escape::quote;
use crate::image::ImageReference;
use crate::repository::PluginFile;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};

/// The prefix of the image names of plugins.
pub(super) const IMAGE_PREFIX: &str = "compass-plugins-";

pub(crate) static RULE: Rule = Rule::new(
    "plugin-name-mismatch",
    "a plugin has one name in its file name, manifest and image",
    apply,
)
.with_docs(RuleDocs {
    what: "\
Compares the file's name, `metadata.name`, and the plugin's name in `spec.service.image`.",
    why: "\
The package has the name of the file, the plugin centre uses `metadata.name`, and the registry the
image name. If they differ, a plugin cannot be traced from one to the other.",
    example: "\
`release-plugins/istio-manager.yaml` with
```yaml
metadata: {name: servicemesh}
```",
    fix: "Use one name in all three places.",
});

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for plugin in &repository.plugins {
        compare_name(plugin, sink);
        compare_image(plugin, sink);
    }
}

fn compare_name(plugin: &PluginFile, sink: &mut FindingSink<'_>) {
    let stem = &plugin.stem;
    if let Some(name) = plugin.manifest.name.as_ref().filter(|name| name.value != *stem) {
        sink.add(
            &plugin.document.source,
            name.span,
            format!(
                "the plugin is named {} here, but its file {}",
                quote(&name.value),
                quote(stem)
            ),
            format!(
                "write `name: {stem}`, or rename the file to {}",
                quote(format!("{}.yaml", name.value))
            ),
        )
        .label(format!("the file is `{stem}.yaml`"));
    }
}

fn compare_image(plugin: &PluginFile, sink: &mut FindingSink<'_>) {
    let stem = &plugin.stem;
    let Some(written) = &plugin.manifest.image else {
        return;
    };
    let Ok(image) = written.value.parse::<ImageReference>() else {
        return;
    };
    let Some(named) = image.name().strip_prefix(IMAGE_PREFIX).filter(|named| named != stem) else {
        return;
    };
    sink.add(
        &plugin.document.source,
        written.span,
        format!("the image belongs to plugin {}, but this is plugin {}", quote(named), quote(stem)),
        format!("name the image `{IMAGE_PREFIX}{stem}`"),
    )
    .label(format!("the file is `{stem}.yaml`"));
}

#[cfg(test)]
mod tests {
    use crate::{Policy, check};

    fn found(image: &str) -> Vec<String> {
        let text = format!(
            "metadata: {{name: gpu}}\nspec: {{version: v0.1.0, service: {{port: 1, image: '{image}'}}}}\n"
        );
        let tree = [("release-plugins/gpu.yaml", text)].into_iter().collect();
        let report = check(&tree, &Policy::default());
        let about = report.findings().iter().filter(|f| f.code == "plugin-name-mismatch");
        about.map(|finding| finding.message.clone()).collect()
    }

    #[test]
    fn plugin_image_of_other_plugin_fails() {
        let image = |name: &str| format!("harbor.example/release/{name}:v0.1.0");
        assert_eq!(found(&image("compass-plugins-gpu")), Vec::<String>::new());
        assert_eq!(
            found(&image("compass-plugins-cpu")),
            ["the image belongs to plugin `cpu`, but this is plugin `gpu`"]
        );
        assert_eq!(found(&image("nginx")), Vec::<String>::new(), "the image belongs to no plugin");
    }
}
