use std::collections::BTreeSet;

use crate::escape::quote_name;
use crate::finding::Severity;
use crate::repository::ListFile;
use crate::rule::{FindingSink, Rule, RuleContext};

pub(crate) static RULE: Rule = Rule {
    code: "image-not-listed",
    summary: "every image that an addon uses stands in an image list",
    severity: Severity::Warning,
    docs: "\
### What it does
Collects the images of all addons (fields, arguments, environment values, configuration texts) and
looks for each in the image lists, where there are any.

### Why is this bad?
Images are synced from the lists. This one is missing on site.

### Example
`'[[ registry_release ]]/app-admin:v0.3.22'` and a list with `release/app-admin:v0.3.21`

### What to do
Add the line that the help line shows.
",
    apply,
    needs_layout: true,
    ..Rule::DEFAULTS
};

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
                let message = format!("{} stands in no image list", quote_name(&name));
                let help = match image.project.as_str() {
                    "" => "name it with a project, in the addon and in an image list".to_owned(),
                    _ => format!("add the line {} to an image list", quote_name(&name)),
                };
                sink.add(&addon.document.source, used.span, message, help);
            }
        }
    }
}
