//! `compass install` of a version that shares layers with the one before reads and sends the new ones.

use std::process::{Command, Stdio};
use std::time::Duration;

use compass_registry::testing::{SampleImage, random_bytes};
use rustix::process::{Pid, Signal};

use super::Site;
use super::registry::{Fault, SiteRegistry};
use super::world::ran;

const SHARED: usize = 4 << 20;
const NEW: usize = 300_000;

/// Runs a command, and returns the bytes that it read; `None` if the system does not count them.
///
/// The kernel adds the counts of a process to those of the shell that waits for it.
fn read_bytes(command: &Command) -> Option<u64> {
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$@\" >&2 || exit; cat /proc/$$/io", "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.current_dir(command.get_current_dir().unwrap());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = ran(&mut shell);
    let counts = String::from_utf8(ran.out).unwrap();
    let read = counts.lines().find_map(|line| line.strip_prefix("rchar: "));
    assert!(read.is_some() || ran.error.contains("/proc/"), "{}", ran.error);
    read.map(|read| read.parse().unwrap())
}

#[test]
fn install_reads_and_sends_only_new_layers() {
    let mut site = Site::new();
    let registry = SiteRegistry::start();
    site.place = format!("{}/site", registry.host);
    let layers = |new: u64| -> Vec<Vec<u8>> {
        let shared = (1..=4).map(|seed| random_bytes(seed, SHARED));
        shared.chain([random_bytes(new, NEW)]).collect()
    };
    site.world.push("gpu", &SampleImage::with_layers(layers(100)));
    let first = site.package("v1.0.0");
    assert_eq!(site.install(&first, &[]).code, 0);

    let next = SampleImage::with_layers(layers(101));
    site.world.push("gpu", &next);
    let second = site.package("v1.1.0");
    let before = registry.received();
    let arguments = ["install", &second, "--registry", &site.place, "--on-existing-tag", "move"];
    let command = site.world.command(&arguments);
    let read = read_bytes(&command);

    let config = next.blobs[0].len() as u64;
    assert_eq!(registry.received() - before, NEW as u64 + config);
    match read {
        // The program, its libraries and the answers of the registry are small.
        Some(read) => assert!(read < (NEW + SHARED / 4) as u64, "{read}"),
        None => eprintln!("SKIPPED: the system does not count the bytes that processes read"),
    }
    let listed = site.run(&["installed", "--format", "json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.out).unwrap();
    let digest = next.manifest.digest().to_string();
    assert_eq!(listed["installed"][0]["images"][0]["digest"], digest);
    let again = site.install(&second, &[]);
    assert!(String::from_utf8_lossy(&again.out).contains(&digest), "{}", again.error);
}

#[test]
fn install_asks_only_tag_twice() {
    let mut site = Site::new();
    let registry = SiteRegistry::start();
    site.place = format!("{}/site", registry.host);
    let bundle = site.package("v1.0.0");
    assert_eq!(site.install(&bundle, &[]).code, 0);
    let mut requests = registry.take_requests();
    let count = |start: &str| requests.iter().filter(|request| request.starts_with(start)).count();
    // The tag, and the layer and the configuration, which are uploaded. The upload that shows that
    // the registry can be written is one of the two.
    assert_eq!((count("HEAD "), count("HEAD /v2/site/gpu/manifests/")), (4, 2), "{requests:#?}");
    assert_eq!((count("POST "), count("DELETE "), count("PUT ")), (2, 0, 3), "{requests:#?}");
    requests.retain(|request| !request.starts_with("POST "));
    requests.sort();
    requests.dedup();
    // `GET` for the tag, because a registry may answer 404 to every `HEAD`.
    assert_eq!(requests.len(), 7, "{requests:#?}");

    // If the tag names the image, nothing else is asked.
    assert_eq!(site.install(&bundle, &[]).code, 0);
    assert_eq!(registry.take_requests().len(), 2);
}

#[test]
fn install_refused_cancels_trial_upload() {
    let mut site = Site::new();
    let registry = SiteRegistry::start();
    site.place = format!("{}/site", registry.host);
    let bundle = site.package("v1.0.0");
    assert_eq!(site.install(&bundle, &["--output", "yaml"]).code, 1);
    let requests = registry.take_requests();
    let count = |start: &str| requests.iter().filter(|request| request.starts_with(start)).count();
    assert_eq!((count("POST "), count("DELETE "), count("PUT ")), (1, 1, 0), "{requests:#?}");
}

/// Interrupts an installation whose requests for blobs with one method are not answered, and that
/// has opened some uploads. Asserts that it cancels the uploads.
fn assert_interrupted_cancels(held_method: &'static str, uploads: usize) {
    let mut site = Site::new();
    let registry = SiteRegistry::start();
    site.place = format!("{}/site", registry.host);
    let bundle = site.package("v1.0.0");
    registry.set_fault(Some(Fault::Hold(held_method)));
    let mut command = site.install_command(&bundle, &[]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut requests = Vec::new();
    let is_held = |request: &String| request.ends_with(" held");
    let count = |requests: &[String], start: &str| {
        requests.iter().filter(|request| request.starts_with(start)).count()
    };
    let mut rounds = 0;
    while count(&requests, "POST ") < uploads || !requests.iter().any(is_held) {
        rounds += 1;
        assert!(child.try_wait().unwrap().is_none() && rounds < 12_000, "{requests:#?}");
        std::thread::sleep(Duration::from_millis(5));
        requests.extend(registry.take_requests());
    }
    // The registry records a request before the client has its answer.
    std::thread::sleep(Duration::from_millis(200));
    let id = Pid::from_child(&child);
    rustix::process::kill_process(id, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    requests.extend(registry.take_requests());
    assert_eq!(count(&requests, "POST "), count(&requests, "DELETE "), "{requests:#?}");
}

#[test]
fn install_interrupted_cancels_uploads() {
    // The preflight, which has opened a trial upload; then the uploads of a layer and the
    // configuration.
    assert_interrupted_cancels("HEAD", 1);
    assert_interrupted_cancels("PUT", 2);
}

#[test]
fn install_read_only_registry_gets_nothing() {
    let mut site = Site::new();
    let registry = SiteRegistry::start();
    site.place = format!("{}/site", registry.host);
    let bundle = site.package("v1.0.0");
    registry.set_fault(Some(Fault::ReadOnly));
    let refused = site.install(&bundle, &[]);
    assert_eq!(refused.code, 3, "{}", refused.error);
    let expected = format!("{}/gpu cannot be written to", site.place);
    assert!(refused.error.contains(&expected), "{}", refused.error);
    let requests = registry.take_requests();
    assert!(requests.iter().all(|request| !request.starts_with("PUT ")), "{requests:#?}");
}
