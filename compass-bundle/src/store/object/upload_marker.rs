//! Agrees on one upload of an object, without a coordinator.
//!
//! A small object beside the bundle, the marker, contains the ID of the upload. Its key has a
//! digest of the plan and of the parts, so that an upload has the parts of one plan only. It is
//! written under the condition that it does not exist: of several processes that start an upload,
//! one writes the marker, and the others abort theirs.

use std::collections::HashMap;

use bytes::Bytes;
use compass_registry::Digest;

use super::client::{Content, ListedPart, RequestError};
use super::part_layout::PartLayout;
use super::publish::read_small;
use super::upload::{Target, Upload};
use crate::BundlePlan;

/// The end of the key of a marker.
const MARKER_END: &str = ".upload";

/// The number of hex digits in the key of a marker.
const DIGITS: usize = 16;

/// The maximum number of attempts to agree, while other processes remove uploads.
const MAX_ATTEMPTS: usize = 5;

/// The key of the marker of an upload.
pub(super) fn marker_key(key: &str, plan: &BundlePlan, layout: &PartLayout) -> String {
    let ends = layout.ends().iter().flat_map(|end| end.to_le_bytes());
    let identity = [plan.digest().to_string().into_bytes(), ends.collect()].concat();
    let hex = Digest::of(&identity).hex();
    format!("{key}.{}{MARKER_END}", hex.get(..DIGITS).unwrap_or_default())
}

/// Whether a key is that of a marker of an object.
fn is_marker(key: &str, object: &str) -> bool {
    let rest = key.strip_prefix(object).and_then(|rest| rest.strip_prefix('.'));
    let digits = rest.and_then(|rest| rest.strip_suffix(MARKER_END));
    digits.is_some_and(|digits| {
        digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

impl Target<'_> {
    /// Finds the upload in the marker, or starts one. Returns `None` if other processes remove all
    /// uploads, for example because the object is complete.
    pub(super) async fn agree(self, marker: &str) -> Result<Option<Upload>, RequestError> {
        for _ in 0..MAX_ATTEMPTS {
            let marked = self.marked(marker).await?;
            // The marker of an upload that was aborted or completed is replaced.
            let is_new = marked.is_none();
            if let Some(id) = marked
                && let Some(listed) = self.list_parts(&id).await?
            {
                return Ok(Some(Upload { id, is_own: false, listed }));
            }
            let id = self.client.initiate(self.key).await?;
            match self.client.put(marker, Content::of(Bytes::from(id.clone())), is_new).await {
                // Some storages ignore the condition.
                Ok(()) if self.marked(marker).await?.as_ref() == Some(&id) => {
                    return Ok(Some(Upload { id, is_own: true, listed: HashMap::new() }));
                }
                Ok(()) => {}
                Err(error) if error.is_existing() || error.is_conflict() => {}
                Err(error) => {
                    self.abort(&id).await;
                    return Err(error);
                }
            }
            self.abort(&id).await;
        }
        Ok(None)
    }

    /// The ID of the upload in a marker.
    pub(super) async fn marked(self, marker: &str) -> Result<Option<String>, RequestError> {
        let text = read_small(self.client, marker).await?;
        Ok(text.and_then(|text| String::from_utf8(text.to_vec()).ok()))
    }

    /// The parts of an upload. Returns `None` if it was completed or aborted.
    pub(super) async fn list_parts(
        self,
        id: &str,
    ) -> Result<Option<HashMap<u64, ListedPart>>, RequestError> {
        match self.client.list_parts(self.key, id).await {
            Ok(listed) => {
                Ok(Some(listed.into_iter().map(|part| (part.part_number, part)).collect()))
            }
            Err(error) if error.is_upload_gone() || error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the markers of the object that `is_removed` selects by the ID in them. A failure is only
    /// logged, because a marker of an old upload is replaced by the next one.
    pub(super) async fn remove_markers(self, is_removed: impl Fn(&str) -> bool) {
        let removed = async {
            for object in self.client.list_objects(self.key).await? {
                if !is_marker(&object.key, self.key) {
                    continue;
                }
                let id = self.marked(&object.key).await?.unwrap_or_default();
                if is_removed(&id) {
                    self.client.delete(&object.key).await?;
                }
            }
            Ok::<_, RequestError>(())
        };
        if let Err(error) = removed.await {
            tracing::warn!(%error, key = self.key, "cannot remove the marker of an upload");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_marker_requires_own_key() {
        let key = "a/b.tar.gz";
        assert!(is_marker("a/b.tar.gz.0123456789abcdef.upload", key));
        for other in [
            "a/b.tar.gz",
            "a/b.tar.gz.sha256",
            "a/b.tar.gz.upload",
            "a/b.tar.gz.0123456789abcdeg.upload",
            "a/b.tar.gz.0123456789abcdef0.upload",
            "a/b.tar.gz2.0123456789abcdef.upload",
        ] {
            assert!(!is_marker(other, key), "{other}");
        }
    }
}
