//! Random packages as other tools write them: several images, layouts and archives of Docker, nested
//! indexes, odd names, all compressions; and packages that are broken in one way.

use compass_registry::Digest;
use serde_json::json;

use super::archives::{Form, Parts, add_image, archive};
use super::choices::Choices;
use super::flaw::Flaw;
use super::images::Image;
use super::manifests::add_docker;
use super::tar::{Entry, Packing, Style, file, link, tar};

/// A package, its configurations and its flaw.
pub(crate) struct Generated {
    pub(crate) bytes: Vec<u8>,
    /// Digests of the configurations of all images that must arrive.
    pub(crate) configs: Vec<Digest>,
    /// Its flaw, if it has one.
    pub(crate) flaw: Option<Flaw>,
}

/// A package, broken in one way if `is_flawed`.
pub(crate) fn generate(choices: &mut Choices, is_flawed: bool) -> Generated {
    let flaw = is_flawed.then(|| *choices.pick(&Flaw::ALL));
    let images: Vec<_> =
        (0..=choices.below(4)).map(|number| Image::any(choices, number, flaw)).collect();
    let configs = images.iter().map(Image::config_digest).collect();
    let is_beside = flaw.is_some_and(Flaw::is_beside_archives);
    let mut bytes = match choices.once_in(3) && !is_beside {
        true => archive(choices, &images, flaw),
        false => package(choices, &images, flaw),
    };
    if flaw == Some(Flaw::CutOff) {
        // What follows the last entry is padding.
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes.truncate(choices.below(end));
    }
    if flaw == Some(Flaw::TrailingBytes) {
        bytes.extend_from_slice(b"and more");
    }
    let mut bytes = choices.pick(&Packing::ALL).pack(&bytes, choices);
    if choices.once_in(8) {
        // Old scripts compress twice.
        bytes = Packing::Gzip.pack(&bytes, choices);
    }
    if flaw == Some(Flaw::CutOffCompressed) && bytes.last() != Some(&0) {
        bytes.truncate(1 + choices.below(bytes.len() - 1));
    }
    Generated { bytes, configs, flaw }
}

/// Archives in a directory, beside other files.
fn package(choices: &mut Choices, images: &[Image], flaw: Option<Flaw>) -> Vec<u8> {
    let beside = flaw.filter(|flaw| flaw.is_beside_archives());
    let mut entries = other_files(choices);
    let (mut rest, mut number) = (images, 0);
    while !rest.is_empty() {
        let (some, others) = rest.split_at(1 + choices.below(rest.len()));
        // One flaw is enough.
        let flaw = flaw.filter(|_| number == 0 && beside.is_none());
        entries.extend(any_archive(choices, some, (number, flaw)));
        (rest, number) = (others, number + 1);
    }
    if let Some(flaw) = beside {
        entries.extend(flawed_entries(choices, flaw));
    }
    tar(&entries, Style::any(choices))
}

/// An archive of a package, sometimes twice.
fn any_archive(
    choices: &mut Choices,
    images: &[Image],
    (number, flaw): (usize, Option<Flaw>),
) -> Vec<Entry> {
    let packing = *choices.pick(&Packing::ALL);
    let bytes = archive(choices, images, flaw);
    let path = match choices.below(3) {
        0 => format!("pkg/images-{number}.tar{}", packing.end()),
        1 => format!("pkg/app-{number}-image.tar.gz"),
        _ => format!("pkg/what-{number}.bin"),
    };
    let packed = packing.pack(&bytes, choices);
    let mut entries = vec![file(path.clone(), packed.clone())];
    if flaw.is_none() && choices.once_in(10) {
        entries.insert(0, file(format!("pkg/again-{number}.tar"), packed));
    }
    if choices.once_in(6) {
        entries.push(link(b'1', format!("pkg/copy-{number}.tar"), path));
    }
    entries
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

fn flawed_entries(choices: &mut Choices, flaw: Flaw) -> Vec<Entry> {
    match flaw {
        Flaw::LeadsOut => vec![file("pkg/../../out", "x")],
        Flaw::Device => vec![Entry { kind: b'6', ..file("pkg/pipe", "") }],
        Flaw::LostLink => vec![link(b'2', "pkg/lost", "../../etc/passwd")],
        Flaw::EmptyArchive => vec![file("pkg/empty.tar.gz", "")],
        Flaw::UnsupportedArchive => vec![file("pkg/a.tar.lz4", &b"\x04\x22\x4d\x18 and so on"[..])],
        Flaw::BelowFile => vec![file("pkg/app.yaml/below", "x")],
        Flaw::OldArchive => {
            let files =
                [file("0a/VERSION", "1.0"), file("0a/json", "{}"), file("0a/layer.tar", "")];
            vec![file("pkg/old.tar", tar(&files, Style::plain()))]
        }
        Flaw::ArchiveInArchive => {
            let inner = saved(choices, Form::Docker);
            let inner = choices.pick(&Packing::ALL).pack(&tar(&inner, Style::plain()), choices);
            vec![file("pkg/all.tar", tar(&[file("images/a.bin", inner)], Style::plain()))]
        }
        Flaw::LayoutInDirectory => {
            let entries = saved(choices, Form::Layout).into_iter();
            let below = |entry: Entry| Entry { path: [b"lay/", &entry.path[..]].concat(), ..entry };
            entries.map(below).collect()
        }
        Flaw::OneNameForTwo => {
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

/// The files of an image that is saved.
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
