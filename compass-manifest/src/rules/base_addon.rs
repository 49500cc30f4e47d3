//! Finds the addon that a hotfix patches.

use crate::repository::{AddonFile, HotfixFile};
use crate::rule::RuleContext;
use crate::version::ProductVersion;

/// Returns the addon as it is in the product version that a hotfix patches.
///
/// The addon comes from the repository at that version, otherwise from the directory that the
/// product manifest names. If there are no product manifests and no repositories of product
/// versions, the addon comes from the base, but only if the change touches the hotfix.
pub(super) fn of<'r>(context: &'r RuleContext<'_>, hotfix: &HotfixFile) -> Option<&'r AddonFile> {
    let patched = |addon: &&AddonFile| !addon.overlay && addon.is_patched_by(hotfix);
    let base = base_version(hotfix);
    if let Some(base) = &base {
        let same =
            |text: &str| text.parse::<ProductVersion>().is_ok_and(|v| v.is_same_release(base));
        if let Some((_, addons)) = context.base_addons.iter().find(|(version, _)| same(version)) {
            return addons.iter().find(patched);
        }
        if let Some(product) =
            context.repository.products.iter().find(|product| same(&product.stem))
        {
            let inside = |addon: &&AddonFile| {
                product.manifest.path_in_addons(addon.document.path()).is_some()
            };
            return context.repository.addons.iter().filter(inside).find(patched);
        }
    }
    let change = context.change.as_ref()?;
    let undated = context.repository.products.is_empty() && context.base_addons.is_empty();
    if undated && change.touches(hotfix.document.path()) {
        return change.base.addons.iter().find(patched);
    }
    None
}

fn base_version(hotfix: &HotfixFile) -> Option<ProductVersion> {
    let directory = hotfix.path.base.as_ref().and_then(|base| base.parse().ok());
    directory.or_else(|| hotfix.hotfix_version().map(|version| version.base().clone()))
}
