use std::collections::BTreeSet;

use crate::escape::quote_name;
use crate::finding::Severity;
use crate::repository::ListFile;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule =
    Rule::new("image-not-listed", "every image of an addon is in an image list", apply)
        .with_severity(Severity::Warning)
        .with_needs_layout()
        .with_docs(RuleDocs {
            what: "\
Searches the image lists for each image that an addon uses in a field, an argument, an environment
value or a configuration text. Without image lists, the rule does nothing.",
            why: "`sync` and `package` read the lists, so the site lacks this image.",
            example: "\
`'[[ registry_release ]]/app-admin:v0.3.22'` and a list with `release/app-admin:v0.3.21`",
            fix: "Add the line from the help text to an image list.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    if repository.lists.is_empty() {
        return;
    }
    let listed: BTreeSet<&str> = repository.lists.iter().flat_map(ListFile::names).collect();
    for addon in repository.installed_addons() {
        let mut seen = BTreeSet::new();
        for used in addon.document.images(&repository.policy) {
            let Ok(image) = &used.image else { continue };
            let name = image.list_entry();
            if !listed.contains(name.as_str()) && seen.insert(name.clone()) {
                let message = format!("{} is not in any image list", quote_name(&name));
                let help = match image.project.as_str() {
                    "" => "name it with a project, in the addon and in an image list".to_owned(),
                    _ => format!("add the line {} to an image list", quote_name(&name)),
                };
                sink.add(&addon.document.source, used.span, message, help);
            }
        }
    }
}
