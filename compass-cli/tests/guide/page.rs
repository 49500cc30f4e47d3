//! Reads the commands of a guide.

/// A part of the guide that the test executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// The commands of a block.
    Block(Mode, String),
    /// `<!-- author N: LOGIN -->`: the account that opened a pull request.
    Author { number: u64, login: String },
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

/// Returns the shell blocks and the directives of a page.
pub(crate) fn read(page: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let mode = match info {
                "sh" => Mode::Succeeds,
                "sh forge" => Mode::Forge,
                "sh refused" => Mode::Refused,
                "sh background" => Mode::Background,
                other => panic!("the test does not know blocks of `{other}`"),
            };
            items.push(Item::Block(mode, body.join("\n")));
        } else if let Some(directive) = line.strip_prefix("<!-- ") {
            items.push(directive_of(directive.strip_suffix(" -->").unwrap()));
        }
    }
    items
}

fn directive_of(text: &str) -> Item {
    let (head, rest) = text.split_once(": ").unwrap();
    match head.split(' ').collect::<Vec<_>>()[..] {
        ["author", number] => {
            Item::Author { number: number.parse().unwrap(), login: rest.to_owned() }
        }
        ["comment", number, login] => Item::Comment {
            number: number.parse().unwrap(),
            login: login.to_owned(),
            text: rest.to_owned(),
        },
        _ => panic!("the test does not know `{text}`"),
    }
}
