//! `SOURCE_DATE_EPOCH` (<https://reproducible-builds.org/specs/source-date-epoch/>).

use crate::error::CliError;

/// The last second that fits into the header of a tar entry, in the year 2242.
const LATEST: u64 = (1 << 33) - 1;

/// Seconds since 1970, if the variable is set.
///
/// # Errors
/// If it is no number of seconds that an archive has room for.
pub(crate) fn read() -> Result<Option<u64>, CliError> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = text.parse().ok().filter(|seconds| *seconds <= LATEST);
    seconds.map(Some).ok_or_else(|| {
        CliError::usage(format!(
            "SOURCE_DATE_EPOCH is `{text}`, and not a number of seconds up to {LATEST}"
        ))
    })
}
