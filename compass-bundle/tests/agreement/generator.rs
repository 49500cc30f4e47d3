//! Random packages as other tools write them: several images, layouts and archives of Docker, nested
//! indexes, odd names, all compressions; and packages that are broken in one way.

use compass_registry::{Digest, media_type};
use serde_json::{Value, json};

use super::choices::Choices;
use super::tar::{Entry, Packing, Style, file, link, tar};

/// A package, and what is known of it.
pub(crate) struct Generated {
    pub(crate) bytes: Vec<u8>,
    /// Digests of the configurations of all images that must arrive.
    pub(crate) configs: Vec<Digest>,
    /// What is wrong with it.
    pub(crate) flaw: Option<Flaw>,
}

impl Generated {
    /// Whether the package is whole, if that is certain: headers of compressed layers have bits that
    /// nothing depends on, and the end of an archive may be padding.
    pub(crate) fn is_whole(&self) -> Option<bool> {
        let is_certain = !matches!(self.flaw, Some(Flaw::FlippedBit | Flaw::CutOffCompressed));
        is_certain.then_some(self.flaw.is_none())
    }
}

/// One thing that is wrong with a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    MissingLayer,
    MissingConfig,
    SwappedLayers,
    OtherLayer,
    TooFewDiffIds,
    WrongSize,
    FlippedBit,
    CutOff,
    OtherLayersInManifest,
    UnusableName,
    OneNameForTwo,
    LeadsOut,
    Device,
    LostLink,
    EmptyArchive,
    UnsupportedArchive,
    ArchiveInArchive,
    LayoutInDirectory,
    BelowFile,
    IndexOfNothing,
    NameOfAnother,
    MissingInnerManifest,
    WrongIndexSize,
    ImageAndIndex,
    ConfigIsNoJson,
    TrailingBytes,
    OtherContentTwice,
    CutOffCompressed,
}

const FLAWS: [Flaw; 28] = [
    Flaw::MissingLayer,
    Flaw::MissingConfig,
    Flaw::SwappedLayers,
    Flaw::OtherLayer,
    Flaw::TooFewDiffIds,
    Flaw::WrongSize,
    Flaw::FlippedBit,
    Flaw::CutOff,
    Flaw::OtherLayersInManifest,
    Flaw::UnusableName,
    Flaw::OneNameForTwo,
    Flaw::LeadsOut,
    Flaw::Device,
    Flaw::LostLink,
    Flaw::EmptyArchive,
    Flaw::UnsupportedArchive,
    Flaw::ArchiveInArchive,
    Flaw::LayoutInDirectory,
    Flaw::BelowFile,
    Flaw::IndexOfNothing,
    Flaw::NameOfAnother,
    Flaw::MissingInnerManifest,
    Flaw::WrongIndexSize,
    Flaw::ImageAndIndex,
    Flaw::ConfigIsNoJson,
    Flaw::TrailingBytes,
    Flaw::OtherContentTwice,
    Flaw::CutOffCompressed,
];

/// An image before it is written in any form.
struct Image {
    /// Uncompressed layers, no two of them the same.
    layers: Vec<Vec<u8>>,
    config: Vec<u8>,
    number: usize,
}

