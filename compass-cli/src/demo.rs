//! What `compass demo` makes up: images, registries, and what it says at the end.

pub(crate) mod folder;
pub(crate) mod images;
pub(crate) mod summary;
