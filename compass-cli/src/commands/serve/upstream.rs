//! The cache of another registry.

use std::path::Path;

use compass_registry::Error;
use compass_registry::pull_through::PullThroughCache;

use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::registries::Registries;

/// The registry behind a cache.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    pub(super) host: String,
    pub(super) is_plain_http: bool,
}

/// Parses `HOST[:PORT]`, or a URL without a path.
pub(super) fn parse_upstream(text: &str) -> Result<Upstream, &'static str> {
    let (is_plain_http, host) = match text.split_once("://") {
        Some(("http", host)) => (true, host),
        Some(("https", host)) => (false, host),
        Some(_) => return Err("expected an `http` or `https` URL, or `HOST[:PORT]`"),
        None => (false, text),
    };
    let host = host.trim_end_matches('/');
    if host.contains('@') {
        return Err("credentials belong in the credentials file (docs/registries.md)");
    }
    match host.is_empty() || host.contains(['/', '?', '#']) {
        true => Err("expected the URL of a registry without a path, as `https://HOST[:PORT]`"),
        false => Ok(Upstream { host: host.to_owned(), is_plain_http }),
    }
}

/// The units of sizes, as powers of two and of ten.
const UNITS: [(&str, u64); 9] = [
    ("KIB", 1 << 10),
    ("MIB", 1 << 20),
    ("GIB", 1 << 30),
    ("TIB", 1 << 40),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("", 1),
];

/// Parses a size: a number and an optional unit, such as `50GiB`.
pub(super) fn parse_size(text: &str) -> Result<u64, &'static str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_uppercase();
    let unit = UNITS.into_iter().find(|(name, _)| *name == unit);
    let size = number.parse::<u64>().ok().zip(unit);
    let size = size.and_then(|(number, (_, unit))| number.checked_mul(unit));
    size.filter(|size| *size > 0).ok_or("expected a number and a unit, such as `50GiB`")
}

/// Opens the cache of a registry.
pub(super) async fn open_cache(
    upstream: &Upstream,
    directory: &Path,
    max_bytes: u64,
    global: &GlobalArgs,
) -> Result<PullThroughCache> {
    // Clients wait for the upstream registry, so the limits are short.
    let registries = Registries::at_site(global)?.interactive();
    let client = registries.client(&upstream.host, upstream.is_plain_http)?;
    let opened = PullThroughCache::open(client, directory, max_bytes).await;
    opened.map_err(|error| {
        let is_foreign = matches!(error, Error::InvalidContent { .. });
        let error = CliError::from(error);
        if is_foreign { error.into_config() } else { error }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_is_host_or_url() {
        for (text, expected) in [
            ("harbor.example", Some(("harbor.example", false))),
            ("https://harbor.example:8443/", Some(("harbor.example:8443", false))),
            ("http://10.0.0.1:5000", Some(("10.0.0.1:5000", true))),
            ("https://harbor.example/project", None),
            ("https://me:hunter2@harbor.example", None),
            ("ftp://harbor.example", None),
            ("http://", None),
        ] {
            let parsed = parse_upstream(text).ok();
            let parsed = parsed.as_ref().map(|one| (one.host.as_str(), one.is_plain_http));
            assert_eq!(parsed, expected, "{text}");
        }
    }

    #[test]
    fn size_has_unit() {
        for (text, expected) in [
            ("1024", Some(1024)),
            ("50GiB", Some(50 << 30)),
            ("2 tib", Some(2 << 40)),
            ("500MB", Some(500_000_000)),
            ("0", None),
            ("GiB", None),
            ("5 apples", None),
            ("99999999999TiB", None),
        ] {
            assert_eq!(parse_size(text).ok(), expected, "{text}");
        }
    }
}
