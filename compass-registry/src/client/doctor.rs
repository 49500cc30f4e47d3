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
    Descriptor, Error, Hint, RawManifest, Repository, Tag, TagOrDigest, VerifiedBlob, media_type,
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

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, name: &'static str, passed: Option<bool>, detail: impl Into<String>) {
        self.0.push(Check { name, passed, detail: detail.into(), help: None });
    }

    /// Records the result of a check, and returns whether it passed.
    fn record<T>(&mut self, name: &'static str, result: Result<T, Error>, well: &str) -> bool {
        let (passed, detail, help) = match result {
            Ok(_) => (true, well.to_owned(), None),
            Err(error) => (false, error_chain(&error), error.hint()),
        };
        self.0.push(Check { name, passed: Some(passed), detail, help });
        passed
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

pub(super) async fn diagnose(
    transport: &Transport,
    project: Option<&Repository>,
    scratch: Option<&Repository>,
) -> Vec<Check> {
    let mut checks = Checks::default();
    if let Some(project) = project {
        transport.set_default_project(project);
    }
    let began = Instant::now();
    match transport.ping().await {
        Ok(root) => {
            let millis = began.elapsed().as_millis();
            checks.add("reachable", Some(true), format!("answers in {millis} ms"));
            match transport.describe_login(project.or(scratch)).await {
                Ok(login) => checks.add("login", Some(true), login),
                Err(error) => drop(checks.record("login", Err::<(), _>(error), "")),
            }
            let (passed, detail) = check_http_version(&root, transport);
            checks.add("http-2", passed, detail);
            checks.add("limits", Some(true), limits(&root));
        }
        Err(error) => {
            let name = match error {
                Error::Unauthorized { .. } => "login",
                _ => "reachable",
            };
            checks.record(name, Err::<(), _>(error), "");
            return checks.0;
        }
    }
    if let Some(project) = project {
        check_project(transport, project, &mut checks).await;
    }
    check_catalog(transport, &mut checks).await;
    match scratch {
        Some(scratch) => check_writes(transport, scratch, &mut checks).await,
        None => {
            checks.0.extend(WRITES.map(|name| Check {
                name,
                passed: None,
                detail: "needs a writable repository".to_owned(),
                help: Some(Hint::ScratchRepository),
            }));
        }
    }
    checks.0
}

/// Lists the tags of a project or repository. Most projects are not repositories, so 404 is not a
/// failure.
async fn check_project(transport: &Transport, project: &Repository, checks: &mut Checks) {
    match tags::list_tags(transport, project).await {
        Ok(tags) => {
            checks.add("project", Some(true), format!("a repository of {} tags", tags.len()))
        }
        Err(error) if error.is_not_found() => {
            let detail = format!("no repository of that name is visible: {}", error_chain(&error));
            checks.add("project", None, detail);
        }
        Err(error) => drop(checks.record("project", Err::<(), _>(error), "")),
    }
}

/// Checks the catalog. Many registries disable it, and no command needs it.
async fn check_catalog(transport: &Transport, checks: &mut Checks) {
    match catalog::list_repositories(transport).await {
        Ok(repositories) => {
            let detail = format!("{} repositories", repositories.len());
            checks.add("catalogue", Some(true), detail);
        }
        Err(error) => checks.0.push(Check {
            name: "catalogue",
            passed: Some(false),
            detail: error_chain(&error),
            help: Some(Hint::Text("no command needs it")),
        }),
    }
}

fn check_http_version(root: &RootResponse, transport: &Transport) -> (Option<bool>, String) {
    match root.version {
        Version::HTTP_2 => (Some(true), "many requests share a connection".to_owned()),
        _ if transport.uses_plain_http() => (None, "needs TLS".to_owned()),
        other => (Some(false), format!("the registry uses {other:?}")),
    }
}

fn limits(root: &RootResponse) -> String {
    let said = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].into_iter();
    let said: Vec<_> = said
        .filter_map(|name| {
            let value = root.headers.get(name)?.to_str().ok()?;
            Some(format!("{name} {value}"))
        })
        .collect();
    if said.is_empty() { "none announced".to_owned() } else { said.join(", ") }
}

