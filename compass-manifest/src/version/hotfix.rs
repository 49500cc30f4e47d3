use std::fmt;
use std::str::FromStr;

use super::{ProductVersion, VersionError};

const FORMAT: &str = "<product version>-<YYYYMMDD>-p<N>";

/// A HOTFIXVERSION: `<product version>-<YYYYMMDD>-p<N>`, such as `v2.7.0-20180605-p1`.
///
/// The order compares the product version, the date, then the patch number.
///
/// ```
/// use compass_manifest::version::HotfixVersion;
///
/// let ninth: HotfixVersion = "v2.7.0-20180605-p9".parse()?;
/// let tenth: HotfixVersion = "v2.7.0-20180605-p10".parse()?;
/// assert!(tenth > ninth);
/// assert!("v2.7.0".parse::<HotfixVersion>().is_err());
/// # Ok::<(), compass_manifest::version::VersionError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HotfixVersion {
    base: ProductVersion,
    date: Date,
    patch: u32,
}

/// A calendar date of the Gregorian calendar, written `YYYYMMDD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl HotfixVersion {
    /// Creates a HOTFIXVERSION from a product version, a date and a patch number.
    ///
    /// The product version gets the prefix `v` if it has none.
    ///
    /// # Errors
    /// Returns [`VersionError::Patch`] if the patch number is 0.
    pub fn new(base: &ProductVersion, date: Date, patch: u32) -> Result<Self, VersionError> {
        let bare = base.as_str().strip_prefix('v').unwrap_or(base.as_str());
        format!("v{bare}-{date}-p{patch}").parse()
    }

    /// Returns the next version on the same date; `None` if the patch number overflows.
    ///
    /// ```
    /// use compass_manifest::version::HotfixVersion;
    ///
    /// let version: HotfixVersion = "v2.7.0-20180605-p9".parse()?;
    /// assert_eq!(version.next().map(|next| next.to_string()).as_deref(), Some("v2.7.0-20180605-p10"));
    /// # Ok::<(), compass_manifest::version::VersionError>(())
    /// ```
    #[must_use]
    pub fn next(&self) -> Option<Self> {
        Some(Self { patch: self.patch.checked_add(1)?, ..self.clone() })
    }

    /// Returns the product version that the hotfix patches.
    pub fn base(&self) -> &ProductVersion {
        &self.base
    }

    /// Returns the date of the hotfix.
    pub fn date(&self) -> Date {
        self.date
    }

    /// Returns the number of the hotfix on its date, from 1.
    pub fn patch(&self) -> u32 {
        self.patch
    }
}

impl FromStr for HotfixVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        if !text.starts_with('v') {
            return Err(VersionError::MissingPrefix(text.to_owned()));
        }
        let error = |reason: &str| VersionError::Format {
            text: text.to_owned(),
            format: FORMAT,
            reason: reason.to_owned(),
        };
        let (rest, patch) =
            text.rsplit_once('-').ok_or_else(|| error("date and patch number are missing"))?;
        let (base, date) =
            rest.rsplit_once('-').ok_or_else(|| error("date or patch number is missing"))?;
        Ok(Self {
            base: base.parse()?,
            date: Date::parse(date).ok_or_else(|| VersionError::Date {
                text: text.to_owned(),
                date: date.to_owned(),
            })?,
            patch: parse_patch(patch).ok_or_else(|| VersionError::Patch {
                text: text.to_owned(),
                patch: patch.to_owned(),
            })?,
        })
    }
}

impl fmt::Display for HotfixVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-p{}", self.base, self.date, self.patch)
    }
}

impl Date {
    /// Creates a date, with month and day from 1.
    ///
    /// Returns `None` if the date does not exist, or if the year has more than four digits.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let days = days_in_month(year, month)?;
        (year <= 9999 && (1..=days).contains(&day)).then_some(Self { year, month, day })
    }

    /// Parses `YYYYMMDD`; `None` if the date does not exist.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Self::new(text[..4].parse().ok()?, text[4..6].parse().ok()?, text[6..].parse().ok()?)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}{:02}{:02}", self.year, self.month, self.day)
    }
}

fn days_in_month(year: u16, month: u8) -> Option<u8> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 if leap => Some(29),
        2 => Some(28),
        _ => None,
    }
}

fn parse_patch(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('p')?;
    if digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Date;

    #[test]
    fn date_leap_days_are_gregorian() {
        for (year, leap) in [(2024, true), (2000, true), (2023, false), (1900, false)] {
            assert_eq!(Date::new(year, 2, 29).is_some(), leap, "{year}");
            assert!(Date::new(year, 2, 28).is_some(), "{year}");
        }
    }

    #[test]
    fn date_parse_requires_eight_digits() {
        assert!(Date::parse("20230814").is_some());
        for text in ["2023081", "202308141", "2023 814", "20230a14", "2023+814", "２０２"] {
            assert!(Date::parse(text).is_none(), "{text}");
        }
    }
}
