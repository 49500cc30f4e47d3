//! Random packages as other tools write them: several images, layouts and archives of Docker,
//! nested indexes, unusual names and all compressions, with or without a mutation.

use compass_registry::Digest;
use serde_json::json;

use super::archives::{Form, Parts, add_image, archive};
use super::choices::Choices;
use super::images::Image;
use super::manifests::add_docker;
use super::mutation::Mutation;
use super::tar::{Entry, Packing, Style, file, link, tar};

/// A generated package.
pub(crate) struct Generated {
    pub(crate) bytes: Vec<u8>,
    /// Digests of the configurations of all images that must be installed.
    pub(crate) configs: Vec<Digest>,
    /// The mutation, if there is one.
    pub(crate) mutation: Option<Mutation>,
}

/// Generates a package, with a random mutation if `is_mutated`.
pub(crate) fn generate(choices: &mut Choices, is_mutated: bool) -> Generated {
    let mutation = is_mutated.then(|| *choices.pick(&Mutation::ALL));
    let images: Vec<_> =
        (0..=choices.below(4)).map(|number| Image::any(choices, number, mutation)).collect();
    let configs = images.iter().map(Image::config_digest).collect();
    let is_beside = mutation.is_some_and(Mutation::is_beside_archives);
    let mut bytes = match choices.once_in(3) && !is_beside {
        true => archive(choices, &images, mutation),
        false => package(choices, &images, mutation),
    };
    if mutation == Some(Mutation::CutOff) {
        // Only padding follows the last entry.
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes.truncate(choices.below(end));
    }
    if mutation == Some(Mutation::TrailingBytes) {
        bytes.extend_from_slice(b"and more");
    }
    let mut bytes = choices.pick(&Packing::ALL).pack(&bytes, choices);
    if choices.once_in(8) {
        // Some scripts compress twice.
        bytes = Packing::Gzip.pack(&bytes, choices);
    }
    if mutation == Some(Mutation::CutOffCompressed) && bytes.last() != Some(&0) {
        bytes.truncate(1 + choices.below(bytes.len() - 1));
    }
    Generated { bytes, configs, mutation }
}

/// A directory of archives and other files.
fn package(choices: &mut Choices, images: &[Image], mutation: Option<Mutation>) -> Vec<u8> {
    let beside = mutation.filter(|mutation| mutation.is_beside_archives());
    let mut entries = other_files(choices);
    let (mut rest, mut number) = (images, 0);
    while !rest.is_empty() {
        let (some, others) = rest.split_at(1 + choices.below(rest.len()));
        // Use the mutation only once.
        let mutation = mutation.filter(|_| number == 0 && beside.is_none());
        entries.extend(any_archive(choices, some, (number, mutation)));
        (rest, number) = (others, number + 1);
    }
    if let Some(mutation) = beside {
        entries.extend(flawed_entries(choices, mutation));
    }
    tar(&entries, Style::any(choices))
}

/// Adds an image archive to a package, sometimes twice.
fn any_archive(
    choices: &mut Choices,
    images: &[Image],
    (number, mutation): (usize, Option<Mutation>),
) -> Vec<Entry> {
    let packing = *choices.pick(&Packing::ALL);
    let bytes = archive(choices, images, mutation);
    let path = match choices.below(3) {
        0 => format!("pkg/images-{number}.tar{}", packing.end()),
        1 => format!("pkg/app-{number}-image.tar.gz"),
        _ => format!("pkg/what-{number}.bin"),
    };
    let packed = packing.pack(&bytes, choices);
    let mut entries = vec![file(path.clone(), packed.clone())];
    if mutation.is_none() && choices.once_in(10) {
        entries.insert(0, file(format!("pkg/again-{number}.tar"), packed));
    }
    if choices.once_in(6) {
        entries.push(link(b'1', format!("pkg/copy-{number}.tar"), path));
    }
    entries
}

