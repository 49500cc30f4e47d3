//! Configuration files of sections with `key = value` lines.
//!
//! `~/.ossutilconfig` and `~/.aws/config` have this format. Keys are compared without case, `-` and
//! `_`, because ossutil accepts `accessKeyID`, `access-key-id` and `access_key_id`; names of
//! sections are compared without case.

/// The sections of a configuration file.
#[derive(Default)]
pub(super) struct Ini(Vec<Section>);

struct Section {
    name: String,
    entries: Vec<Entry>,
}

struct Entry {
    /// The key of the line before that has no value, if this line is indented.
    parent: Option<String>,
    key: String,
    value: String,
}

impl Ini {
    /// Parses a file. Lines that are neither sections nor entries are skipped.
    pub(super) fn parse(text: &str) -> Self {
        let mut ini = Self::default();
        let mut parent = None;
        for line in text.lines().map(str::trim_end) {
            let content = line.trim_start();
            if content.is_empty() || content.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = content.strip_prefix('[') {
                let name = words(name.split(']').next().unwrap_or_default());
                ini.0.push(Section { name, entries: Vec::new() });
                parent = None;
                continue;
            }
            let (Some(section), Some((key, value))) = (ini.0.last_mut(), content.split_once('='))
            else {
                continue;
            };
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            let is_nested = content.len() < line.len();
            if !is_nested {
                parent = value.is_empty().then(|| key.clone());
            }
            let parent = parent.clone().filter(|_| is_nested);
            section.entries.push(Entry { parent, key, value });
        }
        ini
    }

    pub(super) fn has_section(&self, section: &str) -> bool {
        self.section(section).is_some()
    }

    /// The value of a key, if it is not empty.
    pub(super) fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.find(section, |entry| entry.parent.is_none() && is_same_key(&entry.key, key))
    }

    /// The value of a key below a key without a value, as in `s3 =` of `~/.aws/config`.
    pub(super) fn get_nested(&self, section: &str, parent: &str, key: &str) -> Option<&str> {
        self.find(section, |entry| {
            let is_below = entry.parent.as_ref().is_some_and(|one| is_same_key(one, parent));
            is_below && is_same_key(&entry.key, key)
        })
    }

    /// The value of a key that is the name of a bucket.
    pub(super) fn get_bucket(&self, section: &str, bucket: &str) -> Option<&str> {
        self.find(section, |entry| entry.key == bucket)
    }

    /// The last value that is not empty.
    fn find(&self, section: &str, is_wanted: impl Fn(&Entry) -> bool) -> Option<&str> {
        let mut entries = self.section(section)?.entries.iter().rev();
        let entry = entries.find(|entry| is_wanted(entry) && !entry.value.is_empty());
        entry.map(|entry| entry.value.as_str())
    }

    fn section(&self, name: &str) -> Option<&Section> {
        let name = words(name);
        self.0.iter().find(|section| section.name.eq_ignore_ascii_case(&name))
    }
}

/// Separates the words of a section's name by one space.
fn words(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_same_key(one: &str, other: &str) -> bool {
    normalize(one).eq(normalize(other))
}

fn normalize(key: &str) -> impl Iterator<Item = char> {
    key.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn get_compares_keys_without_case_and_separators() {
        let ini = Ini::parse(
            "# x\n[Credentials]\nlanguage=EN\naccess-key-id = a=b \n[Profile  Dev]\nRegion=r\n",
        );
        assert_eq!(ini.get("credentials", "accessKeyID"), Some("a=b"));
        assert_eq!(ini.get("credentials", "access_key_id"), Some("a=b"));
        assert_eq!(ini.get("profile dev", "region"), Some("r"));
        assert_eq!(ini.get("profile dev", "accessKeyID"), None);
    }

    #[test]
    fn get_nested_reads_indented_lines() {
        let ini = Ini::parse("[profile a]\nregion = r\ns3 =\n  endpoint_url = u\nregion = q\n");
        assert_eq!(ini.get_nested("profile a", "s3", "endpoint_url"), Some("u"));
        assert_eq!(ini.get("profile a", "endpoint_url"), None);
        assert_eq!(ini.get("profile a", "region"), Some("q"));
    }

    #[test]
    fn get_bucket_compares_exact_names() {
        let ini = Ini::parse("[Bucket-Endpoint]\na-b = one\nab = two\n");
        assert_eq!(ini.get_bucket("bucket-endpoint", "a-b"), Some("one"));
        assert_eq!(ini.get_bucket("bucket-endpoint", "AB"), None);
    }

    proptest! {
        #[test]
        fn parse_never_panics(text in "[ \\[\\]=#a-c\\n\\t-]{0,200}") {
            let ini = Ini::parse(&text);
            let _ = (ini.get("a", "b"), ini.get_nested("a", "b", "c"));
        }

        #[test]
        fn parse_finds_written_values(key in "[a-z][a-z_-]{0,10}", value in "[!-~]([ -~]{0,20}[!-~])?") {
            let ini = Ini::parse(&format!("[s]\n{key} = {value}\n"));
            prop_assert_eq!(ini.get("s", &key.to_uppercase()), Some(&*value));
        }
    }
}
