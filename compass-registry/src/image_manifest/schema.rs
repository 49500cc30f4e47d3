//! The JSON of image manifests and indexes, as registries and Go tools write it. Lists may be null
//! or missing, and unknown fields are ignored.

use serde::de::{Deserialize, Deserializer, IgnoredAny};

use super::{Manifest, RawManifest, media_type};
use crate::Descriptor;

/// The maximum size of a blob in bytes, so that sums of sizes cannot overflow.
const MAX_BLOB_BYTES: u64 = 1 << 44;

/// The fields of an image manifest or index.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Schema {
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: ManifestList,
}

/// The images of an index. Some builders write `null` for an empty list.
#[derive(Default)]
enum ManifestList {
    #[default]
    Missing,
    Null,
    List(Vec<Descriptor>),
}

impl<'de> Deserialize<'de> for ManifestList {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(value)?.map_or(Self::Null, Self::List))
    }
}

impl Schema {
    /// Parses a manifest of a media type. The error is the reason why it is invalid.
    pub(super) fn read(bytes: &[u8], kind: &str) -> Result<Manifest, String> {
        if !RawManifest::is_manifest_type(kind) {
            return Err(unknown_type_reason(kind));
        }
        let is_index = RawManifest::is_index_type(kind);
        let schema: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        schema.check_unambiguous(kind)?;
        let manifest = if is_index { schema.index()? } else { schema.image()? };
        let large = manifest.descriptors().find(|blob| blob.size > MAX_BLOB_BYTES);
        let reason = large.map(|Descriptor { digest, size, .. }| {
            format!("{digest} claims {size} bytes, more than any blob may have")
        });
        reason.map_or(Ok(manifest), Err)
    }

    /// Rejects a document that some tools read as an image and others as an index (CVE-2021-41190).
    fn check_unambiguous(&self, kind: &str) -> Result<(), String> {
        let has_images = matches!(self.manifests, ManifestList::List(_));
        if has_images && (self.config.is_some() || self.layers.is_some()) {
            return Err("it has `manifests` like an index, and `layers` like an image".to_owned());
        }
        match self.media_type.as_deref() {
            Some(own)
                if RawManifest::is_index_type(own) != RawManifest::is_index_type(kind)
                    && RawManifest::is_manifest_type(own) =>
            {
                Err(format!("its `mediaType` is `{own}`, but it is served as `{kind}`"))
            }
            _ => Ok(()),
        }
    }

    fn index(self) -> Result<Manifest, String> {
        match self.manifests {
            ManifestList::List(images) => Ok(Manifest::Index(images)),
            ManifestList::Null => Ok(Manifest::Index(Vec::new())),
            ManifestList::Missing if self.media_type.is_some() => Ok(Manifest::Index(Vec::new())),
            ManifestList::Missing => Err("it has no `manifests`".to_owned()),
        }
    }

    fn image(self) -> Result<Manifest, String> {
        let config = self.config.ok_or("it has no `config`")?;
        Ok(Manifest::Image { config, layers: self.layers.unwrap_or_default() })
    }
}

fn unknown_type_reason(kind: &str) -> String {
    if kind.contains(".manifest.v1+") {
        return format!(
            "it has Docker's first format (`{kind}`), which current tools do not support: push the \
             image again with a current tool"
        );
    }
    format!("the media type `{kind}` is not supported")
}

/// The fields that distinguish an index from an image without a media type.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeFields {
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
}

/// Returns the media type in the bytes of a manifest, for storages that store none.
pub fn sniff_media_type(bytes: &[u8]) -> Option<String> {
    media_type_of(bytes, None)
}

