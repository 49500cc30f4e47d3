//! Content digests.

mod sha256;

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

use self::sha256::Sha256;
use crate::Error;

/// A digest algorithm (OCI image specification, "Descriptor", § Registered algorithms).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256, the default.
    #[default]
    Sha256,
    /// SHA-512, which registries may support.
    Sha512,
}

/// A content digest. Its text is the algorithm, a colon and lower-case hex digits (OCI image
/// specification, "Descriptor", § Digests).
///
/// Parsing rejects algorithms other than those of [`Algorithm`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Value);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Value {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

/// Computes a [`Digest`] incrementally. The default algorithm is SHA-256.
#[derive(Debug, Clone)]
pub struct Hasher(State);

#[derive(Debug, Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Box<sha2::Sha512>),
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// Returns the name that digests start with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Computes the digest of `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(self);
        hasher.update(bytes);
        hasher.finish()
    }
}

impl Digest {
    /// Computes the SHA-256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Algorithm::Sha256.digest(bytes)
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Value::Sha256(_) => Algorithm::Sha256,
            Value::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Returns the hex digits, without the algorithm.
    pub fn hex(&self) -> String {
        let bytes: &[u8] = match &self.0 {
            Value::Sha256(bytes) => bytes,
            Value::Sha512(bytes) => bytes,
        };
        let mut hex = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            for nibble in [byte >> 4, byte & 15] {
                hex.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        hex
    }

    /// Parses hex digits. Their number determines the algorithm.
    #[cfg(feature = "disk")]
    pub(crate) fn from_hex(hex: &str) -> Option<Self> {
        parse_hex(hex).map(|bytes| Self(Value::Sha256(bytes))).or_else(|| {
            let bytes = parse_hex(hex)?;
            Some(Self(Value::Sha512(bytes)))
        })
    }
}

impl Hasher {
    /// Creates a hasher.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::default()),
            Algorithm::Sha512 => State::Sha512(Box::default()),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Whether [`Self::update_pair`] is faster on this machine than two updates. This is so if the
    /// processor has instructions for the algorithm.
    pub fn is_pair_faster(algorithm: Algorithm) -> bool {
        #[cfg(target_arch = "x86_64")]
        let has_instructions = std::arch::is_x86_feature_detected!("sha");
        #[cfg(target_arch = "aarch64")]
        let has_instructions = std::arch::is_aarch64_feature_detected!("sha2");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let has_instructions = false;
        has_instructions && algorithm == Algorithm::Sha256
    }

    /// Adds bytes to two hashers at the same time.
    pub fn update_pair(first: &mut Self, bytes: &[u8], second: &mut Self, others: &[u8]) {
        match (&mut first.0, &mut second.0) {
            (State::Sha256(first), State::Sha256(second)) => {
                Sha256::update_pair(first, bytes, second, others);
            }
            _ => {
                first.update(bytes);
                second.update(others);
            }
        }
    }

    /// Returns the digest of all bytes.
    pub fn finish(self) -> Digest {
        Digest(match self.0 {
            State::Sha256(state) => Value::Sha256(state.finish()),
            State::Sha512(state) => Value::Sha512(state.finalize().into()),
        })
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new(Algorithm::Sha256)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let value = match text.split_once(':') {
            Some(("sha256", hex)) => parse_hex(hex).map(Value::Sha256),
            Some(("sha512", hex)) => parse_hex(hex).map(Value::Sha512),
            _ => None,
        };
        value.map(Self).ok_or_else(|| {
            let reason = "expected `sha256:` and 64 hex digits, or `sha512:` and 128";
            Error::invalid("digest", text, reason)
        })
    }
}

fn parse_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if hex.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm().name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digest_display_round_trips() {
        assert_eq!(EMPTY.parse::<Digest>().unwrap().to_string(), EMPTY);
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        let longer = Algorithm::Sha512.digest(b"").to_string();
        assert!(longer.starts_with("sha512:cf83e1357eefb8bdf1542850d66d8007"), "{longer}");
        assert_eq!(longer.parse::<Digest>().unwrap().to_string(), longer);
    }

    #[test]
    fn digest_malformed_is_rejected() {
        for bad in ["", "sha256:", "sha512:00", &EMPTY[7..], &EMPTY.to_uppercase(), &EMPTY[..70]] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
