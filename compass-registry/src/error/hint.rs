//! Hints at what the user can do about an error.

use std::fmt;

use tokio::time::error::Elapsed;

use super::Error;
use super::connection::{ConnectionError, error_chain};
use crate::connect_retry::ConnectRefused;
use crate::min_speed::TooSlow;

/// The words of the errors if no CA certificate was found.
pub(crate) const NO_CERTIFICATES: &str = "no CA certificates";

/// A hint at what the user can do about an error. It is data instead of text, so that a program can
/// name its own options.
///
/// `Display` formats it without options.
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
    /// Trust the certificate authority that issued the registry's certificate.
    TrustIssuer,
    /// Check the host name, the network and the proxy, or use plain HTTP.
    CheckNetwork,
    /// Name a repository in which the tests may write.
    ScratchRepository,
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
            Self::LowerMinSpeed => "check the network, or lower the minimum speed of transfers",
            Self::UseTls => "the port requires TLS: do not use plain HTTP",
            Self::UsePlainHttp => "the port does not support TLS: use plain HTTP",
            Self::CheckProtocol => {
                "the port does not use HTTP, or only with TLS: check the host and port"
            }
            Self::TrustIssuer => "trust the certificate authority of the registry's certificate",
            Self::CheckNetwork => {
                "check the host name, the network and the proxy settings; a registry without TLS \
                 needs plain HTTP"
            }
            Self::ScratchRepository => "name a repository in which the tests may write",
        })
    }
}

/// The status of servers whose disk is full (RFC 4918, § 11.5).
const INSUFFICIENT_STORAGE: u16 = 507;

/// The request that checks whether a host is a registry.
const PING: &str = "GET /v2/";

impl Error {
    /// Returns a hint at what the user can do about the error.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NotFound { .. } => Some(Hint::Text(MISSING)),
            Self::Unauthorized { reason, .. } => {
                // Skip the text before the status, which contains names of images and files.
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

const NO_REGISTRY: &str = "check the host and port, and whether the registry has another \
                           host name";

const LOGIN: &str =
    "log in with `docker login` or `skopeo login`, with an account that may do this";

/// The end of the error message of a request without a login.
const ANONYMOUS: &str = "(asked without a login)";

const MISSING: &str = "check the name and tag, and whether the image has been pushed";

const MISSING_OR_HIDDEN: &str = "check the name and tag, and whether the image has been pushed; a \
                                 private one needs a login";

const MISSING_PROJECT: &str = "check the project's name, and whether it must be created at the \
                               registry before images are pushed to it";

const MISSING_OR_HIDDEN_PROJECT: &str = "check the project's name, whether it must be created at the \
                                         registry before images are pushed to it, and whether a \
                                         login is needed";

/// Returns the hint for messages that some registries send with an unspecific status.
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

/// Returns the hint for a request that a registry rejected.
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
            "the registry lost a blob that it accepted: run the command again, and check the \
             registry's log if that does not help",
        ),
        // Other error codes are self-explanatory.
        404 if writes && (request.starts_with("POST ") || message.contains("NAME_UNKNOWN")) => {
            Some(if message.contains(ANONYMOUS) {
                MISSING_OR_HIDDEN_PROJECT
            } else {
                MISSING_PROJECT
            })
        }
        404 if writes => None,
        404 if request.starts_with("GET ") && request.contains("/blobs/") => Some(
            "the registry lacks a blob of the image: push the image again from a complete \
             source",
        ),
        404 if message.contains(ANONYMOUS) => Some(MISSING_OR_HIDDEN),
        404 => Some(MISSING),
        405 | 501 if writes => {
            Some("the registry does not accept pushes: it may be a mirror, a cache, or read-only")
        }
        413 => Some(
            "a proxy in front of the registry limits the size of requests: raise the limit (nginx: \
             `client_max_body_size 0`)",
        ),
        300..=399 => Some("use the address that the registry redirects to"),
        INSUFFICIENT_STORAGE => Some("free some space in the registry's storage"),
        500..=599 => Some("check the registry's log, and run the command again"),
        _ => None,
    };
    text.map(Hint::Text)
}

