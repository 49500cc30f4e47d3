//! Reading: refused or wrong `HEAD` responses, media types, encodings, lists, web pages.

use compass_registry::testing::SampleImage;
use compass_registry::{
    Digest, Error, ImageSink as _, ImageSource as _, ImageSourceExt as _, media_type,
};

use crate::world::{
    Asked, Quirky, by_tag, copy, image_ref, name, says, status_of, store, tag, with_header,
};

#[tokio::test]
async fn manifest_head_refused_falls_back() {
    for status in [400, 403, 405, 500, 501, 505] {
        let odd =
            move |asked: &Asked| asked.is("HEAD", "/manifests/").then(|| status_of(status, ""));
        let source = Quirky::new(odd).await;
        let image = store(&source).await;
        let destination = Quirky::new(odd).await;
        let copied = copy(source.client(), &destination).await.unwrap();
        assert_eq!(copied.digest, image.manifest.digest(), "{status}");
        let again = copy(source.client(), &destination).await.unwrap();
        assert!(again.already_present, "{status}");
        let missing = source.client().resolve(&name(), &"gone".parse().unwrap()).await;
        assert!(missing.unwrap_err().is_not_found(), "{status}");
    }
}

#[tokio::test]
async fn source_head_not_found_is_checked() {
    let source = Quirky::new(|asked| asked.is("HEAD", "").then(|| status_of(404, ""))).await;
    let image = store(&source).await;
    let copied = copy(source.client(), &Quirky::plain().await).await.unwrap();
    assert_eq!(copied.digest, image.manifest.digest());
}

#[tokio::test]
async fn blob_head_refused_falls_back() {
    for status in [400, 405, 501] {
        let destination =
            Quirky::new(move |asked| asked.is("HEAD", "/blobs/").then(|| status_of(status, "")))
                .await;
        let source = Quirky::plain().await;
        let image = store(&source).await;
        destination.storage.add_blob(&name(), image.blobs[1].clone());
        destination.storage.add_blob(&name(), Vec::new());
        let copied = copy(source.client(), &destination).await.unwrap();
        let present = image.blobs[1].len() as u64;
        assert_eq!(
            (copied.present_bytes, copied.bytes),
            (present, image.bytes() - present),
            "{status}"
        );
        let empty = compass_registry::Descriptor::of("x", b"");
        assert!(destination.client().has_blob(&name(), &empty).await.unwrap());
    }
}

