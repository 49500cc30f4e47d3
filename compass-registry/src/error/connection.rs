//! Errors of connections.

use std::error::Error;
use std::fmt;
use std::iter::successors;

use super::Source;

/// A connection that could not be opened, or broke. Only the last cause is shown, because the
/// others describe layers of the HTTP library.
#[derive(Debug)]
pub(crate) struct ConnectionError {
    /// Whether the connection was open before it broke.
    pub(super) was_open: bool,
    cause: Source,
}

impl ConnectionError {
    #[cfg(any(feature = "http", test))]
    pub(crate) fn new(was_open: bool, cause: impl Into<Source>) -> Self {
        Self { was_open, cause: cause.into() }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.was_open {
            f.write_str("the connection broke: ")?;
        }
        error_chain(&*self.cause).last().map_or(Ok(()), |cause| write!(f, "{cause}"))
    }
}

// `source` is not implemented, because it would show the causes again.
impl Error for ConnectionError {}

/// Iterates over an error and its causes, including those that [`ConnectionError`] hides.
pub(crate) fn error_chain<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    successors(Some(error), |error| next(*error))
}

fn next<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<ConnectionError>() {
        Some(connection) => Some(&*connection.cause),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("layer")]
    struct Layer(#[source] std::io::Error);

    #[test]
    fn connection_error_shows_last_cause() {
        let refused = || Layer(std::io::Error::other("no route"));
        assert_eq!(ConnectionError::new(false, refused()).to_string(), "no route");
        let broken = ConnectionError::new(true, refused());
        assert_eq!(broken.to_string(), "the connection broke: no route");
        assert!(broken.source().is_none());
        assert!(error_chain(&broken).last().is_some_and(<dyn Error>::is::<std::io::Error>));
    }
}