/// Files of a package other than its image archives.
fn other_files(choices: &mut Choices) -> Vec<Entry> {
    let mut entries = vec![file("pkg/app.yaml", "replicas: 1\n")];
    match choices.below(9) {
        0 => entries.push(file(&b"pkg/\xd6\xd0\xce\xc4.txt"[..], "GBK")),
        1 => entries.push(file("pkg/a\\b.txt", "of Windows")),
        2 => entries.push(file("pkg/._images.tar.gz", "of macOS")),
        3 => entries.push(link(b'1', "pkg/same.yaml", "pkg/app.yaml")),
        4 => entries.push(link(b'2', "pkg/linked.yaml", "app.yaml")),
        5 => {
            let chart = tar(&[file("chart/Chart.yaml", "name: x\n")], Style::plain());
            entries.push(file("pkg/chart.tgz", Packing::Gzip.pack(&chart, choices)));
        }
        6 => entries.push(file("pkg/notes.gz", Packing::Gzip.pack(b"notes", choices))),
        7 => entries.push(Entry { kind: b'5', ..file("pkg/empty/", "") }),
        _ => {}
    }
    if choices.once_in(6) {
        entries.push(file("pkg/manifest.json", &br#"{"manifest_version":3}"#[..]));
    }
    entries
}

fn flawed_entries(choices: &mut Choices, mutation: Mutation) -> Vec<Entry> {
    match mutation {
        Mutation::LeadsOut => vec![file("pkg/../../out", "x")],
        Mutation::Device => vec![Entry { kind: b'6', ..file("pkg/pipe", "") }],
        Mutation::LostLink => vec![link(b'2', "pkg/lost", "../../etc/passwd")],
        Mutation::EmptyArchive => vec![file("pkg/empty.tar.gz", "")],
        Mutation::UnsupportedArchive => {
            vec![file("pkg/a.tar.lz4", &b"\x04\x22\x4d\x18 and so on"[..])]
        }
        Mutation::BelowFile => vec![file("pkg/app.yaml/below", "x")],
        Mutation::OldArchive => {
            let files =
                [file("0a/VERSION", "1.0"), file("0a/json", "{}"), file("0a/layer.tar", "")];
            vec![file("pkg/old.tar", tar(&files, Style::plain()))]
        }
        Mutation::ArchiveInArchive => {
            let inner = saved(choices, Form::Docker);
            let inner = choices.pick(&Packing::ALL).pack(&tar(&inner, Style::plain()), choices);
            vec![file("pkg/all.tar", tar(&[file("images/a.bin", inner)], Style::plain()))]
        }
        Mutation::LayoutInDirectory => {
            let entries = saved(choices, Form::Layout).into_iter();
            let below = |entry: Entry| Entry { path: [b"lay/", &entry.path[..]].concat(), ..entry };
            entries.map(below).collect()
        }
        Mutation::OneNameForTwo => {
            let mut two = |number| {
                let (mut parts, image) = (Parts::default(), Image::empty(number));
                let name = json!(["reg.example/team/two:v1"]);
                add_docker(choices, &mut parts, &image, &[], &name);
                let lists = file("manifest.json", json!(parts.docker).to_string());
                parts.entries.push(lists);
                file(format!("pkg/two-{number}.tar"), tar(&parts.entries, Style::plain()))
            };
            vec![two(98), two(99)]
        }
        _ => Vec::new(),
    }
}

/// The files of a saved image.
fn saved(choices: &mut Choices, form: Form) -> Vec<Entry> {
    let (mut parts, image) = (Parts::default(), Image::any(choices, 90, None));
    add_image(choices, &mut parts, &image, (form, None));
    let mut entries = parts.entries;
    if parts.is_layout {
        let index = json!({"schemaVersion": 2, "manifests": parts.index}).to_string();
        entries.extend([file("oci-layout", "{}"), file("index.json", index)]);
    } else {
        entries.push(file("manifest.json", json!(parts.docker).to_string()));
    }
    entries
}
