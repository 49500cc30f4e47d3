//! Upload sessions: nonstandard locations and responses.

use crate::world::{Asked, Quirky, copy, name, says, status_of, store, with_header};

#[tokio::test]
async fn location_may_be_relative_or_absolute() {
    for form in ["absolute", "relative", "query", "other scheme"] {
        let destination = Quirky::changed(move |asked, response| {
            let host = asked.headers["host"].to_str().unwrap().to_owned();
            let location = response.headers().get("location").cloned();
            let Some(location) = location.filter(|_| asked.is("POST", "/uploads/")) else {
                return response;
            };
            let location = location.to_str().unwrap().to_owned();
            let location = match form {
                "absolute" => format!("http://{host}{location}"),
                "other scheme" => format!("https://{host}{location}"),
                "relative" => location.rsplit('/').next().unwrap().to_owned(),
                _ => format!("{location}?_state=a%2Fb%3D&x=y"),
            };
            with_header(response, "location", &location)
        })
        .await;
        let source = Quirky::plain().await;
        store(&source).await;
        let copied = copy(source.client(), &destination).await;
        copied.unwrap_or_else(|error| panic!("{form}: {error:?}"));
    }
}

#[tokio::test]
async fn chunk_response_without_location_keeps_url() {
    let destination = Quirky::changed(|asked, response| match asked.method.as_str() {
        "PATCH" => with_header(response, "location", ""),
        _ => response,
    })
    .await;
    let trials = destination.client().diagnose(None, Some(&name())).await;
    let chunked = trials.iter().find(|trial| trial.name == "chunked-upload").unwrap();
    assert_eq!(chunked.passed, Some(true), "{chunked:?}");
}

#[tokio::test]
async fn upload_without_location_is_error() {
    let destination =
        Quirky::new(|asked| asked.is("POST", "/uploads/").then(|| status_of(202, ""))).await;
    let source = Quirky::plain().await;
    store(&source).await;
    let error = copy(source.client(), &destination).await.unwrap_err();
    assert!(format!("{error:?}").contains("it has no `Location`"), "{error:?}");
}

/// Whether a request is a monolithic upload.
fn is_monolithic(asked: &Asked) -> bool {
    asked.is("PUT", "/uploads/") && !asked.body.is_empty()
}

#[tokio::test]
async fn rejected_monolithic_upload_is_chunked() {
    for status in [400, 405, 411, 415, 416, 422, 501] {
        let destination = Quirky::new(move |asked| {
            is_monolithic(asked).then(|| says(status, "UNSUPPORTED", "no monolithic upload"))
        })
        .await;
        let source = Quirky::plain().await;
        store(&source).await;
        let copied = copy(source.client(), &destination).await;
        copied.unwrap_or_else(|error| panic!("{status}: {error:?}"));
    }
}

#[tokio::test]
async fn rejected_uploads_show_first_message() {
    for (status, other) in [(400, 405), (422, 400), (405, 404)] {
        let destination = Quirky::new(move |asked| match asked.method.as_str() {
            "PUT" => Some(says(status, "BLOB_UPLOAD_INVALID", "the project is frozen")),
            "PATCH" => Some(status_of(other, "")),
            _ => None,
        })
        .await;
        let source = Quirky::plain().await;
        store(&source).await;
        let error = copy(source.client(), &destination).await.unwrap_err();
        assert!(format!("{error:?}").contains("the project is frozen"), "{status}: {error:?}");
    }
}

#[tokio::test]
async fn rejected_blob_that_exists_is_accepted() {
    let destination = Quirky::changed(|asked, response| match is_monolithic(asked) {
        true => says(400, "BLOB_UPLOAD_INVALID", "it exists"),
        false => response,
    })
    .await;
    let source = Quirky::plain().await;
    store(&source).await;
    copy(source.client(), &destination).await.unwrap();
    assert_eq!(destination.count("PATCH", "/uploads/"), 0);
}
