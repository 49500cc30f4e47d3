//! What keeps a target from being whole: a file that cannot be read, or not as it is meant, names
//! images and files that nobody would miss before the site does.

use compass_manifest::check;

use crate::failure::Failure;
use crate::repository::Repository;

/// The rules whose findings hide an image.
const HIDING: [&str; 5] = [
    "container-without-image",
    "image-list-syntax",
    "image-reference",
    "unquoted-template",
    "yaml-syntax",
];

/// The rules whose findings hide something in a product manifest, which says what else there is.
const HIDING_MORE: [&str; 3] = ["missing-field", "unknown-field", "wrong-type"];

impl Repository {
    /// Refuses a target of which something would be left out unseen. `is_part` says which files it
    /// consists of; `manifest` is the product manifest, where it has one.
    pub(crate) fn require_whole(
        &self,
        is_part: impl Fn(&str) -> bool,
        manifest: Option<&str>,
    ) -> Result<(), Failure> {
        let report = check(&self.tree, &self.policy);
        let hides = |file: &str, code| {
            HIDING.contains(&code) || (manifest == Some(file) && HIDING_MORE.contains(&code))
        };
        let hiding = report.findings().iter();
        let mut hiding = hiding.filter(|finding| {
            is_part(&finding.place.file) && hides(&finding.place.file, finding.code)
        });
        let Some(first) = hiding.next() else { return Ok(()) };
        let (place, more) = (&first.place, hiding.count());
        let more = if more > 0 { format!(", and {more} more like it") } else { String::new() };
        let message = format!(
            "{}:{}: {} ({}){more}",
            place.file, place.start.line, first.message, first.code
        );
        Err(Failure::not_right(message).hint("`compass check` shows all of it"))
    }
}
