//! Installations to full, dead and slow registries: the message names the images that were pushed, and
//! the same command finishes.

use std::time::Duration;

use compass_registry::testing::SampleImage;

use super::registry::{Fault, SiteRegistry};
use super::world::Ran;
use super::{Site, product};

const LAYER: usize = 400_000;

/// A product with the images `gpu` and `web`, and a registry for it.
struct Faulty {
    site: Site,
    registry: SiteRegistry,
    bundle: String,
}

impl Faulty {
    fn new() -> Self {
        let mut site = Site::new();
        site.world.push("web", &SampleImage::new(1, &[LAYER, LAYER]));
        let registry = SiteRegistry::start();
        site.place = format!("{}/site", registry.host);
        let bundle = product(&site, "release/gpu:v1\nrelease/web:v1\n");
        Self { site, registry, bundle }
    }

    fn install(&self) -> Ran {
        let more = ["--output", "yaml", "--retry-connect", "1", "--format", "json"];
        self.site.install(&self.bundle, &more)
    }

    /// Asserts that the installation failed with a message, and left neither files nor a receipt.
    fn assert_failed(&self, ran: &Ran, expected: &str) {
        let shown = String::from_utf8_lossy(&ran.out);
        assert_eq!(ran.code, 3, "{shown}{}", ran.error);
        assert!(shown.contains(expected), "{shown}{}", ran.error);
        let one = shown.contains("1 of 2 images were not pushed, the others were");
        assert!(one || shown.contains("no image was pushed"), "{shown}");
        assert!(!self.site.world.path("yaml").exists());
        assert!(self.site.installed().as_array().unwrap().is_empty());
    }

    /// Asserts that the same command finishes the installation.
    fn assert_finishes(&self) {
        self.registry.set_fault(None);
        let ran = self.install();
        assert_eq!(ran.code, 0, "{}{}", String::from_utf8_lossy(&ran.out), ran.error);
        assert!(self.site.world.path("yaml/product-compass").is_dir());
        assert_eq!(self.site.installed()[0]["images"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn install_full_registry_then_finishes() {
    std::thread::scope(|scope| {
        for status in [500, 507, 413] {
            scope.spawn(move || {
                let faulty = Faulty::new();
                let after = LAYER as u64 + 10_000;
                faulty.registry.set_fault(Some(Fault::Full { after, status }));
                let ran = faulty.install();
                faulty.assert_failed(&ran, &format!("{status}"));
                faulty.assert_failed(&ran, "the disk is full");
                let before = faulty.registry.received();
                faulty.assert_finishes();
                // The layer that arrived is not sent again.
                let sent = faulty.registry.received() - before;
                assert!(sent < 2 * LAYER as u64, "{sent}");
            });
        }
    });
}

#[test]
fn install_dead_registry_then_finishes() {
    let faulty = Faulty::new();
    faulty.registry.set_fault(Some(Fault::Dead { after: LAYER as u64 + 10_000 }));
    let ran = faulty.install();
    faulty.assert_failed(&ran, &faulty.registry.host);
    faulty.assert_finishes();
    faulty.registry.set_fault(Some(Fault::Dead { after: 0 }));
    let refused = faulty.install();
    let shown = String::from_utf8_lossy(&refused.out).into_owned();
    assert_eq!(refused.code, 3, "{shown}");
    assert!(shown.contains("cannot install"), "{shown}");
}

#[test]
fn install_slow_registry_finishes() {
    let faulty = Faulty::new();
    faulty.registry.set_fault(Some(Fault::Slow(Duration::from_millis(40))));
    let ran = faulty.install();
    assert_eq!(ran.code, 0, "{}{}", String::from_utf8_lossy(&ran.out), ran.error);
    faulty.assert_finishes();
}
