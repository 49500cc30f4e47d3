//! What a person can do about an error.

use std::fmt;

use tokio::time::error::Elapsed;

use super::Error;
use super::connection::{ConnectionError, error_chain};
use crate::connect_retry::ConnectRefused;
use crate::min_speed::TooSlow;

/// What the user can do about an error, as data: a program words it with its own options.
///
/// `Display` words it without them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// A complete sentence.
    Text(&'static str),
    /// Copy the image with all its platforms.
    AllPlatforms,
    /// Select one of the platforms that the error names.
    SelectPlatform,
    /// Send fewer requests at once, or log in: the registry limits the rate.
    ReduceConcurrency,
    /// Check the connection, or lower the minimum speed of transfers.
    LowerMinSpeed,
    /// Do not use plain HTTP: the port requires TLS.
    UseTls,
    /// Use plain HTTP: the port does not support TLS.
    UsePlainHttp,
    /// Check the host and port: the port requires TLS or is not an HTTP port.
    CheckProtocol,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(text) => text,
            Self::AllPlatforms => "copy the image with all its platforms",
            Self::SelectPlatform => "select one of these platforms",
            Self::ReduceConcurrency => {
                "wait, send fewer requests at once, or log in with an account that has a higher limit"
            }
            Self::LowerMinSpeed => "check the connection, or lower the minimum speed of transfers",
            Self::UseTls => "the port requires TLS: do not use plain HTTP",
            Self::UsePlainHttp => "the port does not support TLS: use plain HTTP",
            Self::CheckProtocol => {
                "the port does not speak HTTP, or only with TLS: check the host and port"
            }
        })
    }
}

/// What servers answer whose disk is full (RFC 4918, § 11.5).
const INSUFFICIENT_STORAGE: u16 = 507;

/// The request that asks whether a host is a registry at all.
const PING: &str = "GET /v2/";

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NotFound { .. } => Some(Hint::Text(MISSING)),
            Self::Unauthorized { reason, .. } => {
                // Before the status, there are names of images and files.
                let words = reason.split_once("(403)").map_or("", |(_, words)| words);
                hint_for_message(words).or(Some(Hint::Text(LOGIN)))
            }
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => Some(Hint::Text(
                "the registry holds or sends damaged content: push the image again",
            )),
            Self::NotARegistry { .. } => Some(Hint::Text(NO_REGISTRY)),
            Self::NoSuchPlatform { available, .. } if available.is_empty() => {
                Some(Hint::AllPlatforms)
            }
            Self::NoSuchPlatform { .. } | Self::AmbiguousPlatform { .. } => {
                Some(Hint::SelectPlatform)
            }
            Self::Unreachable { source, .. } => Some(hint_for_connection(&**source)),
            Self::TagExists { .. } => {
                Some(Hint::Text("a published tag is immutable: increase the version"))
            }
            Self::TagMoved { .. } => {
                Some(Hint::Text("another client pushed the tag: run the command again"))
            }
            Self::Status { request, status, message, .. } => {
                hint_for_status(request, *status, message)
            }
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Some(Hint::Text("free some space, or write to another disk"))
            }
            Self::Blob { source, .. } | Self::Image { source, .. } => source.hint(),
            _ => None,
        }
    }
}

const NO_REGISTRY: &str = "no registry answers there: check the host and port, and whether the \
                           registry is behind another name";

const LOGIN: &str =
    "log in with `docker login` or `skopeo login`, with an account that may do this";

/// What the error for a request without a login ends with.
const ANONYMOUS: &str = "(asked without a login)";

const MISSING: &str = "check the name and tag, and whether the image has been pushed";

const MISSING_OR_HIDDEN: &str = "check the name and tag, and whether the image has been pushed; a \
                                 private one needs a login";

const MISSING_PROJECT: &str = "check the project's name, and whether it must be created at the \
                               registry before images are pushed to it";

const MISSING_OR_HIDDEN_PROJECT: &str = "check the project's name, whether it must be created at the \
                                         registry before images are pushed to it, and whether a \
                                         login is needed";

/// Advice for what some registries say with a status that tells little.
fn hint_for_message(message: &str) -> Option<Hint> {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let is_exceeded = says(&["exceed", "reach", "limit"]);
    if is_exceeded && says(&["quota", "storage resource"]) {
        return Some(Hint::Text(
            "free some space in the project, or have its limit raised at the registry",
        ));
    }
    if says(&["immutable"]) && says(&["tag"]) {
        return Some(Hint::Text("tags are immutable in that project: increase the version"));
    }
    if says(&["rate limit", "rate exceeded", "toomanyrequests", "too many requests"]) {
        return Some(Hint::ReduceConcurrency);
    }
    if says(&["http request to an https server", "http request was sent to https port"]) {
        return Some(Hint::UseTls);
    }
    None
}

