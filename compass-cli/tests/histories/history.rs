//! Random histories as streams for `git fast-import`.

use crate::choices::Choices;
use crate::tree::{Entry, TRIGGER, Tree, below, file, trigger};

/// Commits, parents before children.
#[derive(Debug, Default)]
pub(crate) struct History {
    commits: Vec<Commit>,
    main: usize,
    topic: usize,
    /// Whether objects have SHA-256 names.
    pub(crate) sha256: bool,
}

#[derive(Debug)]
struct Commit {
    parents: Vec<usize>,
    tree: Tree,
}

impl History {
    /// A history with the branches `main` and `topic`; `topic` is checked out later.
    pub(crate) fn random(choices: &mut Choices, prefix: &str, converts: bool) -> Self {
        let mut tree = Tree::random(choices, prefix);
        tree.configure(choices, prefix, converts);
        let mut history = Self { sha256: choices.percent(10), ..Self::default() };
        history.commit(vec![], tree);
        for _ in 0..choices.below(3) {
            history.main = history.changed(choices, prefix, history.main);
        }
        history.topic = history.main;
        for _ in 0..choices.below(6) {
            match choices.below(12) {
                0 | 1 => history.main = history.changed(choices, prefix, history.main),
                2 | 3 => history.topic = history.merged(choices, history.topic, history.main),
                4 => history.main = history.merged(choices, history.main, history.topic),
                5 => {
                    let from = choices.below(history.commits.len());
                    let side = history.changed(choices, prefix, from);
                    history.topic = history.merged(choices, history.topic, side);
                }
                _ => history.topic = history.changed(choices, prefix, history.topic),
            }
        }
        let mut tree = history.tree().clone();
        tree.change(choices, prefix);
        if choices.percent(20) {
            tree.configure(choices, prefix, converts);
        }
        let version = choices.pick(&["v0.1.0", "v0.2.0", "v0.2.0"]);
        tree.insert(below(prefix, TRIGGER), file(trigger(version)));
        history.topic = history.commit(vec![history.topic], tree);
        if choices.percent(30) {
            history.main = history.changed(choices, prefix, history.main);
        }
        history
    }

    /// The tree of `topic`.
    pub(crate) fn tree(&self) -> &Tree {
        &self.commits[self.topic].tree
    }

    /// The name of a missing object.
    pub(crate) fn absent_object(&self, digit: char) -> String {
        digit.to_string().repeat(if self.sha256 { 64 } else { 40 })
    }

    fn commit(&mut self, parents: Vec<usize>, tree: Tree) -> usize {
        self.commits.push(Commit { parents, tree });
        self.commits.len() - 1
    }

    fn changed(&mut self, choices: &mut Choices, prefix: &str, from: usize) -> usize {
        let mut tree = self.commits[from].tree.clone();
        for _ in 0..choices.below(5) {
            tree.change(choices, prefix);
        }
        self.commit(vec![from], tree)
    }

    /// A merge with each path of one of the two sides.
    fn merged(&mut self, choices: &mut Choices, ours: usize, theirs: usize) -> usize {
        let mut tree = self.commits[ours].tree.clone();
        for (path, entry) in &self.commits[theirs].tree.0 {
            if choices.percent(50) {
                tree.insert(path.clone(), entry.clone());
            }
        }
        self.commit(vec![ours, theirs], tree)
    }

    pub(crate) fn stream(&self) -> Vec<u8> {
        let mut stream = Vec::new();
        for (number, commit) in self.commits.iter().enumerate() {
            stream.extend(b"commit refs/heads/import\n");
            stream.extend(format!("mark :{}\n", number + 1).bytes());
            stream.extend(
                format!("committer T <t@example.com> {} +0000\n", 1_600_000_000 + number).bytes(),
            );
            stream.extend(b"data 1\nx\n");
            for (position, parent) in commit.parents.iter().enumerate() {
                let word = if position == 0 { "from" } else { "merge" };
                stream.extend(format!("{word} :{}\n", parent + 1).bytes());
            }
            stream.extend(b"deleteall\n");
            for (path, entry) in &commit.tree.0 {
                self.write_entry(&mut stream, path, entry);
            }
        }
        let refs = [
            ("refs/heads/main", self.main),
            ("refs/heads/topic", self.topic),
            ("refs/remotes/origin/main", self.main),
            ("refs/tags/v2.7.0", 0),
        ];
        for (name, number) in refs {
            stream.extend(format!("reset {name}\nfrom :{}\n\n", number + 1).bytes());
        }
        stream.extend(b"done\n");
        stream
    }

    fn write_entry(&self, stream: &mut Vec<u8>, path: &[u8], entry: &Entry) {
        let (mode, content) = match entry {
            Entry::File { content, executable: false } => ("100644", content),
            Entry::File { content, executable: true } => ("100755", content),
            Entry::Link(target) => ("120000", target),
            Entry::Submodule(digit) => {
                let commit = self.absent_object(*digit);
                return stream.extend(format!("M 160000 {commit} {}\n", quoted(path)).bytes());
            }
        };
        stream
            .extend(format!("M {mode} inline {}\ndata {}\n", quoted(path), content.len()).bytes());
        stream.extend(content);
        stream.push(b'\n');
    }
}

/// Quotes a path as git does.
pub(crate) fn quoted(path: &[u8]) -> String {
    let byte = |byte: &u8| match byte.is_ascii_alphanumeric() || b"/.-".contains(byte) {
        true => char::from(*byte).to_string(),
        false => format!("\\{byte:03o}"),
    };
    format!("\"{}\"", path.iter().map(byte).collect::<String>())
}
