//! Hostile files, for tests and for the measurements of `benches/src/bin/check_hostile.rs`.

/// A hostile file.
#[derive(Debug)]
pub(crate) struct Case {
    /// The description.
    pub(crate) name: &'static str,
    /// Creates the bytes of the file.
    pub(crate) bytes: fn() -> Vec<u8>,
    /// A part of the error message; `None` if the file is valid.
    pub(crate) error: Option<&'static str>,
}

const MIB: usize = 1 << 20;
/// A size in bytes just below the limit.
const FULL: usize = 4 * MIB - 64;

const DEEP: Option<&str> = Some("levels deep");
const LARGE: Option<&str> = Some("bytes; at most");
const MANY: Option<&str> = Some("keys and values");
const LONG: Option<&str> = Some("a key has more than");
const GROWS: Option<&str> = Some("expand too much");
/// Any error message, for errors of the YAML library.
const SYNTAX: Option<&str> = Some("");

const fn case(name: &'static str, bytes: fn() -> Vec<u8>, error: Option<&'static str>) -> Case {
    Case { name, bytes, error }
}

/// All cases.
pub(crate) const CASES: &[Case] = &[
    case("alias bomb", || bomb(30), GROWS),
    case("aliases of a long scalar", || aliases_of(&"x".repeat(MIB / 4), 9_000), GROWS),
    case(
        "aliases as keys",
        || [b"a: &a x\n", many(1_000, |_| "*a : 1\n".into()).as_slice()].concat(),
        None,
    ),
    case("alias inside its anchor", || b"a: &a [*a]".to_vec(), Some("inside its own anchor")),
    case("alias of nothing", || b"a: *a".to_vec(), SYNTAX),
    case("anchors inside of anchors", nested_anchors, Some("nested anchors")),
    case("a million anchors", || many(1_000_000, |_| "- &a\n".into()), LARGE),
    case("many anchors", || many(500_000, |_| "- &a\n".into()), MANY),
    case("merge key", || b"a: &a {x: 1}\nb: {<<: *a}\n".to_vec(), None),
    case("merge key of itself", || b"a: &a {<<: *a}\n".to_vec(), Some("inside its own anchor")),
    case("100,000 x [", || b"[".repeat(100_000), DEEP),
    case("100,000 x {", || b"{".repeat(100_000), DEEP),
    case("100,000 x {a: ", || b"{a: ".repeat(100_000), DEEP),
    case("100,000 x [{a: ", || b"[{a: ".repeat(100_000), DEEP),
    case("100,000 x [, closed", || [b"[".repeat(100_000), b"]".repeat(100_000)].concat(), DEEP),
    case("100,000 x - ", || b"- ".repeat(100_000), DEEP),
    case("100,000 x ? ", || b"? ".repeat(100_000), DEEP),
    case("100,000 x - ? ", || b"- ? ".repeat(100_000), DEEP),
    case("2,000 block mappings", || stairs("a:\n", 2_000), DEEP),
    case("1,000 block lists and mappings", || stairs("- a:\n", 1_000), DEEP),
    case("100 MB plain", || b"a".repeat(100_000_000), LARGE),
    case("100 MB quoted", || [b"a: '".as_slice(), &b"a".repeat(100_000_000), b"'"].concat(), LARGE),
    case("100 MB block", || [b"a: |\n".as_slice(), &b"  a\n".repeat(25_000_000)].concat(), LARGE),
    case("100 MB of 0xff", || vec![0xff; 100_000_000], LARGE),
    case("4 MB plain", || b"a".repeat(FULL), None),
    case(
        "4 MB plain of many lines",
        || [b"a: ".as_slice(), &b"a\n  ".repeat(FULL / 4)].concat(),
        None,
    ),
    case("4 MB quoted", || [b"a: '", b"a".repeat(FULL).as_slice(), b"'"].concat(), None),
    case(
        "4 MB quoted, escaped",
        || [b"a: \"", b"\\n".repeat(FULL / 2).as_slice(), b"\""].concat(),
        None,
    ),
    case("4 MB quoted, open", || [b"a: \"", b"a\n ".repeat(FULL / 3).as_slice()].concat(), SYNTAX),
    case("4 MB block", || [b"a: |\n".as_slice(), &b"  a\n".repeat(FULL / 4)].concat(), None),
    case("4 MB folded", || [b"a: >\n".as_slice(), &b"  a\n".repeat(FULL / 4)].concat(), None),
    case("4 MB block of nothing", || [b"a: |+\n".as_slice(), &b"\n".repeat(FULL)].concat(), None),
    case("4 MB key", || [b"a".repeat(FULL).as_slice(), b": 1"].concat(), SYNTAX),
    case("4 MB explicit key", || [b"? ", b"a".repeat(FULL).as_slice(), b"\n: 1"].concat(), LONG),
    case("keys below a long key", || long_path(1 << 20), LONG),
    case("keys below the longest key", || long_path(1024), None),
    case("4 MB comment", || [b"a: 1 #", b"a".repeat(FULL).as_slice()].concat(), None),
    case("4 MB of comments", || [b"a: 1\n".as_slice(), &b"#\n".repeat(FULL / 2)].concat(), None),
    case("4 MB of spaces", || b" ".repeat(FULL), Some("empty")),
    case("4 MB of line ends", || b"\n".repeat(FULL), Some("empty")),
    case(
        "4 MB of line ends in open lists",
        || [stairs("a:\n", 100), b"\n".repeat(FULL - 16_000)].concat(),
        None,
    ),
    case("4 MB of tabs", || b"\t".repeat(FULL), Some("empty")),
    case("4 MB tag", || [b"a: !", b"a".repeat(FULL).as_slice(), b" 1"].concat(), None),
    case("4 MB anchor", || [b"a: &", b"a".repeat(FULL).as_slice(), b" 1"].concat(), None),
    case("4 MB directive", || [b"%A", b"a".repeat(FULL).as_slice(), b"\n--- 1"].concat(), SYNTAX),
    case("4 MB of directives", || [b"%A a\n".repeat(FULL / 6).as_slice(), b"--- 1"].concat(), None),
    case("a million keys", || many(1_000_000, |n| format!("{n}:\n")), LARGE),
    case("half a million keys", || many(500_000, |n| format!("{n:x}:\n")), MANY),
    case("24,999 unknown keys", || many(24_999, |n| format!("{n}:\n")), None),
    case("24,999 equal keys", || many(24_999, |_| "a: 1\n".into()), None),
    case(
        "24,999 equal keys in a line",
        || [b"{", many(24_999, |_| "a: 1, ".into()).as_slice(), b"}"].concat(),
        None,
    ),
    case("24,999 long equal keys", || many(24_999, |_| format!("{}:\n", "k".repeat(80))), None),
    case(
        "two million empty values",
        || [b"[", b"a,".repeat(FULL / 2).as_slice(), b"]"].concat(),
        MANY,
    ),
    case("two million nothings", || b"-\n".repeat(FULL / 2), MANY),
    case(
        "two million empty lists",
        || [b"[", b"[],".repeat(FULL / 3).as_slice(), b"]"].concat(),
        MANY,
    ),
    case("wrong types", || wrong("spec: {modules: [", "x,", 40_000, "]}"), None),
    case("modules without fields", || wrong("spec: {modules: [", "{},", 40_000, "]}"), None),
    case("unknown fields of modules", || wrong("spec: {modules: [", "{a},", 15_000, "]}"), None),
    case("NUL", || b"a: \0\n".to_vec(), SYNTAX),
    case("4 MB of NUL", || vec![0; FULL], SYNTAX),
    case("escaped NUL", || b"a: \"\\0\"\n".to_vec(), None),
    case("terminal escapes", || b"a: \x1b[31m\n".to_vec(), SYNTAX),
    case("escaped terminal escapes", || b"\"\\e[31m\": 1\n".to_vec(), None),
    case("not UTF-8", || b"a: \xff\xfe\n".to_vec(), Some("not UTF-8")),
    case("4 MB not UTF-8", || vec![0xff; FULL], Some("not UTF-8")),
    case("UTF-8 cut short", || "a: 持".as_bytes()[..5].to_vec(), Some("not UTF-8")),
    case("byte order mark, then not UTF-8", || b"\xef\xbb\xbfa: \xff".to_vec(), Some("not UTF-8")),
    case("UTF-16", || b"\xff\xfea\0:\0".to_vec(), Some("UTF-16")),
    case("UTF-16 without its mark", || b"\x00a\x00:\x00 \x001".to_vec(), Some("UTF-16")),
    case("conflict markers", || b"a: 1\n<<<<<<< HEAD\nb: 1\n".to_vec(), Some("conflict marker")),
    case(
        "merge key twice",
        || b"a: &a {x: 1}\nb: {<<: *a, <<: *a}\n".to_vec(),
        Some("two merge keys"),
    ),
    case(
        "merge keys of merge keys",
        || {
            [
                b"a0: &a0 {x: 1}\n".to_vec(),
                many(4_000, |n| format!("a{}: &a{0} {{<<: *a{n}, k{n}: 1}}\n", n + 1)),
            ]
            .concat()
        },
        GROWS,
    ),
    case("byte order mark", || "\u{feff}a: 1\n".into(), None),
    case("byte order mark alone", || "\u{feff}".into(), Some("empty")),
    case("two byte order marks", || "\u{feff}\u{feff}a: 1\n".into(), None),
    case("byte order mark inside", || "a: 1\n\u{feff}b: 2\n".into(), SYNTAX),
    case("CRLF", || b"a:\r\n- 1\r\n- 'b\r\n  c'\r\n".to_vec(), None),
    case("CR alone", || b"a: 1\rb: 2\r".to_vec(), None),
    case("tab as indentation", || b"a:\n\tb: 1\n".to_vec(), SYNTAX),
    case("tab after a value", || b"a: 1\t\n".to_vec(), None),
    case("YAML 1.1", || b"%YAML 1.1\n---\na: yes\n".to_vec(), None),
    case("YAML 9.9", || b"%YAML 9.9\n---\na: 1\n".to_vec(), SYNTAX),
    case("two YAML directives", || b"%YAML 1.2\n%YAML 1.2\n---\na: 1\n".to_vec(), SYNTAX),
    case("tag of a program", || b"a: !!python/object/apply:os.system ['true']\n".to_vec(), None),
    case("tag without its handle", || b"a: !x!y 1\n".to_vec(), SYNTAX),
    case("two documents", || b"a: 1\n---\nb: 2\n".to_vec(), Some("second YAML document")),
    case("a million documents", || b"---\n".repeat(1_000_000), Some("second YAML document")),
    case("one document with its end", || b"---\na: 1\n...\n".to_vec(), None),
    case("nothing", Vec::new, Some("empty")),
    case("keys that are lists", || b"? [a, b]\n: {? {c: d} : e}\n".to_vec(), None),
];

