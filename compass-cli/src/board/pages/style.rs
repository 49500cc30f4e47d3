//! The style sheet and the icon of the pages.

/// The style sheet.
pub(in crate::board) const STYLE: &str = include_str!("style.css");

/// The icon: a compass needle.
pub(in crate::board) const ICON: &str = include_str!("icon.svg");

#[cfg(test)]
mod tests {
    use super::*;

    /// The relative luminance of a color `#rrggbb` (WCAG 2.2).
    fn luminance(color: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// The value of a variable in a scheme.
    fn variable<'s>(scheme: &'s str, name: &str) -> &'s str {
        let rest = &scheme[scheme.find(&format!("--{name}:")).unwrap()..];
        rest[rest.find('#').unwrap()..].get(..7).unwrap()
    }

    #[test]
    fn style_contrast_is_at_least_aa() {
        let (light, dark) = STYLE.split_once("prefers-color-scheme: dark").unwrap();
        for scheme in [light, dark] {
            let ratio =
                |text: &str, back: &str| contrast(variable(scheme, text), variable(scheme, back));
            for text in ["text", "muted", "link", "good", "bad", "warn"] {
                for back in ["back", "card"] {
                    assert!(ratio(text, back) >= 4.5, "{text} on {back}: {}", ratio(text, back));
                }
            }
            for kind in ["good", "bad", "warn", "wait"] {
                let back = format!("{kind}-back");
                assert!(ratio(kind, &back) >= 4.5, "{kind}: {}", ratio(kind, &back));
                assert!(ratio("muted", &back) >= 4.5, "muted on {kind}: {}", ratio("muted", &back));
            }
            // Borders of controls and marks.
            assert!(ratio("mark", "back") >= 3.0, "{}", ratio("mark", "back"));
        }
    }
}
