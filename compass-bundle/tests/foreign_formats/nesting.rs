//! Images below the top level of an archive.

use std::sync::Arc;

use compass_bundle::install;
use compass_registry::storage::MemoryStorage;
use compass_registry::{CopyOptions, media_type};
use serde_json::json;

use super::archives::{file, gzip, tar};
use super::compressions::FORMATS;
use super::docker_save::{Image, Saved, app, index, manifest};
use super::outcome::{assert_outcome, evaluate};

fn docker(number: usize) -> Saved {
    Saved::default().docker(&Image::new(number), &json!([app(number).0]))
}

fn layout(number: usize) -> Saved {
    Saved::default().layout(&Image::new(number), &app(number).1)
}

fn below(directory: &str, saved: &Saved) -> Vec<Vec<u8>> {
    let files = saved.files();
    files.iter().map(|(path, content)| file(&format!("{directory}/{path}"), content)).collect()
}

#[tokio::test]
async fn nested_image_archive_is_problem() {
    let expected = "all.tar: it contains an image archive, `images/a.bin`, which is not read";
    for (format, pack) in FORMATS {
        for image in [docker(1), layout(1)] {
            let inner = tar(&[file("images/a.bin", &pack(&image.tar()))]);
            let bytes = tar(&[file("p/all.tar", &inner), file("p/b.tar", &docker(2).tar())]);
            assert_outcome(format, &bytes, Err(expected)).await;
        }
    }
    let deeper = tar(&[file("a.tar", &tar(&[file("b.tar", &docker(1).tar())]))]);
    let bytes = tar(&[file("p/all.tar", &deeper)]);
    assert_outcome("deeper", &bytes, Err("it contains an image archive, `a.tar`")).await;
    // A third level of compression is not read, which a note says.
    let deeper = tar(&[file("a.tar", &tar(&[file("b.tgz", &gzip(&docker(1).tar()))]))]);
    let bytes = tar(&[file("p/all.tar", &deeper), file("p/b.tar", &docker(2).tar())]);
    let outcome = evaluate(&bytes).await.unwrap();
    let note = "p/all.tar: archives in its archive `a.tar` are not searched, and images in them are \
                not read";
    assert_eq!((outcome.problems, outcome.package.notes()), (Vec::new(), vec![note.to_owned()]));
    // With an image at the top level as well.
    let bytes = docker(1).tar();
    let inner = file("more/a.tar", &docker(2).tar());
    let bytes = [&inner[..], &bytes].concat();
    let both = tar(&[file("p/b.tar", &bytes)]);
    assert_outcome("beside", &both, Err("it contains an image archive, `more/a.tar`")).await;
}

#[tokio::test]
async fn archive_without_image_is_file() {
    let chart = tar(&[file("web/Chart.yaml", b"name: web\n"), file("web/manifest.json", b"{}")]);
    for (format, pack) in FORMATS {
        let files = [file("p/web.tgz", &pack(&chart)), file("p/a.tar", &docker(1).tar())];
        let outcome = evaluate(&tar(&files)).await.unwrap();
        assert_eq!(outcome.problems, [""; 0], "{format}");
        let files: Vec<_> = outcome.package.files().iter().map(|file| &*file.path).collect();
        assert_eq!(files, ["p/web.tgz"], "{format}");
    }
}

#[tokio::test]
async fn archive_of_docker_before_1_10_is_problem() {
    let id = "0a".repeat(32);
    let old = [
        file(&format!("{id}/VERSION"), b"1.0"),
        file(&format!("{id}/json"), b"{}"),
        file(&format!("{id}/layer.tar"), &tar(&[file("etc/a", b"a")])),
    ];
    let named = [&old[..], &[file("repositories", b"{}")]].concat();
    for (what, old) in [("without a name", &old[..]), ("with a name", &named)] {
        assert_outcome(what, &tar(old), Err("it was saved by a Docker older than 1.10")).await;
        let package = tar(&[file("p/old.tar", &tar(old)), file("p/b.tar", &docker(2).tar())]);
        assert_outcome(what, &package, Err("p/old.tar: it is an image archive that a Docker"))
            .await;
    }
    // A list of repositories is not an image.
    let list = tar(&[file("repositories", b"https://mirror.example/alpine\n")]);
    let package = tar(&[file("p/apk.tar", &list), file("p/b.tar", &docker(2).tar())]);
    assert_outcome("a list", &package, Ok(&[&app(2).0])).await;
}

#[tokio::test]
async fn image_without_list_is_problem() {
    let id = "0a".repeat(32);
    let expected = "contains image layers, but no manifest.json or index.json that lists them";
    let blob = layout(1).entries[0].clone();
    for parts in [
        vec![file(&blob.0, &blob.1)],
        vec![file(&format!("{id}/layer.tar"), &blob.1), file(&format!("{id}.json"), b"{}")],
        vec![file(&format!("{id}.tar"), &blob.1), file(&format!("{id}.json"), b"{}")],
    ] {
        assert_outcome("a package", &tar(&parts), Err(expected)).await;
        let inner = tar(&[file("p/a.tar", &tar(&parts)), file("p/b.tar", &docker(2).tar())]);
        assert_outcome("an archive", &inner, Err(&format!("p/a.tar: it {expected}"))).await;
    }
    let others = [file(&format!("{id}.json"), b"{}"), file(&format!("sums/{id}"), b"x")];
    let outcome = evaluate(&tar(&others)).await.unwrap();
    assert_eq!(outcome.problems, [""; 0]);
}

