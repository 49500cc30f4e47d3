//! `SOURCE_DATE_EPOCH` (<https://reproducible-builds.org/specs/source-date-epoch/>).

use crate::error::{CliError, Result};

/// The last second that the header of a tar entry can hold, in the year 2242.
const MAX_SECONDS: u64 = (1 << 33) - 1;

/// Reads the seconds since 1970, if the variable is set.
///
/// # Errors
/// If the value is not a number of seconds up to [`MAX_SECONDS`].
pub(crate) fn read() -> Result<Option<u64>> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = text.parse().ok().filter(|seconds| *seconds <= MAX_SECONDS);
    seconds.map(Some).ok_or_else(|| {
        CliError::usage(format!(
            "SOURCE_DATE_EPOCH is `{text}`: expected a number of seconds up to {MAX_SECONDS}"
        ))
    })
}
