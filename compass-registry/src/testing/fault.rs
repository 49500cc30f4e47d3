//! What may go wrong with one request, and scripts of it.

use super::rng::Rng;

/// What goes wrong with one request. Bytes are those of its body, and then of the answer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed after so many bytes, or at the end, before the answer is out.
    Cut(u64),
    /// The connection is reset after so many bytes.
    Reset(u64),
    /// Nothing moves any more after so many bytes.
    Stall(u64),
    /// The answer is an error, and nothing is done.
    Status(u16),
    /// The answer is 429, with a pause in seconds if one is asked for, and nothing is done.
    TooMany(Option<u32>),
    /// The token is refused, though it is good.
    Unauthorized,
    /// No token that was given out is good any more.
    ExpiredTokens,
    /// `Content-Length` is greater by so much than the answer is long, or less.
    WrongLength(i32),
    /// The byte at this place of the answer is another one.
    WrongByte(u64),
    /// What is read is at another host.
    Redirect,
    /// The registry has forgotten its open uploads.
    LostUploads,
    /// The range that was asked for is ignored.
    IgnoredRange,
}

impl Fault {
    /// Whether nothing but time and another try is needed to get over it.
    pub fn is_recoverable(self) -> bool {
        !matches!(self, Self::WrongByte(_) | Self::WrongLength(_))
    }
}

/// Which requests something goes wrong with, counted from zero; requests for tokens do not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script(pub Vec<(usize, Fault)>);

impl Script {
    /// One fault at one request.
    pub fn once(request: usize, fault: Fault) -> Self {
        Self(vec![(request, fault)])
    }

    /// Up to three faults at some of the first requests, the same for the same seed. Bodies are
    /// thought to be about `body` bytes long.
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
