//! Tests which operations a bucket supports.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use bytes::Bytes;

use super::address::ObjectAddress;
use super::client::{Client, Content, Copy, PartId, RequestError};

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCheck {
    /// The name of the check, such as `immutable`.
    pub name: &'static str,
    /// Whether the check passed.
    pub passed: bool,
    /// Details to show to the user.
    pub detail: String,
    /// Whether publishing fails or is unsafe if the check fails.
    pub is_required: bool,
}

/// The content of the test objects.
const CONTENT: &[u8] = b"a test of `compass doctor`; it can be deleted\n";

/// The tests of one bucket, with the keys of their objects.
struct Diagnosis<'d> {
    client: &'d Client,
    checks: Vec<StoreCheck>,
    /// An object that the tests write.
    key: String,
    /// The key of an upload that is never completed.
    unfinished: String,
}

/// Tests which operations a bucket supports. Writes objects below the address, and deletes them.
pub(super) async fn diagnose(client: &Client, address: &ObjectAddress) -> Vec<StoreCheck> {
    let random = RandomState::new().build_hasher().finish();
    let key = address.join(&format!(".compass-doctor/{random:016x}")).key;
    let unfinished = format!("{key}-parts");
    let mut diagnosis = Diagnosis { client, checks: Vec::new(), key, unfinished };
    diagnosis.run().await;
    diagnosis.checks
}

impl Diagnosis<'_> {
    async fn run(&mut self) {
        let listed = self.client.list_objects(&self.key).await;
        let is_listed = self.add("list", true, listed.map(|_| "objects can be listed".to_owned()));
        let content = Content::of(Bytes::from_static(CONTENT));
        let written = self.client.put(&self.key, content.clone(), false).await;
        let written = written.map(|()| "objects can be written".to_owned());
        if !self.add("write", true, written) {
            return;
        }
        let read =
            self.client.get(&self.key, 2..10).await.map(|read| match read == CONTENT[2..10] {
                true => Ok("objects are read by range".to_owned()),
                false => Err("a range of an object has other bytes".to_owned()),
            });
        self.add_result("ranges", true, read);
        let again = self.client.put(&self.key, content, true).await;
        self.add_result("immutable", true, refused(again, "a write"));
        self.check_uploads(is_listed).await;
        let deleted = self.client.delete(&self.key).await;
        let key = &self.key;
        let deleted = deleted
            .map(|()| "objects can be deleted".to_owned())
            .map_err(|error| format!("{}; the object {key} is left", describe(&error)));
        self.push("delete", false, deleted);
    }

    /// Tests uploads in parts: one that is aborted, and one to a key that exists.
    async fn check_uploads(&mut self, can_list: bool) {
        let Some(upload) = self.begin("parts", &self.unfinished.clone()).await else { return };
        if can_list {
            let key = self.unfinished.clone();
            let resumable = self.find_unfinished(&key, &upload).await;
            self.add_result("resume", true, resumable);
        }
        let source = Copy { key: self.key.clone(), range: 0..CONTENT.len() as u64 };
        let id = PartId { upload: &upload, number: 2 };
        let copied = self.client.upload_part_copy(&self.unfinished, id, &source).await;
        self.add("copy", false, copied.map(|_| "ranges are copied inside the storage".to_owned()));
        let aborted = self.client.abort(&self.unfinished, &upload).await;
        self.add("abort", true, aborted.map(|()| "uploads can be aborted".to_owned()));

        let key = self.key.clone();
        let Ok(upload) = self.client.initiate(&key).await else { return };
        if let Ok(part) = self.send_part(&key, &upload).await {
            let completed = self.client.complete(&key, &upload, &[part]).await;
            self.add_result("immutable-parts", true, refused(completed, "an upload"));
        }
        // A completed upload is gone.
        let _ = self.client.abort(&key, &upload).await;
    }

    /// Starts an upload and sends its first part.
    async fn begin(&mut self, name: &'static str, key: &str) -> Option<String> {
        let upload = match self.client.initiate(key).await {
            Ok(upload) => upload,
            Err(error) => {
                self.add(name, true, Err(error));
                return None;
            }
        };
        let sent = self.send_part(key, &upload).await;
        self.add(name, true, sent.map(|_| "objects are uploaded in parts".to_owned()));
        Some(upload)
    }

    async fn send_part(
        &self,
        key: &str,
        upload: &str,
    ) -> Result<super::client::CompletedPart, RequestError> {
        let content = Content::of(Bytes::from_static(CONTENT));
        self.client.upload_part(key, PartId { upload, number: 1 }, content).await
    }

    /// Looks for an unfinished upload and its part, as a run that resumes it does.
    async fn find_unfinished(
        &self,
        key: &str,
        upload: &str,
    ) -> Result<Result<String, String>, RequestError> {
        let uploads = self.client.list_uploads(key).await?;
        if !uploads.iter().any(|one| one.upload_id == upload) {
            return Ok(Err("unfinished uploads are not listed".to_owned()));
        }
        let parts = self.client.list_parts(key, upload).await?;
        Ok(match parts.iter().any(|part| part.part_number == 1) {
            true => Ok("interrupted uploads can be resumed".to_owned()),
            false => Err("the parts of unfinished uploads are not listed".to_owned()),
        })
    }

    /// Adds a check that fails with a request. Returns whether it passed.
    fn add(
        &mut self,
        name: &'static str,
        is_required: bool,
        result: Result<String, RequestError>,
    ) -> bool {
        self.push(name, is_required, result.map_err(|error| describe(&error)))
    }

    /// Adds a check that fails with a request or with its answer.
    fn add_result(
        &mut self,
        name: &'static str,
        is_required: bool,
        result: Result<Result<String, String>, RequestError>,
    ) -> bool {
        self.push(name, is_required, result.map_err(|error| describe(&error)).flatten())
    }

    fn push(
        &mut self,
        name: &'static str,
        is_required: bool,
        result: Result<String, String>,
    ) -> bool {
        let passed = result.is_ok();
        let (Ok(detail) | Err(detail)) = result;
        self.checks.push(StoreCheck { name, passed, detail, is_required });
        passed
    }
}

/// Requires that a conditional request to an existing key was refused.
fn refused<T>(
    result: Result<T, RequestError>,
    what: &str,
) -> Result<Result<String, String>, RequestError> {
    match result {
        Ok(_) => Ok(Err(format!(
            "{what} replaced an existing object: the storage ignores the condition; if the bucket has \
             versioning, use another one"
        ))),
        Err(error) if error.is_existing() => Ok(Ok(format!("{what} cannot replace an object"))),
        Err(error) => Err(error),
    }
}

fn describe(error: &RequestError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        text = format!("{text}: {one}");
        cause = one.source();
    }
    text
}
