use super::value::{ValueError, flag};
use crate::schema::Schema::Boolean;
use crate::schema::{Table, optional};

/// The files that a pull request may change together with a plugin or hotfix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScopePolicy {
    /// Whether image lists may change too.
    pub image_lists: bool,
    /// Whether one pull request may contain several hotfixes of the same date.
    pub hotfixes_together: bool,
}

pub(super) const FIELDS: Table<ScopePolicy, ValueError> = Table(&[
    optional("image_lists", Boolean).set(|it, node| it.image_lists = flag(node)),
    optional("hotfixes_together", Boolean).set(|it, node| it.hotfixes_together = flag(node)),
]);
