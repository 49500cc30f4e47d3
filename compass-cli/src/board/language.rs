//! Selects the language of a page by `Accept-Language` (RFC 9110, § 12.5.4).

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Chinese,
}

impl Language {
    /// Returns the preferred language; English if the header names neither.
    pub(super) fn preferred(header: &str) -> Self {
        let mut best = (Self::English, 0.0);
        for range in header.split(',').take(MAX_RANGES) {
            let mut parts = range.split(';').map(str::trim);
            let tag = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            let weight: f32 = weight.map_or(Some(1.0), |text| text.parse().ok()).unwrap_or(0.0);
            let Some(language) = Self::of_tag(tag) else { continue };
            // Of equal weights, the first counts.
            if weight > best.1 {
                best = (language, weight);
            }
        }
        best.0
    }

    /// The value of the attribute `lang`.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        match primary.to_ascii_lowercase().as_str() {
            "zh" => Some(Self::Chinese),
            "en" | "*" => Some(Self::English),
            _ => None,
        }
    }
}

/// The maximum number of languages of a header that are read.
const MAX_RANGES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferred_follows_weights() {
        use Language::{Chinese, English};
        for (header, language) in [
            ("", English),
            ("zh-CN,zh;q=0.9,en;q=0.8", Chinese),
            ("zh", Chinese),
            ("ZH-Hant-TW;q=0.5", Chinese),
            ("en-US,en;q=0.9,zh-CN;q=0.8", English),
            ("de, zh;q=0.3, en;q=0.2", Chinese),
            ("de, fr", English),
            ("zh;q=0, en;q=0.1", English),
            ("zh;q=x", English),
            ("*", English),
        ] {
            assert_eq!(Language::preferred(header), language, "{header}");
        }
    }
}