fn many(count: usize, line: fn(usize) -> String) -> Vec<u8> {
    (0..count).map(line).collect::<String>().into_bytes()
}

fn bomb(levels: usize) -> Vec<u8> {
    let mut text = "a0: &a0 [x, x, x, x]\n".to_owned();
    for level in 1..levels {
        let below = level - 1;
        text.push_str(&format!(
            "a{level}: &a{level} [*a{below}, *a{below}, *a{below}, *a{below}]\n"
        ));
    }
    text.into_bytes()
}

fn aliases_of(value: &str, count: usize) -> Vec<u8> {
    format!("- &a {value}\n{}", "- *a\n".repeat(count)).into_bytes()
}

/// Creates nested anchors, each of which contains the inner anchors and a long value.
fn nested_anchors() -> Vec<u8> {
    let mut text: String = (0..120).map(|n| format!("[&a{n} ")).collect();
    text.push_str(&"x".repeat(1 << 20));
    text.push_str(&"]".repeat(120));
    text.into_bytes()
}

/// Repeats a line with increasing indentation.
fn stairs(line: &str, levels: usize) -> Vec<u8> {
    let width = line.len() - 2;
    (0..levels).map(|level| " ".repeat(level * width) + line).collect::<String>().into_bytes()
}

fn wrong(head: &str, item: &str, count: usize, tail: &str) -> Vec<u8> {
    format!("{head}{}{tail}", item.repeat(count)).into_bytes()
}

/// Creates fields with a long path, which each message about them contains.
fn long_path(length: usize) -> Vec<u8> {
    let key = "k".repeat(length);
    format!("version: 1\nregistries: {{hosts: {{? {key} : {{{}}}}}}}", "a,".repeat(24_000))
        .into_bytes()
}
