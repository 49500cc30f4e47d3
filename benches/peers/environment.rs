//! The registries, links and directories of the comparisons.

use std::path::{Path, PathBuf};
use std::time::Duration;

use compass_benches::BenchError;
use compass_benches::link::Link;
use compass_benches::registry::{RegistryProcess, free_host};
use compass_benches::shell::{require, run, timed};

use crate::images::{self, LARGE, PRODUCT, SMALL, TAG};

/// A link to another continent.
const LINK: Link = Link { delay: Duration::from_millis(25), rate: 40_000_000 };

/// The version of the product with [`PRODUCT`] images.
pub(crate) const PRODUCT_VERSION: &str = "v0.2.0";

/// The registry that receives images.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Destination {
    DockerRegistry,
    CompassServe,
}

/// The addresses of the source and destination registries.
pub(crate) struct Endpoints {
    pub(crate) source: String,
    pub(crate) destination: String,
}

/// The registries, links and directories of the comparisons.
pub(crate) struct Environment {
    /// Deleted at the end.
    scratch: tempfile::TempDir,
    pub(crate) compass: PathBuf,
    /// Another build of `compass` to compare with.
    pub(crate) base: Option<PathBuf>,
    /// The values of `--jobs` to measure; none for the default.
    pub(crate) jobs: Vec<u32>,
    /// Without a link.
    pub(crate) near: Endpoints,
    /// Behind the link.
    pub(crate) far: Endpoints,
    _source: RegistryProcess,
}

/// The duration and memory of one run of a script.
pub(crate) struct Usage {
    pub(crate) duration: Duration,
    /// The peak memory of the largest process, in KiB.
    pub(crate) memory: u64,
}

impl Environment {
    /// Starts the source registry and the links.
    /// Images are kept in `data`, if it is given.
    pub(crate) async fn open(
        data: Option<&Path>,
        base: Option<PathBuf>,
        jobs: Vec<u32>,
    ) -> Result<Self, BenchError> {
        let compass = require(&["docker-registry", "curl", "bash", "xargs", "/usr/bin/time"])?;
        let scratch = tempfile::tempdir()?;
        let data = data.map_or(scratch.path().join("source"), Path::to_owned);
        std::fs::create_dir_all(&data)?;
        let (source, destination) = (free_host()?, free_host()?);
        let registry = RegistryProcess::docker_registry(&data.canonicalize()?, &source)?;
        let far = Endpoints {
            source: LINK.forward_to(source.clone()).await?,
            destination: LINK.forward_to(destination.clone()).await?,
        };
        let near = Endpoints { source, destination };
        write_repository(&scratch.path().join("repo"))?;
        Ok(Self { scratch, compass, base, jobs, near, far, _source: registry })
    }

    /// The parent of the directory that scripts run in.
    pub(crate) fn root(&self) -> &Path {
        self.scratch.path()
    }

    /// Runs a script in an empty directory `work`, with an empty destination.
    pub(crate) async fn measure(
        &self,
        script: &str,
        destination: Destination,
    ) -> Result<Usage, BenchError> {
        let (root, host) = (self.root().to_owned(), self.near.destination.clone());
        let (compass, script) =
            (self.compass.clone(), format!("/usr/bin/time -f %M -o peak bash -euc '{script}'"));
        let work = move || {
            run(&root, "rm -rf destination work; mkdir work; sync")?;
            let storage = root.join("destination");
            let _registry = match destination {
                Destination::DockerRegistry => RegistryProcess::docker_registry(&storage, &host)?,
                Destination::CompassServe => RegistryProcess::compass(&compass, &storage, &host)?,
            };
            let duration = timed(&root.join("work"), &script)?;
            let memory = run(&root, "tail -n 1 work/peak")?.trim().parse()?;
            Ok::<_, BenchError>(Usage { duration, memory })
        };
        tokio::task::spawn_blocking(work).await?
    }
}

/// Writes a release repository with a plugin, a product and lists of images.
fn write_repository(repository: &Path) -> Result<(), BenchError> {
    for directory in ["release-plugins", "release-products", "images-lists"] {
        std::fs::create_dir_all(repository.join(directory))?;
    }
    let plugin = format!(
        "metadata: {{name: large}}\nspec:\n  version: {TAG}\n  service: {{port: 9001, \
         image: harbor.caicloud.xyz/release/{LARGE}:{TAG}}}\n  modules: [{{name: large, slots: \
         [system.large]}}]\n"
    );
    std::fs::write(repository.join("release-plugins/large.yaml"), plugin)?;
    for (version, list) in [(TAG, "small"), (PRODUCT_VERSION, "product")] {
        let product = format!(
            "metadata: {{name: compass}}\nspec:\n  version: {version}\n  imageLists: \
             [images-lists/{list}.list]\n"
        );
        std::fs::write(repository.join(format!("release-products/{version}.yaml")), product)?;
    }
    for (name, count) in [("small", SMALL), ("product", PRODUCT)] {
        let images = (0..count).map(|number| format!("release/{}:{TAG}\n", images::small(number)));
        let list: String = images.collect();
        std::fs::write(repository.join(format!("images-lists/{name}.list")), list)?;
    }
    let list = format!("release/{LARGE}:{TAG}\n");
    Ok(std::fs::write(repository.join("images-lists/large.list"), list)?)
}
