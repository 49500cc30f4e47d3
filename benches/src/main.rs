//! `compass package` against `curl` that fetches the same blobs to files: side by side, in turns,
//! from Debian's registry on this machine.
//!
//! ```sh
//! cargo build --release && cargo run --release -p compass-benches
//! ```
//! Needs `docker-registry`, `skopeo`, `umoci`, `curl` and GNU `time`.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const PARTS: [&str; 6] = ["docker-registry", "skopeo", "umoci", "curl", "bash", "/usr/bin/time"];
const ROUNDS: usize = 7;
const IMAGE: &str = "release/compass-plugins-big";

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    for part in PARTS {
        sh(Path::new("."), &format!("command -v {part} >/dev/null"))
            .map_err(|_| format!("{part} is missing here"))?;
    }
    let compass = std::env::current_exe()?.with_file_name("compass");
    if !compass.is_file() {
        return Err("build the tool first: cargo build --release".into());
    }
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    let host = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let mut registry = Registry::start(root, &host)?;
    prepare(root, &host)?;
    let blobs = blobs(root, &host)?;

    let (mut curls, mut packages, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    let fetch: String = blobs
        .iter()
        .map(|digest| format!("curl -sf -o got/{digest} http://{host}/v2/{IMAGE}/blobs/{digest}\n"))
        .collect();
    let package = format!(
        "/usr/bin/time -f %M -o peak {} package plugin big --repo repo --from {host}/release -o out -q",
        compass.display()
    );
    for _ in 0..ROUNDS {
        curls.push(timed(root, &format!("rm -rf got; mkdir got; {fetch}"))?);
        sh(root, "rm -rf out")?;
        packages.push(timed(root, &package)?);
        peaks.push(sh(root, "cat peak")?.trim().parse::<u64>()?);
    }
    registry.0.kill()?;
    let (curl, package) = (median(&mut curls), median(&mut packages));
    println!("| | median of {ROUNDS} | ratio | peak memory |\n|---|---|---|---|");
    println!("| curl to files | {:.2} s | 1 | |", curl.as_secs_f64());
    println!(
        "| compass package | {:.2} s | {:.2} | {} MiB |",
        package.as_secs_f64(),
        package.as_secs_f64() / curl.as_secs_f64(),
        peaks.iter().max().copied().unwrap_or_default() / 1024
    );
    Ok(())
}

struct Registry(Child);

impl Registry {
    fn start(root: &Path, host: &str) -> Result<Self, Failure> {
        let storage = root.join("registry");
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{host}'}}\n",
            storage.display()
        );
        let file = root.join("registry.yml");
        std::fs::write(&file, config)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self(command.spawn()?);
        std::thread::sleep(Duration::from_secs(1));
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Killed twice is as dead as killed once.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// An image of three layers, together one gigabyte that cannot be compressed.
fn prepare(root: &Path, host: &str) -> Result<(), Failure> {
    sh(
        root,
        &format!(
            "umoci init --layout oci; umoci new --image oci:v0.1.0
         for n in 1 2 3; do
           mkdir layer; head -c 340000000 /dev/urandom > layer/data
           umoci insert --image oci:v0.1.0 layer /layer-$n; rm -r layer
         done
         umoci config --image oci:v0.1.0 --architecture amd64 --os linux
         skopeo copy -q --dest-tls-verify=false oci:oci:v0.1.0 docker://{host}/{IMAGE}:v0.1.0
         rm -r oci; mkdir -p repo/release-plugins"
        ),
    )?;
    let manifest = "metadata: {name: big}\nspec:\n  version: v0.1.0\n  service:\n    port: 9001\n    \
        image: harbor.caicloud.xyz/release/compass-plugins-big:v0.1.0\n  \
        modules: [{name: big, slots: [system.big]}]\n";
    std::fs::write(root.join("repo/release-plugins/big.yaml"), manifest)?;
    Ok(())
}

fn blobs(root: &Path, host: &str) -> Result<Vec<String>, Failure> {
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    let text =
        sh(root, &format!("curl -sf -H '{accept}' http://{host}/v2/{IMAGE}/manifests/v0.1.0"))?;
    let manifest: serde_json::Value = serde_json::from_str(&text)?;
    let layers = manifest["layers"].as_array().ok_or("the image has no layers")?;
    let all = std::iter::once(&manifest["config"]).chain(layers);
    Ok(all.filter_map(|blob| blob["digest"].as_str()).map(str::to_owned).collect())
}

fn timed(root: &Path, script: &str) -> Result<Duration, Failure> {
    let began = Instant::now();
    sh(root, script)?;
    Ok(began.elapsed())
}

fn sh(root: &Path, script: &str) -> Result<String, Failure> {
    let output = Command::new("bash")
        .args(["-euc", script])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("this failed: {script}").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
