//! Parses lists of pushed images and of uploaded packages.

use crate::image::ImageReference;

use super::command::ListItem;
use super::markdown::MARKUP;

/// The maximum length of an item in bytes, equal to that of image references.
const MAX_ITEM: usize = 512;
/// The maximum number of characters of [`ListItem::text`].
const MAX_SHOWN: usize = 120;
/// The maximum number of filler words before each word of a heading.
const MAX_FILLERS: usize = 3;

/// The kind of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListKind {
    Images,
    Packages,
}

/// The heading of a list.
#[derive(Debug)]
pub(super) struct Heading<'l> {
    pub(super) kind: ListKind,
    /// The rest of the line after the heading: items, or empty.
    pub(super) rest: &'l str,
}

/// Parses the heading of a list.
///
/// The rest of the line must be empty, contain items, or end with a colon, because "Images pushed
/// to the registry yesterday" is a sentence.
pub(super) fn heading(line: &str) -> Option<Heading<'_>> {
    let (kind, rest) = english(line).or_else(|| chinese(line))?;
    let rest = rest.trim_start_matches(|character: char| {
        character.is_whitespace() || character == ':' || MARKUP.contains(&character)
    });
    let has_items = match kind {
        ListKind::Images => !images(0, rest).is_empty(),
        ListKind::Packages => !packages(0, rest).is_empty(),
    };
    let is_heading = has_items || rest.is_empty() || rest.ends_with(':');
    is_heading.then_some(Heading { kind, rest })
}

/// Parses `image(s) pushed to`, `packages uploaded to`, and their variants.
fn english(line: &str) -> Option<(ListKind, &str)> {
    let mut words = Words { rest: line };
    let mut word = words.next_after(&["all", "the", "following", "new"])?;
    let (kind, verb) = match word.as_str() {
        "image" | "images" | "image(s)" | "images(s)" => (ListKind::Images, "pushed"),
        "package" | "packages" | "package(s)" => (ListKind::Packages, "uploaded"),
        _ => return None,
    };
    word =
        words.next_after(&["is", "are", "was", "were", "has", "have", "been", "already", "now"])?;
    if word != verb {
        return None;
    }
    let to = words.rest.trim_start();
    let after = to.get(..2).filter(|word| word.eq_ignore_ascii_case("to")).map(|_| &to[2..])?;
    let ends = after.is_empty()
        || after.starts_with(|character: char| {
            character.is_whitespace() || character == ':' || MARKUP.contains(&character)
        });
    ends.then_some((kind, after))
}

struct Words<'l> {
    rest: &'l str,
}

impl Words<'_> {
    /// Returns the next word in lower case, after a few filler words.
    fn next_after(&mut self, fillers: &[&str]) -> Option<String> {
        for _ in 0..=MAX_FILLERS {
            let rest = self.rest.trim_start();
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let word = rest[..end].trim_matches(MARKUP);
            // A heading has no word of more than 40 bytes.
            if end == 0 || end > 40 {
                return None;
            }
            self.rest = &rest[end..];
            let word = word.to_ascii_lowercase();
            if !fillers.contains(&word.as_str()) {
                return Some(word);
            }
        }
        None
    }
}

/// Parses `镜像已推送到` and `安装包已上传到`.
fn chinese(line: &str) -> Option<(ListKind, &str)> {
    let skip = |text: &'_ str, words: &[&str]| -> usize {
        let trimmed = text.trim_start();
        let taken = words.iter().find(|word| trimmed.starts_with(**word)).map_or(0, |w| w.len());
        text.len() - trimmed.len() + taken
    };
    let mut rest = &line[skip(line, &["以下", "所有", "全部"])..];
    rest = rest.trim_start();
    let (kind, verbs): (_, &[&str]) = if let Some(after) = rest.strip_prefix("镜像") {
        rest = after;
        (ListKind::Images, &["推送", "推", "push "])
    } else {
        rest = rest.strip_prefix("安装包").or_else(|| rest.strip_prefix("包"))?;
        (ListKind::Packages, &["上传"])
    };
    rest = &rest[skip(
        rest,
        &["已经全部", "已全部", "都已经", "均已经", "都已", "均已", "已经", "全部", "已"],
    )..];
    rest = rest.trim_start();
    rest = verbs.iter().find_map(|verb| rest.strip_prefix(verb))?.trim_start();
    rest = ["到了", "到", "至"].iter().find_map(|word| rest.strip_prefix(word))?;
    Some((kind, rest))
}

