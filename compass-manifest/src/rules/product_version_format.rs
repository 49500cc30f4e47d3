use crate::escape::quote;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;
use crate::version::ProductVersion;

pub(crate) static RULE: Rule = Rule::new(
    "product-version-format",
    "a product manifest has one version in its name and `spec.version`",
    apply,
)
.with_docs(RuleDocs {
    what: "Checks that the file name and `spec.version` are the same product version.",
    why: "\
The bundle has the name of the version, and commands find the manifest by its file name.",
    example: "`release-products/v2.7.0.yaml` with `version: v2.7.1`",
    fix: "Use one product version, for example `v2.7.0` or `v2.8.0-rc.1`, for both.",
});

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for product in &repository.products {
        let source = &product.document.source;
        let help = "write a product version, for example `v2.7.0` or `v2.8.0-rc.1`";
        let stem = product.stem.parse::<ProductVersion>();
        if let Err(error) = &stem {
            sink.add(source, Span::default(), format!("the file name is invalid: {error}"), help);
        }
        let Some(written) = &product.manifest.version else { continue };
        match (written.value.parse::<ProductVersion>(), stem) {
            (Err(error), _) => {
                sink.add(source, written.span, error.to_string(), help);
            }
            (Ok(version), Ok(stem)) if !version.is_same_release(&stem) => {
                let message = format!(
                    "the version is {} here, but {} in the file name",
                    quote(&version),
                    quote(&stem)
                );
                sink.add(source, written.span, message, "use the same version for both");
            }
            _ => {}
        }
    }
}