/// Runs the checks that write, in the scratch repository and one below it.
async fn check_writes(transport: &Transport, scratch: &Repository, checks: &mut Checks) {
    let (whole, chunked) = (random_bytes(BLOB), random_bytes(BLOB));
    let sent = upload::put_blob(transport, scratch, verified_blob(&whole)).await;
    if !checks.record("upload", sent, "in one stream") {
        return;
    }
    let sent = upload::put_in_chunks(transport, scratch, verified_blob(&chunked), CHUNK).await;
    checks.record("chunked-upload", sent, "broken uploads resume where they broke");
    check_ranges(transport, scratch, &whole, checks).await;
    check_mount(transport, scratch, &whole, checks).await;
    check_image(transport, scratch, &whole, checks).await;
    let digest = |bytes: &[u8]| descriptor_of(bytes).digest;
    for blob in [&whole, &chunked] {
        // Ignore errors: the garbage collection of the registry removes the blobs.
        let _ = delete::delete(transport, scratch, &format!("blobs/{}", digest(blob))).await;
    }
}

async fn check_ranges(
    transport: &Transport,
    scratch: &Repository,
    blob: &Bytes,
    checks: &mut Checks,
) {
    let part = 1000..2000;
    let read = async {
        let range = part.start as u64..part.end as u64;
        let bytes = pull::blob(transport, scratch, &descriptor_of(blob), range).await?;
        bytes.take(64).try_collect::<Vec<_>>().await
    };
    match read.await {
        Ok(_) if transport.range_options().is_none() => {
            checks.add(
                "ranges",
                Some(false),
                "the registry ignores ranges: blobs are read in one stream",
            );
        }
        Ok(chunks) if chunks.concat().get(..1000) == blob.get(part) => {
            checks.add("ranges", Some(true), "large blobs are read in several ranges at once");
        }
        Ok(_) => checks.add("ranges", Some(false), "the registry sends other bytes than requested"),
        Err(error) => checks.add("ranges", Some(false), error_chain(&error)),
    }
}

async fn check_mount(
    transport: &Transport,
    scratch: &Repository,
    blob: &Bytes,
    checks: &mut Checks,
) {
    let mounted = async {
        let below: Repository = format!("{scratch}/mounted").parse()?;
        let done = mount::mount_blob(transport, scratch, &below, &descriptor_of(blob)).await?;
        if done {
            // Ignore errors, as above.
            let digest = descriptor_of(blob).digest;
            let _ = delete::delete(transport, &below, &format!("blobs/{digest}")).await;
        }
        Ok::<_, Error>(done)
    };
    match mounted.await {
        Ok(true) => {
            checks.add("mount", Some(true), "blobs of other repositories are not uploaded again")
        }
        Ok(false) => {
            checks.add("mount", Some(false), "the registry does not mount: every blob is uploaded")
        }
        Err(error) => checks.add("mount", Some(false), error_chain(&error)),
    }
}

/// Pushes, lists and deletes a small image and a manifest that refers to it.
async fn check_image(
    transport: &Transport,
    scratch: &Repository,
    config: &Bytes,
    checks: &mut Checks,
) {
    let image = manifest(config, None);
    let signature = manifest(config, Some(&image));
    let pushed = async {
        let tag: Tag = TAG.parse()?;
        push::put_manifest(transport, scratch, &image, Some(&tag)).await?;
        push::put_manifest(transport, scratch, &signature, None).await?;
        pull::manifest(transport, scratch, &tag.into()).await
    };
    if !checks.record("push", pushed.await, "an image with a tag") {
        return;
    }
    let subject = image.digest();
    let asked = format!("referrers/{subject}");
    let request = transport.request(Method::GET, scratch, &asked, "pull");
    match transport.send(&request, is_ok).await {
        Ok(_) => checks.add("referrers", Some(true), "by the registry itself"),
        Err(error) if error.is_not_found() => {
            let found = referrers::list_referrers(transport, scratch, &subject, None).await;
            let detail = match found {
                Ok(found) if !found.is_empty() => "by a tag, for registries without the API",
                _ => "neither by the API nor by a tag",
            };
            checks.add("referrers", Some(false), detail);
        }
        Err(error) => checks.add("referrers", Some(false), error_chain(&error)),
    }
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
    if !checks.record("delete", removed.await, "manifests and their tags")
        && let Some(check) = checks.0.last_mut()
    {
        check.help = Some(Hint::Text(
            "the test content stays in the scratch repository: delete it manually",
        ));
    }
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
