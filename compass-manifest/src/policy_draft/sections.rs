//! Writes the sections of the draft.

use std::collections::BTreeSet;

use super::MAX_VALUES;

/// A section of the policy: its values, defaults and comments.
#[derive(Debug)]
pub(super) struct Section {
    name: &'static str,
    /// Whether the section is a single setting instead of a mapping.
    is_single: bool,
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Comment(String),
    /// A setting with its value. A default is written as a comment.
    Setting {
        text: String,
        is_default: bool,
    },
}

impl Section {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, is_single: false, lines: Vec::new() }
    }

    pub(super) fn single(name: &'static str) -> Self {
        Self { is_single: true, ..Self::new(name) }
    }

    /// Returns whether the section has a setting that is not a default.
    pub(super) fn has_values(&self) -> bool {
        self.lines.iter().any(|line| matches!(line, Line::Setting { is_default: false, .. }))
    }

    pub(super) fn comment(&mut self, text: &str) {
        self.lines.push(Line::Comment(text.to_owned()));
    }

    pub(super) fn default(&mut self, key: &str, value: &str) {
        self.raw_default(key, &scalar(value));
    }

    pub(super) fn default_list(&mut self, key: &str, values: &[String]) {
        self.raw_default(key, &flow_list(values));
    }

    pub(super) fn raw_default(&mut self, key: &str, value: &str) {
        self.setting(key, value, true);
    }

    pub(super) fn raw_found(&mut self, key: &str, value: &str) {
        self.setting(key, value, false);
    }

    /// Adds a value that was found. If it is the default, it is written as a comment.
    pub(super) fn found(&mut self, key: &str, value: &str, default: &str) {
        self.setting(key, &scalar(value), value == default);
    }

    /// Adds values that were found; the defaults if there are none.
    pub(super) fn found_list(&mut self, key: &str, found: BTreeSet<String>, default: &[String]) {
        let is_default = found.is_empty() || found == default.iter().cloned().collect();
        let values: Vec<String> = match is_default {
            true => default.to_vec(),
            false => found.into_iter().take(MAX_VALUES).collect(),
        };
        match &values[..] {
            [one] if key == "directory" || key == "addons" => {
                self.setting(key, &scalar(one), is_default);
            }
            values => self.setting(key, &flow_list(values), is_default),
        }
    }

    pub(super) fn found_ports(&mut self, key: &str, ports: &BTreeSet<u16>) {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        self.setting(key, &format!("[{}]", ports.join(", ")), ports.is_empty());
    }

    /// Adds a template variable; `None` if its value is known only on site.
    pub(super) fn variable(&mut self, name: &str, project: Option<&str>) {
        let value = project.map_or_else(|| "~".to_owned(), |project| format!("\"{{{project}}}\""));
        self.setting(name, &value, false);
    }

    /// Adds a pattern of hotfix paths below `patterns`.
    pub(super) fn pattern(&mut self, form: &str, path: &str, format: &str) {
        self.comment(form);
        let text = format!("- {{path: '{path}', version: {format}}}");
        self.lines.push(Line::Setting { text, is_default: false });
    }

    fn setting(&mut self, key: &str, value: &str, is_default: bool) {
        let text = format!("{key}: {value}").trim_end().to_owned();
        self.lines.push(Line::Setting { text, is_default });
    }

    pub(super) fn to_yaml(&self) -> String {
        let mut text = String::new();
        let indent = if self.is_single { "" } else { "  " };
        if !self.is_single {
            let mark = if self.has_values() { "" } else { "# " };
            text.push_str(&format!("{mark}{}:\n", self.name));
        }
        for line in &self.lines {
            text.push_str(&match line {
                Line::Comment(comment) => format!("{indent}# {comment}\n"),
                Line::Setting { text, is_default: true } => format!("{indent}# {text}\n"),
                Line::Setting { text, .. } => format!("{indent}{text}\n"),
            });
        }
        text
    }
}

/// Formats a list in one line.
pub(super) fn flow_list(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| scalar(value)).collect();
    format!("[{}]", values.join(", "))
}

/// Texts that YAML parsers read as other types.
const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// Formats a text, in quotes if it is not a plain scalar in a list.
fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | ':');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_word = WORDS.iter().any(|word| word.eq_ignore_ascii_case(text));
    if begins && text.chars().all(is_plain) && !text.ends_with(':') && !is_word {
        return text.to_owned();
    }
    // A JSON string is a double-quoted scalar of YAML.
    serde_json::Value::from(text).to_string()
}
