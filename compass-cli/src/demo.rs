//! The parts of `compass demo`: its folder, images and summary.

pub(crate) mod folder;
pub(crate) mod images;
pub(crate) mod summary;
