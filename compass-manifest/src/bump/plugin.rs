use super::edit::{Editor, with_tag};
use super::{BumpError, BumpedPlugin};
use crate::image::ImageReference;
use crate::image_refs::image_uses;
use crate::plugin::PluginManifest;
use crate::policy::Policy;
use crate::source::{SourceFile, Spanned};
use crate::version::{BumpLevel, PluginVersion};

/// Writes the next version into a plugin manifest.
///
/// The version is written to `spec.version`, to the tag of `spec.service.image`, and to the tags of
/// the plugin's other images that have the old version, in fields, environment values, arguments
/// and embedded texts. Every other byte stays the same.
///
/// # Errors
/// Returns an error if the manifest lacks version or image, if one of them cannot be replaced in
/// place, or if the replacement would change another value through an anchor.
pub fn bump_plugin(
    source: &SourceFile,
    policy: &Policy,
    level: BumpLevel,
) -> Result<BumpedPlugin, BumpError> {
    write(source, policy, |old| {
        old.next(level).ok_or_else(|| BumpError::NoneAfter(old.to_string()))
    })
}

/// Writes a given version into a plugin manifest, as [`bump_plugin`] does.
///
/// # Errors
/// Returns the errors of [`bump_plugin`], and [`BumpError::NotGreater`] if the version is not
/// greater than the current one.
pub fn set_plugin_version(
    source: &SourceFile,
    policy: &Policy,
    version: &PluginVersion,
) -> Result<BumpedPlugin, BumpError> {
    write(source, policy, |old| match version > old {
        true => Ok(version.clone()),
        false => Err(BumpError::NotGreater { old: old.clone(), new: version.clone() }),
    })
}

fn write(
    source: &SourceFile,
    policy: &Policy,
    choose: impl FnOnce(&PluginVersion) -> Result<PluginVersion, BumpError>,
) -> Result<BumpedPlugin, BumpError> {
    let mut editor = Editor::new(source)?;
    let manifest = PluginManifest::read(&editor.root);
    let version = manifest.version.as_ref().ok_or_else(|| editor.missing(VERSION))?;
    let old: PluginVersion =
        version.value.parse().map_err(|error| editor.unusable(version.span, format!("{error}")))?;
    let new = choose(&old)?;
    let tag = new.to_string();
    editor.replace(VERSION, version.span, &version.value, &tag)?;

    let image = manifest.image.as_ref().ok_or_else(|| editor.missing(IMAGE))?;
    let service =
        image.value.parse().map_err(|error| editor.unusable(image.span, format!("{error}")))?;
    replace_tag(&mut editor, IMAGE, image, &service, &tag)?;
    for used in image_uses(source, &editor.root, policy) {
        let reference =
            used.image.as_ref().ok().and_then(|one| one.release_reference(policy).parse().ok());
        let Some(own) = reference.filter(|_| &*used.path != IMAGE) else { continue };
        if is_of_version(&own, &service, &version.value) {
            let written = Spanned { value: used.written, span: used.span };
            replace_tag(&mut editor, &used.path, &written, &own, &tag)?;
        }
    }
    let (text, changes) = editor.finish()?;
    Ok(BumpedPlugin { text, old, new, changes })
}

/// Returns whether a bump changes the tag of an image.
///
/// The image must be in the project of the service's image, and have the plugin's version or be the
/// service's image.
fn is_of_version(image: &ImageReference, service: &ImageReference, version: &str) -> bool {
    let same_project = project(image) == project(service) && image.host() == service.host();
    same_project && (image.tag() == Some(version) || image == service)
}

fn project(image: &ImageReference) -> &str {
    image.repository().rsplit_once('/').map_or("", |(project, _)| project)
}

fn replace_tag(
    editor: &mut Editor<'_>,
    path: &str,
    written: &Spanned<String>,
    image: &ImageReference,
    tag: &str,
) -> Result<(), BumpError> {
    if image.digest().is_some() {
        return Err(editor.pinned(path, written.span));
    }
    editor.replace(path, written.span, &written.value, &with_tag(&written.value, tag))
}

const VERSION: &str = "spec.version";
const IMAGE: &str = "spec.service.image";

#[cfg(test)]
mod tests {
    use super::*;

    fn bump(text: &str, level: BumpLevel) -> Result<BumpedPlugin, BumpError> {
        bump_plugin(&SourceFile::new("release-plugins/gpu.yaml", text), &Policy::default(), level)
    }

    fn bump_error(text: &str) -> String {
        bump(text, BumpLevel::Patch).unwrap_err().to_string()
    }

    #[test]
    fn bump_updates_images_in_environment() {
        let text = "spec: {version: v1.0.0, service: {image: 'a.b/r/gpu:v0.9.9', configs: {envs: [\
            {name: A, value: a.b/r/helper:v1.0.0}, {name: B, value: a.b/x/other:v1.0.0},\
            {name: C, value: a.b/r/tool:v7}, {name: D, value: a.b/r/gpu:v0.9.9}, {name: E, value: v1.0.0}]}}}";
        let bumped = bump(text, BumpLevel::Major).unwrap();
        let paths: Vec<_> = bumped.changes.iter().map(|change| change.path.as_str()).collect();
        let env = |n: usize| format!("spec.service.configs.envs[{n}].value");
        assert_eq!(paths, ["spec.version", "spec.service.image", &env(0), &env(3)]);
        assert!(
            bumped.text.contains("a.b/r/helper:v2.0.0")
                && bumped.text.contains("'a.b/r/gpu:v2.0.0'")
        );
        assert!(
            bumped.text.contains("a.b/x/other:v1.0.0") && bumped.text.contains("E, value: v1.0.0")
        );
    }

