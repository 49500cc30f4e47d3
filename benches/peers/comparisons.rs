//! Defines the comparisons.
//!
//! Scripts run in an empty directory beside `repo`, a release repository.

use std::path::Path;

use compass_benches::BenchError;

use crate::comparison::{Comparison, Contender};
use crate::environment::{Destination, Endpoints, Environment, PRODUCT_VERSION};
use crate::images::{ImageSet, LARGE, MIDDLE, SMALL, TAG};

/// The argument that makes this program copy an image to an OCI layout.
pub(crate) const TO_LAYOUT: &str = "--to-layout";

/// The names of all comparisons.
pub(crate) const NAMES: [&str; 10] = [
    "package",
    "package-link",
    "product",
    "product-link",
    "pull",
    "pull-link",
    "sync",
    "sync-link",
    "sync-serve",
    "install-serve",
];

const INSECURE: &str = "--src-tls-verify=false --dest-tls-verify=false";

/// All comparisons, in the order of [`NAMES`].
pub(crate) fn all(environment: &Environment) -> Result<Vec<Comparison>, BenchError> {
    let (near, far) = (&environment.near, &environment.far);
    let mut package = vec![curl(near)];
    package.extend(packages(environment, near));
    package.push(separate_tools(near));
    let mut pull = vec![curl(near)];
    pull.extend(pulls(near, LARGE)?);
    let mut sync_large = copies(near);
    sync_large.extend(syncs(environment, near, "large"));
    let comparison = |name, title, images, contenders| Comparison {
        name,
        title,
        images,
        destination: Destination::DockerRegistry,
        contenders,
    };
    let serve = |name, title, contenders| Comparison {
        destination: Destination::CompassServe,
        ..comparison(name, title, ImageSet::Small, contenders)
    };
    let (large, middle) = (ImageSet::Large, ImageSet::Middle);
    let package_title = "one image of 950 MB on this machine, to a package";
    let pull_title = "one image of 950 MB on this machine, to an OCI layout";
    let sync_title = "one image of 950 MB, between registries on this machine";
    let forty = "forty images over the link, between registries";
    Ok(vec![
        comparison("package", package_title, large, package),
        comparison("package-link", "the same over the link", large, packages(environment, far)),
        comparison(
            "product",
            "a product of 180 images on this machine, to a package",
            ImageSet::Product,
            products(environment, near),
        ),
        comparison(
            "product-link",
            "the same over the link",
            ImageSet::Product,
            products(environment, far),
        ),
        comparison("pull", pull_title, large, pull),
        comparison("pull-link", "one image of 225 MB over the link", middle, pulls(far, MIDDLE)?),
        comparison("sync", sync_title, large, sync_large),
        comparison("sync-link", forty, ImageSet::Small, copies_of_forty(environment, far)),
        serve(
            "sync-serve",
            "forty images over the link, to an empty `compass serve`",
            copies_of_forty(environment, far),
        ),
        serve(
            "install-serve",
            "a bundle of forty images over the link, to an empty `compass serve`",
            installs(environment, far),
        ),
    ])
}

fn contender(
    name: impl Into<String>,
    requires: &'static [&'static str],
    script: String,
) -> Contender {
    Contender { name: name.into(), requires, setup: None, script, once: false }
}

/// The builds of `compass` that are compared, with their names.
fn builds(environment: &Environment) -> impl Iterator<Item = (&'static str, &Path)> {
    let base = environment.base.as_deref().map(|base| ("base", base));
    base.into_iter().chain([("compass", &*environment.compass)])
}

/// The name of the contender and its `--jobs` argument, for each value to compare.
fn jobs(environment: &Environment, name: String) -> Vec<(String, String)> {
    if environment.jobs.is_empty() {
        return vec![(name, String::new())];
    }
    let jobs = environment.jobs.iter();
    jobs.map(|jobs| (format!("{name} --jobs {jobs}"), format!("--jobs {jobs}"))).collect()
}

/// Downloads the blobs of the large image to files.
fn curl(at: &Endpoints) -> Contender {
    let url = format!("http://{}/v2/release/{LARGE}", at.source);
    let script = format!(
        "curl -sf -H \"Accept: application/vnd.oci.image.manifest.v1+json\" {url}/manifests/{TAG} \
         | grep -o \"sha256:[0-9a-f]*\" \
         | while read digest; do curl -sf -o $digest {url}/blobs/$digest; done"
    );
    contender("curl, blobs to files", &[], script)
}

/// Downloads an image to one file.
fn packages(environment: &Environment, at: &Endpoints) -> Vec<Contender> {
    let source = &at.source;
    let image = format!("{source}/release/{LARGE}:{TAG}");
    let mut contenders = vec![
        contender(
            "skopeo copy to oci-archive",
            &["skopeo"],
            format!("skopeo copy -q {INSECURE} docker://{image} oci-archive:image.tar"),
        ),
        contender("crane pull", &["crane"], format!("crane pull --insecure {image} image.tar")),
        contender(
            "crane pull to oci",
            &["crane"],
            format!("crane pull --insecure --format oci {image} layout"),
        ),
        contender(
            "regctl image export",
            &["regctl"],
            format!(
                "regctl image export --host reg={source},tls=disabled {image} image.tar >/dev/null"
            ),
        ),
        contender(
            "imgpkg copy to a tar",
            &["imgpkg"],
            format!("imgpkg copy --registry-insecure -i {image} --to-tar image.tar >/dev/null"),
        ),
    ];
    contenders.extend(builds(environment).map(|(name, program)| {
        let script = format!(
            "{} package plugin large --repo ../repo --from {source}/release -o . -q >/dev/null",
            program.display()
        );
        contender(format!("{name} package"), &[], script)
    }));
    contenders
}

