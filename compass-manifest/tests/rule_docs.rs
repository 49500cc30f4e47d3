//! Compares `docs/rules/` with the documentation of the rules.
//!
//! `COMPASS_BLESS=1 cargo test -p compass-manifest --test rule_docs` generates the files.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use compass_manifest::{render, rules};

#[test]
fn rule_docs_are_up_to_date() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules");
    let mut pages = BTreeMap::new();
    pages.insert("README.md".to_owned(), render::rule_table(rules::ALL.iter().copied()));
    for rule in rules::ALL {
        pages.insert(format!("{}.md", rule.code), render::rule_page(rule));
    }
    if std::env::var_os("COMPASS_BLESS").is_some() {
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        for (name, page) in &pages {
            fs::write(directory.join(name), page).unwrap();
        }
    }
    let mut existing = BTreeMap::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        existing.insert(name, fs::read_to_string(path).unwrap());
    }
    let stale: Vec<_> =
        pages.iter().filter(|(name, page)| existing.get(*name) != Some(*page)).collect();
    assert!(
        stale.is_empty() && existing.len() == pages.len(),
        "docs/rules is out of date: run `COMPASS_BLESS=1 cargo test -p compass-manifest --test rule_docs`"
    );
}
