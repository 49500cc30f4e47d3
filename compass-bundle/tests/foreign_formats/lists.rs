//! `manifest.json` and `index.json`: both are read, and must be consistent.

use compass_registry::media_type;
use serde_json::{Value, json};

use super::archives::{file, tar};
use super::docker_save::{Image, Saved, app, index, manifest};
use super::outcome::{assert_outcome, evaluate};

fn names(numbers: &[usize]) -> Vec<String> {
    numbers.iter().map(|number| app(*number).0).collect()
}

async fn assert_images(what: &str, saved: &Saved, numbers: &[usize]) {
    let names = names(numbers);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_outcome(what, &saved.tar(), Ok(&names)).await;
}

fn docker(saved: Saved, number: usize) -> Saved {
    saved.docker(&Image::new(number), &json!([app(number).0]))
}

fn layout(saved: Saved, number: usize) -> Saved {
    saved.layout(&Image::new(number), &app(number).1)
}

#[tokio::test]
async fn images_of_both_lists_are_read() {
    let none = Saved::default;
    assert_images("docker", &docker(docker(none(), 1), 2), &[1, 2]).await;
    assert_images("layout", &layout(layout(none(), 1), 2), &[1, 2]).await;
    assert_images("the same in both", &docker(layout(none(), 1), 1), &[1]).await;
    assert_images("more in manifest.json", &docker(docker(layout(none(), 1), 1), 2), &[1, 2]).await;
    assert_images("more in index.json", &docker(layout(layout(none(), 1), 2), 2), &[1, 2]).await;
    assert_images("none in both", &docker(layout(none(), 1), 2), &[1, 2]).await;
}

