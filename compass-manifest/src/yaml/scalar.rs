//! Determines the type of a scalar.

use super::{Scalar, ScalarType};

impl Scalar {
    /// Returns the type of the scalar in the YAML 1.2 core schema.
    pub fn scalar_type(&self) -> ScalarType {
        if !self.plain {
            return ScalarType::Text;
        }
        match &*self.text {
            "" | "~" | "null" | "Null" | "NULL" => ScalarType::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => ScalarType::Boolean,
            text if is_integer(text) => ScalarType::Integer,
            text if is_float(text) => ScalarType::Float,
            _ => ScalarType::Text,
        }
    }
}

/// The value of a scalar in YAML 1.1, if it differs from the value in YAML 1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Yaml11Meaning {
    /// Text.
    Text,
    /// A number; `None` if it exceeds 64 bits.
    Number(Option<u64>),
}

impl Scalar {
    /// Returns the YAML 1.1 value of a plain number if YAML 1.2 has another value.
    pub(crate) fn yaml11_number(&self) -> Option<Yaml11Meaning> {
        if !self.plain {
            return None;
        }
        let text = self.text.strip_prefix(['-', '+']).unwrap_or(&self.text);
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let all = |text: &str, fits: fn(&u8) -> bool| {
            text.bytes().any(|b| fits(&b)) && text.bytes().all(|b| b == b'_' || fits(&b))
        };
        let number = |text: &str, radix| {
            Yaml11Meaning::Number(u64::from_str_radix(&text.replace('_', ""), radix).ok())
        };
        if let Some(octal) = text.strip_prefix("0o") {
            return all(octal, |b| (b'0'..=b'7').contains(b)).then_some(Yaml11Meaning::Text);
        }
        if let Some(binary) = text.strip_prefix("0b") {
            return all(binary, |b| matches!(b, b'0' | b'1')).then(|| number(binary, 2));
        }
        if let Some(rest) = text.strip_prefix('0').filter(|rest| !rest.is_empty()) {
            if all(rest, |b| (b'0'..=b'7').contains(b)) {
                let octal = number(rest, 8);
                return (octal != number(rest, 10)).then_some(octal);
            }
            return all(rest, u8::is_ascii_digit).then_some(Yaml11Meaning::Text);
        }
        if text.contains(':') {
            return sexagesimal(text);
        }
        let with_underscores = text.contains('_') && all(text, u8::is_ascii_digit);
        with_underscores.then(|| number(text, 10))
    }

    /// Returns whether the scalar is a boolean in YAML 1.1 and a text in YAML 1.2.
    pub(crate) fn is_yaml11_boolean(&self) -> bool {
        const WORDS: &[&str] = &["yes", "no", "on", "off"];
        let word = &*self.text;
        let one_case = |word: &str| {
            let rest = word.get(1..).unwrap_or_default();
            rest.chars().all(char::is_lowercase) || word.chars().all(char::is_uppercase)
        };
        self.plain && WORDS.iter().any(|known| known.eq_ignore_ascii_case(word)) && one_case(word)
    }
}

/// Parses a base 60 number of YAML 1.1, such as `1:30`.
fn sexagesimal(text: &str) -> Option<Yaml11Meaning> {
    let (first, rest) = text.split_once(':')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let digit = |text: &str| {
        let value = text.parse().ok().filter(|value| *value < 60)?;
        (is_number(text) && text.len() <= 2).then_some(value)
    };
    let digits: Vec<u64> = rest.split(':').map(digit).collect::<Option<_>>()?;
    let sum = |value: Option<u64>, digit: &u64| value?.checked_mul(60)?.checked_add(*digit);
    let value = digits.iter().fold(first.parse().ok(), sum);
    is_number(first).then_some(Yaml11Meaning::Number(value))
}

/// Parses decimal digits without sign and leading zeros.
///
/// Such numbers have the same value in all YAML versions.
pub(crate) fn decimal(text: &str) -> Option<u16> {
    let is_canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| is_canonical)
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let based = |prefix: &str, test: fn(&u8) -> bool| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.as_bytes().iter().all(test))
    };
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        || based("0x", u8::is_ascii_hexdigit)
        || based("0o", |b| (b'0'..=b'7').contains(b))
}

fn is_float(text: &str) -> bool {
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(bare, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    bare.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && bare.bytes().any(|b| b.is_ascii_digit())
        && bare.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar { text: text.into(), plain: true }
    }

    #[test]
    fn yaml11_number_differs_from_core_schema() {
        let number = |value| Some(Yaml11Meaning::Number(Some(value)));
        for (text, meaning) in [
            ("010000", number(4096)),
            ("-0644", number(420)),
            ("0_17", number(15)),
            ("089", Some(Yaml11Meaning::Text)),
            ("0o17", Some(Yaml11Meaning::Text)),
            ("0b101", number(5)),
            ("1_000", number(1000)),
            ("1:30", number(90)),
            ("190:20:30", number(685_230)),
            ("99999999999999999999:00", Some(Yaml11Meaning::Number(None))),
        ] {
            assert_eq!(plain(text).yaml11_number(), meaning, "{text}");
            assert_eq!(Scalar { text: text.into(), plain: false }.yaml11_number(), None, "{text}");
        }
        for text in [
            "0", "7", "00", "07", "8080", "0x1f", "0.5", "1.10", "1e3", "1:60", "a:30", "1:300",
            "10:2a", "1_a", "_1", "0a", "v1", "", "-", "1:", ":1",
        ] {
            assert_eq!(plain(text).yaml11_number(), None, "{text}");
        }
    }

    #[test]
    fn yaml11_booleans_have_uniform_case() {
        for text in ["yes", "Yes", "YES", "no", "on", "Off"] {
            assert!(plain(text).is_yaml11_boolean(), "{text}");
        }
        for text in ["true", "y", "N", "yEs", "yesterday", "", "1"] {
            assert!(!plain(text).is_yaml11_boolean(), "{text}");
        }
        assert!(!Scalar { text: "yes".into(), plain: false }.is_yaml11_boolean());
    }
}
