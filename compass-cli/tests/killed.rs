//! `compass package` killed at random times: the next run continues, and the bundle is the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use compass_registry::Digest;
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::{Fault, FaultyRegistry, SampleImage, Script, random_bytes};

const BUNDLE: &str = "compass-plugins-demo-v0.1.0.tar.gz";

/// The `--jobs` of a run.
const JOBS: u64 = 3;

/// The number of dropped connections in a run.
const DROPS: u64 = 5;

/// Bytes that the system may buffer for a connection.
const IN_FLIGHT: u64 = 3 << 20;

/// Bytes before the checkpoints in a journal.
const JOURNAL_HEADER: usize = 80;

struct World {
    directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    storage: MemoryStorage,
    total: u64,
    /// The size of the image configuration, which each run reads to plan the bundle.
    config: u64,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let storage = MemoryStorage::default();
        let layers = [3_000_000, 2_500_000, 4_000_000, 600_000];
        let image = SampleImage::new(7, &layers);
        let (name, tag) =
            ("release/compass-plugins-demo".parse().unwrap(), "v0.1.0".parse().unwrap());
        runtime.block_on(image.store(&storage, &name, &tag)).unwrap();
        let plugins = directory.path().join("repo/release-plugins");
        std::fs::create_dir_all(&plugins).unwrap();
        let manifest = "metadata: {name: demo}\nspec:\n  version: v0.1.0\n  modules: []\n  service: {port: \
                        9001, image: \
                        'harbor.caicloud.xyz/release/compass-plugins-demo:v0.1.0'}\n";
        std::fs::write(plugins.join("demo.yaml"), manifest).unwrap();
        let config = image.blobs[0].len() as u64;
        Self { directory, runtime, storage, total: image.bytes(), config }
    }

    fn registry(&self, script: Script) -> FaultyRegistry {
        let registry = self.runtime.block_on(FaultyRegistry::start(self.storage.clone(), script));
        let registry = registry.unwrap();
        let auth = format!(
            r#"{{"auths": {{"{}": {{"auth": "cm9ib3Q6aHVudGVyMg=="}}}}}}"#,
            registry.host()
        );
        std::fs::write(self.directory.path().join("auth.json"), auth).unwrap();
        registry
    }

    fn command(&self, registry: &FaultyRegistry, out: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_compass"));
        command
            .args(["package", "plugin", "demo", "--repo"])
            .arg(self.directory.path().join("repo"))
            .args(["--from", &format!("{}/release", registry.host()), "--jobs", &JOBS.to_string()])
            .arg("-o")
            .arg(out)
            .env("REGISTRY_AUTH_FILE", self.directory.path().join("auth.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    fn out(&self, name: &str) -> PathBuf {
        let out = self.directory.path().join(name);
        std::fs::create_dir_all(&out).unwrap();
        out
    }

    /// Runs the command to its end; returns stderr.
    fn run(&self, registry: &FaultyRegistry, out: &Path) -> String {
        let output = self.command(registry, out).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{printed}");
        printed
    }
}

fn digest(out: &Path) -> Digest {
    Digest::of(&std::fs::read(out.join(BUNDLE)).unwrap())
}

/// The bytes of blobs in the checkpoints of a killed run.
fn noted(out: &Path) -> u64 {
    let journal = std::fs::read(out.join(format!("{BUNDLE}.part.journal"))).unwrap_or_default();
    let marks = journal.get(JOURNAL_HEADER..).unwrap_or_default().chunks_exact(8);
    marks.map(|mark| u64::from_le_bytes(mark.try_into().unwrap())).sum()
}

/// The bytes that a registry has sent, after it has noticed that the client disconnected.
fn settled(registry: &FaultyRegistry) -> u64 {
    loop {
        let before = registry.blob_bytes();
        std::thread::sleep(Duration::from_millis(20));
        if registry.blob_bytes() == before {
            return before;
        }
    }
}

fn seed() -> u64 {
    let seed = std::env::var("COMPASS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("COMPASS_SEED={seed}");
    seed
}

/// A pseudo-random number below `end`.
fn random(seed: u64, end: u128) -> u128 {
    u128::from(u64::from_le_bytes(random_bytes(seed, 8).try_into().unwrap())) % end.max(1)
}

#[test]
fn package_killed_next_run_continues() {
    let world = World::new();
    let registry = world.registry(Script::default());
    let undisturbed = world.out("undisturbed");
    let began = Instant::now();
    world.run(&registry, &undisturbed);
    let (took, expected) = (began.elapsed(), digest(&undisturbed));
    let seed = seed();
    let mut went_on = 0;
    for round in 0..100 {
        let out = world.out(&format!("out-{round}"));
        let wait = random(seed + round, took.as_micros());
        let mut child = world.command(&registry, &out).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(wait.try_into().unwrap()));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            continue;
        }
        let visible = out.join(BUNDLE).exists();
        assert!(!visible || digest(&out) == expected, "round {round}: half a bundle is visible");
        let noted = if visible { 0 } else { noted(&out) };
        let before = settled(&registry);
        let printed = world.run(&registry, &out);
        assert_eq!(printed.contains("continues after"), noted > 0, "round {round}: {printed}");
        assert_eq!(digest(&out), expected, "round {round}");
        let fetched = registry.blob_bytes() - before;
        assert!(
            fetched <= world.total - noted + world.config,
            "round {round}: {fetched} bytes were fetched, though {noted} of {} were present",
            world.total
        );
        went_on += usize::from(noted > 0);
        std::fs::remove_dir_all(&out).unwrap();
    }
    println!("{went_on} of 100 runs continued");
    assert!(went_on > 0, "no run was killed in the middle");
}

#[test]
fn package_interrupted_hint_names_part() {
    let world = World::new();
    // The command waits for a blob that the registry does not send.
    let registry =
        world.registry(Script((2..9).map(|request| (request, Fault::Stall(9))).collect()));
    let out = world.out("interrupted");
    let child = world.command(&registry, &out).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{printed}");
    assert!(printed.contains("run the same command to continue"), "{printed}");
}

/// Connections that are closed or reset during their responses.
fn drops(seed: u64) -> Script {
    let drop = |number: u64| {
        let request = usize::try_from(random(seed + 3 * number, 14)).unwrap();
        let place = u64::try_from(random(seed + 3 * number + 1, 2_000_000)).unwrap();
        let fault = match random(seed + 3 * number + 2, 2) {
            0 => Fault::Cut(place),
            _ => Fault::Reset(place),
        };
        (request, fault)
    };
    Script((0..DROPS).map(drop).collect())
}

#[test]
fn package_dropped_connections_same_bytes() {
    let world = World::new();
    let undisturbed = world.out("undisturbed");
    let registry = world.registry(Script::default());
    world.run(&registry, &undisturbed);
    let expected = digest(&undisturbed);
    let seed = seed();
    for round in 0..20 {
        let registry = world.registry(drops(seed + 1000 * round));
        let out = world.out(&format!("out-{round}"));
        world.run(&registry, &out);
        assert_eq!(digest(&out), expected, "round {round}");
        let again = registry.blob_bytes().saturating_sub(world.total);
        // The data in flight on a closed connection may be lost.
        assert!(again <= DROPS * IN_FLIGHT, "round {round}: {again} bytes came twice");
    }
}
