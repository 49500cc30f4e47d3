//! `compass package` against `curl` that fetches the same blobs to files: side by side, in turns,
//! from Debian's registry on this machine.
//!
//! ```sh
//! cargo build --release && cargo run --release -p compass-benches
//! ```
//! Needs `docker-registry`, `skopeo`, `umoci`, `curl` and GNU `time`.

use std::path::Path;
use std::process::ExitCode;

use compass_benches::Failure;
use compass_benches::registry::{Registry, free_host};
use compass_benches::shell::{median, need, sh, timed};

const PARTS: [&str; 6] = ["docker-registry", "skopeo", "umoci", "curl", "bash", "/usr/bin/time"];
const ROUNDS: usize = 7;
const IMAGE: &str = "release/compass-plugins-big";

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
    let compass = need(&PARTS)?;
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    let host = free_host()?;
    let registry = Registry::start(&root.join("registry"), &host)?;
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
    drop(registry);
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