/// Returns the media type of a manifest. This is its own `mediaType`, else the declared one if it
/// matches the content, else that of the content. Registries and proxies may declare a wrong type.
pub fn media_type_of(bytes: &[u8], declared: Option<&str>) -> Option<String> {
    let fields: TypeFields = serde_json::from_slice(bytes).ok()?;
    let own = fields.media_type.filter(|own| !own.is_empty());
    if own.is_some() {
        return own;
    }
    let declared = declared.map(str::to_ascii_lowercase);
    let declared_as = |index: bool| {
        let fits = |kind: &String| {
            RawManifest::is_manifest_type(kind) && RawManifest::is_index_type(kind) == index
        };
        declared.clone().filter(fits)
    };
    match (fields.manifests, fields.config) {
        (Some(_), None) => declared_as(true).or_else(|| Some(media_type::OCI_INDEX.to_owned())),
        (None, Some(_)) => declared_as(false).or_else(|| Some(media_type::OCI_MANIFEST.to_owned())),
        _ => declared,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn descriptor(kind: &str) -> String {
        let digest = Digest::of(b"x");
        format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":1}}"#)
    }

    #[test]
    fn schema_null_lists_are_empty() {
        let config = descriptor(media_type::OCI_CONFIG);
        for layers in ["", r#","layers":null"#, r#","layers":[]"#] {
            let text = format!(r#"{{"schemaVersion":2,"config":{config}{layers}}}"#);
            let image = Schema::read(text.as_bytes(), media_type::OCI_MANIFEST).unwrap();
            assert!(matches!(image, Manifest::Image { layers, .. } if layers.is_empty()), "{text}");
        }
        let kind = media_type::OCI_INDEX;
        for text in [
            r#"{"manifests":null}"#.to_owned(),
            r#"{"manifests":[]}"#.to_owned(),
            format!(r#"{{"mediaType":"{kind}"}}"#),
        ] {
            assert_eq!(Schema::read(text.as_bytes(), kind), Ok(Manifest::Index(vec![])), "{text}");
        }
        assert!(Schema::read(b"{}", kind).is_err());
    }

    #[test]
    fn schema_partial_platform_is_none() {
        let digest = Digest::of(b"x");
        for (platform, expected) in [
            ("null", None),
            ("{}", None),
            (r#"{"architecture":"amd64"}"#, None),
            (r#"{"os":"","architecture":"","variant":"","os.features":null}"#, None),
            (r#"{"os":"wasip1","architecture":"wasm"}"#, Some("wasip1/wasm")),
            (r#"{"os":"linux","architecture":"arm","variant":"v7"}"#, Some("linux/arm/v7")),
            (
                r#"{"os":"windows","architecture":"amd64","os.version":"10.0.1","features":["x"]}"#,
                Some("windows(10.0.1)/amd64"),
            ),
        ] {
            let text = format!(
                r#"{{"manifests":[{{"digest":"{digest}","size":1,"platform":{platform},"urls":null,"data":"e30="}}]}}"#
            );
            let index = Schema::read(text.as_bytes(), media_type::OCI_INDEX).unwrap();
            let Manifest::Index(images) = index else { panic!("an index") };
            let named = images[0].platform.as_ref().map(ToString::to_string);
            assert_eq!(named.as_deref(), expected, "{platform}");
        }
    }

    #[test]
    fn schema_ambiguous_manifest_is_rejected() {
        let one = descriptor(media_type::OCI_CONFIG);
        let both = format!(r#"{{"config":{one},"layers":[],"manifests":[{one}]}}"#);
        for kind in [media_type::OCI_MANIFEST, media_type::OCI_INDEX] {
            assert!(Schema::read(both.as_bytes(), kind).is_err(), "{kind}");
        }
        let image = format!(r#"{{"mediaType":"{}","config":{one}}}"#, media_type::OCI_MANIFEST);
        assert!(Schema::read(image.as_bytes(), media_type::DOCKER_MANIFEST).is_ok());
        let refused = Schema::read(image.as_bytes(), media_type::OCI_INDEX).unwrap_err();
        assert!(refused.contains("it is served as"), "{refused}");
    }

    #[test]
    fn media_type_prefers_content_over_declaration() {
        let (image, index) = (r#"{"config":{},"layers":[]}"#, r#"{"manifests":[]}"#);
        let own = |kind: &str| format!(r#"{{"mediaType":"{kind}","x":1}}"#);
        for (bytes, declared, expected) in [
            (image, None, media_type::OCI_MANIFEST),
            (image, Some(media_type::DOCKER_MANIFEST), media_type::DOCKER_MANIFEST),
            (image, Some("APPLICATION/VND.OCI.IMAGE.MANIFEST.V1+JSON"), media_type::OCI_MANIFEST),
            (image, Some(media_type::OCI_INDEX), media_type::OCI_MANIFEST),
            (image, Some("text/plain"), media_type::OCI_MANIFEST),
            (index, None, media_type::OCI_INDEX),
            (index, Some(media_type::DOCKER_MANIFEST_LIST), media_type::DOCKER_MANIFEST_LIST),
            (index, Some(media_type::OCI_MANIFEST), media_type::OCI_INDEX),
            (
                &own(media_type::OCI_INDEX),
                Some(media_type::DOCKER_MANIFEST_LIST),
                media_type::OCI_INDEX,
            ),
            (&own("a/b"), Some(media_type::OCI_INDEX), "a/b"),
            ("{}", Some(media_type::OCI_INDEX), media_type::OCI_INDEX),
        ] {
            let found = media_type_of(bytes.as_bytes(), declared);
            assert_eq!(found.as_deref(), Some(expected), "{bytes} as {declared:?}");
        }
        assert_eq!(media_type_of(b"<html>", Some(media_type::OCI_INDEX)), None);
        assert_eq!(media_type_of(b"{}", None), None);
    }

    #[test]
    fn schema_first_docker_format_is_explained() {
        let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws";
        let refused = Schema::read(br#"{"schemaVersion":1}"#, kind).unwrap_err();
        assert!(refused.contains("push the image again"), "{refused}");
    }
}
