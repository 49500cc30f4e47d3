//! The lists of the storage, in pages.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use axum::response::IntoResponse as _;

use super::{Answer, Content, NO_UPLOAD, Query, Storage};

/// Entries per page of a list. It is small, so that lists have several pages.
const PAGE: usize = 2;

impl Storage {
    /// Lists the objects or the unfinished uploads of the bucket.
    pub(super) fn list(&self, query: &Query) -> String {
        let content = self.state.content.lock().unwrap();
        let xml = match query.get("uploads") {
            Some(_) => uploads(&content, query),
            None => objects(&content, query),
        };
        match self.state.faults.cuts_lists.load(Ordering::Relaxed) {
            true => xml
                .replace("<NextContinuationToken>", "<Other>")
                .replace("</NextContinuationToken>", "</Other>"),
            false => xml,
        }
    }

    pub(super) fn list_parts(&self, upload: &str, query: &Query) -> Answer {
        let content = self.state.content.lock().unwrap();
        let upload = content.uploads.get(upload).ok_or(NO_UPLOAD)?;
        let after = query.get("part-number-marker").unwrap_or("0").parse::<u64>().unwrap();
        let all: Vec<_> = upload.parts.range(after + 1..).collect();
        let mut xml = "<ListPartsResult>".to_owned();
        for (number, part) in all.iter().take(PAGE) {
            let (etag, size) = (self.etag(&part.md5), part.bytes.len());
            write!(xml, "<Part><PartNumber>{number}</PartNumber><ETag>\"{etag}\"</ETag>").unwrap();
            write!(xml, "<Size>{size}</Size></Part>").unwrap();
        }
        if all.len() > PAGE {
            let marker = all[PAGE - 1].0;
            xml += "<IsTruncated>true</IsTruncated>";
            write!(xml, "<NextPartNumberMarker>{marker}</NextPartNumberMarker>").unwrap();
        }
        Ok((xml + "</ListPartsResult>").into_response())
    }
}

fn uploads(content: &Content, query: &Query) -> String {
    let prefix = query.get("prefix").unwrap_or_default();
    let after = query.get("upload-id-marker").unwrap_or_default();
    let all = content.uploads.iter();
    let all: Vec<_> =
        all.filter(|(id, upload)| upload.key.starts_with(prefix) && id.as_str() > after).collect();
    let mut xml = "<ListMultipartUploadsResult>".to_owned();
    for (id, upload) in all.iter().take(PAGE) {
        let key = &upload.key;
        write!(xml, "<Upload><Key>{key}</Key><UploadId>{id}</UploadId>").unwrap();
        xml += "<Initiated>2026-01-01T00:00:00.000Z</Initiated></Upload>";
    }
    if all.len() > PAGE {
        let (id, upload) = all[PAGE - 1];
        let key = &upload.key;
        xml += "<IsTruncated>true</IsTruncated>";
        write!(xml, "<NextKeyMarker>{key}</NextKeyMarker>").unwrap();
        write!(xml, "<NextUploadIdMarker>{id}</NextUploadIdMarker>").unwrap();
    }
    xml + "</ListMultipartUploadsResult>"
}

fn objects(content: &Content, query: &Query) -> String {
    let prefix = query.get("prefix").unwrap_or_default();
    let after = query.get("continuation-token").unwrap_or_default();
    let all = content.objects.iter();
    let all: Vec<_> =
        all.filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after).collect();
    let mut xml = "<ListBucketResult>".to_owned();
    for (key, object) in all.iter().take(PAGE) {
        let size = object.bytes.len();
        write!(xml, "<Contents><Key>{key}</Key><Size>{size}</Size>").unwrap();
        xml += "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>";
    }
    if all.len() > PAGE {
        let token = all[PAGE - 1].0;
        xml += "<IsTruncated>true</IsTruncated>";
        write!(xml, "<NextContinuationToken>{token}</NextContinuationToken>").unwrap();
    }
    xml + "</ListBucketResult>"
}
