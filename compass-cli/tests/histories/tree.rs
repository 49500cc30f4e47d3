//! Random trees of commits, and random changes of them.

use std::collections::BTreeMap;

use crate::choices::Choices;

/// The manifest whose change makes `change-scope` report all other changed files.
pub(crate) const TRIGGER: &str = "released/trigger.yaml";

const POLICY_FILE: &str = ".compass.yaml";
const POLICIES: [&str; 4] = [
    "version: 1\n",
    "version: 1\nplugins: {directory: [release-plugins, docs]}\n",
    "version: 1\nrules: {wrong-type: off}\nproducts: {addons: Docs, image_lists: ['**/*.txt']}\n",
    "version: 1\r\nscope: {image_lists: true}\r\n",
];

const DIRECTORIES: [&str; 14] = [
    "",
    "",
    "release-plugins/",
    "release-plugins/",
    "release-hotfixes/v2.7.0/web-v2.7.0-20180605-p1/default/console/web/",
    "addons/default/gpu/admin/",
    "images-lists/",
    "release-products/",
    "docs/",
    "Docs/",
    "sp ace/é/",
    "-dash/",
    ":(top)/",
    "[a]*/",
];

const NAMES: [&[u8]; 40] = [
    b"gpu.yaml",
    b"gpu.yaml",
    b"log.yaml",
    b"values.yaml",
    b"values.yaml",
    b"platform.list",
    b"v2.7.0.yaml",
    b"guide.md",
    b"GUIDE.md",
    b"Guide.MD",
    b"README.md",
    b".gitkeep",
    b"blob.bin",
    b"a b.txt",
    b" lead.txt",
    b"trail.txt ",
    b"quo\"te.txt",
    b"apo'strophe.txt",
    b"tab\t.txt",
    b"new\nline.yaml",
    b"new\nline.txt",
    b"\x01control\x1b.txt",
    b"back\\slash.yaml",
    "é.yaml".as_bytes(),
    "e\u{301}.yaml".as_bytes(),
    "bidi\u{202e}.yaml".as_bytes(),
    b"\xff\xfe.txt",
    b"\xff.yaml",
    b"latin-\xe9.yaml",
    b"latin-\xe8.yaml",
    b"*.txt",
    b"?.yaml",
    b"[ab].md",
    b":(glob)x",
    b"!not.yaml",
    b"#hash.yaml",
    b"-x",
    b"--cached",
    b"nested",
    b"HEAD",
];

const TEXTS: [&[u8]; 24] = [
    b"",
    b"\n",
    b"text\n",
    b"text",
    b"one\ntwo\n",
    b"one\r\ntwo\r\n",
    b"one\r\ntwo\n",
    b"one\rtwo\n",
    b"$Id$\n",
    b"$Id: 0123456789012345678901234567890123456789 $\n",
    b"$Id: x$ $Format:%H$\n",
    b"\0\x01\x02\0\n",
    b"nul\0\r\n",
    b"\xef\xbb\xbfmark: 1\n",
    b"\xff\xfeu\0t\0f\0\n\0",
    b"\xe9 latin\n",
    "ключ: значение\n".as_bytes(),
    "键: 值\n键: 值\n".as_bytes(),
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0000000000000000000000000000000000000000000000000000000000000000\nsize 4\n",
    b"<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n",
    b"library/nginx:1.25\nrelease/web:v1.0.0\n",
    b"apiVersion: v1\nkind: List\n",
    b"_config:\n  _metadata: {name: web, version: v2.7.0-20180605-p1}\n  controllers:\n  - type: Deployment\n    containers:\n    - image: '[[ registry_release ]]/web:v2.7.0-20180605-p1'\n",
    b"_config:\r\n  _metadata: {name: gpu, version: v1.0.1}\r\n  controllers:\r\n  - type: Deployment\r\n    containers: [{image: '[[ registry_release ]]/gpu:v1.0.1'}]\r\n",
];

const ATTRIBUTE_FILES: [&str; 4] =
    [".gitattributes", ".gitattributes", "release-plugins/.gitattributes", "docs/.gitattributes"];
const IGNORE_FILES: [&str; 3] = [".gitignore", "release-plugins/.gitignore", "docs/.gitignore"];
const LINK_TARGETS: [&[u8]; 7] =
    [b"gpu.yaml", b"../docs", b"/etc/hostname", b"..", b"nowhere", b"gpu.yaml\n", b"\xff"];

