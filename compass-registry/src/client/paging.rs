//! Reads lists page by page (distribution specification, § Content Discovery).

use std::str::FromStr;

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};
use serde::de::DeserializeOwned;

use super::error_body;
use super::pull::read_limited;
use super::transport::{Request, Transport, is_ok};
use crate::Error;

/// The number of entries requested per page.
const PAGE: &str = "1000";

/// The maximum number of pages of a list.
const MAX_PAGES: usize = 10_000;

/// The maximum number of bytes of all pages of a list.
const MAX_BYTES: usize = 64 << 20;

/// Parses names, and skips invalid ones. A registry may contain names that are older than the
/// specification.
pub(super) fn parse_valid<T: FromStr<Err = Error>>(names: impl Iterator<Item = String>) -> Vec<T> {
    let parsed = names.map(|name| name.parse().inspect_err(|error| tracing::warn!(%error)));
    parsed.filter_map(Result::ok).collect()
}

pub(super) fn with_page_size(mut request: Request) -> Request {
    request.url.query_pairs_mut().append_pair("n", PAGE);
    request
}

pub(super) async fn fetch_pages<T: DeserializeOwned>(
    transport: &Transport,
    mut request: Request,
) -> Result<Vec<T>, Error> {
    let (mut pages, mut bytes) = (Vec::new(), 0);
    let bad = |request: &Request, reason: &str| Error::InvalidResponse {
        what: format!("the list {}{}", transport.host(), request.url.path()),
        reason: reason.to_owned(),
    };
    loop {
        let (headers, body) = fetch_page(transport, &request).await?;
        bytes += body.len();
        let page = serde_json::from_slice(&body);
        let page = page
            .map_err(|error| bad(&request, &format!("{error}: {}", error_body::summarize(&body))));
        pages.push(page?);
        let Some(link) = next_link(&headers) else { return Ok(pages) };
        let next = next_page(&request.url, &link);
        let next = next.ok_or_else(|| bad(&request, "its next page is a different list"))?;
        if next == request.url || pages.len() == MAX_PAGES || bytes > MAX_BYTES {
            return Err(bad(&request, "it has too many pages"));
        }
        request.url = next;
    }
}

/// Returns the URL of the next page at the same registry. A registry behind a proxy may put another
/// host into its links, so only their path and query are used.
fn next_page(current: &Url, link: &str) -> Option<Url> {
    let named = current.join(link).ok()?;
    let mut next = current.clone();
    next.set_query(named.query());
    let same = |url: &Url| url.path().trim_end_matches('/').to_owned();
    (same(&named) == same(current)).then_some(next)
}

async fn fetch_page(transport: &Transport, request: &Request) -> Result<(HeaderMap, Bytes), Error> {
    let read = || async {
        let response = transport.send_without_retry(request, is_ok).await?;
        let headers = response.headers().clone();
        Ok((headers, read_limited(transport, request, response).await?))
    };
    transport.retry().run(read).await
}

/// Returns the target of the link with `rel=next` (RFC 8288). A header may contain several links,
/// and may occur several times.
fn next_link(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(parse_links)
        .find(|(_, parameters)| is_next_rel(parameters))
        .map(|(target, _)| target)
}

/// Splits a header into link targets and their parameters.
fn parse_links(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('<') {
        let Some((target, after)) = after.split_once('>') else { break };
        let end = after.find('<').unwrap_or(after.len());
        let (parameters, after) = after.split_at(end);
        found.push((target.trim().to_owned(), parameters.to_owned()));
        rest = after;
    }
    found
}

fn is_next_rel(parameters: &str) -> bool {
    parameters.split([';', ',']).any(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else { return false };
        let relations = value.trim().trim_matches('"');
        let mut relations = relations.split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel")
            && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_link_finds_rel_next() {
        let next = |text: &str| next_link(&HeaderMap::from_iter([(LINK, text.parse().unwrap())]));
        let page = Some("/v2/_catalog?last=b&n=2".to_owned());
        for text in [
            r#"</v2/_catalog?last=b&n=2>; rel="next""#,
            "</v2/_catalog?last=b&n=2>;rel=next",
            "</v2/_catalog?last=b&n=2>; title=x; REL = \"Next\"",
            r#"</v2/_catalog?n=2>; rel="prev", </v2/_catalog?last=b&n=2>; rel="next""#,
            r#"</v2/_catalog?last=b&n=2>; rel="last next""#,
            r#"< /v2/_catalog?last=b&n=2 >; rel="next""#,
        ] {
            assert_eq!(next(text), page, "{text}");
        }
        for text in
            [r#"</v2/_catalog?last=b>; rel="prev""#, "nonsense", "<x", r#"<x>; rel="nexts""#]
        {
            assert_eq!(next(text), None, "{text}");
        }
        let mut several = HeaderMap::new();
        several.append(LINK, r#"</a>; rel="self""#.parse().unwrap());
        several.append(LINK, r#"</v2/_catalog?last=b&n=2>; rel="next""#.parse().unwrap());
        assert_eq!(next_link(&several), page);
    }

    #[test]
    fn next_page_keeps_registry_origin() {
        let list: Url = "https://reg.a:5000/v2/team/web/tags/list?n=2".parse().unwrap();
        let next = |link: &str| next_page(&list, link).map(|url| url.to_string());
        let page = Some("https://reg.a:5000/v2/team/web/tags/list?n=2&last=b".to_owned());
        for link in [
            "/v2/team/web/tags/list?n=2&last=b",
            "?n=2&last=b",
            "https://reg.a:5000/v2/team/web/tags/list?n=2&last=b",
            // A backend behind a proxy.
            "http://backend:8080/v2/team/web/tags/list?n=2&last=b",
            "/v2/team/web/tags/list/?n=2&last=b",
        ] {
            assert_eq!(next(link), page, "{link}");
        }
        assert_eq!(next("/v2/other/tags/list?last=b"), None);
    }
}
