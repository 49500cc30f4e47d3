//! Reads lists, which the forge sends in pages.

use compass_registry::Digest;
use reqwest::Url;
use serde::de::DeserializeOwned;

use super::super::super::Result;
use super::{JSON, MAX_ANSWER, Transport, too_large};

/// The maximum number of times that a list is read. The next look at a pull request reads it again.
const MAX_READINGS: u32 = 4;

/// The number of items on a page: the maximum of GitHub.
const PAGE_SIZE: usize = 100;

/// The length of the body `[]`.
const EMPTY_LIST: usize = 2;

impl Transport {
    /// Reads all pages of a list.
    ///
    /// If an item is removed while the pages are read, those after it move to earlier pages, and one is
    /// missed. So a list of several pages is read until two readings are equal. A page that did not
    /// change costs no request of the limit, unless it is the last and has many items.
    pub(in super::super) async fn get_pages<T: DeserializeOwned>(
        &self,
        action: &str,
        mut url: Url,
    ) -> Result<Vec<T>> {
        url.query_pairs_mut().append_pair("per_page", &PAGE_SIZE.to_string());
        let (mut before, mut readings) = (Vec::new(), 0);
        loop {
            let (items, pages) = self.read_pages(action, url.clone()).await?;
            readings += 1;
            if pages.len() <= 1 || pages == before || readings == MAX_READINGS {
                return Ok(items);
            }
            before = pages;
        }
    }

    /// Reads the pages of a list once; also returns their digests.
    async fn read_pages<T: DeserializeOwned>(
        &self,
        action: &str,
        url: Url,
    ) -> Result<(Vec<T>, Vec<Digest>)> {
        let (mut items, mut pages, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut next = Some(url);
        while let Some(url) = next {
            let answer = self.get(action, url.clone(), JSON).await?;
            bytes += answer.body.len();
            if bytes > MAX_ANSWER {
                return Err(too_large(action));
            }
            let page = answer.json::<Vec<T>>(action)?;
            if answer.next.is_none() && page.len() > PAGE_SIZE / 2 {
                // The next item may open a new page, which changes neither this page nor its tag: only
                // the header of a complete answer names it. A full page may show fewer items, because
                // forges hide some.
                self.cache.remove(&url);
            }
            items.extend(page);
            pages.push(Digest::of(&answer.body));
            // An empty page ends the list, whatever its header says.
            next = answer.next.filter(|_| answer.body.len() > EMPTY_LIST);
        }
        Ok((items, pages))
    }
}
