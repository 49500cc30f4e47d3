//! Tests what a registry supports.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{Method, Version};
use serde_json::json;

use super::transport::{RootResponse, Transport, is_ok};
use super::{catalog, delete, mount, pull, push, referrers, tags, upload};
use crate::referrer::fallback_tag;
use crate::{
    Descriptor, Digest, Error, Hint, RawManifest, Repository, Tag, TagOrDigest, VerifiedBlob,
    media_type,
};

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// The name of the check, such as `ranges`.
    pub name: &'static str,
    /// Whether the check passed; `None` if it was skipped.
    pub passed: Option<bool>,
    /// Details to show to the user.
    pub detail: String,
    /// What the user can do if the check failed or was skipped.
    pub help: Option<Hint>,
}

/// The size of the test blobs in bytes; enough for several chunks.
const BLOB: usize = 3 << 20;

/// The chunk size of the chunked upload in bytes.
const CHUNK: u64 = 1 << 20;

/// The checks that write.
const WRITES: [&str; 7] =
    ["upload", "chunked-upload", "ranges", "mount", "push", "referrers", "delete"];

/// The tag of the test image.
const TAG: &str = "compass-doctor";

/// Runs the checks and collects their results.
struct Doctor<'d> {
    transport: &'d Transport,
    checks: Vec<Check>,
}

pub(super) async fn diagnose(
    transport: &Transport,
    project: Option<&Repository>,
    scratch: Option<&Repository>,
) -> Vec<Check> {
    if let Some(project) = project {
        transport.set_default_project(project);
    }
    let mut doctor = Doctor { transport, checks: Vec::new() };
    if doctor.check_root(project.or(scratch)).await {
        if let Some(project) = project {
            doctor.check_project(project).await;
        }
        doctor.check_catalog().await;
        match scratch {
            Some(scratch) => doctor.check_writes(scratch).await,
            None => doctor.skip_writes(),
        }
    }
    doctor.checks
}

