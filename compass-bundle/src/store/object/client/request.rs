//! The requests to a bucket, before they are signed. No I/O.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue, RANGE};
use http::{Method, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::address::Provider;
use super::super::checksum::PartChecksum;
use super::super::settings::{Addressing, Settings};
use crate::read::LocalFile;

/// The bytes that both vendors encode in paths and queries: all but the unreserved ones of RFC 3986.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request to a bucket.
#[derive(Debug, Clone)]
pub(in super::super) struct Request {
    pub(super) method: Method,
    /// The key of the object; empty for the bucket.
    pub(super) key: String,
    query: Vec<(&'static str, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// The bytes of an object or of a part, and their checksums.
#[derive(Debug, Clone)]
pub(in super::super) struct Content {
    pub(in super::super) body: Body,
    pub(in super::super) checksum: PartChecksum,
}

/// The upload and the number of a part.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct PartId<'i> {
    pub(in super::super) upload: &'i str,
    pub(in super::super) number: u64,
}

/// The last unfinished upload of a page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct UploadPosition {
    pub(in super::super) key: String,
    pub(in super::super) upload_id: String,
}

/// A range of another object of the bucket, which is copied to a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Copy {
    pub(in super::super) key: String,
    pub(in super::super) range: Range<u64>,
}

/// The body of a request.
#[derive(Debug, Clone)]
pub(in super::super) enum Body {
    Bytes(Bytes),
    /// Chunks of [`BODY_CHUNK`](super::BODY_CHUNK) bytes; only the last one may be smaller.
    Chunks(Arc<[Bytes]>),
    /// A range of a local file, which is read again for each attempt.
    File(LocalFile, Range<u64>),
}

/// A part of a completed upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct CompletedPart {
    pub(in super::super) number: u64,
    pub(in super::super) etag: String,
    /// The CRC-32C, in the form of `x-amz-checksum-crc32c`, if it is known.
    pub(in super::super) crc32c: Option<String>,
}

impl Body {
    pub(in super::super) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Chunks(chunks) => chunks.iter().map(|chunk| chunk.len() as u64).sum(),
            Self::File(_, range) => range.end - range.start,
        }
    }
}

impl Content {
    /// The content of a small object.
    pub(in super::super) fn of(bytes: Bytes) -> Self {
        Self { checksum: PartChecksum::of(&bytes), body: Body::Bytes(bytes) }
    }
}

impl Request {
    fn new(method: Method, key: &str) -> Self {
        let body = Body::Bytes(Bytes::new());
        Self { method, key: key.to_owned(), query: Vec::new(), headers: HeaderMap::new(), body }
    }

    pub(super) fn head(provider: Provider, key: &str) -> Self {
        let request = Self::new(Method::HEAD, key);
        match provider {
            Provider::S3 => request.header("x-amz-checksum-mode", "ENABLED"),
            Provider::Oss => request,
        }
    }

    pub(super) fn get(key: &str, range: &Range<u64>) -> Self {
        let range = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        Self::new(Method::GET, key).header(RANGE.as_str(), &range)
    }

    /// Writes a small object. `is_new` lets the request fail if the object exists.
    pub(super) fn put(provider: Provider, key: &str, content: Content, is_new: bool) -> Self {
        let request = Self::new(Method::PUT, key).content(provider, content);
        if is_new { request.if_absent(provider) } else { request }
    }

    pub(super) fn versioning() -> Self {
        Self::new(Method::GET, "").query("versioning", "")
    }

    pub(super) fn delete(key: &str) -> Self {
        Self::new(Method::DELETE, key)
    }

    pub(super) fn initiate(provider: Provider, key: &str) -> Self {
        let request = Self::new(Method::POST, key).query("uploads", "");
        match provider {
            Provider::S3 => request
                .header("x-amz-checksum-algorithm", "CRC32C")
                // The other type requires the checksums of all parts at the end. A process does not
                // know those of parts that another one has sent, unless the storage lists them.
                .header("x-amz-checksum-type", "FULL_OBJECT"),
            Provider::Oss => request,
        }
    }

    pub(super) fn upload_part(
        provider: Provider,
        key: &str,
        part: PartId<'_>,
        content: Content,
    ) -> Self {
        Self::new(Method::PUT, key).part(part).content(provider, content)
    }

    /// Copies a range of another object of the bucket to a part.
    pub(super) fn upload_part_copy(
        settings: &Settings,
        key: &str,
        part: PartId<'_>,
        Copy { key: source, range }: &Copy,
    ) -> Self {
        let prefix = settings.provider.header_prefix();
        let source = format!("/{}/{}", settings.bucket, encode_path(source));
        let range = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let request = Self::new(Method::PUT, key).part(part);
        let request = request.header(&format!("{prefix}copy-source"), &source);
        request.header(&format!("{prefix}copy-source-range"), &range)
    }

