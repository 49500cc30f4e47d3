use std::fmt::Write as _;

use crate::finding::{Finding, Report, Severity};

/// The report as workflow commands, which GitHub shows as annotations of the changed files: one
/// line each. What stood before the change is a notice.
pub fn github(report: &Report) -> String {
    let mut output = String::new();
    for finding in report.findings() {
        let (start, end) = (finding.place.start, finding.place.end);
        // Columns may be named only where the annotation stays in one line.
        let columns = if start.line == end.line {
            format!(",col={},endColumn={}", start.column, end.column.max(start.column))
        } else {
            String::new()
        };
        let _ = writeln!(
            output,
            "::{} file={},line={},endLine={}{columns},title={}::{}",
            command(finding),
            property(&finding.place.file),
            start.line,
            end.line,
            property(finding.code),
            data(&message(finding)),
        );
    }
    output
}

/// A warning that belongs to no file, as a workflow command of one line.
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
    let before = if finding.preexisting { " (stood before this change)" } else { "" };
    match finding.help.as_str() {
        "" => format!("{}{before}", finding.message),
        help => format!("{}{before}\n{help}", finding.message),
    }
}

/// What follows `::` may hold anything but line ends.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property also ends at `,`, and the properties at `:`.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Policy, Tree, check};

    #[test]
    fn nothing_in_a_repository_can_write_a_command_of_its_own() {
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
}
