//! The XML documents of storages. No I/O.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::checksum::StoredChecksum;

/// An answer to `InitiateMultipartUpload`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InitiatedUpload {
    pub(super) upload_id: String,
}

/// An answer to `CopyPart`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CopiedPart {
    #[serde(rename = "ETag")]
    pub(super) etag: String,
    #[serde(rename = "ChecksumCRC32C", default)]
    pub(super) crc32c: Option<String>,
}

/// A page of the parts of an upload.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PartsPage {
    #[serde(rename = "Part", default)]
    pub(super) parts: Vec<ListedPart>,
    #[serde(default)]
    pub(super) is_truncated: bool,
    #[serde(default)]
    pub(super) next_part_number_marker: Option<u64>,
}

/// A part of an unfinished upload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in super::super) struct ListedPart {
    pub(in super::super) part_number: u64,
    #[serde(rename = "ETag", default)]
    etag: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(rename = "ChecksumCRC32C", default)]
    crc32c: Option<String>,
    #[serde(rename = "HashCrc64ecma", default)]
    crc64: Option<u64>,
}

/// A page of the unfinished uploads of a bucket.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UploadsPage {
    #[serde(rename = "Upload", default)]
    pub(super) uploads: Vec<ListedUpload>,
    #[serde(default)]
    pub(super) is_truncated: bool,
    #[serde(default)]
    pub(super) next_key_marker: String,
    #[serde(default)]
    pub(super) next_upload_id_marker: String,
}

/// An unfinished upload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in super::super) struct ListedUpload {
    pub(in super::super) key: String,
    pub(in super::super) upload_id: String,
    /// The time of the start, in the form of RFC 3339.
    #[serde(default)]
    pub(in super::super) initiated: String,
}

/// A page of the objects of a bucket.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ObjectsPage {
    #[serde(rename = "Contents", default)]
    pub(super) objects: Vec<ListedObject>,
    #[serde(default)]
    pub(super) is_truncated: bool,
    #[serde(default)]
    pub(super) next_continuation_token: Option<String>,
}

/// An object in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in super::super) struct ListedObject {
    pub(in super::super) key: String,
    #[serde(default)]
    pub(in super::super) size: u64,
    /// The time of the upload, in the form of RFC 3339.
    #[serde(default)]
    pub(in super::super) last_modified: String,
}

/// Whether a bucket keeps versions of its objects.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Versioning {
    /// `Enabled` or `Suspended`; missing if the bucket never had versioning.
    #[serde(default)]
    pub(super) status: Option<String>,
}

/// An error document.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ErrorDocument {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) request_id: String,
}

impl ListedPart {
    pub(in super::super) fn etag(&self) -> &str {
        unquoted(&self.etag)
    }

    pub(in super::super) fn checksum(&self) -> StoredChecksum {
        StoredChecksum {
            size: self.size,
            etag: self.etag().to_owned(),
            has_opaque_etag: false,
            crc32c: self.crc32c.clone(),
            crc64: self.crc64,
        }
    }
}

/// Removes the quotes of an entity tag.
pub(super) fn unquoted(etag: &str) -> &str {
    etag.trim().trim_matches('"')
}

/// Parses a document. The caller has limited its size.
///
/// The parser does not expand entities of the document's own, and skips unknown elements without
/// recursion.
///
/// # Errors
/// The reason, if the text is not XML or lacks an element.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    quick_xml::de::from_str(text).map_err(|error| error.to_string())
}

/// Parses an error document. Returns `None` if the body is another document.
pub(super) fn parse_error(body: &[u8]) -> Option<ErrorDocument> {
    let text = std::str::from_utf8(body).ok()?;
    let root = text.trim_start_matches('\u{feff}').trim_start();
    let root = match root.strip_prefix("<?xml") {
        Some(rest) => rest.split_once("?>")?.1.trim_start(),
        None => root,
    };
    let is_error = root.strip_prefix("<Error").is_some_and(|rest| rest.starts_with(['>', ' ']));
    is_error.then(|| parse(body).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parse_reads_parts_of_both_vendors() {
        let s3 = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListPartsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>b</Bucket>
            <Owner><ID>1</ID></Owner><IsTruncated>true</IsTruncated>
            <NextPartNumberMarker>2</NextPartNumberMarker><MaxParts>2</MaxParts>
            <Part><ETag>&quot;aa&quot;</ETag><PartNumber>1</PartNumber><Size>5</Size>
            <ChecksumCRC32C>4waSgw==</ChecksumCRC32C></Part>
            <Part><PartNumber>2</PartNumber><ETag>"bb"</ETag></Part></ListPartsResult>"#;
        let page: PartsPage = parse(s3.as_bytes()).unwrap();
        assert_eq!((page.is_truncated, page.next_part_number_marker), (true, Some(2)));
        assert_eq!(
            (page.parts[0].etag(), page.parts[0].crc32c.as_deref()),
            ("aa", Some("4waSgw=="))
        );
        assert_eq!((page.parts[1].etag(), page.parts[1].size), ("bb", None));
        let oss = "<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>\"AA\"</ETag>\
                   <HashCrc64ecma>18446744073709551615</HashCrc64ecma><Size>7</Size></Part>\
                   </ListPartsResult>";
        let page: PartsPage = parse(oss.as_bytes()).unwrap();
        assert_eq!(page.parts[0].checksum().crc64, Some(u64::MAX));
    }

    #[test]
    fn parse_reads_lists() {
        let text = "<ListMultipartUploadsResult><KeyMarker/><NextKeyMarker>k</NextKeyMarker>\
                    <NextUploadIdMarker>2</NextUploadIdMarker><IsTruncated>true</IsTruncated>\
                    <Upload><Key>a&amp;b</Key><UploadId>1</UploadId><Initiated>t</Initiated>\
                    <Initiator><ID>x</ID></Initiator></Upload></ListMultipartUploadsResult>";
        let page: UploadsPage = parse(text.as_bytes()).unwrap();
        assert_eq!((&*page.uploads[0].key, &*page.next_upload_id_marker), ("a&b", "2"));
        let page: ObjectsPage =
            parse(b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>").unwrap();
        assert!(page.objects.is_empty() && !page.is_truncated);
    }

    #[test]
    fn parse_error_requires_error_document() {
        let error = "<?xml version='1.0'?>\n<Error><Code>NoSuchUpload</Code><Message>gone</Message>\
                     <RequestId>7</RequestId></Error>";
        let error = parse_error(error.as_bytes()).unwrap();
        assert_eq!(
            (&*error.code, &*error.message, &*error.request_id),
            ("NoSuchUpload", "gone", "7")
        );
        for text in ["", "<html>Error</html>", "<Errors/>", "plain", "<?xml"] {
            assert!(parse_error(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn parse_hostile_document_is_error() {
        let deep = "<a>".repeat(200_000);
        let entities = "<!DOCTYPE a [<!ENTITY x \"yyyy\"><!ENTITY z \"&x;&x;\">]>\
                        <InitiateMultipartUploadResult><UploadId>&z;</UploadId>\
                        </InitiateMultipartUploadResult>";
        for text in [deep.as_str(), entities, "<InitiateMultipartUploadResult/>", "\u{0}"] {
            assert!(parse::<InitiatedUpload>(text.as_bytes()).is_err());
        }
    }

    proptest! {
        #[test]
        fn parse_never_panics(text in "[<>/&;a-cPart \"=!\\[\\]-]{0,200}") {
            let _ = parse::<PartsPage>(text.as_bytes());
            let _ = parse_error(text.as_bytes());
        }
    }
}
