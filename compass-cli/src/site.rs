//! Installation at a site, apart from images: rendered files, their hand-over, and receipts.

pub(crate) mod hand_over;
pub(crate) mod manifests;
pub(crate) mod receipts;
pub(crate) mod values;
