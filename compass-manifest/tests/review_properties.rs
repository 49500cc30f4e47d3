//! Property tests of the command parser.

use compass_manifest::review::{Command, CommandKind, parse_commands};
use proptest::prelude::*;

/// The test would run for hours if parsing took quadratic time.
#[test]
fn parse_hostile_comment_takes_linear_time() {
    const SIZE: usize = 500_000;
    for part in [
        "<!--",
        "<!-- -->",
        "x<!--",
        ">",
        "> ",
        "- ",
        "*",
        "`",
        "```\n",
        "#",
        "# ",
        "1. ",
        "[ ] ",
        "/",
        "/cc ",
        "/cc @a ",
        "/queue ",
        "/queue /kind ",
        "\r",
        "\u{200b}",
        "<br>",
        "a/",
        "[](",
        "x<!--\n",
        "a.b/c:v1 ",
        "a.b/C:v1\n",
        "a.b/c:v1 and ",
        "_ *",
        "image(s) pushed to ",
        "\u{3000}",
        "、",
        "-->",
        "**",
        "(",
        "release note",
    ] {
        let mut text = part.repeat(SIZE / part.len());
        assert!(parse_commands(&text).len() <= SIZE);
        text.insert_str(0, "image(s) pushed to\n");
        assert!(parse_commands(&text).len() <= SIZE);
    }
}

const LINES: &[&str] = &[
    "/kind release",
    "/queue need-queue",
    "/queue queue/patches-need-package",
    "/cc @supereagle @pendoragon",
    "/queue",
    "image(s) pushed to",
    "cargo.example/caicloud/gpu:v1",
    "cargo.example/caicloud/GPU:v1",
    "packages uploaded to",
    "oss://infra-release/a.tar.gz",
    "please /queue need-queue",
    "",
];

const BEFORE: &[&str] = &[
    "", "  ", "\t", "    ", "- ", "* ", "+ ", "1. ", "- [x] ", "\u{200b}", "\u{a0}", "\u{3000}",
    "### ", "2、",
];
const QUOTES: &[&str] = &["> ", ">", "> > ", "  > ", "> - ", "- > ", "＞ ", "> ```\n> "];
const AFTER: &[&str] = &["", " ", "   ", "\t", "\u{200b}", "\u{a0}", "<br>", " <!-- hint -->"];

fn lines(ends: &'static [&'static str]) -> impl Strategy<Value = (String, String)> {
    let line = (0..LINES.len(), 0..BEFORE.len(), 0..AFTER.len(), 0..ends.len());
    prop::collection::vec(line, 0..12).prop_map(move |lines| {
        let (mut plain, mut decorated) = (String::new(), String::new());
        for (line, before, after, end) in lines {
            plain += &format!("{}\n", LINES[line]);
            decorated += &format!("{}{}{}{}", BEFORE[before], LINES[line], AFTER[after], ends[end]);
        }
        (plain, decorated)
    })
}

proptest! {
    #[test]
    fn parse_ignores_markup((plain, decorated) in lines(&["\n", "\r\n"])) {
        prop_assert_eq!(parse_commands(&decorated), parse_commands(&plain));
    }

    #[test]
    fn parse_ignores_fences((plain, decorated) in lines(&["\n"])) {
        let said = |commands: Vec<Command>| -> Vec<String> {
            let moved = commands.into_iter().map(|command| match command.kind {
                CommandKind::Images(items) => format!("{:?}", items.iter().map(|item| &item.text).collect::<Vec<_>>()),
                CommandKind::Packages(items) => format!("{:?}", items.iter().map(|item| &item.text).collect::<Vec<_>>()),
                other => format!("{other:?}"),
            });
            moved.collect()
        };
        prop_assert_eq!(said(parse_commands(&format!("```sh\n{decorated}```\n"))), said(parse_commands(&plain)));
    }

    #[test]
    fn parse_skips_quoted_lines((_, decorated) in lines(&["\n"]), quote in 0..QUOTES.len()) {
        let quoted: String =
            decorated.lines().map(|line| format!("{}{line}\n", QUOTES[quote])).collect();
        prop_assert_eq!(parse_commands(&quoted), Vec::new());
        let mut around = parse_commands(&format!("/kind release\n{quoted}\n/queue need-queue\n"));
        prop_assert_eq!(around.pop().map(|command| command.kind), Some(CommandKind::Queue("need-queue".into())));
        prop_assert_eq!(around.len(), 1);
    }

    #[test]
    fn parse_any_text_does_not_panic(text in any::<String>()) {
        let lines = text.replace("\r\n", "\n").split(['\n', '\r']).count();
        let commands = parse_commands(&text);
        prop_assert!(commands.is_sorted_by_key(|command| command.line));
        prop_assert!(commands.iter().all(|command| (1..=lines).contains(&command.line)));
    }

    #[test]
    fn parse_any_keywords_does_not_panic(
        text in r"((/kind|/queue|/cc|@|image\(s\) pushed to|镜像已推送到|packages uploaded to|release note|[-*>`#\[\]<>x ./:：、1é\u{200b}]|<!--|-->|```|oss://|a.b/c:v1|\r|\n| ){1,3}){0,40}"
    ) {
        let commands = parse_commands(&text);
        prop_assert!(commands.is_sorted_by_key(|command| command.line));
    }
}
