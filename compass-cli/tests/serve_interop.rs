//! Interoperability of `serve` and `extract --images` with the tools of nodes.
//!
//! Needs the same programs as `interop.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use std::net::TcpListener;

use world::World;

const IMAGE: &str = "release/compass-plugins-demo:v0.1.0";

/// A world with the bundle `bundle.tar.gz` of one plugin.
fn packaged() -> Option<World> {
    let world = World::required()?;
    world.sh("
        umoci init --layout oci; umoci new --image oci:v0.1.0
        mkdir -p one two; echo 'hello from compass' > one/hello.txt
        head -c 3000000 /dev/urandom > two/blob.bin; ln -s hello.txt one/link
        umoci insert --image oci:v0.1.0 one /app; umoci insert --image oci:v0.1.0 two /data
        umoci config --image oci:v0.1.0 --config.cmd /app/hello --architecture amd64 --os linux
        skopeo copy -q --dest-tls-verify=false oci:oci:v0.1.0 docker://$SOURCE/release/compass-plugins-demo:v0.1.0
    ");
    world.add_plugin("demo", "v0.1.0");
    world.sh("compass package plugin demo --repo repo --from $SOURCE/release -o out --quiet; mv out/*.tar.gz bundle.tar.gz");
    Some(world)
}

fn free(address: &str) -> String {
    TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().to_string()
}

/// The digest of the image at a registry.
fn digest(world: &World, host: &str, more: &str) -> String {
    world.sh(&format!("skopeo inspect {more} --format '{{{{.Digest}}}}' docker://{host}/{IMAGE}"))
}

#[test]
fn serve_bundle_is_pulled_by_all_tools() {
    let Some(world) = packaged() else { return };
    let host = free("127.0.0.1");
    world.serve_at(&host, &["bundle.tar.gz"]);
    let source = digest(&world, "$SOURCE", "--tls-verify=false");
    assert_eq!(digest(&world, &host, "--tls-verify=false"), source);
    world.sh(&format!(
        "skopeo copy -q --src-tls-verify=false docker://{host}/{IMAGE} oci:pulled:v1
         umoci unpack --rootless --image pulled:v1 unpacked
         $PODMAN pull -q --tls-verify=false {host}/{IMAGE}
         id=$($PODMAN create {host}/{IMAGE} /x); mkdir podman; $PODMAN export $id | tar x -C podman"
    ));
    world.same_files("unpacked/rootfs");
    world.same_files("podman");
    world.start_docker();
    world.sh(&format!(
        "$DOCKER pull -q {host}/{IMAGE}
         id=$($DOCKER create {host}/{IMAGE} /x); mkdir docker; $DOCKER export $id | tar x -C docker"
    ));
    world.same_files("docker");
    // containerd pulls the image under its own name, as the printed configuration says.
    world.start_containerd();
    world.sh(&format!(
        "mkdir -p certs.d/harbor.caicloud.xyz
         compass serve bundle.tar.gz --hosts-toml {host} > certs.d/harbor.caicloud.xyz/hosts.toml
         grep -q '^# /etc/containerd/certs.d/harbor.caicloud.xyz/hosts.toml$' certs.d/*/hosts.toml
         $CTR images pull --snapshotter native --hosts-dir certs.d harbor.caicloud.xyz/{IMAGE}
         $CTR images ls | grep -F harbor.caicloud.xyz/{IMAGE} | grep -F {source}
         mkdir ctr; $CTR images mount --snapshotter native --platform linux/amd64 harbor.caicloud.xyz/{IMAGE} ctr"
    ));
    world.same_files("ctr");
    world.sh("umount ctr");
}

#[test]
fn serve_tls_and_login_work_with_others() {
    let Some(world) = packaged() else { return };
    world.sh("
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=ca -days 2
        openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=server
        printf 'subjectAltName=IP:127.0.0.2\\nbasicConstraints=CA:FALSE\\n' > extensions
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial \
            -out server.crt -days 2 -extfile extensions
        mkdir certs; cp ca.crt certs/ca.crt; echo hunter2 > password
    ");
    let host = free("127.0.0.2");
    let tls = ["--tls-cert", "server.crt", "--tls-key", "server.key"];
    let login = ["--user", "robot", "--password-file", "password", "-vvv"];
    world.serve_at(&host, &[&["bundle.tar.gz"][..], &tls, &login].concat());
    world.sh(&format!(
        "skopeo login --authfile auth.json --cert-dir certs -u robot -p hunter2 {host}
         skopeo copy -q --authfile auth.json --src-cert-dir certs docker://{host}/{IMAGE} oci:pulled:v1
         umoci unpack --rootless --image pulled:v1 unpacked
         $PODMAN pull -q --authfile auth.json --cert-dir certs {host}/{IMAGE}
         if curl -s http://{host}/v2/ -o plain.txt; then exit 1; fi
         curl -sf --cacert ca.crt https://{host}/healthz
         ! grep -e hunter2 -e cm9ib3Q6aHVudGVyMg serve.log"
    ));
    world.same_files("unpacked/rootfs");
    // A renewed certificate is used without a restart.
    world.sh(&format!(
        "openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -set_serial 0x4711 \
             -out renewed.crt -days 2 -extfile extensions
         mv renewed.crt server.crt
         serial() {{ openssl s_client -connect {host} </dev/null 2>&1 | openssl x509 -noout -serial; }}
         for _ in $(seq 60); do serial | grep -q 4711 && exit; sleep 0.5; done; exit 1"
    ));
    // The client of compass trusts the certificate by the policy.
    world.sh(&format!(
        "printf 'version: 1\\nregistries: {{hosts: {{\"{host}\": {{ca: ../ca.crt}}}}}}\\n' > repo/.compass.yaml
         echo release/compass-plugins-demo:v0.1.0 > demo.list
         REGISTRY_AUTH_FILE=auth.json compass sync --repo repo --list demo.list --from {host}/release --to $SITE/release -q"
    ));
    let pulled = digest(&world, "$SITE", "--tls-verify=false");
    assert_eq!(pulled, digest(&world, "$SOURCE", "--tls-verify=false"));
}

#[test]
fn serve_cache_is_pulled_while_upstream_is_down() {
    let Some(world) = packaged() else { return };
    let (upstream, cache) = (free("127.0.0.1"), free("127.0.0.1"));
    let process = world.serve_at(&upstream, &["bundle.tar.gz"]);
    let upstream_url = format!("http://{upstream}");
    world.serve_at(&cache, &["--upstream", &upstream_url, "--cache", "cache"]);
    let copy = format!("skopeo copy -q --src-tls-verify=false docker://{cache}/{IMAGE}");
    world.sh(&format!("{copy} oci:one:v1"));
    // The cache remembers a tag for 2 s.
    world.sh(&format!("kill {process}; sleep 2.5"));
    world.sh(&format!(
        "{copy} oci:two:v1; cmp <(skopeo inspect --raw oci:one:v1) <(skopeo inspect --raw oci:two:v1)
         umoci unpack --rootless --image two:v1 unpacked
         curl -s http://{cache}/metrics | grep '^compass_cache_stale_total [1-9]'
         curl -s http://{cache}/v2/release/other/manifests/v1 | grep -F '{upstream} cannot be reached'"
    ));
    world.same_files("unpacked/rootfs");
}

#[test]
fn extract_images_loads_in_all_tools() {
    let Some(world) = packaged() else { return };
    world.sh("
        umoci init --layout more; umoci new --image more:v1; umoci insert --image more:v1 one /app
        umoci config --image more:v1 --architecture amd64 --os linux
        skopeo copy -q --dest-tls-verify=false oci:more:v1 docker://$SOURCE/release/more:v1
        printf 'release/compass-plugins-demo:v0.1.0\\nrelease/more:v1\\n' > repo/all.list
        mkdir -p repo/release-products repo/addons
        printf 'metadata: {name: compass}\\nspec: {version: v2.7.0, imageLists: [all.list]}\\n' > repo/release-products/v2.7.0.yaml
        compass package product v2.7.0 --repo repo --from $SOURCE/release -o out --quiet --no-check test
        compass extract out/compass-v2.7.0.tar.gz --images --registry site.example/compass -o all.tar
    ");
    let names =
        ["site.example/compass/compass-plugins-demo:v0.1.0", "site.example/compass/more:v1"];
    world.start_docker();
    world.start_containerd();
    let extract =
        "compass extract out/compass-v2.7.0.tar.gz --images --registry site.example/compass -o -";
    world.sh(&format!("{extract} | $DOCKER load -q"));
    world.sh(&format!("{extract} | $PODMAN load -q"));
    world.sh(&format!("{extract} | $CTR -n k8s.io images import --snapshotter native -"));
    for name in names {
        world.sh(&format!(
            "$DOCKER inspect {name} > /dev/null; $PODMAN inspect {name} > /dev/null
             $CTR -n k8s.io images ls -q | grep -Fx {name}"
        ));
    }
    world.sh(&format!(
        "id=$($DOCKER create {0} /x); mkdir docker; $DOCKER export $id | tar x -C docker
         id=$($PODMAN create {0} /x); mkdir podman; $PODMAN export $id | tar x -C podman",
        names[0]
    ));
    world.same_files("docker");
    world.same_files("podman");
    // A single image keeps its digest in containerd.
    let digest = digest(&world, "$SOURCE", "--tls-verify=false");
    world.sh(&format!("$CTR -n k8s.io images ls | grep -F {} | grep -F {digest}", names[0]));
}
