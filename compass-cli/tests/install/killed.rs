//! `compass install` killed at random moments: nothing half-written is visible, and the same command
//! finishes.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use compass_registry::testing::{SampleImage, random_bytes};
use serde_json::Value;

use super::center::{Behaviour, PluginCenter};
use super::registry::SiteRegistry;
use super::{Site, VALUES};

/// The number of kills; `COMPASS_INSTALL_KILLS` sets another one.
fn kills() -> u64 {
    std::env::var("COMPASS_INSTALL_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

/// A pseudo-random number below `end`.
fn random(seed: u64, end: u64) -> u64 {
    u64::from_le_bytes(random_bytes(seed, 8).try_into().unwrap()) % end.max(1)
}

/// Asserts that every visible document is complete; returns the number of receipts.
fn assert_whole(receipts: &Path) -> usize {
    let Ok(files) = std::fs::read_dir(receipts.join("plugin/gpu")) else { return 0 };
    let paths = files.map(|file| file.unwrap().path());
    let visible =
        paths.filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'));
    let documents = visible.map(|path| std::fs::read(path).unwrap());
    let documents = documents.map(|text| serde_json::from_slice::<Value>(&text).unwrap());
    documents.filter(|document| document.get("formatVersion").is_some()).count()
}

#[test]
fn install_killed_then_finishes() {
    let mut site = Site::new();
    let image = SampleImage::new(3, &[300_000, 200_000, 100_000]);
    site.world.push("gpu", &image);
    let bundle = site.package("v1.0.0");
    let apply = "cat {} > applied.part && mv applied.part applied.yaml";
    let (mut took, mut killed) = (Duration::from_millis(500), 0);
    for round in 0..=kills() {
        let (registry, center) = (SiteRegistry::start(), PluginCenter::start(Behaviour::Works));
        site.place = format!("{}/site", registry.host);
        let hand_over = match round % 3 {
            0 => ["--output", "yaml"],
            1 => ["--apply", apply],
            _ => ["--plugin-center", &center.url],
        };
        let arguments = [&VALUES[..], &hand_over].concat();
        if round > 0 {
            let mut child = site.install_command(&bundle, &arguments);
            let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let micros = random(round, u64::try_from(took.as_micros()).unwrap());
            std::thread::sleep(Duration::from_micros(micros));
            child.kill().unwrap();
            killed += usize::from(!child.wait().unwrap().success());
        }
        let before = assert_whole(&site.world.path("receipts"));
        let began = Instant::now();
        let ran = site.install(&bundle, &arguments);
        assert_eq!(ran.code, 0, "round {round}: {}", ran.error);
        if round == 0 {
            took = began.elapsed();
        }
        assert!(assert_whole(&site.world.path("receipts")) > before, "round {round}");
        let installed = site.installed();
        let digest = installed[0]["images"][0]["digest"].as_str().unwrap();
        assert_eq!(digest, image.manifest.digest().to_string(), "round {round}");
        let handed_over = match round % 3 {
            0 => site.read("yaml/plugin-gpu/gpu.yaml"),
            1 => site.read("applied.yaml"),
            _ => center.plugin("gpu").unwrap(),
        };
        assert!(handed_over.ends_with("slots: [system.gpu]}]\n"), "round {round}: {handed_over}");
        // The next round starts at an empty site.
        for name in ["receipts", "yaml"] {
            let _ = std::fs::remove_dir_all(site.world.path(name));
        }
        let _ = std::fs::remove_file(site.world.path("applied.yaml"));
    }
    println!("{killed} of {} installations were killed before their end", kills());
}
