//! Renders text as a release manifest for a site, with a value for each variable.
//! The result must be YAML, in which the scalars have exactly the new texts.
#![no_main]

use compass_manifest::site::{SiteError, SiteValues};
use compass_manifest::source::SourceFile;
use compass_manifest::yaml::parse;
use libfuzzer_sys::fuzz_target;

/// Separates the value of the variables from the manifest.
const SEPARATOR: char = '\u{1e}';

fuzz_target!(|text: &str| {
    let (value, manifest) = text.split_once(SEPARATOR).unwrap_or(("", text));
    let file = SourceFile::new("values.yaml", manifest);
    let Ok(unset) = SiteValues::default().unset_variables(&file) else { return };
    let site = unset
        .iter()
        .fold(SiteValues::default(), |site, variable| site.variable(&variable.name, value));
    match site.render(&file) {
        Ok(rendered) => {
            assert!(parse(&rendered.text).is_ok(), "{}", rendered.text);
            if unset.is_empty() {
                assert_eq!(rendered.text, file.text());
            }
        }
        Err(SiteError::UnsetVariables(left)) => assert!(left.iter().all(|one| !one.is_closed)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
