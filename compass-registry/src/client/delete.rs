//! Deletes tags, manifests and blobs (distribution specification, § Content Management).

use reqwest::Method;

use super::push::PUSH;
use super::transport::{Transport, is_success};
use crate::{Error, Repository};

/// Deletes a resource of a repository, such as `manifests/<tag>`.
pub(super) async fn delete(
    transport: &Transport,
    repository: &Repository,
    rest: &str,
) -> Result<(), Error> {
    let actions = format!("{PUSH},delete");
    let request = transport.request(Method::DELETE, repository, rest, &actions);
    transport.send(&request, is_success).await.map(drop)
}
