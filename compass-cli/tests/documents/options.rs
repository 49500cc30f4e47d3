//! The options of `compass` commands within the text of the documents exist.

use std::collections::BTreeMap;
use std::process::Command;

use super::{documents, text};

const COMPASS: &str = env!("CARGO_BIN_EXE_compass");

/// Returns the code spans of a page that are commands of `compass`.
fn commands_in(page: &str) -> Vec<Vec<String>> {
    let flowing = page.replace('\n', " ");
    let spans = flowing.split('`').skip(1).step_by(2);
    let commands = spans.filter_map(|span| span.strip_prefix("compass "));
    commands.map(|span| span.split_whitespace().map(str::to_owned).collect()).collect()
}

/// Returns the help of a command, which may be a subcommand such as `store ls`.
fn help_of(words: &[String]) -> Option<String> {
    let names = words.iter().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()));
    let names: Vec<_> = names.take(2).collect();
    (1..=names.len()).rev().find_map(|count| {
        let output = Command::new(COMPASS).args(&names[..count]).arg("--help").output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    })
}

#[test]
fn documents_options_in_text_exist() {
    let mut known: BTreeMap<Vec<String>, Option<String>> = BTreeMap::new();
    let mut checked = 0;
    for file in documents() {
        for words in commands_in(&text(&file)) {
            if !words[0].starts_with(|c: char| c.is_ascii_lowercase()) {
                continue;
            }
            let key: Vec<_> = words.iter().take(2).cloned().collect();
            let help = known.entry(key).or_insert_with(|| help_of(&words));
            let Some(help) = help else { panic!("{file}: there is no command `{}`", words[0]) };
            for word in words.iter().filter(|word| word.starts_with("--")) {
                let option = word.split(['=', ')', ',', ']']).next().unwrap();
                let is_there = help.split([' ', ',', '\n']).any(|one| one == option);
                assert!(is_there, "{file}: `compass {}` has no `{option}`", words.join(" "));
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "{checked}");
}
