//! Reads the commands of a page.

/// A part of a page that the test executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// The commands of a block.
    Block(Mode, String),
    /// `<!-- author N: LOGIN -->`: the account that opened a pull request.
    Author { number: u64, login: String },
    /// `<!-- merge N: closed -->`: the pull request is merged on the forge.
    Merge { number: u64 },
    /// `<!-- comment N LOGIN: TEXT -->`: a comment on a pull request.
    Comment { number: u64, login: String, text: String },
}

/// What the commands of a block do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They succeed.
    Succeeds,
    /// They succeed with a forge.
    Forge,
    /// Each fails with exit code 1, 2 or 3.
    Refused,
    /// They run until they are stopped.
    Background,
}

/// Languages of blocks that contain no commands.
const OTHER_LANGUAGES: [&str; 6] = ["", "text", "json", "yaml", "ini", "toml"];

/// Returns the shell blocks and the directives of a page.
pub(crate) fn read(page: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            items.extend(block(info, &body));
        } else if line.trim_start().starts_with("```") || line.starts_with("    compass ") {
            panic!("the test does not know indented blocks: {line}");
        } else if let Some(directive) = line.strip_prefix("<!-- ")
            && let Some((head, text)) = directive.strip_suffix(" -->").unwrap().split_once(": ")
        {
            items.push(directive_of(head, text));
        }
    }
    items
}

fn block(info: &str, body: &[&str]) -> Option<Item> {
    let mode = match info {
        "sh" => Mode::Succeeds,
        "sh forge" => Mode::Forge,
        "sh refused" => Mode::Refused,
        "sh background" | "sh forge background" => Mode::Background,
        "console" => {
            let commands = body.iter().filter_map(|line| line.strip_prefix("$ "));
            return Some(Item::Block(Mode::Succeeds, commands.collect::<Vec<_>>().join("\n")));
        }
        other => {
            let (language, file) = other.split_once(' ').unwrap_or((other, ""));
            let is_other = OTHER_LANGUAGES.contains(&language) || !file.is_empty();
            assert!(is_other, "the test does not know blocks of `{other}`");
            let mut lines = body.iter();
            let command = lines.find(|line| line.starts_with("compass ") || line.starts_with("$ "));
            assert!(command.is_none(), "a command outside of a `sh` block: {command:?}");
            return None;
        }
    };
    Some(Item::Block(mode, body.join("\n")))
}

fn directive_of(head: &str, rest: &str) -> Item {
    match head.split(' ').collect::<Vec<_>>()[..] {
        ["author", number] => {
            Item::Author { number: number.parse().unwrap(), login: rest.to_owned() }
        }
        ["merge", number] => Item::Merge { number: number.parse().unwrap() },
        ["comment", number, login] => Item::Comment {
            number: number.parse().unwrap(),
            login: login.to_owned(),
            text: rest.to_owned(),
        },
        _ => panic!("the test does not know `{head}`"),
    }
}

/// Returns the commands of a block, with continued lines joined and without comments.
pub(crate) fn commands(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    let without_comment =
        |line: &str| line.split(" #").next().unwrap_or_default().trim().to_owned();
    let lines = joined.lines().map(without_comment);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}