/// Returns the hint for an unreachable host or a broken connection.
fn hint_for_connection(error: &(dyn std::error::Error + 'static)) -> Hint {
    if error.is::<Elapsed>() {
        return Hint::Text(
            "the host accepts connections but does not respond: check the address and port, and any proxy or firewall in between",
        );
    }
    if error.is::<TooSlow>() {
        return Hint::LowerMinSpeed;
    }
    if error.is::<ConnectRefused>() || refuses_connections(error) {
        return Hint::Text(
            "check the host name, the port and the proxy settings, and whether the registry is running",
        );
    }
    if chain_contains(error, "UnknownIssuer") || chain_contains(error, NO_CERTIFICATES) {
        return Hint::TrustIssuer;
    }
    if is_certificate_error(error) {
        return Hint::Text(
            "the certificate is not valid for this host: check its names, its dates and its issuer",
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
            "run the command again; check the network, and proxies that limit the duration of transfers",
        );
    }
    Hint::CheckNetwork
}

fn refuses_connections(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut io = error_chain(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.any(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// Whether the TLS library rejected the server's certificate.
pub(super) fn is_certificate_error(error: &(dyn std::error::Error + 'static)) -> bool {
    chain_contains(error, "invalid peer certificate")
}

/// Whether an error or one of its causes contains a text. The types of the TLS library are not
/// accessible through the HTTP library.
fn chain_contains(error: &(dyn std::error::Error + 'static), text: &str) -> bool {
    error_chain(error).any(|cause| cause.to_string().contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hint_matches_refused_request() {
        for (request, status, message, advice) in [
            ("GET /v2/a/manifests/v1", 404, "", Some("has been pushed")),
            ("HEAD /v2/a/blobs/sha256:00", 404, "", Some("has been pushed")),
            ("GET /v2/", 404, "", Some("check the host and port")),
            ("GET /v2/", 404, ANONYMOUS, Some("check the host and port")),
            ("GET /v2/a/manifests/v1", 404, ANONYMOUS, Some("a private one needs a login")),
            ("POST /v2/a/blobs/uploads/", 404, ANONYMOUS, Some("must be created")),
            ("GET /v2/a/blobs/sha256:00", 404, ANONYMOUS, Some("lacks a blob")),
            ("PUT /v2/a/manifests/v1", 404, "BLOB_UNKNOWN (asked without a login)", Some("again")),
            ("GET /v2/a/blobs/sha256:00", 404, "", Some("lacks a blob")),
            ("POST /v2/a/blobs/uploads/", 404, "", Some("must be created")),
            ("POST /v2/a/blobs/uploads/", 412, "the upper Quota is reached", Some("limit raised")),
            ("PUT /v2/a/manifests/v1", 412, "the tag is immutable", Some("increase the version")),
            ("GET /v2/a/manifests/v1", 400, "Rate exceeded", Some("fewer requests")),
            ("GET /v2/", 400, "Client sent an HTTP request to an HTTPS server.", Some("TLS")),
            ("PUT /v2/a/manifests/v1", 500, "quota exceeded", Some("registry's log")),
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
            ("PUT /v2/a/manifests/v1", 405, "", Some("does not accept pushes")),
            ("GET /v2/_catalog", 405, "", None),
            ("PUT /v2/a/blobs/uploads/1", 413, "", Some("client_max_body_size")),
            ("PUT /v2/a/manifests/v1", 412, "", None),
            ("GET /v2/a/manifests/v1", 400, "DENIED the token is invalid", Some("log in with")),
            ("PUT /v2/a/manifests/v1", 400, "", None),
            ("GET /v2/a/manifests/v1", 429, "", Some("fewer requests")),
            ("PUT /v2/a/blobs/uploads/1", 507, "", Some("free some space")),
            ("GET /v2/a/manifests/v1", 502, "", Some("registry's log")),
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
    fn hint_for_login_follows_message() {
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
    fn hint_matches_cause_of_connection_error() {
        for (cause, advice) in [
            (std::io::Error::from(std::io::ErrorKind::ConnectionRefused), "is running"),
            (std::io::Error::other("invalid HTTP version parsed"), "does not use HTTP"),
            (std::io::Error::other("no route"), "check the network"),
        ] {
            let source = Box::new(ConnectionError::new(true, cause));
            let (host, request) = ("a.b".to_owned(), "GET /v2/".to_owned());
            let hint = Error::Unreachable { host, request, source }.hint().unwrap().to_string();
            assert!(hint.contains(advice), "{hint}");
        }
    }
}