impl Doctor<'_> {
    fn add(&mut self, name: &'static str, passed: Option<bool>, detail: impl Into<String>) {
        self.checks.push(Check { name, passed, detail: detail.into(), help: None });
    }

    fn fail(&mut self, name: &'static str, error: &Error) {
        let detail = error_chain(error);
        self.checks.push(Check { name, passed: Some(false), detail, help: error.hint() });
    }

    /// Records the result of a check, and returns whether it passed.
    fn record<T>(&mut self, name: &'static str, result: &Result<T, Error>, detail: &str) -> bool {
        match result {
            Ok(_) => self.add(name, Some(true), detail),
            Err(error) => self.fail(name, error),
        }
        result.is_ok()
    }

    /// Checks the connection and the login, and returns whether other checks can run.
    async fn check_root(&mut self, repository: Option<&Repository>) -> bool {
        let began = Instant::now();
        let root = match self.transport.ping().await {
            Ok(root) => root,
            Err(error) => {
                let is_login = matches!(error, Error::Unauthorized { .. });
                self.fail(if is_login { "login" } else { "reachable" }, &error);
                return false;
            }
        };
        let millis = began.elapsed().as_millis();
        self.add("reachable", Some(true), format!("answers in {millis} ms"));
        match self.transport.describe_login(repository).await {
            Ok(login) => self.add("login", Some(true), login),
            Err(error) => self.fail("login", &error),
        }
        match root.version {
            Version::HTTP_2 => self.add("http-2", Some(true), "many requests share a connection"),
            _ if self.transport.uses_plain_http() => self.add("http-2", None, "needs TLS"),
            other => self.add("http-2", Some(false), format!("the registry uses {other:?}")),
        }
        self.add("limits", Some(true), limits(&root));
        true
    }

    /// Lists the tags of a project or repository. Most projects are not repositories, so 404 is not
    /// a failure.
    async fn check_project(&mut self, project: &Repository) {
        match tags::list_tags(self.transport, project).await {
            Ok(tags) => {
                self.add("project", Some(true), format!("a repository of {} tags", tags.len()))
            }
            Err(error) if error.is_not_found() => {
                let reason = error_chain(&error);
                let detail = format!("no repository of that name is visible: {reason}");
                self.add("project", None, detail);
            }
            Err(error) => self.fail("project", &error),
        }
    }

    /// Checks the catalog. Many registries disable it, and no command needs it.
    async fn check_catalog(&mut self) {
        match catalog::list_repositories(self.transport).await {
            Ok(repositories) => {
                let detail = format!("{} repositories", repositories.len());
                self.add("catalogue", Some(true), detail);
            }
            Err(error) => self.checks.push(Check {
                name: "catalogue",
                passed: Some(false),
                detail: error_chain(&error),
                help: Some(Hint::Text("no command needs it")),
            }),
        }
    }

    fn skip_writes(&mut self) {
        self.checks.extend(WRITES.map(|name| Check {
            name,
            passed: None,
            detail: "needs a writable repository".to_owned(),
            help: Some(Hint::ScratchRepository),
        }));
    }

    /// Runs the checks that write, in the scratch repository and one below it.
    async fn check_writes(&mut self, scratch: &Repository) {
        let (whole, chunked) = (random_bytes(BLOB), random_bytes(BLOB));
        let sent = upload::put_blob(self.transport, scratch, verified_blob(&whole)).await;
        if !self.record("upload", &sent, "in one stream") {
            return;
        }
        let blob = verified_blob(&chunked);
        let sent = upload::put_in_chunks(self.transport, scratch, blob, CHUNK).await;
        self.record("chunked-upload", &sent, "broken uploads resume where they broke");
        self.check_ranges(scratch, &whole).await;
        self.check_mount(scratch, &whole).await;
        self.check_image(scratch, &whole).await;
        for blob in [&whole, &chunked] {
            self.delete_blob(scratch, blob).await;
        }
    }

    /// Deletes a blob. Ignores errors: the garbage collection of the registry removes the blob.
    async fn delete_blob(&self, repository: &Repository, blob: &[u8]) {
        let rest = format!("blobs/{}", descriptor_of(blob).digest);
        let _ = delete::delete(self.transport, repository, &rest).await;
    }

    async fn check_ranges(&mut self, scratch: &Repository, blob: &Bytes) {
        let part = 1000..2000;
        let read = async {
            let range = part.start as u64..part.end as u64;
            let bytes = pull::blob(self.transport, scratch, &descriptor_of(blob), range).await?;
            bytes.take(64).try_collect::<Vec<_>>().await
        };
        match read.await {
            Ok(_) if self.transport.range_options().is_none() => {
                let detail = "the registry ignores ranges: blobs are read in one stream";
                self.add("ranges", Some(false), detail);
            }
            Ok(chunks) if chunks.concat().get(..1000) == blob.get(part) => {
                self.add("ranges", Some(true), "large blobs are read in several ranges at once");
            }
            Ok(_) => {
                self.add("ranges", Some(false), "the registry sends other bytes than requested")
            }
            Err(error) => self.add("ranges", Some(false), error_chain(&error)),
        }
    }

    async fn check_mount(&mut self, scratch: &Repository, blob: &Bytes) {
        let mounted = async {
            let below: Repository = format!("{scratch}/mounted").parse()?;
            let descriptor = descriptor_of(blob);
            let done = mount::mount_blob(self.transport, scratch, &below, &descriptor).await?;
            if done {
                self.delete_blob(&below, blob).await;
            }
            Ok::<_, Error>(done)
        };
        let (passed, detail) = match mounted.await {
            Ok(true) => (true, "blobs of other repositories are not uploaded again".to_owned()),
            Ok(false) => (false, "the registry does not mount: every blob is uploaded".to_owned()),
            Err(error) => (false, error_chain(&error)),
        };
        self.add("mount", Some(passed), detail);
    }

    /// Pushes, lists and deletes a small image and a manifest that refers to it.
    async fn check_image(&mut self, scratch: &Repository, config: &Bytes) {
        let transport = self.transport;
        let image = manifest(config, None);
        let signature = manifest(config, Some(&image));
        let pushed = async {
            let tag: Tag = TAG.parse()?;
            push::put_manifest(transport, scratch, &image, Some(&tag)).await?;
            push::put_manifest(transport, scratch, &signature, None).await?;
            pull::manifest(transport, scratch, &tag.into()).await
        };
        if !self.record("push", &pushed.await, "an image with a tag") {
            return;
        }
        let subject = image.digest();
        self.check_referrers(scratch, &subject).await;
        let removed = async {
            for manifest in [&signature, &image] {
                let reference = TagOrDigest::Digest(manifest.digest());
                delete::delete(transport, scratch, &format!("manifests/{reference}")).await?;
            }
            // Without the referrers API, the list of referrers is a separate manifest.
            let list = TagOrDigest::Tag(fallback_tag(&subject)?);
            if let Some(list) = pull::manifest_digest(transport, scratch, &list).await? {
                delete::delete(transport, scratch, &format!("manifests/{list}")).await?;
            }
            Ok(())
        };
        if !self.record("delete", &removed.await, "manifests and their tags")
            && let Some(check) = self.checks.last_mut()
        {
            check.help = Some(Hint::Text(
                "the test content stays in the scratch repository: delete it manually",
            ));
        }
    }

    async fn check_referrers(&mut self, scratch: &Repository, subject: &Digest) {
        let asked = format!("referrers/{subject}");
        let request = self.transport.request(Method::GET, scratch, &asked, "pull");
        match self.transport.send(&request, is_ok).await {
            Ok(_) => self.add("referrers", Some(true), "by the registry itself"),
            Err(error) if error.is_not_found() => {
                let found = referrers::list_referrers(self.transport, scratch, subject, None).await;
                let detail = match found {
                    Ok(found) if !found.is_empty() => "by a tag, for registries without the API",
                    _ => "neither by the API nor by a tag",
                };
                self.add("referrers", Some(false), detail);
            }
            Err(error) => self.add("referrers", Some(false), error_chain(&error)),
        }
    }
}

/// Formats an error with its causes in one line.
fn error_chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn limits(root: &RootResponse) -> String {
    let names = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];
    let value = |name| root.headers.get(name)?.to_str().ok();
    let stated = names.into_iter().filter_map(|name| Some(format!("{name} {}", value(name)?)));
    let stated: Vec<_> = stated.collect();
    if stated.is_empty() { "none announced".to_owned() } else { stated.join(", ") }
}

fn manifest(config: &[u8], subject: Option<&RawManifest>) -> RawManifest {
    let mut value = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "artifactType": "application/vnd.compass.doctor",
        "config": descriptor_of(config), "layers": [],
    });
    if let Some(subject) = subject {
        value["subject"] = json!(subject.descriptor());
    }
    RawManifest::new(media_type::OCI_MANIFEST, value.to_string())
}

fn descriptor_of(bytes: &[u8]) -> Descriptor {
    Descriptor::of("application/octet-stream", bytes)
}

fn verified_blob(bytes: &Bytes) -> VerifiedBlob {
    let content = stream::iter([Ok(bytes.clone())]).boxed();
    VerifiedBlob::new("the test blob".to_owned(), descriptor_of(bytes), content)
}

/// Returns random bytes, so that no registry has the blob yet.
fn random_bytes(length: usize) -> Bytes {
    let state = RandomState::new();
    let numbers = (0..).flat_map(|n: u64| state.hash_one(n).to_le_bytes());
    numbers.take(length).collect()
}