#[tokio::test]
async fn blob_head_mismatch_is_ignored() {
    for (header, value) in [
        ("content-length", "10"),
        (
            "docker-content-digest",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
    ] {
        // The registry claims to have every blob.
        let destination = Quirky::new(move |asked| {
            let lies = asked.is("HEAD", "/blobs/") && asked.before == 0;
            lies.then(|| with_header(status_of(200, ""), header, value))
        })
        .await;
        let source = Quirky::plain().await;
        let image = store(&source).await;
        let copied = copy(source.client(), &destination).await.unwrap();
        assert_eq!(copied.bytes, image.bytes(), "{header}");
    }
}

#[tokio::test]
async fn wrong_head_digest_moves_no_tag() {
    let wrong = Digest::of(b"other").to_string();
    let lying = move |asked: &Asked, response| match asked.is("HEAD", "/manifests/") {
        true => with_header(response, "docker-content-digest", &wrong),
        false => response,
    };
    let source = Quirky::changed(lying.clone()).await;
    let image = store(&source).await;
    let destination = Quirky::changed(lying).await;
    for was_there in [false, true] {
        let copied = copy(source.client(), &destination).await.unwrap();
        assert_eq!((copied.already_present, copied.replaced_digest), (was_there, None));
        assert_eq!(copied.digest, image.manifest.digest());
    }
}

#[tokio::test]
async fn head_not_found_moves_no_tag() {
    let blind = |asked: &Asked| asked.is("HEAD", "/manifests/").then(|| status_of(404, ""));
    let destination = Quirky::new(blind).await;
    let existing = SampleImage::new(2, &[100]);
    existing.store(&destination.storage, &name(), &tag()).await.unwrap();
    let source = Quirky::plain().await;
    store(&source).await;
    let error = copy(source.client(), &destination).await.unwrap_err();
    assert!(matches!(error, Error::TagExists { .. }), "{error:?}");
}

#[tokio::test]
async fn head_404_after_success_is_trusted() {
    let registry = Quirky::plain().await;
    store(&registry).await;
    let client = registry.client();
    let gone = "gone".parse().unwrap();
    assert_eq!(client.manifest_digest(&name(), &gone).await.unwrap(), None);
    assert_eq!(registry.count("GET", "/manifests/"), 1);
    client.manifest_digest(&name(), &by_tag()).await.unwrap().unwrap();
    assert_eq!(client.manifest_digest(&name(), &gone).await.unwrap(), None);
    assert_eq!(registry.count("GET", "/manifests/"), 1);
}

#[tokio::test]
async fn other_digest_algorithm_is_recomputed() {
    let sha512 = format!("sha512:{}", "0".repeat(128));
    for value in ["", "nonsense", "md5:00", &sha512] {
        let value = value.to_owned();
        let odd = move |asked: &Asked, response| match asked.method.as_str() {
            "HEAD" | "PUT" => with_header(response, "docker-content-digest", &value),
            _ => response,
        };
        let source = Quirky::changed(odd.clone()).await;
        let image = store(&source).await;
        let tagged = source.client().manifest_digest(&name(), &by_tag()).await.unwrap();
        assert_eq!(tagged, Some(image.manifest.digest()));
        let by_digest = image.manifest.digest().into();
        let found = source.client().manifest_digest(&name(), &by_digest).await.unwrap();
        assert_eq!(found, Some(image.manifest.digest()));
    }
}

#[tokio::test]
async fn wrong_manifest_digest_header_is_rejected() {
    let wrong = Digest::of(b"other").to_string();
    let source = Quirky::changed(move |asked, response| match asked.method.as_str() {
        "GET" => with_header(response, "docker-content-digest", &wrong),
        _ => response,
    })
    .await;
    let digest = store(&source).await.manifest.digest();
    let error = source.client().manifest(&name(), &by_tag()).await.unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    // A requested digest is compared with the content; the header is ignored.
    let read = source.client().verified_manifest(&name(), &digest.into()).await.unwrap();
    assert_eq!(read.digest(), digest);
}

#[tokio::test]
async fn truncated_manifest_is_retried() {
    let cut_off = r#"{"schemaVersion": 2, "config"#;
    let source = Quirky::new(move |asked| {
        (asked.is("GET", "/manifests/") && asked.before == 0).then(|| status_of(200, cut_off))
    })
    .await;
    store(&source).await;
    assert!(source.client().manifest(&name(), &by_tag()).await.is_ok());
}

#[tokio::test]
async fn manifest_content_type_may_be_wrong() {
    for kind in [
        "application/octet-stream",
        "",
        "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
        "APPLICATION/VND.OCI.IMAGE.MANIFEST.V1+JSON",
        "text/plain; charset=utf-8",
        "application/json",
        media_type::DOCKER_MANIFEST,
        media_type::OCI_INDEX,
    ] {
        let source =
            Quirky::changed(move |_, response| with_header(response, "content-type", kind));
        let source = source.await;
        let image = store(&source).await;
        let destination = Quirky::plain().await;
        copy(source.client(), &destination).await.unwrap();
        let stored = destination.client().manifest(&name(), &by_tag()).await.unwrap();
        assert_eq!(stored, image.manifest, "{kind}");
    }
}

#[tokio::test]
async fn compressed_answer_is_named() {
    for (part, path) in [("manifest", "/manifests/"), ("blob", "/blobs/")] {
        let source = Quirky::new(move |asked| {
            let compressed = with_header(status_of(200, vec![0x1f, 0x8b, 8, 0]), "x", "y");
            let compressed = with_header(compressed, "content-encoding", "gzip");
            asked.is("GET", path).then_some(compressed)
        })
        .await;
        store(&source).await;
        let error = copy(source.client(), &Quirky::plain().await).await.unwrap_err();
        let mut said = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            said += &cause.to_string();
        }
        assert!(said.contains("Content-Encoding: gzip"), "{part}: {said}");
    }
}

