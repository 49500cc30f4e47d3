//! Packages of every kind are read by other tools, and packages of other tools by `compass`.
//!
//! Needs the same programs as `interop.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use world::World;

/// Builds and pushes an image from a directory: `push NAME TAG [skopeo options]`.
const PUSH: &str = "
    push() {
      name=$1 tag=$2; shift 2
      umoci init --layout oci-$name; umoci new --image oci-$name:v1
      mkdir -p one two; echo 'hello from compass' > one/hello.txt
      [ -f two/blob.bin ] || head -c 2000000 /dev/urandom > two/blob.bin
      ln -sf hello.txt one/link; echo $name > two/name
      umoci insert --image oci-$name:v1 one /app; umoci insert --image oci-$name:v1 two /data
      umoci config --image oci-$name:v1 --config.cmd /app/hello --architecture amd64 --os linux
      skopeo copy -q --dest-tls-verify=false $@ oci:oci-$name:v1 docker://$SOURCE/release/$name:$tag
    }
";

const HOTFIX: &str = "v2.7.0-20180605-p1";

/// A hotfix with three images: OCI media types, Docker media types, and uncompressed layers.
fn add_hotfix(world: &World) {
    world.sh(&format!(
        "{PUSH}
         push web {HOTFIX} ; push api {HOTFIX} --format v2s2
         push job {HOTFIX}
         skopeo copy -q oci:oci-job:v1 dir:plain --dest-decompress
         skopeo copy -q --dest-tls-verify=false dir:plain docker://$SOURCE/release/job:{HOTFIX}"
    ));
    let directory = world
        .path(&format!("repo/release-hotfixes/v2.7.0/console-{HOTFIX}/default/console/console"));
    std::fs::create_dir_all(&directory).unwrap();
    let container = |name: &str| {
        format!("    - {{name: {name}, image: '[[ registry_release ]]/{name}:{HOTFIX}'}}\n")
    };
    let values = format!(
        "_config:\n  _metadata: {{name: console, version: {HOTFIX}}}\n  controllers:\n  - type: Deployment\n    \
         containers:\n{}{}{}",
        container("web"),
        container("api"),
        container("job")
    );
    std::fs::write(directory.join("values.yaml"), values).unwrap();
}

#[test]
fn hotfix_mixed_images_load_everywhere() {
    let Some(world) = World::required() else { return };
    add_hotfix(&world);
    world.sh(&format!(
        "compass package hotfix console-{HOTFIX} --repo repo --from $SOURCE/release -o out --quiet"
    ));
    let stem = format!("compass-hotfixes-console-{HOTFIX}");
    let listed = world.sh(&format!("tar tzf out/{stem}.tar.gz"));
    assert_eq!(
        listed,
        [
            "bundle.json",
            "default/console/console/values.yaml",
            &format!("console-web-{HOTFIX}-image.tar.gz"),
            &format!("console-api-{HOTFIX}-image.tar.gz"),
            &format!("console-job-{HOTFIX}-image.tar.gz"),
        ]
        .map(|name| format!("{stem}/{name}"))
        .join("\n")
    );
    world.sh(&format!(
        "cd out; sha256sum -c --quiet *.sha256; compass verify {stem}.tar.gz; tar xzf *.tar.gz"
    ));
    world.start_docker();
    world.start_containerd();
    for image in ["web", "api", "job"] {
        let name = format!("harbor.caicloud.xyz/release/{image}:{HOTFIX}");
        let archive = format!("out/{stem}/console-{image}-{HOTFIX}-image.tar.gz");
        world.sh(&format!(
            "$DOCKER load -q -i {archive}; $PODMAN load -q -i {archive}
             skopeo copy -q oci-archive:{archive} oci:copied-{image}:v1
             gunzip -c {archive} | $CTR images import --snapshotter native -
             rm -rf files; mkdir files; id=$($DOCKER create {name} /x); $DOCKER export $id | tar x -C files
             $CTR images ls | grep '{name}'"
        ));
        world.same_files("files");
    }
    world.sh(&format!("compass install out/{stem}.tar.gz --registry $SITE/site --quiet"));
    for image in ["web", "api", "job"] {
        let raw = |place: &str| {
            world.sh(&format!(
                "skopeo inspect --raw --tls-verify=false docker://{place}/{image}:{HOTFIX} | sha256sum"
            ))
        };
        assert_eq!(raw("$SITE/site"), raw("$SOURCE/release"), "{image}");
    }
}

