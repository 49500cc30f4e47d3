//! Lists and updates referrers (distribution specification, § Listing Referrers).

use reqwest::Method;

use super::paging::fetch_pages;
use super::pull::manifest;
use super::push::put_manifest;
use super::transport::Transport;
use crate::referrer::{ReferrerIndex, fallback_tag};
use crate::{Digest, Error, RawManifest, Referrer, Repository, TagOrDigest};

pub(super) async fn list_referrers(
    transport: &Transport,
    repository: &Repository,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Referrer>, Error> {
    let mut request =
        transport.request(Method::GET, repository, &format!("referrers/{subject}"), "pull");
    if let Some(kind) = artifact_type {
        request.url.query_pairs_mut().append_pair("artifactType", kind);
    }
    let found = match fetch_pages::<ReferrerIndex>(transport, request).await {
        Err(error) if error.is_not_found() => {
            fallback_referrers(transport, repository, subject).await?
        }
        found => found?.into_iter().flat_map(|page| page.manifests).collect(),
    };
    // A registry may ignore the filter.
    let wanted =
        |one: &Referrer| artifact_type.is_none_or(|k| one.artifact_type.as_deref() == Some(k));
    Ok(found.into_iter().filter(wanted).collect())
}

/// Reads the list that is stored under a tag if the registry has no referrers API.
async fn fallback_referrers(
    transport: &Transport,
    repository: &Repository,
    subject: &Digest,
) -> Result<Vec<Referrer>, Error> {
    let tag = TagOrDigest::Tag(fallback_tag(subject)?);
    match manifest(transport, repository, &tag).await {
        Ok(index) => Referrer::parse_index(index.bytes(), subject),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Adds a manifest to the list of referrers of its subject, for registries without the API.
pub(super) async fn add_referrer(
    transport: &Transport,
    repository: &Repository,
    subject: &Digest,
    referrer: &RawManifest,
) -> Result<(), Error> {
    let mut known = fallback_referrers(transport, repository, subject).await?;
    if known.iter().any(|one| one.descriptor.digest == referrer.digest()) {
        return Ok(());
    }
    known.push(Referrer::of(referrer));
    let tag = fallback_tag(subject)?;
    Box::pin(put_manifest(transport, repository, &Referrer::index(&known), Some(&tag))).await
}