impl Image {
    fn any(choices: &mut Choices, number: usize, flaw: Option<Flaw>) -> Self {
        // To be swapped, layers have to be two.
        let least = if flaw.is_some() { 2 } else { 0 };
        let mut layers: Vec<_> =
            (0..least + choices.below(3)).map(|layer| any_layer(choices, number, layer)).collect();
        if choices.once_in(4) {
            // A base that images share.
            layers.insert(0, tar(&[file("etc/base", "shared\n")], Style::plain()));
        }
        if choices.once_in(12) {
            // What Docker writes for a step that changes no file.
            layers.push(vec![0; 1024]);
        }
        let mut ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        match flaw {
            Some(Flaw::SwappedLayers) => ids.swap(0, 1),
            Some(Flaw::OtherLayer) => ids[0] = Digest::of(b"another").to_string(),
            Some(Flaw::TooFewDiffIds) => drop(ids.pop()),
            _ => {}
        }
        let root = match ids.is_empty() {
            true => (*choices.pick(&[r#"{"type":"layers"}"#, r#"{"diff_ids":null}"#])).to_owned(),
            false => json!({"type": "layers", "diff_ids": ids}).to_string(),
        };
        let root: Value = serde_json::from_str(&root).unwrap();
        let config = json!({
            "architecture": "amd64", "os": "linux", "number": number, "rootfs": root,
        });
        let mut config = config.to_string().into_bytes();
        if flaw == Some(Flaw::ConfigIsNoJson) {
            config.truncate(config.len() / 2);
        }
        Self { layers, config, number }
    }

    fn config_digest(&self) -> Digest {
        Digest::of(&self.config)
    }
}

/// What a layer may hold, so that no two layers are the same.
fn any_layer(choices: &mut Choices, image: usize, layer: usize) -> Vec<u8> {
    let own = format!("layer {layer} of image {image}\n");
    let mut entries = vec![file(format!("etc/{image}-{layer}"), own.into_bytes())];
    match choices.below(6) {
        0 => entries.push(file("manifest.json", &br#"[{"Config":"x","Layers":["y"]}]"#[..])),
        1 => entries.push(link(b'2', "bin/sh", "/bin/busybox")),
        2 => entries.push(Entry { kind: b'6', ..file("run/pipe", "") }),
        3 => entries.push(file(vec![b'x'; 150], "long")),
        4 => entries.push(file("opt/inner.tar", tar(&[file("a", "b")], Style::plain()))),
        _ => {}
    }
    tar(&entries, Style::plain())
}

fn describe(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()})
}

fn blob_path(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).hex())
}

/// The names of an image, as `RepoTags` and as annotations have them.
fn any_names(choices: &mut Choices, number: usize) -> (Value, Value) {
    let full = format!("reg.example/team/app-{number}:v1");
    let named = |name: &str| json!({"io.containerd.image.name": name});
    match choices.below(9) {
        0 => (
            json!([format!("app-{number}:v1")]),
            json!({"org.opencontainers.image.ref.name": "v1"}),
        ),
        1 => (json!([format!("team/app-{number}")]), json!({})),
        2 => (Value::Null, json!({})),
        3 => (json!(["<none>:<none>"]), json!({})),
        4 => (json!([""]), json!({"org.opencontainers.image.ref.name": "latest"})),
        5 => (json!([full, format!("reg.example/team/app-{number}:v2")]), named(&full)),
        6 => (json!([]), named(&full)),
        _ => (json!([full]), named(&full)),
    }
}

/// Everything that is put into one archive.
#[derive(Default)]
struct Parts {
    entries: Vec<Entry>,
    docker: Vec<Value>,
    index: Vec<Value>,
    is_layout: bool,
    /// Whether layers that others need not hold may be missing.
    may_lack_layers: bool,
}

impl Parts {
    fn add_blob(&mut self, bytes: &[u8]) {
        let path = blob_path(bytes).into_bytes();
        if self.entries.iter().all(|entry| entry.path != path) {
            self.entries.push(file(path, bytes));
        }
    }
}

/// The forms in which an image is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `docker save` before version 25, skopeo, kaniko.
    Docker,
    /// An OCI layout.
    Layout,
    /// Both in one, as Docker 25.
    Both,
    /// Skopeo's `dir:`, of one image.
    Directory,
}

fn add_image(
    choices: &mut Choices,
    parts: &mut Parts,
    image: &Image,
    (form, flaw): (Form, Option<Flaw>),
) {
    let packings = match form {
        Form::Docker => &Packing::ALL[..],
        _ => &[Packing::Plain, Packing::Gzip, Packing::Stored, Packing::Zstd],
    };
    let packed: Vec<_> = image
        .layers
        .iter()
        .map(|layer| {
            let packing = *choices.pick(packings);
            (packing, packing.pack(layer, choices))
        })
        .collect();
    let (mut tags, annotations) = any_names(choices, image.number);
    if flaw == Some(Flaw::UnusableName) && form != Form::Layout {
        tags = json!(["reg.example/team/app:v 1"]);
    }
    if form == Form::Docker {
        add_docker(choices, parts, image, &packed, &tags);
    } else {
        parts.may_lack_layers = form == Form::Layout;
        add_layout(choices, parts, image, &packed, (annotations, flaw));
        if form == Form::Both && (flaw == Some(Flaw::OtherLayersInManifest) || !choices.once_in(6))
        {
            let mut layers: Vec<_> = packed.iter().map(|(_, bytes)| blob_path(bytes)).collect();
            if flaw == Some(Flaw::OtherLayersInManifest) {
                layers.pop();
            }
            parts.docker.push(json!({
                "Config": blob_path(&image.config), "RepoTags": tags, "Layers": layers,
            }));
        }
    }
}

