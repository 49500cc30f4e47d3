//! Interoperability: images that `umoci` built and `skopeo` pushed to Debian's registry are packaged,
//! and load in the tools that a site may have.
//!
//! Needs root and the Debian packages `docker-registry skopeo podman containerd docker.io umoci`.
//! If one is missing, the tests are skipped, unless `COMPASS_INTEROP=required` is set, as in CI.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::DiskStorage;
use world::World;

#[test]
fn bundle_loads_unchanged_in_all_tools() {
    let Some(world) = World::required() else { return };
    world.sh("
        umoci init --layout oci; umoci new --image oci:v0.1.0
        mkdir -p one two; echo 'hello from compass' > one/hello.txt
        head -c 3000000 /dev/urandom > two/blob.bin; ln -s hello.txt one/link
        umoci insert --image oci:v0.1.0 one /app
        umoci insert --image oci:v0.1.0 two /data
        umoci config --image oci:v0.1.0 --config.cmd /app/hello --architecture amd64 --os linux
        skopeo copy -q --dest-tls-verify=false oci:oci:v0.1.0 docker://$SOURCE/release/compass-plugins-demo:v0.1.0
    ");
    let digest = world.sh(
        "skopeo inspect --tls-verify=false --format '{{.Digest}}' docker://$SOURCE/release/compass-plugins-demo:v0.1.0",
    );
    world.add_plugin("demo", "v0.1.0");

    let planned = world.sh(
        "compass package plugin demo --repo repo --from $SOURCE/release --dry-run --format json",
    );
    let planned: serde_json::Value = serde_json::from_str(&planned).unwrap();
    world.sh("compass package plugin demo --repo repo --from $SOURCE/release -o out --quiet");
    let stem = "compass-plugins-demo-v0.1.0";
    let size = std::fs::metadata(world.path(&format!("out/{stem}.tar.gz"))).unwrap().len();
    assert_eq!(planned["size"], size, "the dry run names the size to the byte");

    assert_eq!(
        world.sh(&format!("cd out; sha256sum -c --quiet *.sha256; tar tzf {stem}.tar.gz")),
        format!(
            "{stem}/bundle.json\n{stem}/demo.yaml\n\
             {stem}/demo-compass-plugins-demo-v0.1.0-image.tar.gz"
        )
    );
    world.sh(&format!(
        "cd out; tar xzf {stem}.tar.gz; cp {stem}/*-image.tar.gz ../image.tar.gz; cmp {stem}/demo.yaml ../repo/release-plugins/demo.yaml"
    ));
    let entries = world.sh("tar tzf image.tar.gz");
    let hex = digest.trim_start_matches("sha256:");
    assert!(
        entries.starts_with(&format!(
            "oci-layout\nindex.json\nmanifest.json\nblobs/\nblobs/sha256/\nblobs/sha256/{hex}\n"
        )),
        "{entries}"
    );

    skopeo_keeps_digest(&world, &digest);
    docker_loads_files(&world);
    podman_loads_files(&world);
    containerd_keeps_name_and_digest(&world, &digest);

    // The site's registry has the developer's digest.
    world.sh(&format!("compass install out/{stem}.tar.gz --registry $SITE/compass --quiet"));
    let at_site = world.sh(
        "skopeo inspect --tls-verify=false --format '{{.Digest}}' docker://$SITE/compass/compass-plugins-demo:v0.1.0",
    );
    assert_eq!(at_site, digest);
}

fn skopeo_keeps_digest(world: &World, digest: &str) {
    world.sh("skopeo copy -q oci-archive:image.tar.gz oci:copied:v0.1.0");
    let copied = world.sh("skopeo inspect --format '{{.Digest}}' oci:copied:v0.1.0");
    assert_eq!(copied, digest);
    world.sh("umoci unpack --rootless --image copied:v0.1.0 unpacked");
    world.same_files("unpacked/rootfs");
}

/// Loads the archive with Docker 20.10 of Debian.
fn docker_loads_files(world: &World) {
    world.start_docker();
    world.sh("$DOCKER load -q -i image.tar.gz");
    world.sh("
        id=$($DOCKER create harbor.caicloud.xyz/release/compass-plugins-demo:v0.1.0 /x)
        mkdir docker; $DOCKER export $id | tar x -C docker
    ");
    world.same_files("docker");
}

/// Loads the archive with Podman, under its name in the release registry.
fn podman_loads_files(world: &World) {
    world.sh("$PODMAN load -q -i image.tar.gz");
    world.sh("
        id=$($PODMAN create harbor.caicloud.xyz/release/compass-plugins-demo:v0.1.0 /x)
        mkdir podman; $PODMAN export $id | tar x -C podman
    ");
    world.same_files("podman");
}

fn containerd_keeps_name_and_digest(world: &World, digest: &str) {
    world.start_containerd();
    world.sh("gunzip -c image.tar.gz | $CTR images import --snapshotter native -");
    let listed = world.sh("$CTR images ls");
    let name = "harbor.caicloud.xyz/release/compass-plugins-demo:v0.1.0";
    let line = listed.lines().find(|line| line.starts_with(name)).expect(&listed);
    assert!(line.contains(digest), "{line}");
    world.sh("mkdir ctr; $CTR images mount --snapshotter native --platform linux/amd64 harbor.caicloud.xyz/release/compass-plugins-demo:v0.1.0 ctr");
    world.same_files("ctr");
    world.sh("umount ctr");
}

#[test]
fn sync_docker_image_keeps_digest() {
    let Some(world) = World::required() else { return };
    world.sh("
        umoci init --layout oci; umoci new --image oci:v0.2.0
        mkdir -p one; echo index > one/hello.txt; umoci insert --image oci:v0.2.0 one /app
        umoci config --image oci:v0.2.0 --architecture amd64 --os linux
        skopeo copy -q --dest-tls-verify=false --format v2s2 oci:oci:v0.2.0 docker://$SOURCE/caicloud/compass-plugins-demo:v0.2.0
    ");
    world.add_plugin("demo", "v0.2.0");
    world.sh(
        "compass sync plugin demo --repo repo --from $SOURCE/caicloud --to $SITE/release --quiet",
    );
    let digest = |place: &str| {
        world.sh(&format!(
            "skopeo inspect --tls-verify=false --raw docker://{place}/compass-plugins-demo:v0.2.0 | sha256sum"
        ))
    };
    assert_eq!(digest("$SITE/release"), digest("$SOURCE/caicloud"), "a Docker image stays one");
    world.sh("compass package plugin demo --repo repo --from $SITE/release -o out --quiet");
    world.sh("cd out; tar xzf *.tar.gz; cp */*-image.tar.gz ../image.tar.gz");
    world.start_docker();
    world.sh("$DOCKER load -q -i image.tar.gz; $PODMAN load -q -i image.tar.gz; skopeo copy -q oci-archive:image.tar.gz dir:dir");
    let manifest = world.sh("sha256sum < dir/manifest.json");
    assert_eq!(manifest, digest("$SOURCE/caicloud"));
}

#[test]
fn serve_other_tools_push_and_pull() {
    let Some(world) = World::required() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let storage = DiskStorage::new(world.path("embedded"));
    let server =
        runtime.block_on(Server::start(storage, "127.0.0.1:0", ServerOptions::default())).unwrap();
    let host = server.host();
    world.sh(&format!(
        "umoci init --layout oci; umoci new --image oci:v1
         mkdir -p one two; echo embedded > one/hello.txt; ln -s hello.txt one/link
         head -c 3000000 /dev/urandom > two/blob.bin
         umoci insert --image oci:v1 one /app; umoci insert --image oci:v1 two /data
         umoci config --image oci:v1 --architecture amd64 --os linux
         skopeo copy -q --dest-tls-verify=false oci:oci:v1 docker://{host}/a/skopeo:v1
         skopeo copy -q --src-tls-verify=false docker://{host}/a/skopeo:v1 oci:pulled:v1
         cmp <(skopeo inspect --raw oci:oci:v1) <(skopeo inspect --raw oci:pulled:v1)"
    ));
    world.sh(&format!(
        "$PODMAN pull -q --tls-verify=false {host}/a/skopeo:v1
         $PODMAN push -q --tls-verify=false {host}/a/skopeo:v1 {host}/b/podman:v1"
    ));
    world.start_docker();
    world.sh(&format!(
        "$DOCKER pull -q {host}/b/podman:v1
         $DOCKER tag {host}/b/podman:v1 {host}/c/docker:v2; $DOCKER push -q {host}/c/docker:v2
         id=$($DOCKER create {host}/c/docker:v2 /x); mkdir files; $DOCKER export $id | tar x -C files"
    ));
    world.same_files("files");
    let tags = world.sh(&format!("skopeo list-tags --tls-verify=false docker://{host}/c/docker"));
    assert!(tags.contains("\"v2\""), "{tags}");
}

#[test]
fn sync_image_index_keeps_digest() {
    let Some(world) = World::required() else { return };
    world.sh("
        mkdir -p one; echo amd64 > one/hello.txt
        for arch in amd64 arm64; do
          umoci init --layout $arch; umoci new --image $arch:v1; umoci insert --image $arch:v1 one /app
          umoci config --image $arch:v1 --architecture $arch --os linux
          skopeo copy -q --dest-tls-verify=false oci:$arch:v1 docker://$SOURCE/release/compass-plugins-demo:$arch
        done
        entry() {
          raw=$(skopeo inspect --tls-verify=false --raw docker://$SOURCE/release/compass-plugins-demo:$1 | tee $1.json | sha256sum | cut -d' ' -f1)
          echo '{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:'$raw'\",\"size\":'$(stat -c %s $1.json)',\"platform\":{\"os\":\"linux\",\"architecture\":\"'$1'\"}}'
        }
        type=application/vnd.oci.image.index.v1+json
        echo -n '{\"schemaVersion\":2,\"mediaType\":\"'$type'\",\"manifests\":['$(entry amd64),$(entry arm64)']}' > index.json
        curl -sf -X PUT -H \"Content-Type: $type\" --data-binary @index.json http://$SOURCE/v2/release/compass-plugins-demo/manifests/v0.3.0
    ");
    world.add_plugin("demo", "v0.3.0");
    let package = "compass package plugin demo --repo repo --from $SOURCE/release --quiet";
    world
        .sh(&format!("{package} --platform all -o all; {package} --platform linux/arm64 -o arm64"));
    world.sh("cd all; tar xzf *.tar.gz; cp */*-image.tar.gz ../image.tar.gz");
    world.start_docker();
    world.sh("
        $DOCKER load -q -i image.tar.gz
        $DOCKER inspect harbor.caicloud.xyz/release/compass-plugins-demo:v0.3.0 | grep '\"Architecture\": \"amd64\"'
        skopeo inspect --raw oci-archive:image.tar.gz | cmp - index.json
        compass verify all/*.tar.gz; compass verify arm64/*.tar.gz
        compass install all/*.tar.gz --registry $SITE --quiet
        curl -sf -H 'Accept: application/vnd.oci.image.index.v1+json' http://$SITE/v2/release/compass-plugins-demo/manifests/v0.3.0 | cmp - index.json
        compass inspect arm64/*.tar.gz | grep -q '(linux/arm64)'
    ");
}

#[test]
fn doctor_referrers_tag_leaves_nothing() {
    let Some(world) = World::required() else { return };
    let printed = world.sh("compass doctor $SITE --scratch scratch/doctor");
    assert!(printed.contains("by a tag, for registries without the API"), "{printed}");
    assert!(printed.contains("delete          yes"), "{printed}");
    let tags = world.sh("curl -s http://$SITE/v2/scratch/doctor/tags/list");
    assert!(!tags.contains("sha256-") && !tags.contains("compass-doctor"), "{tags}");
}

/// `hunter2`, hashed with bcrypt.
const HTPASSWD: &str = "robot:$2b$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.\n";

#[test]
fn login_and_tls_work_with_others() {
    let Some(world) = World::required() else { return };
    let secured = start_secured_registry(&world);
    // `compass serve` with a password.
    std::fs::write(world.path("password"), "hunter2\n").unwrap();
    let ours = world.serve(&["--user", "robot", "--password-file", "password"]);
    world.sh(&format!(
        "skopeo login --authfile auth.json --cert-dir certs -u robot -p hunter2 {secured}
         skopeo login --authfile auth.json --tls-verify=false -u robot -p hunter2 {ours}
         mkdir -p repo/release-plugins
         printf 'version: 1\\nregistries: {{hosts: {{\"{secured}\": {{ca: ../ca.crt}}}}}}\\n' > repo/.compass.yaml
         printf 'release/web:v1\\n' > web.list
         umoci init --layout oci; umoci new --image oci:v1
         head -c 9000000 /dev/urandom > blob; umoci insert --image oci:v1 blob /blob
         umoci config --image oci:v1 --architecture amd64 --os linux
         skopeo copy -q --authfile auth.json --dest-cert-dir certs oci:oci:v1 docker://{secured}/team/web:v1"
    ));
    let sync = |from: &str, to: &str| {
        world.sh(&format!(
            "REGISTRY_AUTH_FILE=auth.json compass sync --repo repo --list web.list --from {from} --to {to} -q"
        ))
    };
    // The client with both servers, in both directions.
    sync(&format!("{secured}/team"), &format!("{ours}/release"));
    sync(&format!("{ours}/release"), &format!("{secured}/back"));
    let digest = |place: &str, more: &str| {
        world.sh(&format!(
            "skopeo inspect --authfile auth.json {more} --format '{{{{.Digest}}}}' docker://{place}/web:v1"
        ))
    };
    let digests = [
        digest(&format!("{secured}/team"), "--cert-dir certs"),
        digest(&format!("{ours}/release"), "--tls-verify=false"),
        digest(&format!("{secured}/back"), "--cert-dir certs"),
    ];
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");

    podman_and_docker_pull_and_push(&world, &ours);
    // No access without the password, and no message contains it.
    let refused = world.sh(&format!(
        "skopeo inspect --no-creds --tls-verify=false docker://{ours}/release/web:v1 2>&1 || true
         echo '{{}}' >none.json
         REGISTRY_AUTH_FILE=none.json compass sync --repo repo --list web.list --from {ours}/release --to {secured}/no -vvv 2>&1 || true
         REGISTRY_AUTH_FILE=auth.json compass sync --repo repo --list web.list --from {ours}/release --to {secured}/yes -vvv 2>&1"
    ));
    assert!(refused.contains("nauthorized") && refused.contains("refuses"), "{refused}");
    assert!(!refused.contains("hunter2") && !refused.contains("cm9ib3Q6aHVudGVyMg"), "{refused}");
}

/// Starts Debian's registry with TLS and a password. Clients use plain HTTP for 127.0.0.1.
fn start_secured_registry(world: &World) -> String {
    world.sh("
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=ca -days 2
        openssl req -newkey rsa:2048 -nodes -keyout registry.key -out registry.csr -subj /CN=registry
        printf 'subjectAltName=IP:127.0.0.2\\nbasicConstraints=CA:FALSE\\n' > extensions
        openssl x509 -req -in registry.csr -CA ca.crt -CAkey ca.key -CAcreateserial \
            -out registry.crt -days 2 -extfile extensions
        mkdir certs; cp ca.crt certs/ca.crt
    ");
    std::fs::write(world.path("htpasswd"), HTPASSWD).unwrap();
    world.start_registry(
        "secured",
        "127.0.0.2",
        &format!(
            ", tls: {{certificate: {0}/registry.crt, key: {0}/registry.key}}}}\n\
             auth: {{htpasswd: {{realm: here, path: {0}/htpasswd}}",
            world.path("").display()
        ),
    )
}

/// Pulls from and pushes to `compass serve` with a password.
fn podman_and_docker_pull_and_push(world: &World, ours: &str) {
    world.start_docker();
    world.sh(&format!(
        "$PODMAN pull -q --authfile auth.json --tls-verify=false {ours}/release/web:v1
         $PODMAN push -q --authfile auth.json --tls-verify=false {ours}/release/web:v1 {ours}/podman/web:v1
         mkdir docker-config; cp auth.json docker-config/config.json
         $DOCKER --config docker-config pull -q {ours}/release/web:v1
         $DOCKER tag {ours}/release/web:v1 {ours}/docker/web:v1
         $DOCKER --config docker-config push -q {ours}/docker/web:v1
         skopeo copy -q --authfile auth.json --src-tls-verify=false docker://{ours}/docker/web:v1 oci:from-docker:v1
         umoci unpack --rootless --image from-docker:v1 unpacked; cmp blob unpacked/rootfs/blob"
    ));
}