const PATTERNS: [&str; 12] = [
    "*",
    "*",
    "*.yaml",
    "*.md",
    "*.txt",
    "*.bin",
    "docs/**",
    "release-plugins/*",
    "[a-g]*",
    "values.yaml",
    "\"a b.txt\"",
    "*.list",
];
const IGNORED: [&str; 9] = [
    "*.txt",
    "*.md",
    "docs/",
    "nested",
    "*~",
    "!guide.md",
    "/gpu.yaml",
    "blob.*",
    "**/values.yaml",
];
/// Attributes that make git convert files.
pub(crate) const CONVERSIONS: [&str; 18] = [
    "text",
    "text=auto",
    "-text",
    "text eol=crlf",
    "text eol=lf",
    "eol=crlf",
    "text=auto eol=crlf",
    "crlf",
    "-crlf",
    "crlf=input",
    "ident",
    "text eol=crlf ident",
    "binary",
    "working-tree-encoding=UTF-16",
    "working-tree-encoding=UTF-16LE-BOM eol=crlf",
    "working-tree-encoding=GBK text",
    "working-tree-encoding=IBM037",
    "working-tree-encoding=ISO-8859-1 text eol=crlf",
];
const OTHER_ATTRIBUTES: [&str; 11] = [
    "diff=x",
    "-diff",
    "export-subst",
    "export-ignore",
    "linguist-generated",
    "merge=union",
    "whitespace=cr-at-eol",
    "delta",
    "!text",
    "filter=absent",
    "conflict-marker-size=3",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    File {
        content: Vec<u8>,
        executable: bool,
    },
    Link(Vec<u8>),
    /// The digit that the commit of the submodule consists of.
    Submodule(char),
}

/// A tree by path, without directories.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree(pub(crate) BTreeMap<Vec<u8>, Entry>);

impl Tree {
    /// A random tree. The release repository is below `prefix`.
    pub(crate) fn random(choices: &mut Choices, prefix: &str) -> Self {
        let mut tree = Self::default();
        for _ in 0..4 + choices.below(20) {
            let path = random_path(choices, prefix);
            let entry = random_entry(choices, &path);
            tree.insert(path, entry);
        }
        tree.insert(below(prefix, TRIGGER), file(trigger("v0.1.0")));
        tree
    }

    pub(crate) fn insert(&mut self, path: Vec<u8>, entry: Entry) {
        let is_above = |other: &[u8]| path.strip_prefix(other).is_some_and(|p| p.starts_with(b"/"));
        let is_below =
            |other: &[u8]| other.strip_prefix(&*path).is_some_and(|p| p.starts_with(b"/"));
        self.0.retain(|other, _| !is_above(other) && !is_below(other));
        self.0.insert(path, entry);
    }

    /// A path of the tree, except the trigger and paths that git only accepts as files.
    pub(crate) fn pick(&self, choices: &mut Choices) -> Option<Vec<u8>> {
        let kept = [TRIGGER, POLICY_FILE, ".gitmodules"].map(str::as_bytes);
        let is_free = |path: &&Vec<u8>| !kept.iter().any(|kept| path.ends_with(kept));
        let paths: Vec<_> = self.0.keys().filter(is_free).collect();
        (!paths.is_empty()).then(|| paths[choices.below(paths.len())].clone())
    }

    /// Makes a random change.
    pub(crate) fn change(&mut self, choices: &mut Choices, prefix: &str) {
        let new = random_path(choices, prefix);
        let old = self.pick(choices).unwrap_or_else(|| new.clone());
        match choices.below(14) {
            0 | 1 => {
                let entry = random_entry(choices, &new);
                self.insert(new, entry);
            }
            2 | 3 => drop(self.0.remove(&old)),
            4 | 5 => {
                if let Some(entry) = self.0.remove(&old) {
                    self.insert(new, entry);
                }
            }
            6 => {
                if let Some(entry) = self.0.get(&old).cloned() {
                    self.insert(new, entry);
                }
            }
            7 => {
                if let Some(Entry::File { executable, .. }) = self.0.get_mut(&old) {
                    *executable = !*executable;
                }
            }
            8 => self.insert(old, Entry::Link(choices.pick(&LINK_TARGETS).to_vec())),
            9 => self.insert(old, Entry::Submodule(choices.pick(&['1', '2', '3']))),
            10 => {
                if let Some(entry) = self.0.remove(&old) {
                    self.insert(other_case(&old), entry);
                }
            }
            // Replace a file with a directory.
            11 => self.insert([&*old, b"/inner.yaml"].concat(), file(b"a: 1\n".to_vec())),
            // Replace a directory with a file.
            12 if !prefix.starts_with("docs") => {
                self.insert(below(prefix, "docs"), file(b"docs\n".to_vec()));
            }
            _ => {
                if let Some(Entry::File { content, .. }) = self.0.get_mut(&old) {
                    *content = edited(choices, content);
                }
            }
        }
    }

