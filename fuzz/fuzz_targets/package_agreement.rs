//! Checks that `verify`, `install` and `extract` agree on a generated package.
//! The foreign package is intact or has one mutation. A test of compass-bundle (`tests/agreement`)
//! uses the same generator.
#![no_main]

#[path = "../../compass-bundle/tests/agreement/archives.rs"]
mod archives;
#[path = "../../compass-bundle/tests/agreement/check.rs"]
mod check;
#[path = "../../compass-bundle/tests/agreement/choices.rs"]
mod choices;
#[path = "../../compass-bundle/tests/agreement/mutation.rs"]
mod mutation;
#[path = "../../compass-bundle/tests/agreement/images.rs"]
mod images;
#[path = "../../compass-bundle/tests/agreement/manifests.rs"]
mod manifests;
#[path = "../../compass-bundle/tests/agreement/packages.rs"]
mod packages;
#[path = "../../compass-bundle/tests/agreement/tar.rs"]
mod tar;

use choices::Choices;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let mut choices = Choices::of_bytes(bytes);
    let is_mutated = choices.once_in(2);
    let generated = packages::generate(&mut choices, is_mutated);
    runtime.expect("a runtime").block_on(check::check(generated));
});
