use crate::escape::quote;
use crate::policy::VersionFormat;
use crate::rule::{FindingSink, Rule, RuleContext, RuleDocs};
use crate::source::Span;
use crate::version::{Date, HotfixVersion, ProductVersion};

pub(crate) static RULE: Rule = Rule::new(
    "hotfix-version-format",
    "the version in a hotfix's path has the policy's format",
    apply,
)
.with_docs(RuleDocs {
    what: "\
Checks the version, product version and date in a hotfix's path. A HOTFIXVERSION is
`<product version>-<YYYYMMDD>-p<N>`, for example `v2.7.0-20180605-p1`, with a valid date, and N from
1 without leading zeros.",
    why: "Versions in another format cannot be compared to find the newest hotfix.",
    example: "`release-hotfixes/v2.7.0/console-web-v2.7.0-20180631-p01/…`",
    fix: "Rename the directory.",
});

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for hotfix in &repository.hotfixes {
        let path = &hotfix.path;
        let mut add = |message: String, help: &str| {
            sink.add(&hotfix.document.source, Span::default(), message, help);
        };
        if let Some(Err(error)) = path.base.as_ref().map(|base| base.parse::<ProductVersion>()) {
            add(
                error.to_string(),
                "name the directory after a product version, for example `v2.7.0`",
            );
        }
        if let Some(date) = path.date.as_ref().filter(|date| Date::parse(date).is_none()) {
            add(format!("{} is not a calendar date", quote(date)), "write the date as `YYYYMMDD`");
        }
        if let (Some(VersionFormat::Hotfix), Some(version)) = (path.format, &path.version)
            && let Err(error) = version.parse::<HotfixVersion>()
        {
            add(
                error.to_string(),
                "write `<product version>-<YYYYMMDD>-p<N>`, for example `v2.7.0-20180605-p1`",
            );
        }
    }
}
