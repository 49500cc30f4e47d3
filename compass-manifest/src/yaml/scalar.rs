//! What type YAML gives a scalar.

use super::{Scalar, ScalarType};

impl Scalar {
    /// The type that YAML gives the scalar.
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
