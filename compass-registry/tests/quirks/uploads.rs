//! Upload sessions: odd addresses and odd answers.

use crate::world::{Quirky, copy, name, status_of, store, with_header};

#[tokio::test]
async fn location_may_be_relative_or_absolute() {
    for form in ["absolute", "relative", "query"] {
        let destination = Quirky::changed(move |asked, response| {
            let host = asked.headers["host"].to_str().unwrap().to_owned();
            let location = response.headers().get("location").cloned();
            let Some(location) = location.filter(|_| asked.is("POST", "/uploads/")) else {
                return response;
            };
            let location = location.to_str().unwrap().to_owned();
            let location = match form {
                "absolute" => format!("http://{host}{location}"),
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
async fn chunk_answer_without_location_keeps_address() {
    let destination = Quirky::changed(|asked, response| match asked.method.as_str() {
        "PATCH" => with_header(response, "location", ""),
        _ => response,
    })
    .await;
    let trials = destination.client().examine(None, Some(&name())).await;
    let chunked = trials.iter().find(|trial| trial.name == "chunked-upload").unwrap();
    assert_eq!(chunked.works, Some(true), "{chunked:?}");
}

#[tokio::test]
async fn upload_without_location_says_so() {
    let destination =
        Quirky::new(|asked| asked.is("POST", "/uploads/").then(|| status_of(202, ""))).await;
    let source = Quirky::plain().await;
    store(&source).await;
    let error = copy(source.client(), &destination).await.unwrap_err();
    assert!(format!("{error:?}").contains("it has no `Location`"), "{error:?}");
}
