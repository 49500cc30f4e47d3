//! Verifies packages, and finds the damage that made an operation fail.

use compass_bundle::{Package, VerifyOptions, VerifyReport};

use crate::error::{CliError, Result};
use crate::output::Output;

/// The hint of an error about a damaged bundle.
pub(crate) const DAMAGED_HINT: &str =
    "`compass verify` lists the damage: copy or download the bundle again";

/// Verifies a package, and shows the progress.
pub(crate) async fn verify_package(
    package: &Package,
    quick: bool,
    output: &Output,
) -> Result<VerifyReport> {
    let progress = output.progress("verify");
    let options = VerifyOptions::default().quick(quick).progress(progress.shared());
    Ok(package.verify(&options).await?)
}

/// Returns an error if an operation failed because a bundle is damaged.
///
/// If `error` is that of a blob that does not match its digest, this verifies the bundle to find the
/// damage. The problems of foreign packages are known when they are opened.
pub(crate) async fn check_damage(
    package: &Package,
    error: Option<&compass_bundle::Error>,
    output: &Output,
) -> Result<()> {
    if !error.is_some_and(is_mismatch) || package.as_foreign().is_some() {
        return Ok(());
    }
    let verified = verify_package(package, false, output).await?;
    let Some(damage) = verified.damages.first() else { return Ok(()) };
    let (name, range, what) = (package.name(), &damage.range, &damage.what);
    let message = format!("{name} is damaged at bytes {}..{}: {what}", range.start, range.end);
    Err(CliError::check_failed(message).hint(DAMAGED_HINT))
}

/// Returns whether an error is that of a blob that does not match its digest.
pub(crate) fn is_mismatch(error: &compass_bundle::Error) -> bool {
    matches!(error, compass_bundle::Error::Registry(error) if error.is_mismatch())
}
