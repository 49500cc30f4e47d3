//! The `WWW-Authenticate` header (RFC 9110, § 11.6.1; distribution token specification).

/// How a registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// With user and password in each request.
    Basic,
    /// With a token from a token service.
    Bearer {
        /// The token service's URL.
        realm: String,
        /// The name it knows the registry by.
        service: Option<String>,
        /// What the token must be good for.
        scope: Option<String>,
    },
}

impl Challenge {
    /// How the registry would ask for anything else.
    pub(super) fn without_scope(self) -> Self {
        match self {
            Self::Bearer { realm, service, .. } => Self::Bearer { realm, service, scope: None },
            Self::Basic => Self::Basic,
        }
    }
}

/// Reads one header value, which may hold several challenges; other schemes are nothing.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<String> = Vec::new();
    for item in items(header) {
        match challenges.last_mut() {
            Some(challenge) if is_parameter(item) => {
                challenge.push(',');
                challenge.push_str(item);
            }
            _ => challenges.push(item.to_owned()),
        }
    }
    challenges.iter().filter_map(|challenge| parse_one(challenge)).collect()
}

/// The parts between commas that stand in no quotes.
fn items(header: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = header.split(move |c| {
        let plain = !escaped;
        escaped = quoted && plain && c == '\\';
        quoted ^= plain && c == '"';
        c == ',' && !quoted
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// `key=value`, and no scheme, which stands alone or in front of a space.
fn is_parameter(item: &str) -> bool {
    let key = item.split('=').next().unwrap_or_default().trim();
    key.len() < item.len() && !key.contains(' ')
}

fn parse_one(challenge: &str) -> Option<Challenge> {
    let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameters = parameters(rest);
    let get = |name: &str| {
        parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone())
    };
    Some(Challenge::Bearer { realm: get("realm")?, service: get("service"), scope: get("scope") })
}

/// `key=value` and `key="quoted, value"`, separated by commas.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',', '\t']).to_owned();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, after) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        found.push((key, value));
        rest = after;
    }
    found
}

fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bearer_challenge_names_realm_service_and_scope() {
        let header = r#"Bearer realm="https://auth.example/token?a=b,c",service="reg",scope="repository:a/b:pull,push""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token?a=b,c".to_owned(),
            service: Some("reg".to_owned()),
            scope: Some("repository:a/b:pull,push".to_owned()),
        };
        assert_eq!(parse(header), [expected]);
    }

    #[test]
    fn basic_is_read_in_any_case_and_the_rest_is_nothing() {
        assert_eq!(parse("basic realm=\"x\""), [Challenge::Basic]);
        assert_eq!(parse("Negotiate"), []);
        assert_eq!(parse("Bearer service=\"x\""), []);
    }

    #[test]
    fn one_header_may_hold_several_challenges() {
        let bearer = Challenge::Bearer {
            realm: "https://a.b/\"x, Basic\"".to_owned(),
            service: Some("reg".to_owned()),
            scope: None,
        };
        let text = r#"realm="https://a.b/\"x, Basic\"", service=reg"#;
        assert_eq!(
            parse(&format!("Negotiate YII==, Bearer {text} , Basic realm=\"x\"")),
            [bearer.clone(), Challenge::Basic]
        );
        assert_eq!(parse(&format!("NTLM, Bearer {text}")), [bearer]);
    }

    proptest! {
        #[test]
        fn any_header_is_survived(header in "(Bearer |Basic )?[ -~é]{0,80}") {
            parse(&header);
        }
    }
}
