//! Comparison of layers with the configuration of their image.

use compass_registry::{Digest, media_type};
use serde_json::{Value, json};

use super::archives::{file, gzip, tar};
use super::compressions::xz;
use super::docker_save::{Image, Saved, app, manifest};
use super::outcome::{assert_outcome, evaluate};

/// An image with two layers, and changed diff IDs.
fn image_with_ids(change: impl Fn(&mut Vec<Value>)) -> Image {
    let layers = Image::new(1).layers;
    let mut ids: Vec<Value> =
        layers.iter().map(|layer| json!(Digest::of(layer).to_string())).collect();
    change(&mut ids);
    Image::described(1, &layers, &json!({"type": "layers", "diff_ids": ids}))
}

#[tokio::test]
async fn layers_must_match_configuration() {
    let other = json!(Digest::of(b"another").to_string());
    let (name, annotations) = app(1);
    for (what, image, expected) in [
        ("right", image_with_ids(|_| ()), Ok(())),
        ("swapped", image_with_ids(|ids| ids.reverse()), Err("has the diff ID sha256:")),
        ("another", image_with_ids(|ids| ids[1] = other.clone()), Err("has the diff ID sha256:")),
        ("no digest", image_with_ids(|ids| ids[0] = json!("x")), Err("lists `x`")),
        ("few", image_with_ids(|ids| drop(ids.pop())), Err("does not match the image")),
        ("many", image_with_ids(|ids| ids.push(other.clone())), Err("does not match the image")),
        ("none", image_with_ids(Vec::clear), Err("does not match the image")),
        ("numbers", image_with_ids(|ids| ids[0] = json!(7)), Err("is unreadable")),
    ] {
        for (form, pack) in [("plain", <[u8]>::to_vec as fn(&[u8]) -> Vec<u8>), ("gzip", gzip)] {
            let image = image.packed(pack);
            let names = [&name[..]];
            let expected = expected.map(|()| &names[..]);
            let docker = Saved::default().docker(&image, &json!([name]));
            assert_outcome(&format!("{what}, docker, {form}"), &docker.tar(), expected).await;
            let kind =
                if form == "gzip" { media_type::OCI_LAYER_GZIP } else { media_type::OCI_LAYER };
            let mut layout = Saved::default();
            image.layers.iter().chain([&image.config]).for_each(|bytes| drop(layout.blob(bytes)));
            let layout = layout.listed(&manifest(&image, kind), &annotations);
            assert_outcome(&format!("{what}, layout, {form}"), &layout.tar(), expected).await;
        }
    }
}

#[tokio::test]
async fn unreadable_configuration_is_problem() {
    for config in [&b"{"[..], b"\xff\xfe", b"text"] {
        let image = Image { config: config.to_vec(), ..Image::new(1) };
        let docker = Saved::default().docker(&image, &json!([app(1).0]));
        assert_outcome("docker", &docker.tar(), Err("configuration")).await;
        let layout = Saved::default().layout(&image, &app(1).1);
        assert_outcome("layout", &layout.tar(), Err("configuration")).await;
    }
}

#[tokio::test]
async fn layer_must_be_tar() {
    let (odd, empty) = (b"no archive".to_vec(), vec![0; 1024]);
    for (what, layer, expected) in [
        ("an empty layer", empty.clone(), Ok(())),
        ("an empty layer, gzip", gzip(&empty), Ok(())),
        ("a text, gzip", gzip(&[odd, vec![1; 2 << 20]].concat()), Err("is not a tar archive")),
    ] {
        let plain = if layer.starts_with(b"\x1f\x8b") { empty.clone() } else { layer.clone() };
        let image = Image { layers: vec![layer], ..Image::of(1, &[plain]) };
        let bytes = Saved::default().docker(&image, &json!([app(1).0])).tar();
        let name = app(1).0;
        let names = [&name[..]];
        assert_outcome(what, &bytes, expected.map(|()| &names[..])).await;
    }
}

#[tokio::test]
async fn nondistributable_layer_may_be_missing() {
    let (image, (name, annotations)) = (Image::new(1), app(1));
    let mut listed = manifest(&image, media_type::OCI_LAYER);
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    listed["layers"][0]["mediaType"] = json!(foreign);
    listed["layers"][0]["urls"] = json!(["https://mcr.example/base"]);
    let mut lacking = Saved::default();
    for bytes in [&image.layers[1], &image.config] {
        lacking.blob(bytes);
    }
    let mut holding = lacking.clone();
    holding.blob(&image.layers[0]);
    let lacking = lacking.listed(&listed, &annotations).tar();
    let holding = holding.listed(&listed, &annotations).tar();
    for (what, bytes, told) in [("missing", &lacking, 1), ("there", &holding, 0)] {
        assert_outcome(what, bytes, Ok(&[&name])).await;
        let layers = evaluate(bytes).await.unwrap().package.unavailable_layers();
        assert_eq!(layers.len(), told, "{layers:?}");
        assert!(layers.iter().all(|layer| layer.contains("from https://mcr.example/base")));
    }
    // Another archive of the package contains the layer.
    let both = tar(&[
        file("p/one.tar", &lacking),
        file("p/two.tar", &Saved::default().layout(&image, &app(2).1).tar()),
    ]);
    assert_eq!(evaluate(&both).await.unwrap().package.unavailable_layers(), [""; 0]);
    // A distributable layer must not be missing.
    let mut saved = Saved::default();
    for bytes in [&image.layers[0], &image.config] {
        saved.blob(bytes);
    }
    let bytes = saved.listed(&listed, &annotations).tar();
    assert_outcome("another", &bytes, Err("is missing")).await;
}

#[tokio::test]
async fn layer_unlike_media_type_is_noted() {
    let (image, (name, annotations)) = (Image::new(1), app(1));
    let docker = "application/vnd.docker.image.rootfs.diff.tar";
    for (pack, kind, expected) in [
        (<[u8]>::to_vec as fn(&[u8]) -> Vec<u8>, media_type::OCI_LAYER, None),
        (<[u8]>::to_vec, media_type::OCI_LAYER_GZIP, None),
        (gzip, media_type::OCI_LAYER_GZIP, None),
        (gzip, media_type::OCI_LAYER_ZSTD, None),
        (gzip, docker, None),
        (gzip, media_type::OCI_LAYER, Some("uncompressed layers")),
        (xz, media_type::OCI_LAYER_GZIP, Some("compressed with xz, which containerd")),
    ] {
        let image = image.packed(pack);
        let mut layout = Saved::default();
        image.layers.iter().chain([&image.config]).for_each(|bytes| drop(layout.blob(bytes)));
        let bytes = layout.listed(&manifest(&image, kind), &annotations).tar();
        assert_outcome(kind, &bytes, Ok(&[&name])).await;
        let notes = evaluate(&bytes).await.unwrap().package.notes();
        match expected {
            Some(expected) => assert!(notes[0].contains(expected), "{kind}: {notes:?}"),
            None => assert_eq!(notes, [""; 0], "{kind}"),
        }
    }
}
