//! Writing: statuses, redirects, mounts, and manifests with missing blobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use compass_registry::storage::Storage;
use compass_registry::{Destination, Error, Repository};

use crate::world::{
    Asked, Quirky, by_tag, copy, image_ref, name, says, status_of, store, tag, with_header,
};

fn with_status(mut response: axum::response::Response, status: u16) -> axum::response::Response {
    if response.status().is_success() {
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
    }
    response
}

#[tokio::test]
async fn any_success_status_is_accepted() {
    for status in [200, 201, 202, 204] {
        for with_digest in [true, false] {
            let destination = Quirky::changed(move |asked, response| {
                if asked.method != "PUT" {
                    return response;
                }
                let response = with_status(response, status);
                if with_digest {
                    response
                } else {
                    with_header(response, "docker-content-digest", "")
                }
            })
            .await;
            let source = Quirky::plain().await;
            store(&source).await;
            let copied = copy(source.client(), &destination).await;
            copied.unwrap_or_else(|error| panic!("{status}: {error:?}"));
        }
    }
}

#[tokio::test]
async fn success_without_content_is_error() {
    for (path, status) in [("/uploads/", 201), ("/uploads/", 204), ("/manifests/", 202)] {
        let destination =
            Quirky::new(move |asked| asked.is("PUT", path).then(|| status_of(status, ""))).await;
        let source = Quirky::plain().await;
        store(&source).await;
        let error = copy(source.client(), &destination).await.unwrap_err();
        let said = format!("{error:?}");
        assert!(said.contains("does not have it"), "{path} {status}: {said}");
    }
}

#[tokio::test]
async fn pushed_content_may_appear_late() {
    for (kind, status) in [("/blobs/", 202), ("/manifests/", 202), ("/manifests/", 201)] {
        let destination = Quirky::changed(move |asked, response| {
            let looks = matches!(asked.method.as_str(), "GET" | "HEAD");
            match asked.method.as_str() {
                "PUT" if asked.path.contains(kind) || asked.path.contains("/uploads/") => {
                    with_header(with_status(response, status), "docker-content-digest", "")
                }
                _ if looks && asked.path.contains(kind) && asked.before < 3 => status_of(404, ""),
                _ => response,
            }
        })
        .await;
        let source = Quirky::plain().await;
        let image = store(&source).await;
        let copied = copy(source.client(), &destination).await;
        let copied = copied.unwrap_or_else(|error| panic!("{kind} {status}: {error:?}"));
        assert_eq!(copied.bytes, image.bytes(), "{kind} {status}");
        let uploads = destination.count("PUT", "/uploads/");
        assert_eq!(uploads, image.blobs.len(), "{kind} {status}: nothing is sent twice");
    }
}

#[tokio::test]
async fn manifest_visible_by_tag_is_confirmed() {
    let destination = Quirky::changed(|asked, response| match asked.method.as_str() {
        "PUT" => with_header(response, "docker-content-digest", ""),
        _ if asked.path.contains("/manifests/sha256:") => status_of(404, ""),
        _ => response,
    })
    .await;
    let source = Quirky::plain().await;
    store(&source).await;
    copy(source.client(), &destination).await.unwrap();
}

#[tokio::test]
async fn write_redirect_within_registry_is_followed() {
    for status in [307, 308] {
        for (method, path) in [("POST", "/uploads/"), ("PUT", "/uploads/"), ("PUT", "/manifests/")]
        {
            let redirects = move |asked: &Asked| {
                let hit = asked.is(method, path) && !asked.query.contains("moved");
                let query = if asked.query.is_empty() {
                    "moved=1".to_owned()
                } else {
                    format!("{}&moved=1", asked.query)
                };
                let location = format!("{}?{query}", asked.path);
                hit.then(|| with_header(status_of(status, ""), "location", &location))
            };
            let destination = Quirky::new(redirects).await;
            let source = Quirky::plain().await;
            store(&source).await;
            let copied = copy(source.client(), &destination).await;
            copied.unwrap_or_else(|error| panic!("{status} {method} {path}: {error:?}"));
        }
    }
}

#[tokio::test]
async fn write_redirect_elsewhere_is_error() {
    for (status, location) in [
        (307, "http://127.0.0.1:9/elsewhere"),
        (301, "/v2/other"),
        (302, "https://registry.example/v2/"),
        (307, ""),
    ] {
        let destination = Quirky::new(move |asked| {
            let redirect = with_header(status_of(status, ""), "location", location);
            asked.is("POST", "/uploads/").then_some(redirect)
        })
        .await;
        let source = Quirky::plain().await;
        store(&source).await;
        let error = copy(source.client(), &destination).await.unwrap_err();
        let said = format!("{error:?}");
        assert!(
            said.contains(&format!("status: {status}")) && said.contains("it redirects"),
            "{said}"
        );
    }
    // Endless redirects are an error.
    let destination = Quirky::new(|asked| {
        let again = with_header(status_of(307, ""), "location", &asked.path);
        asked.is("PUT", "/uploads/").then_some(again)
    })
    .await;
    let source = Quirky::plain().await;
    store(&source).await;
    let error = copy(source.client(), &destination).await.unwrap_err();
    assert!(format!("{error:?}").contains("redirects in a row"), "{error:?}");
}