    #[test]
    fn bump_updates_embedded_images() {
        let release = "harbor.example/release";
        let text = |version: &str| {
            format!(
                "\
spec:
  description: replaces {release}/gpu:v1.0.0
  version: {version}
  service:
    image: {release}/gpu:{version}
    args: ['--job={release}/a:{version}', --other={release}/b:v1]
    configs:
      envs:
      - {{name: A, value: '{{\"a\": \"{release}/a:{version}\", \"b\": \"{release}/b:{version}\"}}'}}
      - {{name: B, value: \"[[ registry_release ]]/c:{version}\"}}
      - {{name: C, value: 'harbor.example/library/d:v1.0.0'}}
      files:
      - name: job.yaml
        content: |
          image: {release}/a:{version}
          sidecar: {release}/a:{version}
      job.d/x.yaml: 'image: {release}/e:{version}'
"
            )
        };
        let bumped = bump(&text("v1.0.0"), BumpLevel::Patch).unwrap();
        assert_eq!(bumped.text, text("v1.0.1"));
        let paths: Vec<_> = bumped.changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths.len(), 9, "{paths:?}");
        assert_eq!(paths[8], "spec.service.configs.job.d/x.yaml");
    }

    #[test]
    fn bump_escaped_image_is_error() {
        let text = r#"spec: {version: v1.0.0, service: {image: a.b/r/gpu:v1.0.0, configs: {envs: [{name: A, value: "a.b/r/a\x3av1.0.0"}]}}}"#;
        assert!(bump_error(text).contains("escapes"), "{}", bump_error(text));
    }

    #[test]
    fn bump_untagged_image_gets_tag() {
        let text = "spec: {version: v1.0.0, service: {image: 'localhost:5000/r/gpu'}}";
        assert!(
            bump(text, BumpLevel::Patch).unwrap().text.contains("'localhost:5000/r/gpu:v1.0.1'")
        );
    }

    #[test]
    fn bump_value_not_in_place_fails() {
        let image = "service: {image: a.b/r/gpu:v1.0.0}";
        let with =
            |version: &str| format!("x: &v v1.0.0\nspec:\n  {image}\n  version: {version}\n");
        assert!(
            bump_error(&with("*v"))
                .ends_with(":4:12: `spec.version` is an alias, which cannot be replaced in place")
        );
        assert!(bump_error(&with(r#""v1.0\x2e0""#)).contains("escapes"));
        assert!(bump_error(&with("\"v1.0\\\n    .0\"")).contains("line breaks"));
        let anchored = with("&w v1.0.0") + "other: *w\n";
        assert_eq!(
            bump_error(&anchored),
            "release-plugins/gpu.yaml: the change of the version would also change `other`"
        );
        let merged = "a: &s {image: a.b/r/gpu:v1.0.0}\nspec: {version: v1.0.0, service: *s}\n";
        assert!(bump_error(merged).contains("would also change `a.image`"));
    }

    #[test]
    fn bump_without_version_fails() {
        assert!(bump_error("spec: {}").ends_with("`spec.version` is missing"));
        assert!(bump_error("spec: {version: v1.0.0}").ends_with("`spec.service.image` is missing"));
        assert!(bump_error("spec: {version: '1.0'}").contains(":1:17: "));
        assert!(bump_error("spec: [").contains("release-plugins/gpu.yaml:1:"));
        let digest = format!(
            "spec: {{version: v1.0.0, service: {{image: 'a.b/r/gpu:v1.0.0@sha256:{}'}}}}",
            "0".repeat(64)
        );
        assert!(bump_error(&digest).contains("pinned to a digest"));
        let hint = bump(&digest, BumpLevel::Patch).unwrap_err().hint();
        assert!(hint.is_some_and(|hint| hint.contains("remove the digest")));
        let largest =
            format!("spec: {{version: v1.0.{}, service: {{image: a.b/r/gpu:v1}}}}", u64::MAX);
        assert!(bump_error(&largest).contains("no version after"));
    }

    #[test]
    fn set_version_requires_greater_one() {
        let source =
            SourceFile::new("g.yaml", "spec: {version: v1.0.0, service: {image: a.b/r/g:v1.0.0}}");
        let set = |version: &str| {
            set_plugin_version(&source, &Policy::default(), &version.parse().unwrap())
        };
        assert_eq!(set("v1.1.0-rc.1").unwrap().new.to_string(), "v1.1.0-rc.1");
        for version in ["v1.0.0", "v0.9.0", "v1.0.0-rc.1"] {
            let expected = format!("`{version}` is not greater than `v1.0.0`");
            assert_eq!(set(version).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn bump_keeps_other_duplicate_keys() {
        let text = "metadata: {labels: {a: 1, a: 2}}\nspec: {version: v1.0.0, service: {image: a.b/r/g:v1.0.0}}";
        assert_eq!(bump(text, BumpLevel::Patch).unwrap().text, text.replace("v1.0.0", "v1.0.1"));
    }
}