#[tokio::test]
async fn image_in_directory_is_problem() {
    let other = file("p/b.tar", &docker(2).tar());
    for saved in [docker(1), layout(1)] {
        for (what, entries) in [
            ("of a package", [below("p/lay", &saved), vec![other.clone()]].concat()),
            ("alone", below("lay", &saved)),
            ("in an archive", vec![file("p/a.tar", &tar(&below("lay", &saved)))]),
        ] {
            let expected = "contains an image in its directory `";
            assert_outcome(what, &tar(&entries), Err(expected)).await;
        }
    }
    for saved in [docker(1), layout(1)] {
        let files = saved.files();
        let files = files.iter().map(|(path, content)| (path.replace('/', "\\"), content));
        let mut entries: Vec<_> =
            files.map(|(path, content)| file(&format!("lay\\{path}"), content)).collect();
        let inner = tar(&[file("p/a.tar", &tar(&entries))]);
        assert_outcome("of Windows, in an archive", &inner, Err("in its directory `lay`")).await;
        entries.push(other.clone());
        assert_outcome("of Windows", &tar(&entries), Err("in its directory `lay`")).await;
    }
    let mut unlisted = below("p/lay", &layout(1));
    unlisted.pop();
    unlisted.push(other);
    assert_outcome("without an index", &tar(&unlisted), Err("in its directory `p/lay`")).await;
    // The same image exists at the top level.
    let entries = [below("p/lay", &layout(1)), vec![file("p/a.tar", &layout(1).tar())]].concat();
    assert_outcome("twice", &tar(&entries), Ok(&[&app(1).0])).await;
}

#[tokio::test]
async fn skopeo_dir_is_read() {
    let directory = |root: Vec<u8>, saved: &Saved| {
        let mut entries = vec![
            file("version", b"Directory Transport Version: 1.1\n"),
            file("manifest.json", &root),
        ];
        for (path, content) in &saved.entries {
            let hex = path.rsplit('/').next().unwrap();
            let is_manifest = content.starts_with(b"{") && *content != Image::new(1).config;
            let end = if is_manifest { ".manifest.json" } else { "" };
            entries.push(file(&format!("{hex}{end}"), content));
        }
        tar(&entries)
    };
    let (image, mut saved) = (Image::new(1), Saved::default());
    image.layers.iter().chain([&image.config]).for_each(|bytes| drop(saved.blob(bytes)));
    let listed = manifest(&image, media_type::OCI_LAYER);
    let single = directory(listed.to_string().into_bytes(), &saved);
    let mut with_index = saved.clone();
    let inner = with_index.inner(&listed);
    let several = directory(index(&[inner]).to_string().into_bytes(), &with_index);
    for (what, bytes) in [("an image", &single), ("an index", &several)] {
        for bytes in [bytes.clone(), gzip(bytes), tar(&[file("p/dir.tar", bytes)])] {
            let outcome = evaluate(&bytes).await.unwrap();
            assert_eq!(outcome.problems, [""; 0], "{what}");
            assert!(outcome.names[0].starts_with("localhost/unnamed/"), "{:?}", outcome.names);
        }
    }
    saved.entries.remove(0);
    let lacking = directory(listed.to_string().into_bytes(), &saved);
    assert_outcome("without a layer", &lacking, Err("is missing")).await;
}

#[tokio::test]
async fn install_without_images_names_problem() {
    let refused = async |bytes: &[u8]| {
        let package = evaluate(bytes).await.unwrap().package;
        let (site, place) = (MemoryStorage::default(), "site.example".parse().unwrap());
        let installed = install(
            &package.clone().into(),
            Arc::new(site.clone()),
            &place,
            &CopyOptions::default(),
        )
        .await;
        installed.unwrap_err().to_string()
    };
    let nested = tar(&[file("p/all.tar", &tar(&[file("a.tar", &docker(1).tar())]))]);
    for (what, bytes, expected) in [
        ("a directory", tar(&below("lay", &layout(1))), "contains an image in its directory `lay`"),
        ("an archive in an archive", nested, "p/all.tar: it contains an image archive, `a.tar`"),
        ("an empty layout", tar(&[file("manifest.json", b"[]")]), "but contains no image"),
        ("files", tar(&[file("a.yaml", b"a: b\n")]), "is not a bundle: it contains no image"),
    ] {
        let told = refused(&bytes).await;
        assert!(told.contains(expected), "{what}: {told}");
    }
    let document = file("compass-v2.7.0/bundle.json", b"{}");
    let product = [vec![document], below("compass-v2.7.0/images", &layout(1))].concat();
    let told = refused(&tar(&product)).await;
    assert!(told.contains("take the bundle as it was published"), "{told}");
}
