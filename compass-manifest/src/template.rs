//! Finds template variables in texts: `[[ registry_release ]]`.

use std::sync::LazyLock;

use regex::Regex;

/// A use of a template variable in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable<'t> {
    /// The name between the brackets.
    pub name: &'t str,
    /// The byte offset of the opening brackets.
    pub start: usize,
    /// The byte offset after the closing brackets.
    pub end: usize,
    /// Whether the variable is closed, with one space on each side of its name.
    pub well_formed: bool,
}

#[expect(clippy::expect_used, reason = "a constant regular expression, which the tests use")]
static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\[\[([ \t]*)([A-Za-z_][A-Za-z0-9_.-]*)([ \t]*)(\]\]?)")
        .expect("the regular expression is valid")
});

/// Iterates over the template variables in a text.
///
/// Skips other texts in double brackets, whose content is not a name, for example `[[ -f x ]]` of a
/// shell script and `[[^\]]` of a regular expression.
///
/// ```
/// use compass_manifest::template::variables;
///
/// let found: Vec<_> = variables("http://[[ host ]]:30000/[[ -f x ]]").collect();
/// assert_eq!(found.len(), 1);
/// assert_eq!(found[0].name, "host");
/// ```
pub fn variables(text: &str) -> impl Iterator<Item = Variable<'_>> {
    VARIABLE.captures_iter(text).filter_map(|captures| {
        let part = |index: usize| captures.get(index).map_or("", |part| part.as_str());
        let (whole, name) = (captures.get(0)?, captures.get(2)?);
        let spaced = part(1) == " " && part(3) == " ";
        Some(Variable {
            name: name.as_str(),
            start: whole.start(),
            end: whole.end(),
            well_formed: spaced && part(4) == "]]",
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_need_one_space_each_side() {
        for (text, well_formed) in [
            ("[[ a.b-c_D ]]", true),
            ("[[a]]", false),
            ("[[  a ]]", false),
            ("[[ a\t]]", false),
            ("[[ a ]/x", false),
        ] {
            let found: Vec<_> = variables(text).collect();
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].well_formed, well_formed, "{text}");
            assert_eq!(found[0].start, 0);
        }
    }

    #[test]
    fn variables_other_brackets_are_skipped() {
        for text in ["[[ $a == b ]]", "[[^\\]]", "[[Go-http-client/1.1] 10.0.0.1]", "[a]", "[[ ]]"]
        {
            assert_eq!(variables(text).count(), 0, "{text}");
        }
    }

    #[test]
    fn variables_offsets_include_brackets() {
        let text = "x-[[ a ]]-[[ b ]]";
        let texts: Vec<_> = variables(text).map(|found| &text[found.start..found.end]).collect();
        assert_eq!(texts, ["[[ a ]]", "[[ b ]]"]);
    }
}