#[tokio::test]
async fn empty_list_is_problem() {
    let saved = docker(Saved::default(), 1);
    let name = app(1).0;
    for text in [
        r#"{"schemaVersion":2,"manifests":null}"#,
        r#"{"schemaVersion":2,"manifests":[]}"#,
        r#"{"schemaVersion":2}"#,
        r#"{"some":"thing else"}"#,
        "[]",
    ] {
        assert_outcome(text, &saved.tar_with(&[("index.json", text)]), Ok(&[&name])).await;
    }
    let saved = layout(Saved::default(), 1);
    for text in ["[]", "null", r#"[{"Chart":"web"}]"#, r#"{"manifest_version":3}"#] {
        assert_outcome(text, &saved.tar_with(&[("manifest.json", text)]), Ok(&[&name])).await;
    }
    for (path, text) in [
        ("index.json", r#"{"schemaVersion":2,"manifests":null}"#),
        ("manifest.json", "[]"),
        ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
    ] {
        let bytes = tar(&[file(path, text.as_bytes())]);
        assert_outcome(text, &bytes, Err("it is an image archive, but contains no image")).await;
    }
}

#[tokio::test]
async fn image_without_layers_is_read() {
    for root in [json!({"type": "layers"}), json!({"diff_ids": null}), json!({"diff_ids": []})] {
        let scratch = Image::described(1, &[], &root);
        let (name, annotations) = app(1);
        let mut saved = Saved::default().docker(&scratch, &json!([name]));
        assert_outcome("docker", &saved.tar(), Ok(&[&name])).await;
        saved.docker[0]["Layers"] = Value::Null;
        assert_outcome("null", &saved.tar(), Ok(&[&name])).await;
        saved.docker[0].as_object_mut().unwrap().remove("Layers");
        assert_outcome("no list", &saved.tar(), Ok(&[&name])).await;
        let mut listed = manifest(&scratch, media_type::OCI_LAYER);
        listed["layers"] = Value::Null;
        let mut saved = Saved::default();
        saved.blob(&scratch.config);
        assert_outcome("layout", &saved.listed(&listed, &annotations).tar(), Ok(&[&name])).await;
    }
}

#[tokio::test]
async fn inconsistent_lists_are_problems() {
    let both = docker(layout(Saved::default(), 1), 1);
    let mut fewer = both.clone();
    fewer.docker[0]["Layers"].as_array_mut().unwrap().pop();
    assert_outcome("other layers", &fewer.tar(), Err("list different layers")).await;
    let mut swapped = both.clone();
    swapped.docker[0]["Layers"].as_array_mut().unwrap().reverse();
    assert_outcome("other order", &swapped.tar(), Err("list different layers")).await;
    let other = docker(both, 2);
    let mut renamed = other.clone();
    renamed.docker[1]["RepoTags"] = json!([app(1).0]);
    assert_outcome("one name for two", &renamed.tar(), Err("to different images")).await;
    let mut lost = other;
    lost.docker[1]["Config"] = json!("lost.json");
    assert_outcome("lost", &lost.tar(), Err("lost.json is missing")).await;
}

#[tokio::test]
async fn duplicate_name_is_problem() {
    let [one, two] = [1, 2].map(Image::new);
    let name = json!(["reg.example/team/app:v1"]);
    let saved = |image: &Image| Saved::default().docker(image, &name).tar();
    let apart = tar(&[file("p/one.tar", &saved(&one)), file("p/two.tar", &saved(&two))]);
    assert_outcome("apart", &apart, Err("several images are named")).await;
    let same = tar(&[file("p/one.tar", &saved(&one)), file("p/two.tar", &saved(&one))]);
    let named = ["reg.example/team/app:v1"; 2];
    assert_outcome("the same", &same, Ok(&named)).await;
}

#[tokio::test]
async fn nested_index_is_read() {
    let (name, annotations) = app(1);
    let image = Image::new(1);
    let mut saved = Saved::default();
    image.layers.iter().chain([&image.config]).for_each(|bytes| drop(saved.blob(bytes)));
    let mut outer = manifest(&image, media_type::OCI_LAYER);
    for depth in 1..=20 {
        let inner = saved.inner(&outer);
        outer = index(&[inner]);
        let bytes = saved.clone().listed(&outer, &annotations).tar();
        let expected: Result<&[&str], _> = match depth {
            ..=16 => Ok(&[&name]),
            _ => Err("indexes are nested more than 16 deep"),
        };
        assert_outcome(&format!("{depth} indexes"), &bytes, expected).await;
    }
}

#[tokio::test]
async fn missing_manifest_is_note_or_problem() {
    let (name, annotations) = app(1);
    let image = Image::new(1);
    let mut saved = Saved::default();
    image.layers.iter().chain([&image.config]).for_each(|bytes| drop(saved.blob(bytes)));
    let here = saved.inner(&manifest(&image, media_type::OCI_LAYER));
    let elsewhere = Saved::default().inner(&manifest(&Image::new(2), media_type::OCI_LAYER));
    // Docker keeps the index of an image of which it has pulled one platform.
    let partial = index(&[here, elsewhere.clone()]);
    let listed = saved.clone().listed(&partial, &annotations);
    assert_outcome("the outermost", &listed.tar(), Ok(&[&name])).await;
    let notes = evaluate(&listed.tar()).await.unwrap().package.notes();
    assert!(notes[0].contains("lists images that the archive omits: sha256:"), "{notes:?}");
    let inner = saved.inner(&partial);
    let deeper = saved.clone().listed(&index(&[inner]), &annotations);
    assert_outcome("an inner one", &deeper.tar(), Err("lists images that the archive omits")).await;
    let none = saved.clone().listed(&index(&[elsewhere]), &annotations);
    assert_outcome("none", &none.tar(), Err("the archive contains no image of the index")).await;
    let mut lost = saved;
    lost.index.push(Saved::default().inner(&manifest(&Image::new(3), media_type::OCI_LAYER)));
    assert_outcome("of index.json", &lost.tar(), Err("is missing")).await;
}

#[tokio::test]
async fn wrong_size_in_list_is_problem() {
    let whole = layout(Saved::default(), 1);
    let mut of_manifest = whole;
    of_manifest.index[0]["size"] = json!(7);
    assert_outcome("manifest", &of_manifest.tar(), Err("but its descriptor says 7")).await;
    for part in ["config", "layers"] {
        let (image, mut saved) = (Image::new(1), Saved::default());
        image.layers.iter().chain([&image.config]).for_each(|bytes| drop(saved.blob(bytes)));
        let mut listed = manifest(&image, media_type::OCI_LAYER);
        let descriptor = if part == "layers" { &mut listed[part][0] } else { &mut listed[part] };
        descriptor["size"] = json!(7);
        let bytes = saved.listed(&listed, &app(1).1).tar();
        assert_outcome(part, &bytes, Err("but its descriptor says 7")).await;
    }
}

#[tokio::test]
async fn layout_unknown_version_is_error() {
    let whole = layout(Saved::default(), 1);
    let replaced = |text: &str| {
        let files = whole.files().into_iter();
        let files = files.map(|(path, content)| match path.as_str() {
            "oci-layout" => file(&path, text.as_bytes()),
            _ => file(&path, &content),
        });
        tar(&files.collect::<Vec<_>>())
    };
    for (text, reason) in [
        (r#"{"imageLayoutVersion":"2.0.0"}"#, "oci-layout has the version `2.0.0`"),
        (r#"{"imageLayoutVersion":2}"#, "oci-layout is unreadable"),
        ("{}", "oci-layout is unreadable"),
        ("", "oci-layout is unreadable"),
        ("1.0.0", "oci-layout is unreadable"),
    ] {
        assert_outcome(text, &replaced(text), Err(reason)).await;
    }
    assert_outcome("the same", &replaced(r#" {"imageLayoutVersion":"1.0.0"}"#), Ok(&[&app(1).0]))
        .await;
    let without = |lost: &str| {
        let files = whole.files().into_iter().filter(|(path, _)| path != lost);
        tar(&files.map(|(path, content)| file(&path, &content)).collect::<Vec<_>>())
    };
    assert_outcome("no mark", &without("oci-layout"), Ok(&[&app(1).0])).await;
    assert_outcome("no index", &without("index.json"), Err("contains no image")).await;
}

#[tokio::test]
async fn list_is_parsed_as_in_go() {
    let saved = docker(docker(Saved::default(), 1), 2);
    let text = serde_json::to_string_pretty(&saved.docker).unwrap();
    let names = names(&[1, 2]);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let small = text.replace("Config", "config").replace("RepoTags", "repotags");
    let small = small.replace("Layers", "layers");
    for (what, text, expected) in [
        ("blanks before", format!("\n  {text}\n\n"), Ok(&names[..])),
        ("small letters", small, Ok(&names[..])),
        ("other letters", text.replace("Config", "CONFIG"), Err("manifest.json is unreadable")),
        ("a byte order mark", format!("\u{feff}{text}"), Err("manifest.json is unreadable")),
        ("more behind", format!("{text}[]"), Err("manifest.json is unreadable")),
    ] {
        let files = Saved { docker: Vec::new(), ..saved.clone() };
        assert_outcome(what, &files.tar_with(&[("manifest.json", &text)]), expected).await;
    }
    let saved = layout(Saved::default(), 1);
    let index = format!(" {}", json!({"schemaVersion": 2, "manifests": saved.index}));
    let files = Saved { index: Vec::new(), ..saved };
    assert_outcome("index", &files.tar_with(&[("index.json", &index)]), Ok(&[&app(1).0])).await;
}

#[tokio::test]
async fn platform_unlike_configuration_is_noted() {
    let (name, annotations) = app(1);
    for (architecture, is_noted) in [("amd64", false), ("x86_64", false), ("arm64", true)] {
        let (image, mut saved) = (Image::new(1), Saved::default());
        image.layers.iter().chain([&image.config]).for_each(|bytes| drop(saved.blob(bytes)));
        let mut inner = saved.inner(&manifest(&image, media_type::OCI_LAYER));
        inner["platform"] = json!({"os": "linux", "architecture": architecture});
        let bytes = saved.listed(&index(&[inner]), &annotations).tar();
        assert_outcome(architecture, &bytes, Ok(&[&name])).await;
        let notes = evaluate(&bytes).await.unwrap().package.notes();
        let expected = "is linux/arm64 in its index, but linux/amd64 in its configuration";
        assert_eq!(notes.iter().any(|note| note.contains(expected)), is_noted, "{notes:?}");
    }
}
