//! Rendering for a site: properties over all values and styles, and the real values files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use compass_manifest::site::{SiteError, SiteValues};
use compass_manifest::source::SourceFile;
use compass_manifest::template::variables;
use compass_manifest::yaml::{Node, parse};
use proptest::prelude::*;

/// Documents with a variable in every style of a scalar, in a value, a key, a list and a flow.
const STYLES: &[&str] = &[
    "a: 1\nk: x[[ v ]]y # c\nz: 2\n",
    "a: 1\nk: 'x[[ v ]]y' # c\nz: 2\n",
    "a: 1\nk: \"x[[ v ]]y\" # c\nz: 2\n",
    "a: 1\nk: |\n  x[[ v ]]y\n\n  w\n# c\nz: 2\n",
    "a: 1\nk: |- # c\n    x[[ v ]]y\n\nz: 2\n",
    "a: 1\nk: |+\n  x[[ v ]]y\n\nz: 2\n",
    "a: 1\nk: |2\n    x[[ v ]]y\nz: 2\n",
    "a: 1\nk: >\n  x\n  [[ v ]]y\n\n  w\nz: 2\n",
    "a: 1\nk: >-\n  x\n  [[ v ]]y\nz: 2\n",
    "a: 1\nk:\n  x\n  [[ v ]]y\nz: 2\n",
    "a: 1\nk: !!str x[[ v ]]y\nz: 2\n",
    "a: 1\nk: &n 'x[[ v ]]y'\nz: *n\n",
    "a: 1\nk: [1, 'x[[ v ]]y', {b: 'x[[ v ]]y', c: \"x[[ v ]]y\"}]\nz: 2\n",
    "a: 1\nk:\n- x[[ v ]]y\n- - 'x[[ v ]]y'\n- |\n  x[[ v ]]y\nz: 2\n",
    "a: 1\n? x[[ v ]]y\n: 1\n'k[[ v ]]': 3\nz: 2\n",
    "a: 1\nk: [[ v ]]\nz: 2 # c\n",
    "k: x[[ v ]]y",
    "k: |-\n  x[[ v ]]y",
];

/// The texts of all scalars, keys included.
fn texts(node: &Node, found: &mut Vec<String>) {
    if let [inner] = node.items()
        && let [name] = inner.items()
        && name.text() == Some("v")
    {
        return found.push("[[ v ]]".to_owned());
    }
    found.extend(node.text().map(str::to_owned));
    for entry in node.entries() {
        texts(&entry.key, found);
        texts(&entry.value, found);
    }
    node.items().iter().for_each(|item| texts(item, found));
}

fn texts_of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    texts(&parse(text).unwrap(), &mut found);
    found
}

/// Values that are hard to write in YAML, and any text.
fn values() -> impl Strategy<Value = String> {
    let hard = prop::sample::select(vec![
        "", " ", "\n", "\t", "'", "\"", "\\", ": ", " #", "- ", "? ", "|", ">", "&a", "*a", "!t",
        "%", "@", "`", "{", "}", "[", "]", ",", "null", "~", "true", "no", "1", "0o7", "1_0",
        "1:30", "---", "...", "<<", "\r", "\0", "\u{85}", "\u{2028}", "\u{feff}", "é", "😀",
        "[[ v ]]",
    ]);
    prop_oneof![prop::collection::vec(hard, 0..4).prop_map(|parts| parts.concat()), any::<String>(),]
}

proptest! {
    #[test]
    fn render_any_value_is_exact(value in values(), style in prop::sample::select(STYLES.to_vec())) {
        let site = SiteValues::default().variable("v", value.clone());
        let rendered = site.render(&SourceFile::new("a.yaml", style)).unwrap().text;
        let expected: Vec<_> =
            texts_of(style).iter().map(|text| text.replace("[[ v ]]", &value)).collect();
        prop_assert_eq!(texts_of(&rendered), expected, "{}", rendered);
        // Everything else stays: the first line, and the comments.
        prop_assert!(style.starts_with("k:") || rendered.starts_with("a: 1\n"));
        prop_assert_eq!(style.contains("# c"), rendered.contains("# c"));
    }

    #[test]
    fn render_any_text_is_parsed_or_refused(text in ".{0,60}", value in values()) {
        let site = SiteValues::default().variable("v", value);
        match site.render(&SourceFile::new("a.yaml", text)) {
            Ok(rendered) => drop(parse(&rendered.text).unwrap()),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

fn values_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => values_files(&path, found),
            false if path.extension().is_some_and(|end| end == "yaml") => found.push(path),
            false => {}
        }
    }
}

#[test]
fn render_corpus_fills_all_variables() {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let corpus = std::env::var_os("COMPASS_CORPUS").map_or_else(default, PathBuf::from);
    if !corpus.join("expectations.json").exists() {
        eprintln!("SKIPPED: no corpus at {}", corpus.display());
        return;
    }
    let mut files = Vec::new();
    values_files(&corpus, &mut files);
    let mut rendered_files = 0;
    for path in files {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if parse(&text).is_err() {
            continue;
        }
        let file = SourceFile::new(path.display().to_string(), text);
        let unset = SiteValues::default().unset_variables(&file).unwrap();
        let names: BTreeSet<_> = unset.iter().map(|one| one.name.clone()).collect();
        let closed = unset.iter().all(|one| one.is_closed);
        let site = names.iter().fold(SiteValues::default(), |site, name| {
            site.variable(name, format!("value: of '{name}' # \"x\""))
        });
        match site.render(&file) {
            Ok(rendered) => {
                assert!(closed, "{}", path.display());
                assert_eq!(rendered.variables, names.iter().cloned().collect::<Vec<_>>());
                for text in texts_of(&rendered.text) {
                    assert_eq!(variables(&text).count(), 0, "{}: {text}", path.display());
                }
                rendered_files += 1;
            }
            Err(SiteError::UnsetVariables(left)) => {
                assert!(left.iter().all(|one| !one.is_closed), "{}", path.display());
                eprintln!("not closed: {}", left[0].location);
            }
            Err(error) => panic!("{}: {error}", path.display()),
        }
        // Without values, all variables are listed, and each use.
        let listed: BTreeSet<_> = match SiteValues::default().render(&file) {
            Err(SiteError::UnsetVariables(all)) => {
                assert_eq!(all, unset);
                all.into_iter().map(|one| one.name).collect()
            }
            _ => BTreeSet::new(),
        };
        assert_eq!(listed, names, "{}", path.display());
        // Without one of the variables, the file is refused.
        if let Some(missing) = names.first() {
            let but_one = names
                .iter()
                .skip(1)
                .fold(SiteValues::default(), |site, name| site.variable(name, "x"));
            let Err(SiteError::UnsetVariables(left)) = but_one.render(&file) else {
                panic!("{}: rendered without {missing}", path.display())
            };
            assert!(left.iter().any(|one| one.name == *missing));
        }
    }
    assert!(rendered_files > 100, "{rendered_files}");
}
