use crate::finding::Severity;
use crate::image::ImageReference;
use crate::release::{PluginFile, Release};
use crate::rule::{Findings, Rule};

/// What the name of a plugin's image begins with.
pub(super) const IMAGE_PREFIX: &str = "compass-plugins-";

pub(super) static RULE: Rule = Rule {
    code: "plugin-name-mismatch",
    summary: "file name, `metadata.name` and the name in the image agree",
    severity: Severity::Error,
    docs: "\
### What it does
Compares the file's name, `metadata.name`, and the plugin's name in `spec.service.image`.

### Why is this bad?
The package is named after the file, the plugin centre goes by `metadata.name`, and the image is
looked up by its own name. Where they differ, somebody looks in the wrong place.

### Example
`release-plugins/istio-manager.yaml` with
```yaml
metadata: {name: servicemesh}
```

### What to do
Use one name in all three places.
",
    apply,
};

fn apply(release: &Release<'_>, findings: &mut Findings<'_>) {
    for plugin in &release.plugins {
        compare_name(plugin, findings);
        compare_image(plugin, findings);
    }
}

fn compare_name(plugin: &PluginFile, findings: &mut Findings<'_>) {
    let stem = &plugin.stem;
    if let Some(name) = plugin.manifest.name.as_ref().filter(|name| name.value != *stem) {
        findings
            .add(
                &plugin.document.source,
                name.span,
                format!("the plugin is named `{}` here and `{stem}` by its file", name.value),
                format!("write `name: {stem}`, or rename the file to `{}.yaml`", name.value),
            )
            .label(format!("the file is `{stem}.yaml`"));
    }
}

fn compare_image(plugin: &PluginFile, findings: &mut Findings<'_>) {
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
    findings
        .add(
            &plugin.document.source,
            written.span,
            format!("the image is that of plugin `{named}`, and this is plugin `{stem}`"),
            format!("name the image `{IMAGE_PREFIX}{stem}`"),
        )
        .label(format!("the file is `{stem}.yaml`"));
}
