use crate::finding::Severity;
use crate::rule::{BlocksPackaging, FindingSink, Rule, RuleContext};

pub(super) static RULE: Rule = Rule {
    code: "yaml-syntax",
    summary: "the file is one YAML document in UTF-8",
    severity: Severity::Error,
    docs: "\
### What it does
Reports files that cannot be read as exactly one YAML document.

### Why is this bad?
Nothing else can be said about such a file, and nothing can be packaged from it.

### Example
```yaml
spec:
  version: v0.1.0
 service: {}
```

### What to do
Fix the syntax at the place shown. Values that begin with `{`, `[`, `*`, `&` or `@` need quotes.
",
    apply,
    blocks_packaging: BlocksPackaging::Always,
    ..Rule::DEFAULTS
};

fn apply(RuleContext { repository, .. }: &RuleContext<'_>, sink: &mut FindingSink<'_>) {
    for document in repository.documents() {
        if let Err(error) = &document.root {
            let unquoted = line(document.source.text(), error.span.start).contains(": [[");
            let help = match error.help {
                Some(help) => help,
                None if unquoted => "a value that begins with `[[` needs quotes: '[[ name ]]/…'",
                None => "fix the YAML here; nothing else in this file was checked",
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

    /// The help for the only finding about a plugin of this text.
    fn help(text: &str) -> String {
        let tree = [("release-plugins/gpu.yaml", text)].into_iter().collect();
        let report = check(&tree, &Policy::default());
        let [finding] = report.findings() else { panic!("{:?}", report.findings()) };
        assert_eq!(finding.code, "yaml-syntax");
        finding.help.clone()
    }

    #[test]
    fn an_unquoted_variable_is_recognized_on_the_line_of_the_error() {
        let advice = "a value that begins with `[[` needs quotes: '[[ name ]]/…'";
        assert_eq!(help("image: [[ registry ]]/gpu\n"), advice);
        assert_eq!(help("name: gpu\nimage: [[ registry ]]/gpu\nversion: v1.0.0\n"), advice);
    }

    #[test]
    fn other_lines_of_the_file_do_not_change_the_advice() {
        let advice = "fix the YAML here; nothing else in this file was checked";
        assert_eq!(help("args: [[ 1 ]]\nname: 'gpu' x\n"), advice);
        assert_eq!(help("name: 'gpu' x\nargs: [[ 1 ]]\n"), advice);
    }
}
