//! Faults of single requests, and scripts of them.

use super::rng::Rng;

/// A fault of one request. Byte counts include the body of the request, followed by that of the
/// response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is closed after this many bytes, or before the response at the latest.
    Cut(u64),
    /// The connection is reset after this many bytes.
    Reset(u64),
    /// The transfer stalls after this many bytes.
    Stall(u64),
    /// The response has this error status, and the request has no effect.
    Status(u16),
    /// The response is 429, with `Retry-After` in seconds if given, and the request has no effect.
    TooMany(Option<u32>),
    /// A valid token is refused.
    Unauthorized,
    /// All tokens issued so far become invalid.
    ExpiredTokens,
    /// `Content-Length` differs from the length of the response by this amount.
    WrongLength(i32),
    /// The byte at this offset of the response is altered.
    WrongByte(u64),
    /// Reads are redirected to another host.
    Redirect,
    /// The registry loses its open uploads.
    LostUploads,
    /// The requested range is ignored.
    IgnoredRange,
}

impl Fault {
    /// Whether retrying suffices to recover.
    pub fn is_recoverable(self) -> bool {
        !matches!(self, Self::WrongByte(_) | Self::WrongLength(_))
    }
}

/// The faults by request number, from zero. Token requests are not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script(pub Vec<(usize, Fault)>);

impl Script {
    /// Returns a script with one fault at one request.
    pub fn once(request: usize, fault: Fault) -> Self {
        Self(vec![(request, fault)])
    }

    /// Returns up to three faults among the first `requests`, the same for the same seed. Bodies
    /// are assumed to be about `body` bytes long.
    pub fn random(seed: u64, requests: usize, body: u64) -> Self {
        let mut rng = Rng::new(seed);
        let count = 1 + rng.below(3);
        let mut at = || rng.below(body + body / 4);
        let places = [at(), at(), at(), at()];
        let fault = |rng: &mut Rng| match rng.below(13) {
            0 => Fault::Cut(places[0]),
            1 => Fault::Reset(places[1]),
            2 => Fault::Stall(places[2]),
            3 => Fault::Status(500),
            4 => Fault::Status(502),
            5 => Fault::TooMany(None),
            6 => Fault::TooMany(Some(0)),
            7 => Fault::Unauthorized,
            8 => Fault::ExpiredTokens,
            9 => Fault::WrongLength(if rng.below(2) == 0 { 7 } else { -7 }),
            10 => Fault::WrongByte(places[3]),
            11 => Fault::Redirect,
            _ if rng.below(2) == 0 => Fault::LostUploads,
            _ => Fault::IgnoredRange,
        };
        let requests = u64::try_from(requests).unwrap_or(u64::MAX);
        let mut script = Vec::new();
        for _ in 0..count {
            let request = usize::try_from(rng.below(requests)).unwrap_or(0);
            script.push((request, fault(&mut rng)));
        }
        Self(script)
    }

    pub(super) fn at(&self, request: usize) -> Option<Fault> {
        self.0.iter().find(|(number, _)| *number == request).map(|(_, fault)| *fault)
    }
}
