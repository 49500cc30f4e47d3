//! A bundle, or a package of any making.

use std::sync::Arc;

use crate::{Bundle, BundleSource, Error, Package, frame};

/// What was opened: a bundle, or a package of any making.
#[derive(Debug, Clone)]
pub enum Opened {
    /// A bundle that this crate wrote.
    Bundle(Bundle),
    /// What other tools made.
    Package(Package),
}

impl Opened {
    /// Reads whatever it is: a bundle at its beginning only, a package to its end. Which of the two
    /// is found out from the content.
    ///
    /// # Errors
    /// As [`Bundle::read`] and [`Package::scan`]. What begins as a bundle does and is neither is
    /// described as a bundle.
    pub async fn read(source: Arc<dyn BundleSource>) -> Result<Self, Error> {
        let bundle = match Bundle::read(Arc::clone(&source)).await {
            Ok(bundle) => return Ok(Self::Bundle(bundle)),
            Err(error @ Error::NotABundle { .. }) => error,
            Err(error) => return Err(error),
        };
        match Package::scan(Arc::clone(&source)).await {
            Ok(package) => Ok(Self::Package(package)),
            Err(_) if begins_as_bundle(&*source).await? => Err(bundle),
            Err(error) => Err(error),
        }
    }
}

async fn begins_as_bundle(source: &dyn BundleSource) -> Result<bool, Error> {
    let length = source.size().min(frame::HEADER.len() as u64);
    Ok(source.read(0..length).await?[..] == frame::HEADER)
}
