//! Rejects manifests that clients could interpret in different ways (CVE-2021-41190).

use std::fmt;

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};

/// The fields that determine whether a manifest is an image or an index.
const FIELDS: [&str; 4] = ["mediaType", "manifests", "config", "layers"];

/// Rejects a manifest that could be read both as an image and as an index. Also rejects one whose
/// `mediaType` differs from its `Content-Type` (OCI image specification, § Media Types, "mediaType"
/// property).
pub(super) fn require_unambiguous(media_type: &str, bytes: &[u8]) -> Result<(), String> {
    let fields: Fields = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let has = |name| fields.given.contains(&name);
    if has("manifests") && (has("layers") || has("config")) {
        return Err("it has the fields of an image and of an index".to_owned());
    }
    match fields.media_type {
        Some(own) if !own.is_empty() && !own.eq_ignore_ascii_case(media_type) => {
            Err(format!("its `mediaType` is {own}, and its Content-Type {media_type}"))
        }
        _ => Ok(()),
    }
}

/// The fields of [`FIELDS`] that a manifest has. Their values are skipped, as they may be large.
#[derive(Default)]
struct Fields {
    media_type: Option<String>,
    given: Vec<&'static str>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a manifest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let (mut fields, mut seen) = (Fields::default(), Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            let Some(field) = field_of(&key)? else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen.contains(&field) {
                return Err(A::Error::duplicate_field(field));
            }
            seen.push(field);
            let is_given = if field == "mediaType" {
                fields.media_type = map.next_value()?;
                fields.media_type.is_some()
            } else {
                map.next_value::<Option<IgnoredAny>>()?.is_some()
            };
            fields.given.extend(is_given.then_some(field));
        }
        Ok(fields)
    }
}

/// Returns the field of [`FIELDS`] that a key names, or `None` for other fields.
fn field_of<E: de::Error>(key: &str) -> Result<Option<&'static str>, E> {
    let field = FIELDS.into_iter().find(|field| key.eq_ignore_ascii_case(field));
    match field {
        // Go's decoders match field names case-insensitively.
        Some(field) if field != key => {
            Err(E::custom(format!("some clients read its field `{key}` as `{field}`")))
        }
        field => Ok(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_manifest_is_refused() {
        for (manifest, reason) in [
            (r#"{"config":{},"layers":[]}"#, None),
            (r#"{"mediaType":"t","layers":[],"manifests":null}"#, None),
            (r#"{"mediaType":null,"manifests":[],"annotations":{"Layers":""}}"#, None),
            (r#"{"mediaType":"T","manifests":[]}"#, None),
            (r#"{"layers":[],"manifests":[]}"#, Some("an image and of an index")),
            (r#"{"config":{},"manifests":[]}"#, Some("an image and of an index")),
            (r#"{"mediaType":"other"}"#, Some("its `mediaType` is other")),
            (r#"{"layers":[],"Manifests":[]}"#, Some("`Manifests` as `manifests`")),
            (r#"{"mediaType":"t","MEDIATYPE":"u"}"#, Some("`MEDIATYPE` as `mediaType`")),
            (r#"{"mediaType":"t","mediaType":"u"}"#, Some("duplicate field")),
            (r#"{"mediaType":null,"mediaType":"t"}"#, Some("duplicate field")),
            ("[]", Some("a manifest")),
        ] {
            let refused = require_unambiguous("t", manifest.as_bytes()).err();
            match reason {
                None => assert_eq!(refused, None, "{manifest}"),
                Some(reason) => {
                    let refused = refused.unwrap_or_default();
                    assert!(refused.contains(reason), "{manifest}: {refused}");
                }
            }
        }
    }
}