/// Packages the images of a product.
fn products(environment: &Environment, at: &Endpoints) -> Vec<Contender> {
    let package = |(name, program): (&str, &Path)| {
        let script = format!(
            "{} package product {PRODUCT_VERSION} --repo ../repo --from {}/release -o . -q \
             >/dev/null",
            program.display(),
            at.source
        );
        contender(format!("{name} package"), &[], script)
    };
    builds(environment).map(package).collect()
}

/// Creates a package with separate tools.
fn separate_tools(at: &Endpoints) -> Contender {
    let name = "skopeo copy to docker-archive, pigz -6, tar";
    let script = format!(
        "skopeo copy -q {INSECURE} docker://{}/release/{LARGE}:{TAG} docker-archive:image.tar:large:v1
         mkdir package; pigz -6 -c image.tar >package/large-image.tar.gz; rm image.tar
         tar cf package.tar.gz package",
        at.source
    );
    Contender { once: true, ..contender(name, &["skopeo", "pigz"], script) }
}

/// Downloads an image to an OCI layout.
fn pulls(at: &Endpoints, name: &str) -> Result<Vec<Contender>, BenchError> {
    let source = &at.source;
    let image = format!("{source}/release/{name}:{TAG}");
    let this = std::env::current_exe()?;
    Ok(vec![
        contender(
            "skopeo copy to oci",
            &["skopeo"],
            format!("skopeo copy -q {INSECURE} docker://{image} oci:layout:v1"),
        ),
        contender(
            "crane pull to oci",
            &["crane"],
            format!("crane pull --insecure --format oci {image} layout"),
        ),
        contender(
            "regctl image copy to ocidir",
            &["regctl"],
            format!(
                "regctl image copy --host reg={source},tls=disabled {image} ocidir://layout:v1 \
                 >/dev/null"
            ),
        ),
        contender(
            "compass (library)",
            &[],
            format!("{} {TO_LAYOUT} {source} release/{name} layout", this.display()),
        ),
    ])
}

/// Copies the large image with other tools.
fn copies(at: &Endpoints) -> Vec<Contender> {
    let Endpoints { source, destination } = at;
    let (from, to) =
        (format!("{source}/release/{LARGE}:{TAG}"), format!("{destination}/release/{LARGE}:{TAG}"));
    vec![
        contender(
            "skopeo copy",
            &["skopeo"],
            format!("skopeo copy -q {INSECURE} docker://{from} docker://{to}"),
        ),
        contender(
            "crane copy",
            &["crane"],
            format!("crane copy --insecure {from} {to} 2>/dev/null"),
        ),
        contender(
            "regctl image copy",
            &["regctl"],
            format!(
                "regctl image copy --host reg={source},tls=disabled \
                 --host reg={destination},tls=disabled {from} {to} >/dev/null"
            ),
        ),
        contender(
            "docker pull, tag, push",
            &["docker info"],
            format!(
                "docker pull -q {from} >/dev/null; docker tag {from} {to}; docker push -q {to} \
                 >/dev/null; docker rmi -f {from} {to} >/dev/null"
            ),
        ),
    ]
}

/// Copies the images of a list with `compass sync`.
fn syncs(environment: &Environment, at: &Endpoints, list: &str) -> Vec<Contender> {
    let Endpoints { source, destination } = at;
    let sync = |(name, program): (&str, &Path)| {
        let jobs = jobs(environment, format!("{name} sync")).into_iter();
        let program = program.display().to_string();
        jobs.map(move |(name, jobs)| {
            let script = format!(
                "{program} sync --list ../repo/images-lists/{list}.list --repo ../repo \
                 --from {source}/release --to {destination}/release {jobs} -q >/dev/null"
            );
            contender(name, &[], script)
        })
    };
    builds(environment).flat_map(sync).collect()
}

/// Copies the forty small images.
fn copies_of_forty(environment: &Environment, at: &Endpoints) -> Vec<Contender> {
    let Endpoints { source, destination } = at;
    let eight_at_once = |command: &str| {
        let image = format!("release/app-{{}}:{TAG}");
        let (from, to) = (format!("{source}/{image}"), format!("{destination}/{image}"));
        let command = command.replace("FROM", &from).replace("TO", &to);
        format!("seq 0 {} | xargs -P 8 -I {{}} {command}", SMALL - 1)
    };
    let mut contenders = vec![
        contender(
            "crane copy, eight at once",
            &["crane"],
            eight_at_once("crane copy --insecure FROM TO 2>/dev/null"),
        ),
        contender(
            "skopeo copy, eight at once",
            &["skopeo"],
            eight_at_once(&format!("skopeo copy -q {INSECURE} docker://FROM docker://TO")),
        ),
    ];
    contenders.extend(syncs(environment, at, "small"));
    contenders
}

/// Installs a bundle of the forty small images.
/// Each build installs the bundle that it wrote.
fn installs(environment: &Environment, at: &Endpoints) -> Vec<Contender> {
    let near = &environment.near.source;
    let install = |(name, program): (&str, &Path)| {
        let program = program.display().to_string();
        let bundle = format!("{name}.tar.gz");
        let setup = format!(
            "{program} package product {TAG} --repo repo --from {near}/release -o {bundle} -q \
             >/dev/null"
        );
        let jobs = jobs(environment, format!("{name} install")).into_iter();
        jobs.map(move |(name, jobs)| {
            let script = format!(
                "{program} install ../{bundle} --registry {}/release {jobs} -q >/dev/null",
                at.destination
            );
            Contender { setup: Some(setup.clone()), ..contender(name, &[], script) }
        })
    };
    builds(environment).flat_map(install).collect()
}
