//! Names of images.

use compass_registry::Digest;
use serde_json::{Value, json};

use super::docker_save::{Image, Saved};
use super::outcome::{assert_outcome, evaluate};

fn unnamed(image: &Image) -> String {
    format!("localhost/unnamed/package:{}", &Digest::of(&image.config).hex()[..12])
}

#[tokio::test]
async fn repo_tags_are_normalized_as_in_docker() {
    let image = Image::new(1);
    let unnamed = unnamed(&image);
    for (tags, expected) in [
        (json!(["reg.example/team/app:v1"]), &["reg.example/team/app:v1"][..]),
        (json!(["alpine:3.18"]), &["docker.io/library/alpine:3.18"]),
        (json!(["team/app:v1"]), &["docker.io/team/app:v1"]),
        (json!(["localhost:5000/app:v1"]), &["localhost:5000/app:v1"]),
        (json!(["a.io/app:v1", "b.io/app:v1"]), &["a.io/app:v1", "b.io/app:v1"]),
        (json!(["a.io/app:v1", "a.io/app:v1"]), &["a.io/app:v1"]),
        (json!(["<none>:<none>", "a.io/app:v1"]), &["a.io/app:v1"]),
        (json!(["<none>:<none>"]), &[&unnamed]),
        (json!([""]), &[&unnamed]),
        (json!([]), &[&unnamed]),
        (Value::Null, &[&unnamed]),
    ] {
        let bytes = Saved::default().docker(&image, &tags).tar();
        assert_outcome(&tags.to_string(), &bytes, Ok(expected)).await;
    }
}

#[tokio::test]
async fn invalid_name_is_replaced() {
    let image = Image::new(1);
    for name in ["reg.example/team/app:v 1", "Team/app:v1", "a.io/app:", "a.io/../app:v1", "🚀"] {
        let bytes = Saved::default().docker(&image, &json!([name])).tar();
        let outcome = evaluate(&bytes).await.unwrap();
        assert_eq!(outcome.names, [unnamed(&image)], "{name}");
        assert!(
            outcome.problems[0].contains("which is not a valid image name"),
            "{:?}",
            outcome.problems
        );
        // The other names of the image are valid.
        let bytes = Saved::default().docker(&image, &json!([name, "a.io/app:v1"])).tar();
        assert_eq!(evaluate(&bytes).await.unwrap().names, ["a.io/app:v1"], "{name}");
        let annotations = json!({"io.containerd.image.name": name});
        let bytes = Saved::default().layout(&image, &annotations).tar();
        assert_outcome(name, &bytes, Err("that is not a valid image name")).await;
    }
}

#[tokio::test]
async fn annotation_names_image_of_layout() {
    let image = Image::new(1);
    let full = "reg.example/team/app:v1";
    let (containerd, reference) = ("io.containerd.image.name", "org.opencontainers.image.ref.name");
    for (annotations, expected) in [
        (json!({containerd: full, reference: "v1"}), full),
        (json!({reference: full}), full),
        (json!({reference: "team/app:v1"}), "docker.io/team/app:v1"),
        (json!({reference: "v1.2"}), "localhost/unnamed/package:v1.2"),
        (json!({reference: "latest"}), "localhost/unnamed/package:latest"),
    ] {
        let bytes = Saved::default().layout(&image, &annotations).tar();
        assert_outcome(&annotations.to_string(), &bytes, Ok(&[expected])).await;
    }
    for annotations in [json!({}), json!({reference: "stable+1"}), json!({reference: ""})] {
        let outcome = evaluate(&Saved::default().layout(&image, &annotations).tar()).await.unwrap();
        assert_eq!(outcome.problems, [""; 0]);
        let digest = outcome.package.images()[0].root.digest();
        let expected = format!("localhost/unnamed/package:{}", &digest.hex()[..12]);
        assert_eq!(outcome.names, [expected], "{annotations}");
    }
}

#[tokio::test]
async fn names_of_both_lists_are_merged() {
    let image = Image::new(1);
    let annotations = json!({"org.opencontainers.image.ref.name": "v1"});
    let tags = json!(["base/scratch:v1"]);
    let bytes = Saved::default().layout(&image, &annotations).docker(&image, &tags).tar();
    assert_outcome("a tag and a name", &bytes, Ok(&["docker.io/base/scratch:v1"])).await;
    let annotations = json!({"io.containerd.image.name": "a.io/app:v1"});
    let bytes = Saved::default().layout(&image, &annotations).docker(&image, &tags).tar();
    let both = ["a.io/app:v1", "docker.io/base/scratch:v1"];
    assert_outcome("two names", &bytes, Ok(&both)).await;
}

#[tokio::test]
async fn equal_tags_are_replaced() {
    let annotations = json!({"org.opencontainers.image.ref.name": "latest"});
    let saved = [1, 2]
        .into_iter()
        .fold(Saved::default(), |saved, number| saved.layout(&Image::new(number), &annotations));
    let outcome = evaluate(&saved.tar()).await.unwrap();
    assert_eq!(outcome.problems, [""; 0]);
    let digests = outcome.package.images().iter().map(|image| image.root.digest());
    let expected: Vec<_> = digests
        .map(|digest| format!("localhost/unnamed/package:{}", &digest.hex()[..12]))
        .collect();
    assert_eq!(outcome.names, expected);
}

#[tokio::test]
async fn name_with_other_digest_is_noted() {
    let image = Image::new(1);
    let own = evaluate(&Saved::default().layout(&image, &json!({})).tar()).await.unwrap();
    let own = own.package.images()[0].root.digest();
    for (digest, is_noted) in [(own, false), (Digest::of(b"another"), true)] {
        let name = format!("a.io/app@{digest}");
        let annotations = json!({"io.containerd.image.name": name});
        let outcome = evaluate(&Saved::default().layout(&image, &annotations).tar()).await.unwrap();
        assert_eq!((&outcome.names, &outcome.problems), (&vec![name], &Vec::new()));
        let notes = outcome.package.notes();
        let is_told = notes.iter().any(|note| note.contains("has another digest in its name"));
        assert_eq!(is_told, is_noted, "{notes:?}");
    }
}
