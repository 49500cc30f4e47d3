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
    /// In a way that this client does not know.
    Other(String),
}

/// Reads one header value, which may hold several challenges.
///
/// It is lenient: blanks around `=` and missing commas are accepted, and a parameter without a
/// value or with an unfinished one is left out.
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
    /// A token service without an address cannot be asked.
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

/// A scheme or the name of a parameter, and what follows it.
fn split_word(text: &str) -> (&str, &str) {
    let end = text.find([' ', '\t', ',', '=', '"']).unwrap_or(text.len());
    text.split_at(end)
}

/// What follows something that is neither a scheme nor a parameter.
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

/// A parameter's value, unless it is missing or unfinished, and what follows it.
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

/// A quoted text without its first quote, and what follows its last one.
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
