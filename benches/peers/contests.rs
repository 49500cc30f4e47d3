//! What is compared. Scripts run in an empty directory.

use compass_benches::Failure;
use compass_registry::client::{Client, ClientOptions};
use compass_registry::{ImageSource as _, Repository, Tag, TagOrDigest};

use crate::contest::{Arena, Contender, Contest, Place};
use crate::images::{self, LARGE, MIDDLE, SMALL, TAG};

/// What makes this program copy an image to an OCI layout.
pub(crate) const TO_LAYOUT: &str = "--to-layout";

/// The names of all comparisons.
pub(crate) const NAMES: [&str; 6] =
    ["package", "package-link", "pull", "pull-link", "sync", "sync-link"];

const INSECURE: &str = "--src-tls-verify=false --dest-tls-verify=false";

/// All of them, in the order of [`NAMES`].
pub(crate) async fn all(arena: &Arena) -> Result<Vec<Contest>, Failure> {
    let repo = arena.root().join("repo/release-plugins");
    std::fs::create_dir_all(&repo)?;
    std::fs::write(repo.join("large.yaml"), plugin())?;
    let list: String =
        (0..SMALL).map(|number| format!("release/{}:{TAG}\n", images::small(number))).collect();
    std::fs::write(arena.root().join("small.list"), list)?;
    std::fs::write(arena.root().join("large.list"), format!("release/{LARGE}:{TAG}\n"))?;
    let (near, far) = (&arena.near, &arena.far);
    let curl = contender("curl, blobs to files", &[], curl(&near.source).await?);
    let mut package = vec![curl.clone()];
    package.extend(packages(arena, near));
    package.push(old_recipe(near));
    let mut pull = vec![curl];
    pull.extend(pulls(near, LARGE)?);
    let contest = |name, title, contenders| Contest { name, title, contenders };
    Ok(vec![
        contest("package", "one image of 950 MB on this machine, to a package", package),
        contest("package-link", "the same over the link", packages(arena, far)),
        contest("pull", "one image of 950 MB on this machine, to an OCI layout", pull),
        contest("pull-link", "one image of 225 MB over the link", pulls(far, MIDDLE)?),
        contest("sync", "one image of 950 MB, between registries on this machine", {
            let mut contenders = copies(near);
            contenders.push(sync(arena, near, "large", 8));
            contenders
        }),
        contest("sync-link", "forty images over the link, between registries", many(arena, far)),
    ])
}

fn contender(name: &'static str, needs: &'static [&'static str], script: String) -> Contender {
    Contender { name, needs, script, once: false }
}

fn plugin() -> String {
    format!(
        "metadata: {{name: large}}\nspec:\n  version: {TAG}\n  service: {{port: 9001, \
         image: harbor.caicloud.xyz/release/{LARGE}:{TAG}}}\n"
    )
}

/// Fetches the blobs of the large image to files.
async fn curl(host: &str) -> Result<String, Failure> {
    let client = Client::new(host, ClientOptions::default())?;
    let (name, tag): (Repository, Tag) = (format!("release/{LARGE}").parse()?, TAG.parse()?);
    let manifest = client.manifest(&name, &TagOrDigest::from(tag)).await?.parse()?;
    let blobs = manifest.distributable_blobs().map(|blob| blob.digest);
    Ok(blobs
        .map(|digest| format!("curl -sf -o {digest} http://{host}/v2/{name}/blobs/{digest}; "))
        .collect())
}

/// One file for a site.
fn packages(arena: &Arena, at: &Place) -> Vec<Contender> {
    let (source, compass) = (&at.source, arena.compass.display());
    let image = format!("{source}/release/{LARGE}:{TAG}");
    vec![
        contender(
            "skopeo copy to oci-archive",
            &["skopeo"],
            format!("skopeo copy -q {INSECURE} docker://{image} oci-archive:image.tar"),
        ),
        contender("crane pull", &["crane"], format!("crane pull --insecure {image} image.tar")),
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
        contender(
            "compass package",
            &[],
            format!(
                "{compass} package plugin large --repo ../repo --from {source}/release -o . -q \
                 >/dev/null"
            ),
        ),
    ]
}

/// How packages are made by hand.
fn old_recipe(at: &Place) -> Contender {
    let name = "skopeo copy to docker-archive, pigz -6, tar";
    let script = format!(
        "skopeo copy -q {INSECURE} docker://{}/release/{LARGE}:{TAG} docker-archive:image.tar:large:v1
         mkdir package; pigz -6 -c image.tar >package/large-image.tar.gz; rm image.tar
         tar cf package.tar.gz package",
        at.source
    );
    Contender { once: true, ..contender(name, &["skopeo", "pigz"], script) }
}

/// An OCI layout of one image.
fn pulls(at: &Place, name: &str) -> Result<Vec<Contender>, Failure> {
    let source = &at.source;
    let image = format!("{source}/release/{name}:{TAG}");
    let own = std::env::current_exe()?;
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
            format!("{} {TO_LAYOUT} {source} release/{name} layout", own.display()),
        ),
    ])
}

/// The large image, by others than `compass`.
fn copies(at: &Place) -> Vec<Contender> {
    let Place { source, destination } = at;
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

fn sync(arena: &Arena, at: &Place, list: &str, jobs: u32) -> Contender {
    let Place { source, destination } = at;
    let script = format!(
        "{} sync --list ../{list}.list --repo ../repo --from {source}/release \
         --to {destination}/release --jobs {jobs} -q >/dev/null",
        arena.compass.display()
    );
    contender("compass sync", &[], script)
}

fn many(arena: &Arena, at: &Place) -> Vec<Contender> {
    let Place { source, destination } = at;
    let last = SMALL - 1;
    let one = |number: &str| {
        let name = format!("release/app-{number}:{TAG}");
        format!("skopeo copy -q {INSECURE} docker://{source}/{name} docker://{destination}/{name}")
    };
    vec![
        contender(
            "skopeo copy, one after the other",
            &["skopeo"],
            format!("for n in $(seq 0 {last}); do {}; done", one("$n")),
        ),
        contender(
            "skopeo copy, eight at once",
            &["skopeo"],
            format!("seq 0 {last} | xargs -P 8 -I {{}} {}", one("{}")),
        ),
        sync(arena, at, "small", 8),
        Contender { name: "compass sync --jobs 16", ..sync(arena, at, "small", 16) },
    ]
}