/// Advice for a request that a registry refuses.
fn hint_for_status(request: &str, status: u16, message: &str) -> Option<Hint> {
    if (400..500).contains(&status)
        && let Some(hint) = hint_for_message(message)
    {
        return Some(hint);
    }
    let writes = ["POST ", "PUT ", "PATCH "].iter().any(|method| request.starts_with(method));
    let text = match status {
        429 => return Some(Hint::ReduceConcurrency),
        404 if request == PING => Some(NO_REGISTRY),
        400 if message.contains("DENIED") || message.contains("UNAUTHORIZED") => Some(LOGIN),
        400 | 404 if writes && message.contains("BLOB_UNKNOWN") => Some(
            "the registry does not find a blob that it took: run the command again, and see its own \
             log if that does not help",
        ),
        // Other error codes explain themselves.
        404 if writes && (request.starts_with("POST ") || message.contains("NAME_UNKNOWN")) => {
            Some(if message.contains(ANONYMOUS) {
                MISSING_OR_HIDDEN_PROJECT
            } else {
                MISSING_PROJECT
            })
        }
        404 if writes => None,
        404 if request.starts_with("GET ") && request.contains("/blobs/") => Some(
            "the registry lacks a part of the image that its manifest names: push the image again from \
             where it is whole",
        ),
        404 if message.contains(ANONYMOUS) => Some(MISSING_OR_HIDDEN),
        404 => Some(MISSING),
        405 | 501 if writes => {
            Some("the registry takes no pushes: it may be a mirror, a cache, or read-only")
        }
        413 => Some(
            "a proxy before the registry limits how large a request may be: raise that limit (nginx: \
             `client_max_body_size 0`)",
        ),
        300..=399 => Some("name the registry by the address that it redirects to"),
        INSUFFICIENT_STORAGE => Some("free some space where the registry keeps its images"),
        500..=599 => Some("see the registry's own log, and run the command again"),
        _ => None,
    };
    text.map(Hint::Text)
}