#[test]
fn product_layout_is_read_by_others() {
    let Some(world) = World::required() else { return };
    add_product(&world);
    let package = "compass package product v2.7.0 --repo repo --from $SOURCE --quiet";
    let planned = world.sh(&format!("{package} --dry-run --format json"));
    let planned: serde_json::Value = serde_json::from_str(&planned).unwrap();
    world.sh(&format!("{package} -o out; {package} --include-archives -o both"));
    let size = std::fs::metadata(world.path("out/compass-v2.7.0.tar.gz")).unwrap().len();
    assert_eq!(planned["size"], size);
    let listed = world.sh("tar tzf out/compass-v2.7.0.tar.gz | grep -v /blobs/sha256/.");
    assert_eq!(
        listed.lines().collect::<Vec<_>>(),
        [
            "bundle.json",
            "product.yaml",
            "images.list",
            "addons/default/console/api/values.yaml",
            "install.sh",
            "images/",
            "images/oci-layout",
            "images/index.json",
            "images/blobs/",
            "images/blobs/sha256/",
        ]
        .map(|name| format!("compass-v2.7.0/{name}"))
    );
    let list = world.sh("tar xzOf out/compass-v2.7.0.tar.gz compass-v2.7.0/images.list");
    assert_eq!(list, "library/base:v3\nrelease/api:v2\nrelease/web:v1");
    world.sh("compass verify out/compass-v2.7.0.tar.gz; compass verify both/compass-v2.7.0.tar.gz");

    skopeo_and_podman_read_layout(&world);
    docker_loads_archives(&world);
    world.sh("
        compass install out/compass-v2.7.0.tar.gz --registry $SITE --quiet
        cmp <(skopeo inspect --raw --tls-verify=false docker://$SITE/library/base:v3) \
            <(skopeo inspect --raw --tls-verify=false docker://$SOURCE/library/base:v3)
        compass extract out/compass-v2.7.0.tar.gz -o all
        diff -r all/compass-v2.7.0/addons x/compass-v2.7.0/addons
        diff -r all/compass-v2.7.0/images x/compass-v2.7.0/images
        compass extract out/compass-v2.7.0.tar.gz --image release/web:v1 -o web.tar.gz
        compass extract out/compass-v2.7.0.tar.gz --image api --layout -o api-layout
        compass extract out/compass-v2.7.0.tar.gz --file install.sh -o i.sh; [ -x i.sh ]
        $DOCKER load -q -i web.tar.gz; skopeo inspect oci:api-layout:release/api:v2 > /dev/null
    ");
}

/// Adds a product with an addon, an image list and a script.
fn add_product(world: &World) {
    world.sh(&format!("{PUSH} push web v1; push api v2; push base v3"));
    world.sh("
        skopeo copy -q --dest-tls-verify=false oci:oci-base:v1 docker://$SOURCE/library/base:v3
        mkdir -p repo/release-products repo/images-lists repo/addons/default/console/api repo/hack
        printf '# ours\\nrelease/web:v1\\nrelease/web:v1\\n\\nlibrary/base:v3\\n' > repo/images-lists/all.list
        printf '#!/bin/sh\\necho hello\\n' > repo/hack/install.sh
        cat > repo/addons/default/console/api/values.yaml <<'END'
_config:
  _metadata: {name: api, version: v2}
  controllers:
  - type: Deployment
    containers:
    - {name: api, image: '[[ registry_release ]]/api:v2'}
END
        cat > repo/release-products/v2.7.0.yaml <<'END'
metadata: {name: compass}
spec:
  version: v2.7.0
  imageLists: ['images-lists/*.list']
  addons: addons
  files: [{source: hack/install.sh, path: install.sh, mode: '0755'}]
END
    ");
}

fn skopeo_and_podman_read_layout(world: &World) {
    world.sh(
        "mkdir x; cd x; tar xzf ../out/compass-v2.7.0.tar.gz; [ -x compass-v2.7.0/install.sh ]",
    );
    for (image, tag) in [("release/web", "v1"), ("release/api", "v2"), ("library/base", "v3")] {
        let name = format!("harbor.caicloud.xyz/{image}:{tag}");
        world.sh(&format!(
            "cd x/compass-v2.7.0; rm -rf copied; skopeo copy -q oci:images:{name} oci:copied:v1
             cmp <(skopeo inspect --raw oci:copied:v1) \
                 <(skopeo inspect --raw --tls-verify=false docker://$SOURCE/{image}:{tag})
             $PODMAN pull -q oci:images:{name}"
        ));
    }
}

/// Loads the archives at a site that only has `docker load`.
fn docker_loads_archives(world: &World) {
    world.start_docker();
    world.sh("
        mkdir y; cd y; tar xzf ../both/compass-v2.7.0.tar.gz
        for archive in compass-v2.7.0/archives/*; do $DOCKER load -q -i $archive; done
        id=$($DOCKER create harbor.caicloud.xyz/release/web:v1 /x); mkdir ../files; $DOCKER export $id | tar x -C ../files
    ");
    world.same_files("files");
}

#[test]
fn recompressed_layers_load_in_old_docker() {
    let Some(world) = World::required() else { return };
    world.sh(&format!("{PUSH} push compass-plugins-old v0.1.0 -f oci --dest-compress-format zstd"));
    world.sh("mkdir -p repo/release-plugins
         cat > repo/release-plugins/old.yaml <<'END'
metadata: {name: old}
spec:
  version: v0.1.0
  service: {port: 9001, image: 'harbor.caicloud.xyz/release/compass-plugins-old:v0.1.0'}
  modules: []
END");
    let package = "compass package plugin old --repo repo --from $SOURCE/release --no-progress";
    let as_it_is = world.sh(&format!("{package} -o as-it-is 2>&1 >/dev/null"));
    assert!(as_it_is.contains("zstd") && as_it_is.contains("--recompress gzip"), "{as_it_is}");
    world.sh(&format!("{package} --recompress gzip -o again >/dev/null 2>&1"));
    let written =
        world.sh(&format!("{package} --recompress gzip -o out --format json 2>/dev/null"));
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    let changed = &written["recompressed"][0];
    assert_eq!(changed["reference"], "harbor.caicloud.xyz/release/compass-plugins-old:v0.1.0");
    assert_ne!(changed["from"], changed["to"]);
    assert_eq!(
        world.sh("ls out"),
        "compass-plugins-old-v0.1.0.tar.gz\ncompass-plugins-old-v0.1.0.tar.gz.sha256"
    );
    world.start_docker();
    world.sh("cmp out/*.gz again/*.gz; compass verify out/*.gz; tar xzf out/*.gz
         $DOCKER load -q -i compass-plugins-old-v0.1.0/old-compass-plugins-old-v0.1.0-image.tar.gz
         id=$($DOCKER create harbor.caicloud.xyz/release/compass-plugins-old:v0.1.0 /x)
         mkdir files; $DOCKER export $id | tar x -C files");
    world.same_files("files");
}

/// The packaging recipes of the wiki page.
const RECIPES: [(&str, &str); 3] = [
    (
        "plain tar of `docker save`, all of it named .tar.gz",
        "$DOCKER save -o $stem/gpu-one-v0.1.0-image.tar.gz $name; tar cf $stem.tar.gz $stem",
    ),
    (
        "compressed twice",
        "$DOCKER save $name | gzip > $stem/gpu-one-v0.1.0-image.tar.gz; tar czf $stem.tar.gz $stem",
    ),
    (
        "`skopeo` with other names and places",
        "skopeo copy -q --src-tls-verify=false docker://$SOURCE/release/one:v0.1.0 docker-archive:$stem/what.bin:$name
         mkdir $stem/deep; mv $stem/gpu.yaml $stem/deep; tar czf $stem.tar.gz -C $stem .",
    ),
];

#[test]
fn foreign_packages_are_verified_and_installed() {
    let Some(world) = World::required() else { return };
    world.sh(&format!("{PUSH} push one v0.1.0"));
    world.start_docker();
    world.sh("
        skopeo copy -q --src-tls-verify=false docker://$SOURCE/release/one:v0.1.0 docker-archive:in.tar:harbor.caicloud.xyz/release/one:v0.1.0
        $DOCKER load -q -i in.tar
    ");
    let config = |place: &str| {
        world.sh(&format!(
            "skopeo inspect --raw --tls-verify=false docker://{place}/one:v0.1.0 | grep -o '\"config\":{{[^}}]*}}' | grep -o 'sha256:[0-9a-f]*'"
        ))
    };
    for (number, (recipe, script)) in RECIPES.iter().enumerate() {
        let head = format!(
            "name=harbor.caicloud.xyz/release/one:v0.1.0; stem=old-{number}; mkdir $stem
             printf 'spec: {{service: {{image: %s}}}}\\n' $name > $stem/gpu.yaml; "
        );
        world.sh(&format!("{head}{script}"));
        let inspected = world.sh(&format!("compass inspect old-{number}.tar.gz --format json"));
        let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
        let images = inspected["images"].as_array().unwrap();
        assert_eq!(images.len(), 1, "{recipe}: {inspected}");
        assert_eq!(images[0]["reference"], "harbor.caicloud.xyz/release/one:v0.1.0", "{recipe}");
        world.sh(&format!("compass verify old-{number}.tar.gz"));
        world.sh(&format!(
            "compass install old-{number}.tar.gz --registry $SITE/old{number} --quiet"
        ));
        // One image, its YAML and one file, in each of the layouts of the old script.
        world.sh(&format!(
            "compass extract old-{number}.tar.gz --yaml -o yaml-{number} --quiet
             yaml=$(cd yaml-{number} && find . -name gpu.yaml); test -f yaml-{number}/$yaml
             compass extract old-{number}.tar.gz --file ${{yaml#./}} -o one-{number}.yaml --quiet
             cmp yaml-{number}/$yaml one-{number}.yaml
             compass extract old-{number}.tar.gz --image one -o one-{number}.tar.gz --quiet
             gzip -dc one-{number}.tar.gz > one-{number}.tar
             compass extract old-{number}.tar.gz --image one --layout -o layout-{number} --quiet"
        ));
        for taken in [format!("docker-archive:one-{number}.tar"), format!("oci:layout-{number}")] {
            let own = world.sh(&format!("skopeo inspect --config {taken} | sha256sum"));
            let right = "skopeo inspect --config --tls-verify=false docker://$SOURCE/release/one:v0.1.0 | sha256sum";
            assert_eq!(own, world.sh(right), "{recipe}: {taken}");
        }
        let there = config(&format!("$SITE/old{number}"));
        assert_eq!(images[0]["config"], there.as_str(), "{recipe}");
        assert_eq!(there, config("$SOURCE/release"), "{recipe}: the image is the developer's");
        world.sh(&format!(
            "rm -rf files; mkdir files; $PODMAN pull -q --tls-verify=false $SITE/old{number}/one:v0.1.0
             id=$($PODMAN create $SITE/old{number}/one:v0.1.0 /x); $PODMAN export $id | tar x -C files"
        ));
        world.same_files("files");
    }
}