#[tokio::test]
async fn pull_wrong_encoding_header_is_ignored() {
    // Some object storages set this header for gzipped layers, and send them unchanged.
    let image = store(&Quirky::plain().await).await;
    let sizes: Vec<_> = image.blobs.iter().map(|blob| (Digest::of(blob), blob.len())).collect();
    let labelled = Quirky::changed(move |asked, response| {
        let Some((_, digest)) = asked.path.split_once("/blobs/") else { return response };
        let size = sizes.iter().find(|(own, _)| own.to_string() == digest).map(|(_, size)| size);
        match (asked.method.as_str(), size) {
            ("GET", Some(size)) => {
                let response = with_header(response, "content-encoding", "gzip");
                with_header(response, "content-length", &size.to_string())
            }
            _ => response,
        }
    })
    .await;
    store(&labelled).await;
    copy(labelled.client(), &Quirky::plain().await).await.unwrap();
    let identity =
        Quirky::changed(|_, response| with_header(response, "content-encoding", "identity")).await;
    store(&identity).await;
    copy(identity.client(), &Quirky::plain().await).await.unwrap();
}

#[tokio::test]
async fn non_manifest_response_is_shown() {
    for (body, about) in [
        ("<html><body>Sign in</body></html>", "Sign in"),
        ("", "the response is empty"),
        ("{}", "not a manifest"),
    ] {
        let source =
            Quirky::new(move |asked| asked.is("GET", "/manifests/").then(|| status_of(200, body)));
        let error = source.await.client().manifest(&name(), &by_tag()).await.unwrap_err();
        assert!(error.to_string().contains(about), "{body:?}: {error}");
    }
}

#[tokio::test]
async fn signature_in_error_is_redacted() {
    let storage = Quirky::new(|_| {
        let body =
            "<Error>SignatureDoesNotMatch<SignatureProvided>c0ffeec0ffee</SignatureProvided>";
        Some(status_of(403, body))
    })
    .await;
    let location = format!("http://{}/blob?X-Amz-Signature=c0ffeec0ffee&v=1", storage.host);
    let source = Quirky::new(move |asked| {
        let redirect = || with_header(status_of(307, ""), "location", &location);
        asked.is("GET", "/blobs/").then(redirect)
    })
    .await;
    store(&source).await;
    let error = copy(source.client(), &Quirky::plain().await).await.unwrap_err();
    let said = format!("{error:?}");
    assert!(said.contains("SignatureDoesNotMatch") && !said.contains("c0ffee"), "{said}");
}

#[tokio::test]
async fn encoded_error_names_encoding() {
    let source = Quirky::new(|_| {
        let answer = status_of(400, vec![0x1f, 0x8b, 8, 0, 0xff]);
        Some(with_header(answer, "content-encoding", "gzip"))
    })
    .await;
    let error = source.client().manifest(&name(), &by_tag()).await.unwrap_err();
    assert!(error.to_string().ends_with("has `Content-Encoding: gzip`"), "{error}");
}

