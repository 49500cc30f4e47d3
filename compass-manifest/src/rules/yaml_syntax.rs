use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext, RuleDocs};

pub(crate) static RULE: Rule =
    Rule::new("yaml-syntax", "every manifest is one YAML document in UTF-8", apply)
        .with_blocks_packaging(BlocksPackaging::Always)
        .with_docs(RuleDocs {
            what: "Reports files that cannot be parsed as exactly one YAML document.",
            why: "The other rules cannot check such a file, and it cannot be packaged.",
            example: "\
```yaml
spec:
  version: v0.1.0
 service: {}
```",
            fix: "\
Fix the syntax at the reported location. Values that begin with `{`, `[`, `*`, `&` or `@` need
quotes.",
        });

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for document in repository.documents() {
        if let Err(error) = &document.root {
            let unquoted = line(document.source.text(), error.span.start).contains(": [[");
            let help = match error.help {
                Some(help) => help,
                None if unquoted => "a value that begins with `[[` needs quotes: '[[ name ]]/…'",
                None => "fix the YAML syntax; the rest of this file is not checked",
            };
            sink.add(&document.source, error.span, &error.message, help);
        }
    }
}

fn line(text: &str, at: usize) -> &str {
    let at = text.floor_char_boundary(at.min(text.len()));
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    text[start..].lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::{Policy, check};

    /// Returns the help of the only finding about a plugin manifest.
    fn help(text: &str) -> String {
        let tree = [("release-plugins/gpu.yaml", text)].into_iter().collect();
        let report = check(&tree, &Policy::default());
        let [finding] = report.findings() else { panic!("{:?}", report.findings()) };
        assert_eq!(finding.code, "yaml-syntax");
        finding.help.clone()
    }

    #[test]
    fn help_unquoted_variable_suggests_quotes() {
        let advice = "a value that begins with `[[` needs quotes: '[[ name ]]/…'";
        assert_eq!(help("image: [[ registry ]]/gpu\n"), advice);
        assert_eq!(help("name: gpu\nimage: [[ registry ]]/gpu\nversion: v1.0.0\n"), advice);
    }

    #[test]
    fn help_ignores_other_lines() {
        let advice = "fix the YAML syntax; the rest of this file is not checked";
        assert_eq!(help("args: [[ 1 ]]\nname: 'gpu' x\n"), advice);
        assert_eq!(help("name: 'gpu' x\nargs: [[ 1 ]]\n"), advice);
    }
}