fn add_docker(
    choices: &mut Choices,
    parts: &mut Parts,
    image: &Image,
    packed: &[(Packing, Vec<u8>)],
    tags: &Value,
) {
    let config = match choices.below(3) {
        0 => format!("{}.json", image.config_digest().hex()),
        1 => format!("config-{}.json", image.number),
        _ => blob_path(&image.config),
    };
    let style = choices.below(5);
    let mut layers = Vec::new();
    for (number, (packing, bytes)) in packed.iter().enumerate() {
        let id = Digest::of(format!("{} {number}", image.number).as_bytes()).hex();
        let (path, written) = match style {
            0 => (format!("{id}/layer.tar"), format!("{id}/layer.tar")),
            1 => (format!("{id}.tar{}", packing.end()), format!("/{id}.tar{}", packing.end())),
            2 => (format!("{id}/layer.tar"), format!("{id}\\layer.tar")),
            3 => (format!("{id}\\layer.tar"), format!("{id}/layer.tar")),
            _ => {
                // As Docker wrote layers that two images share.
                let real = format!("{}/layer.tar", Digest::of(bytes).hex());
                parts.entries.push(file(real.clone(), bytes.clone()));
                let target = choices.pick(&[format!("../{real}"), format!("/{real}")]).clone();
                parts.entries.push(link(b'2', format!("{id}/layer.tar"), target));
                layers.push(format!("{id}/layer.tar"));
                continue;
            }
        };
        parts.entries.push(file(path, bytes.clone()));
        layers.push(written);
    }
    parts.entries.push(file(config.clone(), image.config.clone()));
    let layers = if layers.is_empty() && choices.once_in(2) { Value::Null } else { json!(layers) };
    parts.docker.push(json!({"Config": config, "RepoTags": tags, "Layers": layers}));
}

fn add_layout(
    choices: &mut Choices,
    parts: &mut Parts,
    image: &Image,
    packed: &[(Packing, Vec<u8>)],
    (annotations, flaw): (Value, Option<Flaw>),
) {
    parts.is_layout = true;
    let kind = |packing: &Packing| match packing {
        Packing::Gzip | Packing::Stored => media_type::OCI_LAYER_GZIP,
        Packing::Zstd => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    };
    let mut layers: Vec<_> =
        packed.iter().map(|(packing, bytes)| describe(kind(packing), bytes)).collect();
    let mut missing = 0;
    if flaw == Some(Flaw::WrongSize) {
        layers[0]["size"] = json!(packed[0].1.len() + 1);
    }
    if flaw.is_none() && choices.once_in(10) {
        // Base layers of Windows are there or not, as it pleases them.
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        layers.iter_mut().take(1).for_each(|layer| layer["mediaType"] = json!(foreign));
        missing = usize::from(parts.may_lack_layers && choices.once_in(2));
    }
    for (_, bytes) in &packed[missing.min(packed.len())..] {
        parts.add_blob(bytes);
    }
    parts.add_blob(&image.config);
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": describe(media_type::OCI_CONFIG, &image.config), "layers": layers,
    });
    if choices.once_in(3) {
        manifest.as_object_mut().unwrap().remove("mediaType");
    }
    if flaw == Some(Flaw::ImageAndIndex) {
        manifest["manifests"] = json!([describe(media_type::OCI_MANIFEST, b"x")]);
    }
    let manifest = manifest.to_string().into_bytes();
    parts.add_blob(&manifest);
    let mut entry = describe(media_type::OCI_MANIFEST, &manifest);
    let least = if flaw == Some(Flaw::MissingInnerManifest) { 2 } else { 0 };
    let levels = least + choices.below(3);
    for level in 0..levels {
        if choices.once_in(2) {
            entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        }
        let mut images = vec![entry];
        let is_outermost = level + 1 == levels;
        // Docker keeps indexes of which not every platform is there.
        let is_partial = is_outermost && choices.once_in(3);
        if is_partial || (flaw == Some(Flaw::MissingInnerManifest) && !is_outermost) {
            let mut absent = describe(media_type::OCI_MANIFEST, format!("{level}").as_bytes());
            absent["platform"] = json!({"os": "linux", "architecture": "arm64"});
            images.push(absent);
        }
        let index = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": images,
        });
        let index = index.to_string().into_bytes();
        parts.add_blob(&index);
        entry = describe(media_type::OCI_INDEX, &index);
    }
    if flaw == Some(Flaw::WrongIndexSize) {
        entry["size"] = json!(1);
    }
    entry["annotations"] = annotations;
    parts.index.push(entry);
}