#[tokio::test]
async fn any_error_body_is_shown() {
    for (status, body) in [
        (400, "plain words"),
        (404, "<html>\n<h1>nothing here</h1></html>"),
        (403, r#"{"errors":[{"message":"blocked by policy"}]}"#),
        (429, "slow down"),
        (451, r#"{"message":"gone for good"}"#),
        (502, "bad\u{1b}[31m gateway"),
    ] {
        let source = Quirky::new(move |_| Some(status_of(status, body))).await;
        let error = source.client().manifest(&name(), &by_tag()).await.unwrap_err().to_string();
        let words = ["plain", "nothing here", "blocked by policy", "slow", "gone", "gateway"];
        assert!(words.iter().any(|words| error.contains(words)), "{error}");
        assert!(error.contains("GET /v2/team/web/manifests/v1"), "{error}");
        assert!(error.contains(&status.to_string()) && !error.contains('\u{1b}'), "{error}");
    }
}

#[tokio::test]
async fn tags_of_nonstandard_pages_are_listed() {
    for link in [
        r#"</v2/team/web/tags/list?n=1&last=a>; rel="next""#,
        r#"<http://backend.internal/v2/team/web/tags/list?n=1&last=a>; rel="next""#,
        r#"</v2/x>; rel="self", <?n=1&last=a>; REL=next"#,
    ] {
        let source = Quirky::new(move |asked| {
            if !asked.is("GET", "/tags/list") {
                return None;
            }
            let first = !asked.query.contains("last=");
            let tags = if first { r#"{"tags":["a"]}"# } else { r#"{"tags":["b"]}"# };
            let response = status_of(200, tags);
            Some(if first { with_header(response, "link", link) } else { response })
        })
        .await;
        let tags = source.client().tags(&name()).await.unwrap();
        let tags: Vec<_> = tags.iter().map(compass_registry::Tag::as_str).collect();
        assert_eq!(tags, ["a", "b"], "{link}");
    }
    let source = Quirky::new(|asked| {
        asked.is("GET", "/tags/list").then(|| status_of(200, r#"{"name":"x","tags":null}"#))
    });
    assert_eq!(source.await.client().tags(&name()).await.unwrap(), []);
}

#[tokio::test]
async fn web_page_is_not_a_registry() {
    let html = |body: &'static str| {
        with_header(status_of(200, body), "content-type", "text/html; charset=utf-8")
    };
    for (is_registry, answer) in [
        (true, status_of(200, "{}")),
        (true, status_of(200, "")),
        (true, status_of(200, "{ }\n")),
        (true, status_of(200, "true")),
        (
            true,
            with_header(status_of(200, "hi"), "docker-distribution-api-version", "registry/2.0"),
        ),
        (false, status_of(200, r#"{"status":"ok"}"#)),
        (false, html("{}")),
        (false, html("<html>hello</html>")),
        (false, status_of(200, "<!doctype html><html>")),
        (false, status_of(200, "it works")),
        (false, status_of(404, "<html>404</html>")),
        (false, says(503, "UNAVAILABLE", "down")),
    ] {
        let answer = std::sync::Arc::new(std::sync::Mutex::new(Some(answer)));
        let registry = Quirky::new(move |asked| {
            let answer = answer.lock().unwrap().take();
            answer.or_else(|| asked.is("GET", "/v2/").then(|| status_of(503, "again")))
        });
        let registry = registry.await;
        let pinged = registry.client().ping().await;
        assert_eq!(pinged.is_ok(), is_registry, "{pinged:?}");
        if let Err(error) = pinged {
            assert!(
                error.hint().is_none_or(|hint| !hint.to_string().contains("has been pushed")),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn copy_build_cache_includes_blobs() {
    use std::sync::Arc;

    use compass_registry::storage::Storage;
    use compass_registry::{Descriptor, Destination, RawManifest};

    let source = Quirky::plain().await;
    let (layer, config) = (vec![7; 4000], br#"{"layers":[],"records":[]}"#.to_vec());
    for blob in [&layer, &config] {
        source.storage.add_blob(&name(), blob.clone());
    }
    let entries = [
        Descriptor::of(media_type::OCI_LAYER_GZIP, &layer),
        Descriptor::of("application/vnd.buildkit.cacheconfig.v0", &config),
    ];
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries,
    });
    let index = RawManifest::new(media_type::OCI_INDEX, index.to_string());
    Storage::put_manifest(&source.storage, &name(), &index, Some(&tag())).await.unwrap();
    let destination = Quirky::plain().await;
    let (from, sink) = (Arc::new(source.client()), Arc::new(destination.client()));
    let to = Destination::new(name(), tag());
    compass_registry::copy(from, &image_ref(), sink, &to).await.unwrap();
    for entry in &entries {
        destination.storage.read(&name(), entry).await.unwrap();
    }
}