    /// Whether the storage copies bytes before it answers.
    pub(super) fn is_copy(&self) -> bool {
        self.headers.keys().any(|name| name.as_str().ends_with("-copy-source"))
    }

    pub(super) fn list_parts(key: &str, upload: &str, after: Option<u64>) -> Self {
        let request = Self::new(Method::GET, key).query("uploadId", upload);
        let request = request.query("max-parts", "1000");
        match after {
            Some(after) => request.query("part-number-marker", &after.to_string()),
            None => request,
        }
    }

    pub(super) fn list_uploads(prefix: &str, after: Option<&UploadPosition>) -> Self {
        let request = Self::new(Method::GET, "").query("uploads", "").query("prefix", prefix);
        let request = request.query("max-uploads", "1000");
        match after {
            Some(UploadPosition { key, upload_id }) => {
                request.query("key-marker", key).query("upload-id-marker", upload_id)
            }
            None => request,
        }
    }

    pub(super) fn abort(key: &str, upload: &str) -> Self {
        Self::new(Method::DELETE, key).query("uploadId", upload)
    }

    /// Completes an upload, unless an object with the key exists.
    pub(super) fn complete(
        provider: Provider,
        key: &str,
        upload: &str,
        parts: &[CompletedPart],
    ) -> Self {
        let mut xml = "<CompleteMultipartUpload>".to_owned();
        for part in parts {
            let etag = quick_xml::escape::escape(&part.etag);
            // Writing to a string cannot fail.
            let _ = write!(
                xml,
                "<Part><PartNumber>{}</PartNumber><ETag>\"{etag}\"</ETag>",
                part.number
            );
            if let Some(crc32c) = part.crc32c.as_ref().filter(|_| provider == Provider::S3) {
                let _ = write!(xml, "<ChecksumCRC32C>{crc32c}</ChecksumCRC32C>");
            }
            xml.push_str("</Part>");
        }
        xml.push_str("</CompleteMultipartUpload>");
        let mut request = Self::new(Method::POST, key).query("uploadId", upload);
        request.body = Body::Bytes(xml.into());
        request.header("content-type", "application/xml").if_absent(provider)
    }

    pub(super) fn list_objects(prefix: &str, token: Option<&String>) -> Self {
        let request = Self::new(Method::GET, "").query("list-type", "2").query("prefix", prefix);
        let request = request.query("max-keys", "1000");
        match token {
            Some(token) => request.query("continuation-token", token),
            None => request,
        }
    }

    fn part(self, PartId { upload, number }: PartId<'_>) -> Self {
        self.query("partNumber", &number.to_string()).query("uploadId", upload)
    }

    /// Sets the body, which the storage compares with its checksum.
    fn content(self, provider: Provider, Content { body, checksum }: Content) -> Self {
        let request = match provider {
            Provider::S3 => self.header("x-amz-checksum-crc32c", &checksum.crc32c_base64()),
            // OSS compares the MD5, and answers with its CRC-64.
            Provider::Oss => self.header("content-md5", &checksum.md5_base64()),
        };
        Self { body, ..request }
    }

    fn if_absent(self, provider: Provider) -> Self {
        match provider {
            Provider::S3 => self.header("if-none-match", "*"),
            Provider::Oss => self.header("x-oss-forbid-overwrite", "true"),
        }
    }

    fn query(mut self, name: &'static str, value: &str) -> Self {
        self.query.push((name, value.to_owned()));
        self
    }

