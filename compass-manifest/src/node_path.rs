//! Tracks the path of a node in a document, such as `spec.modules[0].name`.

use std::fmt;

/// The path of a node, formatted only on demand, because most paths are never shown.
#[derive(Debug, Default)]
pub(crate) struct NodePath<'n> {
    steps: Vec<Step<'n>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'n> {
    Key(&'n str),
    Item(usize),
}

impl<'n> NodePath<'n> {
    pub(crate) fn push(&mut self, step: Step<'n>) {
        self.steps.push(step);
    }

    pub(crate) fn pop(&mut self) {
        self.steps.pop();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

impl fmt::Display for NodePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            match step {
                Step::Key(key) if index == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}