/// An archive of images.
fn archive(choices: &mut Choices, images: &[Image], flaw: Option<Flaw>) -> Vec<u8> {
    let mut parts = Parts::default();
    let form = match flaw {
        Some(
            Flaw::WrongSize
            | Flaw::IndexOfNothing
            | Flaw::MissingInnerManifest
            | Flaw::WrongIndexSize
            | Flaw::ImageAndIndex,
        ) => Form::Layout,
        Some(Flaw::UnusableName) => Form::Docker,
        Some(Flaw::OtherLayersInManifest | Flaw::NameOfAnother) => Form::Both,
        None if images.len() == 1 && choices.once_in(6) => Form::Directory,
        _ => *choices.pick(&[Form::Docker, Form::Layout, Form::Both]),
    };
    for image in images {
        let form = if form == Form::Directory { Form::Layout } else { form };
        add_image(choices, &mut parts, image, (form, flaw));
    }
    match form {
        Form::Directory => directory(choices, parts),
        _ => finish_archive(choices, parts, images, flaw),
    }
}

/// The blobs of a layout as `skopeo copy dir:` puts them; the root has a name of its own.
fn directory(choices: &mut Choices, parts: Parts) -> Vec<u8> {
    let root = parts.index[0]["digest"].as_str().unwrap().replace("sha256:", "");
    let mut entries = vec![file("version", "Directory Transport Version: 1.1\n")];
    for entry in parts.entries {
        let hex = String::from_utf8(entry.path).unwrap().replace("blobs/sha256/", "");
        let is_manifest = entry.content.windows(15).any(|bytes| bytes == b"\"schemaVersion\"");
        let path = match is_manifest {
            true if hex == root => "manifest.json".to_owned(),
            true => format!("{hex}.manifest.json"),
            false => hex,
        };
        entries.push(file(path, entry.content));
    }
    tar(&entries, Style::any(choices))
}

