//! Manifests that refer to another one, such as signatures, attestations and SBOMs. See the OCI
//! distribution specification, § Listing Referrers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Descriptor, Digest, Error, RawManifest, Tag, media_type};

/// A manifest with a `subject`, as an index of referrers lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Referrer {
    /// The referring manifest.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// The `artifactType`, or else the media type of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifest's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Fields that image manifests and indexes have in common.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ManifestFields {
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

/// An index of referrers.
#[derive(Deserialize)]
pub(crate) struct ReferrerIndex {
    pub(crate) manifests: Vec<Referrer>,
}

impl Referrer {
    /// Describes a referring manifest.
    pub fn of(manifest: &RawManifest) -> Self {
        let fields = ManifestFields::of(manifest);
        let own = fields.artifact_type.filter(|kind| !kind.is_empty());
        Self {
            descriptor: manifest.descriptor().clone(),
            artifact_type: own.or_else(|| fields.config.map(|config| config.media_type)),
            annotations: fields.annotations.unwrap_or_default(),
        }
    }

    /// Parses an index of referrers.
    ///
    /// # Errors
    /// [`Error::InvalidContent`] if it is malformed.
    pub(crate) fn parse_index(bytes: &[u8], subject: &Digest) -> Result<Vec<Self>, Error> {
        let index: ReferrerIndex =
            serde_json::from_slice(bytes).map_err(|error| Error::InvalidContent {
                what: format!("the list of referrers of {subject}"),
                reason: error.to_string(),
            })?;
        Ok(index.manifests)
    }

    /// Creates an index of referrers.
    pub(crate) fn index(referrers: &[Self]) -> RawManifest {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_INDEX,
            "manifests": referrers,
        });
        RawManifest::new(media_type::OCI_INDEX, index.to_string())
    }
}

impl ManifestFields {
    fn of(manifest: &RawManifest) -> Self {
        serde_json::from_slice(manifest.bytes()).unwrap_or_default()
    }
}

impl RawManifest {
    /// Returns the digest of the manifest that this one refers to.
    pub fn subject(&self) -> Option<Digest> {
        ManifestFields::of(self).subject.map(|subject| subject.digest)
    }
}

/// Returns the tag of the index of referrers, for registries without the API. The OCI distribution
/// specification, § Referrers Tag Schema, defines it.
pub(crate) fn fallback_tag(subject: &Digest) -> Result<Tag, Error> {
    let hex = subject.hex();
    format!("{}-{}", subject.algorithm().name(), &hex[..hex.len().min(64)]).parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> RawManifest {
        RawManifest::new(media_type::OCI_MANIFEST, text.to_owned())
    }

    #[test]
    fn referrer_type_defaults_to_configuration_type() {
        let digest = Digest::of(b"");
        let config = format!(r#"{{"mediaType":"text/config","digest":"{digest}","size":0}}"#);
        let own = manifest(&format!(r#"{{"artifactType":"text/own","config":{config}}}"#));
        assert_eq!(Referrer::of(&own).artifact_type.as_deref(), Some("text/own"));
        let other = manifest(&format!(r#"{{"config":{config},"annotations":{{"a":"b"}}}}"#));
        let other = Referrer::of(&other);
        assert_eq!(other.artifact_type.as_deref(), Some("text/config"));
        assert_eq!(other.annotations["a"], "b");
    }

    #[test]
    fn referrer_index_round_trips() {
        let referrers = vec![Referrer::of(&manifest(r#"{"artifactType":"text/own"}"#))];
        let index = Referrer::index(&referrers);
        let read = Referrer::parse_index(index.bytes(), &Digest::of(b"")).unwrap();
        assert_eq!(read, referrers);
        assert!(Referrer::parse_index(b"[]", &Digest::of(b"")).is_err());
    }

    #[test]
    fn subject_missing_is_none() {
        let digest = Digest::of(b"x");
        let subject =
            format!(r#"{{"subject":{{"mediaType":"text/plain","digest":"{digest}","size":1}}}}"#);
        assert_eq!(manifest(&subject).subject(), Some(digest));
        for text in ["{}", "[]", "", r#"{"subject":7}"#] {
            assert_eq!(manifest(text).subject(), None, "{text}");
        }
    }
}