    /// Adds attributes, ignore patterns and a policy.
    pub(crate) fn configure(&mut self, choices: &mut Choices, prefix: &str, converts: bool) {
        if choices.percent(60) {
            let path = below(choices.pick(&["", prefix]), choices.pick(&ATTRIBUTE_FILES));
            let content = random_attributes(choices, converts).into_bytes();
            let entry = match choices.percent(4) {
                true => Entry::Link(b"docs/guide.md".to_vec()),
                false => file(content),
            };
            self.insert(path, entry);
        }
        if choices.percent(40) {
            let path = below(choices.pick(&["", prefix]), choices.pick(&IGNORE_FILES));
            self.insert(path, file(random_ignored(choices).into_bytes()));
        }
        if choices.percent(25) {
            let policy = choices.pick(&POLICIES).as_bytes().to_vec();
            self.insert(below(prefix, POLICY_FILE), file(policy));
        }
        if choices.percent(15) {
            let ignore = choices.pick(&["all", "dirty", "none", "untracked"]);
            let text = format!(
                "[submodule \"nested\"]\n\tpath = {prefix}nested\n\turl = ../x\n\tignore = {ignore}\n\tupdate = none\n"
            );
            self.insert(b".gitmodules".to_vec(), file(text.into_bytes()));
        }
    }
}

pub(crate) fn below(prefix: &str, path: &str) -> Vec<u8> {
    [prefix.as_bytes(), path.as_bytes()].concat()
}

pub(crate) fn file(content: Vec<u8>) -> Entry {
    Entry::File { content, executable: false }
}

pub(crate) fn trigger(version: &str) -> Vec<u8> {
    plugin("trigger", version)
}

fn plugin(name: &str, version: &str) -> Vec<u8> {
    let text = format!(
        "metadata: {{name: {name}}}\nspec:\n  class: {name}\n  version: {version}\n  description: \
         a plugin\n  service:\n    port: 9001\n    image: \
         harbor.caicloud.xyz/release/compass-plugins-{name}:{version}\n  modules:\n  - name: \
         {name}\n    slots: [s.{name}]\n"
    );
    text.into_bytes()
}

pub(crate) fn random_path(choices: &mut Choices, prefix: &str) -> Vec<u8> {
    let prefix = if choices.percent(85) { prefix } else { "" };
    let mut path = below(prefix, choices.pick(&DIRECTORIES));
    path.extend_from_slice(choices.pick(&NAMES));
    if choices.percent(3) {
        path.extend_from_slice("long".repeat(50).as_bytes());
    }
    path
}

pub(crate) fn random_content(choices: &mut Choices, path: &[u8]) -> Vec<u8> {
    let version = choices.pick(&["v0.1.0", "v0.1.1", "v0.2.0", "latest"]);
    match choices.below(4) {
        0 if path.ends_with(b"gpu.yaml") => plugin("gpu", version),
        0 if path.ends_with(b"log.yaml") => plugin("log", version),
        1 if path.ends_with(b".yaml") => {
            let text = plugin("gpu", version);
            String::from_utf8_lossy(&text).replace('\n', "\r\n").into_bytes()
        }
        _ => choices.pick(&TEXTS).to_vec(),
    }
}

fn random_entry(choices: &mut Choices, path: &[u8]) -> Entry {
    match choices.below(14) {
        0 => Entry::Link(choices.pick(&LINK_TARGETS).to_vec()),
        1 => Entry::Submodule(choices.pick(&['1', '2', '3'])),
        more => Entry::File { content: random_content(choices, path), executable: more == 2 },
    }
}

pub(crate) fn edited(choices: &mut Choices, content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    match choices.below(5) {
        0 => content.extend_from_slice(b"more\n"),
        1 => content.extend_from_slice(b"more\r\n"),
        2 => drop(content.pop()),
        // The same size.
        3 if !content.is_empty() => {
            let place = choices.below(content.len());
            content[place] ^= 1;
        }
        _ => {
            let text = content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
            content = text.collect::<Vec<_>>().join(&b"\r\n"[..]);
        }
    }
    content
}

pub(crate) fn random_attributes(choices: &mut Choices, converts: bool) -> String {
    let mut text = String::new();
    for _ in 0..=choices.below(4) {
        let attribute = match choices.below(3) {
            0 if converts => "filter=x",
            1 if converts => choices.pick(&CONVERSIONS),
            _ => choices.pick(&OTHER_ATTRIBUTES),
        };
        text += &format!("{} {attribute}\n", choices.pick(&PATTERNS));
    }
    text
}

pub(crate) fn random_ignored(choices: &mut Choices) -> String {
    (0..=choices.below(3)).map(|_| format!("{}\n", choices.pick(&IGNORED))).collect()
}

/// The path with the case of its last letter changed.
pub(crate) fn other_case(path: &[u8]) -> Vec<u8> {
    let mut path = path.to_vec();
    let letter = path.iter().rposition(u8::is_ascii_alphabetic);
    if let Some(place) = letter {
        path[place] ^= 0x20;
    }
    path
}
