//! `compass sync` against `skopeo copy`: side by side, in turns, between two of Debian's registries
//! on this machine, over links of 25 ms one way and 40 MB/s a connection, and without.
//!
//! ```sh
//! cargo build --release && cargo run --release -p compass-benches --bin sync_speed
//! ```
//! With `forty`, `link`, `files` or `registries` behind `--`, only that comparison.
//! Needs `docker-registry`, `skopeo`, `curl` and GNU `time`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use compass_benches::Failure;
use compass_benches::link::Link;
use compass_benches::registry::{Registry, free_host};
use compass_benches::shell::{median, need, sh, timed};
use compass_registry::client::{Client, ClientOptions};
use compass_registry::layout::OciLayout;
use compass_registry::storage::MemoryStorage;
use compass_registry::testing::{SampleImage, noise};
use compass_registry::{CopyOptions, Locator, Repository, Tag, copy};

const ROUNDS: usize = 5;
const IMAGES: u64 = 40;
const LINK: Link = Link { delay: Duration::from_millis(25), rate: 40_000_000 };
const INSECURE: &str = "--src-tls-verify=false --dest-tls-verify=false";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let result = match &arguments[..] {
        [mode, host, repository, directory] if mode == "--to-layout" => {
            let work = to_layout(host.clone(), repository.clone(), directory.into());
            tokio::spawn(work).await.unwrap_or_else(|error| Err(error.into()))
        }
        wanted => run(wanted).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the comparisons run as a process of its own: one image to an OCI layout.
async fn to_layout(host: String, repository: String, directory: PathBuf) -> Result<(), Failure> {
    let client = Arc::new(Client::new(&host, ClientOptions::default())?);
    let (name, tag): (Repository, Tag) = (repository.parse()?, "v1".parse()?);
    let options = CopyOptions::default();
    let locator = Locator::from(tag.clone());
    let layout = OciLayout::new(directory);
    copy(client, (&name, &locator), &layout, (&name, Some(&tag)), &options).await?;
    Ok(())
}

async fn run(wanted: &[String]) -> Result<(), Failure> {
    let compass = need(&["docker-registry", "skopeo", "curl", "bash", "xargs", "/usr/bin/time"])?;
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    let (near, far) = (free_host()?, free_host()?);
    let _source = Registry::start(&root.join("source"), &near)?;
    push_images(&near).await?;
    let slow = (LINK.to(near.clone()).await?, LINK.to(far.clone()).await?);
    std::fs::create_dir_all(root.join("repo/release-plugins"))?;
    let list: String = (0..IMAGES).map(|n| format!("release/app-{n}:v1\n")).collect();
    std::fs::write(root.join("forty.list"), list)?;
    std::fs::write(root.join("big.list"), "release/big-950:v1\n")?;

    let compass = compass.display();
    let sync = |list: &str, from: &str, to: &str, jobs: u32| {
        format!(
            "/usr/bin/time -f %M -o peak {compass} sync --list {list} --repo repo \
             --from {from}/release --to {to}/release --jobs {jobs} -q >/dev/null"
        )
    };
    let skopeo = |name: &str, from: &str, to: &str| {
        format!("skopeo copy -q {INSECURE} docker://{from}/release/{name}:v1 {to}")
    };
    let to_far = |name: &str, (from, to): (&str, &str)| {
        skopeo(name, from, &format!("docker://{to}/release/{name}:v1"))
    };
    let slow_ends = (slow.0.as_str(), slow.1.as_str());
    let one = to_far("app-$n", slow_ends);
    let last = IMAGES - 1;

    let own = std::env::current_exe()?;
    let layout = |from: &str, name: &str| {
        let own = own.display();
        format!("/usr/bin/time -f %M -o peak {own} --to-layout {from} release/{name} layout")
    };
    let comparisons = [
        (
            "forty",
            "Forty images over the link, between registries",
            vec![
                (
                    "skopeo copy, one after the other",
                    format!("for n in $(seq 0 {last}); do {one}; done"),
                ),
                (
                    "skopeo copy, eight at once",
                    format!("seq 0 {last} | xargs -P 8 -I {{}} {}", one.replace("$n", "{}")),
                ),
                ("compass sync", sync("forty.list", slow_ends.0, slow_ends.1, 8)),
                ("compass sync --jobs 16", sync("forty.list", slow_ends.0, slow_ends.1, 16)),
            ],
        ),
        (
            "link",
            "One image of 225 MB over the link, to an OCI layout",
            vec![
                ("skopeo copy", skopeo("big-225", &slow.0, "oci:layout:v1")),
                ("compass", layout(&slow.0, "big-225")),
            ],
        ),
        (
            "files",
            "One image of 950 MB on this machine, to files",
            vec![
                ("curl", curl(root, &near, "big-950")?),
                ("skopeo copy to an OCI layout", skopeo("big-950", &near, "oci:layout:v1")),
                ("compass to an OCI layout", layout(&near, "big-950")),
            ],
        ),
        (
            "registries",
            "One image of 950 MB on this machine, between registries",
            vec![
                ("skopeo copy", to_far("big-950", (&near, &far))),
                ("compass sync", sync("big.list", &near, &far, 8)),
            ],
        ),
    ];
    for (name, title, commands) in comparisons {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            println!("{title}:\n");
            compare(root, &far, &commands).await?;
            println!();
        }
    }
    Ok(())
}