/// Advice for a host that cannot be reached, or a connection that broke.
fn hint_for_connection(error: &(dyn std::error::Error + 'static)) -> Hint {
    if error.is::<Elapsed>() {
        return Hint::Text(
            "the host accepts connections and does not answer: check the address and port, and for a proxy or firewall in between",
        );
    }
    if error.is::<TooSlow>() {
        return Hint::LowerMinSpeed;
    }
    if error.is::<ConnectRefused>() || refuses_connections(error) {
        return Hint::Text("check the host name and port, and whether the registry is running");
    }
    if chain_contains(error, "UnknownIssuer") {
        return Hint::Text(
            "name the file of its certificate authority under `registries.hosts`, as `ca: FILE`, in the policy",
        );
    }
    if is_certificate_error(error) {
        return Hint::Text(
            "its certificate is not one for this host now: look at its names, its dates and who signed it",
        );
    }
    if chain_contains(error, "InvalidContentType") {
        return Hint::UsePlainHttp;
    }
    if chain_contains(error, "invalid HTTP version parsed") {
        return Hint::CheckProtocol;
    }
    if error.downcast_ref().is_some_and(|error: &ConnectionError| error.was_open) {
        return Hint::Text(
            "run the command again; check the network, and proxies that end long transfers",
        );
    }
    Hint::Text(
        "check the host name, the network and the proxy settings; a registry without TLS needs `plain_http: true` in the policy",
    )
}

fn refuses_connections(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut io = error_chain(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.any(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// Whether the TLS library rejects the server's certificate.
pub(super) fn is_certificate_error(error: &(dyn std::error::Error + 'static)) -> bool {
    chain_contains(error, "invalid peer certificate")
}

/// Whether an error or one of its causes contains a text. The TLS library's own types are not
/// accessible through those of the HTTP library.
fn chain_contains(error: &(dyn std::error::Error + 'static), text: &str) -> bool {
    error_chain(error).any(|cause| cause.to_string().contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_the_request_that_was_refused() {
        for (request, status, message, advice) in [
            ("GET /v2/a/manifests/v1", 404, "", Some("has been pushed")),
            ("HEAD /v2/a/blobs/sha256:00", 404, "", Some("has been pushed")),
            ("GET /v2/", 404, "", Some("no registry answers there")),
            ("GET /v2/", 404, ANONYMOUS, Some("no registry answers there")),
            ("GET /v2/a/manifests/v1", 404, ANONYMOUS, Some("a private one needs a login")),
            ("POST /v2/a/blobs/uploads/", 404, ANONYMOUS, Some("must be created")),
            ("GET /v2/a/blobs/sha256:00", 404, ANONYMOUS, Some("lacks a part")),
            ("PUT /v2/a/manifests/v1", 404, "BLOB_UNKNOWN (asked without a login)", Some("again")),
            ("GET /v2/a/blobs/sha256:00", 404, "", Some("lacks a part")),
            ("POST /v2/a/blobs/uploads/", 404, "", Some("must be created")),
            ("POST /v2/a/blobs/uploads/", 412, "the upper Quota is reached", Some("limit raised")),
            ("PUT /v2/a/manifests/v1", 412, "the tag is immutable", Some("increase the version")),
            ("GET /v2/a/manifests/v1", 400, "Rate exceeded", Some("fewer requests")),
            ("GET /v2/", 400, "Client sent an HTTP request to an HTTPS server.", Some("TLS")),
            ("PUT /v2/a/manifests/v1", 500, "quota exceeded", Some("own log")),
            ("GET /v2/a/manifests/v1", 404, "no team/quota", Some("has been pushed")),
            ("PUT /v2/a/manifests/v1", 404, "NAME_UNKNOWN no", Some("must be created")),
            ("PUT /v2/a/manifests/v1", 404, "MANIFEST_UNKNOWN read only", None),
            (
                "PUT /v2/a/manifests/v1",
                400,
                "MANIFEST_BLOB_UNKNOWN x",
                Some("run the command again"),
            ),
            ("PUT /v2/a/manifests/v1", 404, "BLOB_UNKNOWN x", Some("run the command again")),
            ("PUT /v2/a/manifests/v1", 405, "", Some("takes no pushes")),
            ("GET /v2/_catalog", 405, "", None),
            ("PUT /v2/a/blobs/uploads/1", 413, "", Some("client_max_body_size")),
            ("PUT /v2/a/manifests/v1", 412, "", None),
            ("GET /v2/a/manifests/v1", 400, "DENIED the token is invalid", Some("log in with")),
            ("PUT /v2/a/manifests/v1", 400, "", None),
            ("GET /v2/a/manifests/v1", 429, "", Some("fewer requests")),
            ("PUT /v2/a/blobs/uploads/1", 507, "", Some("free some space")),
            ("GET /v2/a/manifests/v1", 502, "", Some("own log")),
        ] {
            let error = Error::Status {
                host: "a.b".to_owned(),
                request: request.to_owned(),
                status,
                message: message.to_owned(),
                retry_after: None,
            };
            let hint = error.hint().map(|hint| hint.to_string());
            match advice {
                Some(advice) => {
                    assert!(
                        hint.as_ref().is_some_and(|hint| hint.contains(advice)),
                        "{request}: {hint:?}"
                    )
                }
                None => assert_eq!(hint, None, "{request} {status}"),
            }
        }
    }

    #[test]
    fn login_advice_follows_refusal_words() {
        for (reason, advice) in [
            ("POST /v2/a/blobs/uploads/ as `u` (403): DENIED not a member", "log in with"),
            ("POST /v2/a/blobs/uploads/ as `u` (403): DENIED quota exceeded", "limit raised"),
            ("GET /v2/a/manifests/v1 as `u` (403): rate limit exceeded", "fewer requests"),
            ("GET /v2/quota-limit/manifests/v1 as `u` (401)", "log in with"),
        ] {
            let (host, reason) = ("a.b".to_owned(), reason.to_owned());
            let hint = Error::Unauthorized { host, reason }.hint().unwrap().to_string();
            assert!(hint.contains(advice), "{hint}");
        }
    }

    #[test]
    fn advice_for_connection_fits_its_cause() {
        for (cause, advice) in [
            (std::io::Error::from(std::io::ErrorKind::ConnectionRefused), "is running"),
            (std::io::Error::other("invalid HTTP version parsed"), "does not speak HTTP"),
            (std::io::Error::other("no route"), "check the network"),
        ] {
            let source = Box::new(ConnectionError::new(true, cause));
            let (host, request) = ("a.b".to_owned(), "GET /v2/".to_owned());
            let hint = Error::Unreachable { host, request, source }.hint().unwrap().to_string();
            assert!(hint.contains(advice), "{hint}");
        }
    }
}
