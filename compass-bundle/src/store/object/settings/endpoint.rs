//! Endpoints: the host of a storage, and the addressing of buckets at it.

use std::net::IpAddr;

use super::super::super::redact_url;

/// How the URL of an object names its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Addressing {
    /// `https://bucket.endpoint/key`
    VirtualHost,
    /// `https://endpoint/bucket/key`
    Path,
    /// `https://endpoint/key`: the endpoint is a domain of the bucket.
    Cname,
}

impl Addressing {
    /// Parses the name of an addressing style.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "virtual" | "virtual-host" | "virtual-hosted" => Ok(Self::VirtualHost),
            "path" => Ok(Self::Path),
            "cname" => Ok(Self::Cname),
            _ => Err(format!("the addressing style `{text}` is not `virtual`, `path` or `cname`")),
        }
    }
}

/// The scheme and host of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Endpoint {
    pub(in super::super) is_https: bool,
    /// The host, and the port if it is not the default.
    pub(in super::super) authority: String,
}

impl Endpoint {
    /// Parses `HOST[:PORT]` with or without a scheme; the default is https.
    ///
    /// `credentials` names the settings for credentials, for the error of a URL that contains them.
    pub(super) fn parse(text: &str, credentials: &str) -> Result<Self, String> {
        if redact_url(&with_scheme(text)) != with_scheme(text) {
            return Err(format!(
                "set {credentials} instead of writing credentials into the endpoint"
            ));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(format!("the endpoint `{text}` is not an http or https URL")),
        };
        let authority = rest.trim_end_matches('/');
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(is_valid) {
            return Err(format!("the endpoint `{text}` is not a host"));
        }
        Ok(Self { is_https, authority: authority.to_ascii_lowercase() })
    }

    /// The host without its port.
    pub(in super::super) fn host(&self) -> &str {
        match self.authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.authority.split(':').next().unwrap_or_default(),
        }
    }

    /// Whether no subdomains of the host can exist: it is an IP address or this machine.
    pub(super) fn requires_path(&self) -> bool {
        self.host() == "localhost" || self.host().parse::<IpAddr>().is_ok()
    }

    /// The scheme of URLs.
    pub(in super::super) fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }
}

fn with_scheme(text: &str) -> String {
    if text.contains("://") { text.to_owned() } else { format!("https://{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_reads_scheme_and_host() {
        let parse = |text| Endpoint::parse(text, "KEYS").map(|one| (one.scheme(), one.authority));
        let https = |host: &str| Ok(("https", host.to_owned()));
        assert_eq!(parse("oss-cn-hangzhou.aliyuncs.com"), https("oss-cn-hangzhou.aliyuncs.com"));
        assert_eq!(parse("https://Host.example/"), https("host.example"));
        assert_eq!(parse("http://[::1]:8080"), Ok(("http", "[::1]:8080".to_owned())));
        for text in ["", "https://", "ftp://a", "https://a/b", "a b"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["https://user:secret@host", "user@host", "https://host?token=secret"] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("set KEYS") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn ip_endpoint_requires_path() {
        for (text, expected) in
            [("127.0.0.1:80", true), ("http://[::1]:80", true), ("localhost", true), ("a.b", false)]
        {
            assert_eq!(Endpoint::parse(text, "").unwrap().requires_path(), expected, "{text}");
        }
    }
}
