//! Parses text as `.compass.yaml`. An error must have a location in the text.
#![no_main]

use compass_manifest::Policy;
use compass_manifest::policy::POLICY_FILE;
use compass_manifest::render::Style;
use compass_manifest::source::SourceFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let source = SourceFile::new(POLICY_FILE, text);
    match Policy::parse(&source) {
        Ok(policy) => {
            assert!(!policy.platforms.is_empty());
            for pattern in &policy.plugins.shared_slots {
                assert!(pattern.matches(&pattern.as_str().replace('*', "x")));
            }
        }
        Err(error) => {
            assert!(source.text().get(error.location.span.range()).is_some());
            assert!(!error.render(&source, Style::Plain).is_empty());
        }
    }
});
