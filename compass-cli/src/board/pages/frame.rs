//! The frame of all pages: title, navigation, and the age of the content.

use maud::{DOCTYPE, Markup, html};

use super::super::texts::Texts;
use super::Page;
use super::elements::{notice, time};

impl Page<'_> {
    pub(super) fn frame(&self, title: &str, content: &Markup) -> Markup {
        let texts = self.texts;
        html! {
            (DOCTYPE)
            html lang=(texts.language.tag()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) " · " (texts.product) }
                    link rel="stylesheet" href="/style.css";
                    link rel="icon" href="/icon.svg" type="image/svg+xml";
                }
                body {
                    a.skip href="#content" { (texts.skip_to_content) }
                    header.top {
                        p.brand { a href="/" { img src="/icon.svg" alt="" width="24" height="24"; (texts.product) } " " span.muted { (self.repository) } }
                        nav aria-label=(texts.navigation) {
                            a href="/" { (texts.queue) }
                            a href="/#packages" { (texts.packages) }
                        }
                    }
                    main #content tabindex="-1" { (content) }
                    footer.muted { (self.scan_age()) }
                }
            }
        }
    }

    /// Says how old the content is, and whether it could not be read.
    pub(super) fn scan_notice(&self) -> Markup {
        html! {
            @if let Some(error) = &self.state.scan_error {
                (notice("bad", self.texts.scan_failed, Some(error)))
            } @else if self.state.scanned.is_none() {
                (notice("wait", self.texts.not_scanned, None))
            }
        }
    }

    fn scan_age(&self) -> Markup {
        html! {
            @if let Some(scanned) = self.state.scanned {
                (self.texts.updated) (self.texts.colon) (time(self.texts, scanned, self.now))
            }
        }
    }
}

pub(super) fn not_found(texts: &Texts) -> Markup {
    html! {
        h1 { (texts.not_found) }
        p { (texts.not_found_hint) }
        p { a href="/" { (texts.to_queue) } }
    }
}