#[tokio::test]
async fn failed_mount_becomes_upload() {
    for (status, location) in [
        (202, ""),
        (200, ""),
        (400, ""),
        (401, ""),
        (403, ""),
        (404, ""),
        (405, ""),
        (500, ""),
        (503, ""),
        (307, "/elsewhere"),
    ] {
        let registry = Quirky::new(move |asked| {
            let refused = with_header(status_of(status, ""), "location", location);
            (asked.is("POST", "/uploads/") && asked.query.contains("mount=")).then_some(refused)
        })
        .await;
        let image = store(&registry).await;
        let copied =
            mount_copy(&registry).await.unwrap_or_else(|error| panic!("{status}: {error:?}"));
        assert_eq!((copied.mounted_bytes, copied.bytes), (0, image.bytes()), "{status}");
    }
}

#[tokio::test]
async fn claimed_mount_without_blob_is_uploaded() {
    // The registry claims to have mounted the blobs.
    let registry = Quirky::new(|asked| {
        let claimed = asked.is("POST", "/uploads/") && asked.query.contains("mount=");
        claimed.then(|| status_of(201, ""))
    })
    .await;
    store(&registry).await;
    mount_copy(&registry).await.unwrap();
}

async fn mount_copy(registry: &Quirky) -> Result<compass_registry::CopyReport, Error> {
    let client = Arc::new(registry.client());
    let to: Repository = "other/web".parse().unwrap();
    let destination = Destination::new(to.clone(), tag());
    let copied = compass_registry::copy(client.clone(), &image_ref(), client, &destination).await?;
    assert!(Storage::manifest(&registry.storage, &to, &by_tag()).await.unwrap().is_some());
    Ok(copied)
}

#[tokio::test]
async fn unknown_blob_is_retried() {
    for (status, code) in [(400, "MANIFEST_BLOB_UNKNOWN"), (404, "BLOB_UNKNOWN")] {
        let destination = Quirky::new(move |asked| {
            let late = asked.is("PUT", "/manifests/") && asked.before < 2;
            late.then(|| says(status, code, "blob unknown to registry"))
        })
        .await;
        let source = Quirky::plain().await;
        store(&source).await;
        copy(source.client(), &destination).await.unwrap();
        assert_eq!(destination.count("PUT", "/manifests/"), 3);
    }
}

#[tokio::test]
async fn rejected_manifest_shows_message() {
    for (status, code, message) in [
        (404, "BLOB_UNKNOWN", "blob unknown to registry"),
        (400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"),
        (404, "MANIFEST_UNKNOWN", "project is read only"),
        (412, "PRECONDITION", "the tag is immutable"),
        (403, "DENIED", "not a member"),
        (401, "UNAUTHORIZED", "project team not found"),
    ] {
        let destination = Quirky::new(move |asked| {
            asked.is("PUT", "/manifests/").then(|| says(status, code, message))
        })
        .await;
        let source = Quirky::plain().await;
        store(&source).await;
        let error = copy(source.client(), &destination).await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains(code) && said.contains(message), "{said}");
        assert!(said.contains("PUT /v2/team/web/manifests/v1"), "{said}");
        assert!(
            error.hint().is_none_or(|hint| !hint.to_string().contains("has been pushed")),
            "{error:?}"
        );
        assert!(!error.is_not_found(), "{error:?}");
    }
}

#[tokio::test]
async fn push_missing_project_is_not_retried() {
    let destination = Quirky::new(|asked| {
        asked.is("POST", "").then(|| says(404, "NAME_UNKNOWN", "project team not found"))
    })
    .await;
    let source = Quirky::plain().await;
    let image = store(&source).await;
    let error = copy(source.client(), &destination).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("NAME_UNKNOWN project team not found"), "{cause}");
    assert!(error.hint().unwrap().to_string().contains("must be created"), "{error:?}");
    assert!(destination.count("POST", "/uploads/") <= image.blobs.len());
}

/// Returns two handles of one counter.
fn counter() -> (Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    (Arc::clone(&count), count)
}

#[tokio::test]
async fn briefly_refused_connection_is_retried() {
    use compass_registry::client::{Client, ClientOptions};
    use compass_registry::{ImageSource as _, RetryPolicy};
    use std::time::Duration;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (asked, count) = counter();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let router = axum::Router::new().fallback(move || {
            count.fetch_add(1, Ordering::Relaxed);
            async { says(404, "MANIFEST_UNKNOWN", "no") }
        });
        axum::serve(listener, router).await.unwrap();
    });
    let retry = RetryPolicy::default().connect_retry(Duration::from_secs(20));
    let options = ClientOptions::default().retry(retry);
    let client = Client::new(&address.to_string(), options).unwrap();
    let error = client.manifest(&name(), &by_tag()).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    assert!(asked.load(Ordering::Relaxed) > 0);
}
