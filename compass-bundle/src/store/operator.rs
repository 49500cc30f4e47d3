//! Connections to object storages, configured by their usual environment variables.

use std::time::Duration;

use opendal::layers::{RetryLayer, TimeoutLayer};
use opendal::services::{Oss, S3};
use opendal::{HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;

use super::redact_url;
use super::storage_error::credential_variables;
use crate::Error;

/// Splits a URL into bucket and path.
pub(super) fn split(address: &str) -> Result<(&str, &str), Error> {
    let rest = address.split_once("://").map_or("", |(_, rest)| rest);
    let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(Error::invalid_address(address, "the bucket is missing"));
    }
    Ok((bucket, path))
}

/// Creates the client of a bucket. `root` is the prefix of all keys.
pub(super) fn operator(address: &str, bucket: &str, root: &str) -> Result<Operator, Error> {
    let environment = |names: &[&str]| {
        names.iter().find_map(|name| std::env::var(name).ok()).filter(|value| !value.is_empty())
    };
    let is_oss = address.starts_with("oss://");
    let endpoint = environment(match is_oss {
        true => &["OSS_ENDPOINT", "ALIBABA_CLOUD_OSS_ENDPOINT"],
        false => &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
    });
    if endpoint.as_ref().is_some_and(|endpoint| redact_url(endpoint) != *endpoint) {
        let variables = credential_variables(is_oss);
        let reason = format!("set {variables} instead of writing credentials into the endpoint");
        return Err(Error::invalid_address(address, reason));
    }
    let root = format!("/{root}");
    let operator = if is_oss {
        let endpoint =
            endpoint.ok_or_else(|| Error::invalid_address(address, "OSS_ENDPOINT is not set"))?;
        Operator::new(Oss::default().bucket(bucket).root(&root).endpoint(&endpoint))
    } else {
        let mut s3 = S3::default().bucket(bucket).root(&root).disable_ec2_metadata();
        if let Some(endpoint) = endpoint {
            s3 = s3.endpoint(&endpoint);
        }
        let region = environment(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
        Operator::new(s3.region(region.as_deref().unwrap_or("us-east-1")))
    };
    let operator = operator.map_err(|error| Error::invalid_address(address, error.to_string()))?;
    let timeout = TimeoutLayer::default().with_io_timeout(Duration::from_mins(1));
    let retry = RetryLayer::new().with_max_times(4).with_jitter();
    // Use the TLS settings and timeouts of web servers.
    let client = super::http::client();
    let client = client.map_err(|error| Error::invalid_address(address, error.to_string()))?;
    let transport = HttpTransporter::new(ReqwestTransport::new(client));
    let context = OperationContext::new().with_http_transport(transport);
    Ok(operator.with_context(context).layer(timeout).layer(retry))
}
