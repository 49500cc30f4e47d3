//! URLs without secrets.

/// Removes user information, query and fragment from a URL, which may contain secrets.
pub fn redact_url(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let first = rest.split('/').next().unwrap_or_default();
    let start =
        if is_truncated_userinfo(first) { rest.rfind('@').map_or(0, |at| at + 1) } else { 0 };
    let rest = &rest[start..];
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// Whether `first`, the text before the first slash, is the start of user information.
///
/// This is the case if the password contains a slash. Otherwise the text is host and port.
fn is_truncated_userinfo(first: &str) -> bool {
    let port = first.rsplit_once(':').map(|(_, port)| port);
    let is_port = |port: &str| port.chars().all(|c| c.is_ascii_digit());
    !first.contains(['@', '[']) && port.is_some_and(|port| !is_port(port))
}

#[cfg(test)]
mod tests {
    use super::redact_url;

    #[test]
    fn redact_url_removes_credentials() {
        for (address, shown) in [
            ("http://token@host/a", "http://host/a"),
            ("http://user:p@ss@host:99999/a?sig=x", "http://host:99999/a"),
            ("https://me:p/w@host/x", "https://host/x"),
            ("https://me:p/w/x", "https://me:p/w/x"),
            ("http://host:8080/a@b", "http://host:8080/a@b"),
            ("http://[::1]:8080/a@b", "http://[::1]:8080/a@b"),
            ("https://host/a@b#c", "https://host/a@b"),
            ("s3://bucket", "s3://bucket"),
            ("out/a#b.tar.gz", "out/a#b.tar.gz"),
        ] {
            assert_eq!(redact_url(address), shown);
        }
    }
}
