//! The `WWW-Authenticate` header (RFC 9110, § 11.6.1; distribution token specification).

/// An authentication scheme that a registry offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password in each request.
    Basic,
    /// A token from a token service.
    Bearer {
        /// The URL of the token service.
        realm: String,
        /// The name of the registry at the token service.
        service: Option<String>,
        /// The scopes that the token must cover.
        scope: Option<String>,
    },
    /// A scheme that this client does not support.
    Other(String),
}

/// Parses one header value, which may contain several challenges.
///
/// Spaces around `=` and missing commas are accepted. A parameter without a value, or with an
/// unterminated one, is ignored.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<RawChallenge<'_>> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            break;
        }
        let (word, after) = split_word(rest);
        if word.is_empty() {
            rest = skip_invalid(rest);
            continue;
        }
        match after.trim_start().strip_prefix('=') {
            Some(value) => {
                let (value, after) = split_value(value.trim_start());
                if let (Some(value), Some(challenge)) = (value, challenges.last_mut()) {
                    challenge.parameters.push((word, value));
                }
                rest = after;
            }
            None => {
                challenges.push(RawChallenge { scheme: word, parameters: Vec::new() });
                rest = after;
            }
        }
    }
    challenges.into_iter().filter_map(RawChallenge::challenge).collect()
}

/// A scheme with its parameters.
struct RawChallenge<'h> {
    scheme: &'h str,
    parameters: Vec<(&'h str, String)>,
}

impl RawChallenge<'_> {
    /// Returns the challenge, unless it names no token service.
    fn challenge(self) -> Option<Challenge> {
        let get = |name: &str| {
            let named = |(key, _): &&(&str, String)| key.eq_ignore_ascii_case(name);
            self.parameters.iter().find(named).map(|(_, value)| value.clone())
        };
        if self.scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !self.scheme.eq_ignore_ascii_case("bearer") {
            return Some(Challenge::Other(self.scheme.to_owned()));
        }
        let realm = get("realm").filter(|realm| !realm.is_empty())?;
        Some(Challenge::Bearer { realm, service: get("service"), scope: get("scope") })
    }
}

/// Splits off a scheme or a parameter name.
fn split_word(text: &str) -> (&str, &str) {
    let end = text.find([' ', '\t', ',', '=', '"']).unwrap_or(text.len());
    text.split_at(end)
}

/// Skips text that is neither a scheme nor a parameter.
fn skip_invalid(text: &str) -> &str {
    match text.strip_prefix('"') {
        Some(quoted) => unquote(quoted).map_or("", |(_, after)| after),
        None => {
            let mut characters = text.chars();
            characters.next();
            characters.as_str()
        }
    }
}

/// Splits off a parameter value; `None` if it is missing or unterminated.
fn split_value(text: &str) -> (Option<String>, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        return match unquote(quoted) {
            Some((value, after)) => (Some(value), after),
            None => (None, ""),
        };
    }
    let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
    let (value, after) = text.split_at(end);
    ((!value.is_empty()).then(|| value.to_owned()), after)
}

/// Splits off a quoted string, whose opening quote has been removed.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests;
