//! Lists the repositories of a registry (`/v2/_catalog`).

use serde::Deserialize;

use super::paging::{fetch_pages, parse_valid, with_page_size};
use super::transport::Transport;
use crate::{Error, Repository};

#[derive(Deserialize)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

pub(super) async fn list_repositories(transport: &Transport) -> Result<Vec<Repository>, Error> {
    let request = transport.root_request("_catalog", "registry:catalog:*");
    let pages: Vec<Catalog> = fetch_pages(transport, with_page_size(request)).await?;
    Ok(parse_valid(pages.into_iter().filter_map(|page| page.repositories).flatten()))
}