fn finish_archive(
    choices: &mut Choices,
    mut parts: Parts,
    images: &[Image],
    flaw: Option<Flaw>,
) -> Vec<u8> {
    if flaw == Some(Flaw::IndexOfNothing) {
        let index = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_INDEX,
            "manifests": [describe(media_type::OCI_MANIFEST, b"elsewhere")],
        });
        let index = index.to_string().into_bytes();
        parts.add_blob(&index);
        parts.index.push(describe(media_type::OCI_INDEX, &index));
    }
    if flaw == Some(Flaw::NameOfAnother) {
        let config = json!({"number": 95, "rootfs": {"diff_ids": []}}).to_string();
        let name = "reg.example/team/two:v1";
        parts.index[0]["annotations"] = json!({"io.containerd.image.name": name});
        parts.entries.push(file("config-95.json", config));
        parts.docker.push(json!({"Config": "config-95.json", "RepoTags": [name], "Layers": []}));
    }
    if flaw == Some(Flaw::OtherContentTwice) {
        let is_config = |entry: &&Entry| entry.content == images[0].config;
        let path = parts.entries.iter().find(is_config).unwrap().path.clone();
        parts.entries.push(file(path, "{}"));
    }
    let config = images[0].config.clone();
    match flaw {
        Some(Flaw::MissingConfig) => parts.entries.retain(|entry| entry.content != config),
        Some(Flaw::MissingLayer) => {
            let is_part = |entry: &Entry| entry.kind == b'0' && !entry.content.starts_with(b"{");
            let at = parts.entries.iter().position(is_part).unwrap();
            parts.entries.remove(at);
        }
        Some(Flaw::FlippedBit) => {
            let is_layer =
                |entry: &&mut Entry| entry.kind == b'0' && !entry.content.starts_with(b"{");
            let layer = parts.entries.iter_mut().find(is_layer).unwrap();
            let at = choices.below(layer.content.len());
            layer.content[at] ^= 1 << choices.below(8);
        }
        _ => {}
    }
    if parts.is_layout {
        parts.entries.push(file("oci-layout", &br#"{"imageLayoutVersion":"1.0.0"}"#[..]));
        let index = json!({"schemaVersion": 2, "manifests": parts.index});
        parts.entries.push(file("index.json", index.to_string()));
    } else if choices.once_in(8) {
        let text = *choices.pick(&[
            r#"{"schemaVersion":2,"manifests":null}"#,
            r#"{"schemaVersion":2,"manifests":[]}"#,
            r#"{"schemaVersion":2}"#,
        ]);
        parts.entries.push(file("index.json", text));
    }
    if !parts.docker.is_empty() {
        parts.entries.push(file("manifest.json", json!(parts.docker).to_string()));
    }
    if choices.once_in(2) {
        parts.entries.reverse();
    }
    tar(&parts.entries, Style::any(choices))
}

/// Files beside the archives of a package.
fn other_files(choices: &mut Choices) -> Vec<Entry> {
    let mut entries = vec![file("pkg/app.yaml", "replicas: 1\n")];
    match choices.below(9) {
        0 => entries.push(file(&b"pkg/\xd6\xd0\xce\xc4.txt"[..], "GBK")),
        1 => entries.push(file("pkg/a\\b.txt", "of Windows")),
        2 => entries.push(file("pkg/._images.tar.gz", "of macOS")),
        3 => entries.push(link(b'1', "pkg/same.yaml", "pkg/app.yaml")),
        4 => entries.push(link(b'2', "pkg/linked.yaml", "app.yaml")),
        5 => entries.push(file(
            "pkg/chart.tgz",
            Packing::Gzip
                .pack(&tar(&[file("chart/Chart.yaml", "name: x\n")], Style::plain()), choices),
        )),
        6 => entries.push(file("pkg/notes.gz", Packing::Gzip.pack(b"notes", choices))),
        7 => entries.push(Entry { kind: b'5', ..file("pkg/empty/", "") }),
        _ => {}
    }
    if choices.once_in(6) {
        entries.push(file("pkg/manifest.json", &br#"{"manifest_version":3}"#[..]));
    }
    entries
}

fn flawed_entries(choices: &mut Choices, flaw: Flaw, image: &Image) -> Vec<Entry> {
    let whole = |choices: &mut Choices| {
        let mut parts = Parts::default();
        add_image(choices, &mut parts, image, (Form::Docker, None));
        let mut entries = parts.entries;
        entries.push(file("manifest.json", json!(parts.docker).to_string()));
        entries
    };
    match flaw {
        Flaw::LeadsOut => vec![file("pkg/../../out", "x")],
        Flaw::Device => vec![Entry { kind: b'6', ..file("pkg/pipe", "") }],
        Flaw::LostLink => vec![link(b'2', "pkg/lost", "../../etc/passwd")],
        Flaw::EmptyArchive => vec![file("pkg/empty.tar.gz", "")],
        Flaw::UnsupportedArchive => vec![file("pkg/a.tar.lz4", &b"\x04\x22\x4d\x18 and so on"[..])],
        Flaw::BelowFile => vec![file("pkg/app.yaml/below", "x")],
        Flaw::ArchiveInArchive => {
            let inner = tar(&whole(choices), Style::plain());
            let packing = *choices.pick(&Packing::ALL);
            let inner = packing.pack(&inner, choices);
            vec![file("pkg/all.tar", tar(&[file("images/a.bin", inner)], Style::plain()))]
        }
        Flaw::LayoutInDirectory => {
            let mut parts = Parts::default();
            add_image(choices, &mut parts, image, (Form::Layout, None));
            let index = json!({"schemaVersion": 2, "manifests": parts.index}).to_string();
            let layout = [file("oci-layout", "{}"), file("index.json", index)];
            let entries = parts.entries.into_iter().chain(layout);
            let below = |entry: Entry| Entry { path: [b"lay/", &entry.path[..]].concat(), ..entry };
            entries.map(below).collect()
        }
        _ => Vec::new(),
    }
}

/// A package, broken in one way if `is_flawed`.
pub(crate) fn generate(choices: &mut Choices, is_flawed: bool) -> Generated {
    let flaw = is_flawed.then(|| *choices.pick(&FLAWS));
    let images: Vec<_> =
        (0..=choices.below(4)).map(|number| Image::any(choices, number, flaw)).collect();
    let configs = images.iter().map(Image::config_digest).collect();
    let of_package = matches!(
        flaw,
        Some(
            Flaw::LeadsOut
                | Flaw::Device
                | Flaw::LostLink
                | Flaw::EmptyArchive
                | Flaw::UnsupportedArchive
                | Flaw::ArchiveInArchive
                | Flaw::LayoutInDirectory
                | Flaw::BelowFile
                | Flaw::OneNameForTwo
        )
    );
    let own = if of_package { None } else { flaw };
    let packing = *choices.pick(&Packing::ALL);
    let mut bytes = match choices.once_in(3) && !of_package {
        true => archive(choices, &images, own),
        false => package(choices, &images, (flaw, own)),
    };
    if flaw == Some(Flaw::CutOff) {
        // What follows the last entry is padding.
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes.truncate(choices.below(end));
    }
    if flaw == Some(Flaw::TrailingBytes) {
        bytes.extend_from_slice(b"and more");
    }
    let mut bytes = packing.pack(&bytes, choices);
    if choices.once_in(8) {
        // Old scripts compress once more what is compressed.
        bytes = Packing::Gzip.pack(&bytes, choices);
    }
    if flaw == Some(Flaw::CutOffCompressed) && bytes.last() != Some(&0) {
        bytes.truncate(1 + choices.below(bytes.len() - 1));
    }
    Generated { bytes, configs, flaw }
}

/// Archives in a directory, beside other files.
fn package(
    choices: &mut Choices,
    images: &[Image],
    (flaw, own): (Option<Flaw>, Option<Flaw>),
) -> Vec<u8> {
    let mut entries = other_files(choices);
    let (mut rest, mut number) = (images, 0);
    while !rest.is_empty() {
        let (some, others) = rest.split_at(1 + choices.below(rest.len()));
        // One flaw is enough.
        let flaw = own.filter(|_| number == 0);
        let packing = *choices.pick(&Packing::ALL);
        let bytes = archive(choices, some, flaw);
        let path = match choices.below(3) {
            0 => format!("pkg/images-{number}.tar{}", packing.end()),
            1 => format!("pkg/app-{number}-image.tar.gz"),
            _ => format!("pkg/what-{number}.bin"),
        };
        let packed = packing.pack(&bytes, choices);
        if flaw.is_none() && choices.once_in(10) {
            entries.push(file(format!("pkg/again-{number}.tar"), packed.clone()));
        }
        entries.push(file(path.clone(), packed));
        if choices.once_in(6) {
            entries.push(link(b'1', format!("pkg/copy-{number}.tar"), path));
        }
        (rest, number) = (others, number + 1);
    }
    if let Some(flaw) = flaw {
        let another = Image::any(choices, 90, None);
        entries.extend(flawed_entries(choices, flaw, &another));
    }
    if flaw == Some(Flaw::OneNameForTwo) {
        for number in [98, 99] {
            let image = Image::any(choices, number, None);
            let mut parts = Parts::default();
            add_docker(choices, &mut parts, &image, &[], &json!(["reg.example/team/two:v1"]));
            // Without layers, whatever the image has.
            let config = json!({"number": number, "rootfs": {"diff_ids": []}}).to_string();
            let path = format!("config-{number}.json");
            parts.docker[0]["Config"] = json!(path);
            let manifest = json!(parts.docker).to_string();
            let saved = tar(&[file(path, config), file("manifest.json", manifest)], Style::plain());
            entries.push(file(format!("pkg/two-{number}.tar"), saved));
        }
    }
    tar(&entries, Style::any(choices))
}
