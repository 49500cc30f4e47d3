use std::fmt::Write as _;

use crate::escape::{escape, is_unprintable};
use crate::finding::{Finding, Severity};
use crate::report::Report;

/// Renders a report as GitHub workflow commands, one line per finding.
///
/// GitHub shows them as annotations of the changed files. Preexisting findings are notices. Paths
/// are relative to the root of the git repository ([`Report::in_directory`]).
pub fn github(report: &Report) -> String {
    let mut output = String::new();
    for finding in report.findings() {
        let (start, end) = (finding.location.start, finding.location.end);
        // GitHub accepts columns only if the annotation is on one line.
        let columns = if start.line == end.line {
            format!(",col={},endColumn={}", start.column, end.column.max(start.column))
        } else {
            String::new()
        };
        let _ = writeln!(
            output,
            "::{} file={},line={},endLine={}{columns},title={}::{}",
            command(finding),
            property(&report.path_from_root(&finding.location.file)),
            start.line,
            end.line,
            property(finding.code),
            data(&message(finding)),
        );
    }
    output
}

/// Renders a warning without a file as a workflow command of one line.
pub fn github_warning(text: &str) -> String {
    format!("::warning::{}\n", data(text))
}

fn command(finding: &Finding) -> &'static str {
    match finding.severity {
        _ if finding.preexisting => "notice",
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    }
}

fn message(finding: &Finding) -> String {
    let before = if finding.preexisting { " (existed before this change)" } else { "" };
    match finding.help.as_str() {
        "" => format!("{}{before}", finding.message),
        help => format!("{}{before}\n{help}", finding.message),
    }
}

/// Encodes the text after `::` of a workflow command.
///
/// The runner decodes line breaks and `%`. Other control characters are escaped, because the log
/// would contain them.
fn data(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '%' => encoded.push_str("%25"),
            '\r' => encoded.push_str("%0D"),
            '\n' => encoded.push_str("%0A"),
            c if is_unprintable(c) => encoded.push_str(&escape(c.encode_utf8(&mut [0; 4]))),
            c => encoded.push(c),
        }
    }
    encoded
}

/// Encodes the value of a workflow command's property.
///
/// `,` and `:` are separators in properties.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Policy, Tree, check};

    #[test]
    fn github_values_cannot_inject_commands() {
        let mut tree = Tree::new();
        tree.insert("release-plugins/a,line=1::b\n::error::x/y.yaml", "a: 1\n");
        tree.insert(
            "release-plugins/x.yaml",
            "metadata: {name: \"y\\n::set-output name=a::b%0A\"}\n",
        );
        let report = check(&tree, &Policy::default());
        let output = github(&report);
        assert_eq!(output.lines().count(), report.findings().len());
        for line in output.lines() {
            assert!(line.starts_with("::error file=release-plugins/"), "{line}");
        }
        assert!(output.contains("release-plugins/a%2Cline=1%3A%3Ab%0A%3A%3Aerror"), "{output}");
        assert!(output.contains("b%250A"), "{output}");
    }

    #[test]
    fn github_control_characters_are_escaped() {
        for hostile in ["\u{1b}[2J", "\u{9b}", "\u{85}", "\u{202e}", "\u{2028}"] {
            let path = format!("release-plugins/a{hostile}.yaml");
            let text = format!("metadata: {{name: x{hostile}}}\n");
            let tree = [(path, text)].into_iter().collect();
            let output = github(&check(&tree, &Policy::default()));
            assert!(!output.is_empty() && !output.contains(hostile), "{output:?}");
        }
    }

    #[test]
    fn github_paths_begin_at_git_root() {
        let tree = [("release-plugins/a.yaml", "a: 1\n")].into_iter().collect();
        let report = check(&tree, &Policy::default());
        assert!(github(&report).contains(" file=release-plugins/a.yaml,"));
        let below = github(&report.in_directory("deploy/release/"));
        assert!(below.contains(" file=deploy/release/release-plugins/a.yaml,"), "{below}");
    }
}