/// Returns the images in a line of a list; empty if the line ends the list.
pub(super) fn images(line: usize, content: &str) -> Vec<ListItem<ImageReference>> {
    if content.starts_with("[[") && content.contains("]]/") {
        let value = Err("it contains a template variable: write the registry".to_owned());
        return vec![ListItem { line, text: shorten(content), value }];
    }
    items(line, content, image)
}

/// Returns the URLs in a line of a list; empty if the line ends the list.
pub(super) fn packages(line: usize, content: &str) -> Vec<ListItem<String>> {
    items(line, content, address)
}

/// The result of parsing a word.
///
/// `None` if the word is not an item, otherwise the value or the reason why it is invalid.
type ParsedItem<T> = Option<Result<T, String>>;

/// Parses the items at the beginning of a line.
///
/// Parsing stops at the first word that is not an item, because it begins a remark.
fn items<T>(line: usize, content: &str, read: fn(&str, bool) -> ParsedItem<T>) -> Vec<ListItem<T>> {
    let is_separator =
        |character: char| character.is_whitespace() || matches!(character, ',' | ';');
    let mut words =
        content.split(is_separator).map(strip_word).filter(|word| !word.is_empty()).peekable();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let alone = found.is_empty() && words.peek().is_none();
        match read(word, alone) {
            Some(value) => found.push(ListItem { line, text: shorten(word), value }),
            None if !found.is_empty() && matches!(word, "and" | "&" | "和" | "及") => {}
            None => break,
        }
    }
    found
}

/// Strips Markdown and punctuation around a word.
fn strip_word(word: &str) -> &str {
    let around = |character: char| {
        MARKUP.contains(&character) || matches!(character, '"' | '\'' | '(' | ')' | '|')
    };
    if let Some((text, _)) = word.strip_prefix('[').and_then(|link| link.split_once("](")) {
        return text.trim_matches(MARKUP);
    }
    let word = word.trim_matches(around);
    let word = word.strip_prefix('<').and_then(|word| word.strip_suffix('>')).unwrap_or(word);
    // Strip the punctuation of a sentence; no reference ends with it.
    word.trim_end_matches(['.', '!']).trim_end_matches(around)
}

fn image(word: &str, alone: bool) -> ParsedItem<ImageReference> {
    if word.len() > MAX_ITEM {
        return word.contains('/').then(|| Err("it is longer than any image reference".to_owned()));
    }
    match word.parse::<ImageReference>() {
        Ok(image) => Some(Ok(image)),
        Err(error) => {
            looks_like_an_image(word, alone).then(|| Err(invalid_image_reason(word, &error)))
        }
    }
}

fn invalid_image_reason(word: &str, error: &dyn std::error::Error) -> String {
    if word.contains("://") {
        "an image reference has no scheme: remove it".to_owned()
    } else if word.contains(['<', '>']) {
        "it contains a placeholder".to_owned()
    } else {
        error.to_string()
    }
}

/// Returns whether an invalid word was probably intended as an image.
fn looks_like_an_image(word: &str, alone: bool) -> bool {
    if word.starts_with('/') || !word.is_ascii() {
        return false;
    }
    match word.split_once('/') {
        Some((host, path)) => {
            alone || host.contains(['.', ':']) || host == "localhost" || path.contains(':')
        }
        None => word.split_once(':').is_some_and(|(name, tag)| {
            name.contains(|character: char| character.is_ascii_alphabetic())
                && tag.contains(|character: char| character.is_ascii_digit())
        }),
    }
}

fn address(word: &str, alone: bool) -> ParsedItem<String> {
    const SCHEMES: &[&str] = &["oss", "s3", "http", "https", "file"];
    if word.len() > MAX_ITEM {
        return word.contains('/').then(|| Err("it is longer than any URL".to_owned()));
    }
    let Some((scheme, path)) = word.split_once("://") else {
        let is_intended = word.ends_with(".tar.gz")
            || word.contains(":/")
            || (alone && word.contains('/') && !word.starts_with('/'));
        return is_intended.then(|| Err("it has no scheme: write `oss://BUCKET/…`".to_owned()));
    };
    Some(if !SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        Err(format!("`{scheme}://` is not a scheme of packages: {}", SCHEMES.join(", ")))
    } else if path.trim_matches('/').is_empty() {
        Err("the URL has no path".to_owned())
    } else if path.contains(['<', '>']) {
        Err("it contains a placeholder".to_owned())
    } else {
        Ok(word.to_owned())
    })
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