/// Runs commands in turns, each with an empty destination.
async fn compare(root: &Path, far: &str, commands: &[(&str, String)]) -> Result<(), Failure> {
    let mut times = vec![Vec::new(); commands.len()];
    let mut peaks = vec![0; commands.len()];
    for _ in 0..ROUNDS {
        for (number, (_, command)) in commands.iter().enumerate() {
            let (root, far, command) = (root.to_owned(), far.to_owned(), command.clone());
            let (time, peak) =
                tokio::task::spawn_blocking(move || once(&root, &far, &command)).await??;
            times[number].push(time);
            peaks[number] = peak.max(peaks[number]);
        }
    }
    let first = median(&mut times[0]).as_secs_f64();
    println!("| | median of {ROUNDS} | times as fast | peak memory |\n|---|---|---|---|");
    for (((name, _), times), peak) in commands.iter().zip(&mut times).zip(peaks) {
        let median = median(times).as_secs_f64();
        let peak = if peak > 0 { format!("{} MiB", peak / 1024) } else { String::new() };
        println!("| {name} | {median:.2} s | {:.2} | {peak} |", first / median);
    }
    Ok(())
}

fn once(root: &Path, far: &str, command: &str) -> Result<(Duration, u64), Failure> {
    sh(root, "rm -rf destination layout got peak; sync")?;
    let _destination = Registry::start(&root.join("destination"), far)?;
    let time = timed(root, command)?;
    let peak = sh(root, "cat peak 2>/dev/null || true")?;
    Ok((time, peak.trim().parse().unwrap_or(0)))
}

/// Fetches the blobs of an image to files.
fn curl(root: &Path, host: &str, name: &str) -> Result<String, Failure> {
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    let url = format!("http://{host}/v2/release/{name}");
    let text = sh(root, &format!("curl -sf -H '{accept}' {url}/manifests/v1"))?;
    let manifest: serde_json::Value = serde_json::from_str(&text)?;
    let layers = manifest["layers"].as_array().ok_or("the image has no layers")?;
    let blobs = std::iter::once(&manifest["config"]).chain(layers);
    let digests = blobs.filter_map(|blob| blob["digest"].as_str());
    let fetch = digests.map(|digest| format!("curl -sf -o got/{digest} {url}/blobs/{digest}; "));
    Ok(format!("mkdir got; {}", fetch.collect::<String>()))
}

/// Forty images that share a base of 8 MB and have two layers of 0.2 to 1.8 MB each, one image of
/// 225 MB in one layer, and one of 950 MB in three.
async fn push_images(host: &str) -> Result<(), Failure> {
    let client = Client::new(host, ClientOptions::default())?;
    let base = layer(1000, 8_000_000)?;
    for number in 0..IMAGES {
        let size = |step: u64| 200_000 + (number * step % IMAGES) * 1_600_000 / (IMAGES - 1);
        let layers = [layer(2 * number, size(7))?, layer(2 * number + 1, size(13))?];
        let [one, two] = layers;
        push(&client, &format!("release/app-{number}"), vec![base.clone(), one, two]).await?;
    }
    push(&client, "release/big-225", vec![layer(2000, 225_000_000)?]).await?;
    let thirds = (2001..2004).map(|seed| layer(seed, 950_000_000 / 3));
    push(&client, "release/big-950", thirds.collect::<Result<_, _>>()?).await
}

/// Bytes that do not compress, as a gzip file.
fn layer(seed: u64, bytes: u64) -> Result<Vec<u8>, Failure> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    gzip.write_all(&noise(seed, usize::try_from(bytes)?))?;
    Ok(gzip.finish()?)
}

async fn push(client: &Client, name: &str, layers: Vec<Vec<u8>>) -> Result<(), Failure> {
    let (name, tag): (Repository, Tag) = (name.parse()?, "v1".parse()?);
    let storage = MemoryStorage::default();
    SampleImage::with_layers(layers).store(&storage, &name, &tag).await?;
    let locator = Locator::from(tag.clone());
    let options = CopyOptions::default();
    copy(Arc::new(storage), (&name, &locator), client, (&name, Some(&tag)), &options).await?;
    Ok(())
}
