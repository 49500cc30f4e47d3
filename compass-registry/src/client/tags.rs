//! Lists the tags of a repository (distribution specification, § Listing Tags).

use reqwest::Method;
use serde::Deserialize;

use super::paging::{fetch_pages, parse_valid, with_page_size};
use super::transport::Transport;
use crate::{Error, Repository, Tag};

#[derive(Deserialize)]
struct Tags {
    /// Registries send null if there are none.
    tags: Option<Vec<String>>,
}

pub(super) async fn list_tags(
    transport: &Transport,
    repository: &Repository,
) -> Result<Vec<Tag>, Error> {
    let request = transport.request(Method::GET, repository, "tags/list", "pull");
    let pages: Vec<Tags> = fetch_pages(transport, with_page_size(request)).await?;
    Ok(parse_valid(pages.into_iter().filter_map(|page| page.tags).flatten()))
}