    /// Adds a header. Names and values of this module are valid; an invalid key would be refused.
    fn header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            self.headers.insert(name, value);
        }
        self
    }

    /// A description for messages and logs, without host.
    pub(super) fn describe(&self) -> String {
        let names: Vec<_> = self.query.iter().map(|(name, _)| *name).collect();
        let query = if names.is_empty() { String::new() } else { format!("?{}", names.join("&")) };
        format!("{} /{}{query}", self.method, self.key)
    }

    /// The host of the request, with its port.
    pub(super) fn authority(settings: &Settings) -> String {
        let host = &settings.endpoint.authority;
        match settings.addressing {
            Addressing::VirtualHost => format!("{}.{host}", settings.bucket),
            Addressing::Path | Addressing::Cname => host.clone(),
        }
    }

    /// The URL of the request.
    pub(super) fn url(&self, settings: &Settings) -> String {
        let bucket = match settings.addressing {
            Addressing::Path => format!("/{}", settings.bucket),
            Addressing::VirtualHost | Addressing::Cname => String::new(),
        };
        let (scheme, authority) = (settings.endpoint.scheme(), Self::authority(settings));
        format!("{scheme}://{authority}{bucket}{}", self.path_and_query())
    }

    /// The URL that is signed.
    ///
    /// OSS signs `/bucket/key` for each way of addressing. The signer derives that from a virtual
    /// host, so it always gets one.
    pub(super) fn signed_uri(&self, settings: &Settings) -> Result<Uri, http::uri::InvalidUri> {
        match settings.provider {
            Provider::S3 => self.url(settings).parse(),
            Provider::Oss => {
                format!("https://{}.oss{}", settings.bucket, self.path_and_query()).parse()
            }
        }
    }

    fn path_and_query(&self) -> String {
        let mut text = format!("/{}", encode_path(&self.key));
        for (index, (name, value)) in self.query.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.push_str(name);
            if !value.is_empty() {
                let _ = write!(text, "={}", utf8_percent_encode(value, &ENCODED));
            }
        }
        text
    }
}

impl Provider {
    /// The prefix of the provider's own headers.
    pub(super) fn header_prefix(self) -> &'static str {
        match self {
            Self::S3 => "x-amz-",
            Self::Oss => "x-oss-",
        }
    }
}

fn encode_path(key: &str) -> String {
    let segments = key.split('/').map(|one| utf8_percent_encode(one, &ENCODED).to_string());
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::super::super::address::ObjectAddress;
    use super::super::super::settings::{ConfigFiles, StoreEnvironment};
    use super::*;

    fn settings(address: &str, variables: &[(&str, &str)]) -> Settings {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let address = ObjectAddress::parse(address).unwrap();
        let environment = StoreEnvironment::new(variables);
        Settings::find(&address, &environment, &ConfigFiles::default()).unwrap()
    }

    #[test]
    fn url_follows_addressing() {
        let region = ("OSS_REGION", "cn-hangzhou");
        let request = Request::get("a b/c+d", &(0..10));
        for (address, variables, expected) in [
            ("s3://b", vec![("AWS_REGION", "r")], "https://b.s3.r.amazonaws.com/a%20b/c%2Bd"),
            ("s3://b", vec![("AWS_ENDPOINT_URL", "http://h:1")], "http://h:1/b/a%20b/c%2Bd"),
            ("oss://b", vec![region], "https://b.oss-cn-hangzhou.aliyuncs.com/a%20b/c%2Bd"),
            (
                "oss://b",
                vec![region, ("OSS_ENDPOINT", "f.cn"), ("OSS_ADDRESSING_STYLE", "cname")],
                "https://f.cn/a%20b/c%2Bd",
            ),
        ] {
            let settings = settings(address, &variables);
            assert_eq!(request.url(&settings), expected);
            if address.starts_with("oss") {
                let signed = request.signed_uri(&settings).unwrap().to_string();
                assert_eq!(signed, "https://b.oss/a%20b/c%2Bd");
            }
        }
    }

    #[test]
    fn complete_contains_condition_and_parts() {
        let crc32c = Some("4waSgw==".to_owned());
        let parts = [CompletedPart { number: 1, etag: "a&b".to_owned(), crc32c }];
        let body = |request: &Request| match &request.body {
            Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Body::Chunks(_) | Body::File(..) => String::new(),
        };
        let s3 = Request::complete(Provider::S3, "k", "u/1", &parts);
        assert_eq!(s3.headers["if-none-match"], "*");
        assert!(body(&s3).contains("<ETag>\"a&amp;b\"</ETag><ChecksumCRC32C>4waSgw=="));
        assert!(s3.path_and_query().ends_with("/k?uploadId=u%2F1"));
        let oss = Request::complete(Provider::Oss, "k", "u", &parts);
        assert_eq!(oss.headers["x-oss-forbid-overwrite"], "true");
        assert!(!body(&oss).contains("Checksum"));
    }

    #[test]
    fn upload_part_copy_names_source_range() {
        let settings = settings("oss://b", &[("OSS_REGION", "r")]);
        let source = Copy { key: "from/a b".to_owned(), range: 5..10 };
        let part = PartId { upload: "u", number: 3 };
        let request = Request::upload_part_copy(&settings, "k", part, &source);
        assert_eq!(request.headers["x-oss-copy-source"], "/b/from/a%20b");
        assert_eq!(request.headers["x-oss-copy-source-range"], "bytes=5-9");
        assert_eq!(request.describe(), "PUT /k?partNumber&uploadId");
        assert!(request.is_copy() && !Request::delete("k").is_copy());
    }
}
