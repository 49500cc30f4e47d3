//! What a YAML file of a kind may hold, declared as data, and how a file departs from it.

use crate::escape::{MAX_QUOTED, quote, quote_name, shorten};
use crate::node_path::{NodePath, Step};
use crate::source::Span;
use crate::suggest;
use crate::yaml::{Node, NodeKind, ScalarType, decimal};

/// What a node should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Schema {
    /// Text; a number or boolean must be quoted.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A port number, 1 to 65535.
    Port,
    /// A port number, or 0 for one that the cluster chooses.
    PortOrZero,
    /// Any scalar, as resource quantities are.
    Scalar,
    /// Any scalar, or nothing.
    ScalarOrNothing,
    /// Anything at all.
    Any,
    /// A list of one shape.
    List(&'static Schema),
    /// One of a shape, or a list of them.
    OneOrMore(&'static Schema),
    /// A mapping of any keys to one shape.
    MapOf(&'static Schema),
    /// A mapping of known fields.
    Fields(&'static [Field]),
}

/// A field of [`Schema::Fields`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) shape: Schema,
}

/// How a file departs from its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) kind: ViolationKind,
    pub(crate) message: String,
    pub(crate) help: String,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ViolationKind {
    MissingField,
    UnknownField,
    WrongType,
}

impl Field {
    fn is_left_empty(&self, value: &Node) -> bool {
        let collection =
            matches!(self.shape, Schema::List(_) | Schema::MapOf(_) | Schema::Fields(_));
        collection && !self.required && value.is_null()
    }
}

/// A field that must be there.
pub(crate) const fn required(name: &'static str, shape: Schema) -> Field {
    Field { name, required: true, shape }
}

/// A field that may be left out.
pub(crate) const fn optional(name: &'static str, shape: Schema) -> Field {
    Field { name, required: false, shape }
}

/// Compares a document with its shape and collects every violation.
pub(crate) fn compare(root: &Node, shape: Schema) -> Vec<Violation> {
    let mut walk = Walk { path: NodePath::default(), violations: Vec::new() };
    let head = root.entries().first().map_or(root.span, |entry| entry.key.span);
    walk.node(root, shape, head);
    walk.violations
}

struct Walk<'n> {
    path: NodePath<'n>,
    violations: Vec<Violation>,
}

impl<'n> Walk<'n> {
    /// `head` is the short span that stands for the node: the key it hangs on.
    fn node(&mut self, node: &'n Node, shape: Schema, head: Span) {
        // A rule of its own says what is wrong with it.
        if node.unquoted_template().is_some() {
            return;
        }
        match shape {
            Schema::Any => {}
            Schema::Text => self.scalar(node, head, "text", |scalar| scalar == ScalarType::Text),
            Schema::Boolean => {
                self.scalar(node, head, "`true` or `false`", |scalar| {
                    scalar == ScalarType::Boolean
                });
            }
            Schema::Scalar => {
                self.scalar(node, head, "a value", |scalar| scalar != ScalarType::Null)
            }
            Schema::ScalarOrNothing => self.scalar(node, head, "a value", |_| true),
            Schema::Port => self.port(node, head, 1),
            Schema::PortOrZero => self.port(node, head, 0),
            Schema::List(item) => self.list(node, *item, head),
            Schema::OneOrMore(item) if matches!(node.kind, NodeKind::Sequence(_)) => {
                self.list(node, *item, head);
            }
            Schema::OneOrMore(item) => self.node(node, *item, head),
            Schema::MapOf(value) => self.map(node, *value, head),
            Schema::Fields(fields) => self.fields(node, fields, head),
        }
    }

    fn scalar(
        &mut self,
        node: &Node,
        head: Span,
        expected: &str,
        fits: impl Fn(ScalarType) -> bool,
    ) {
        match &node.kind {
            NodeKind::Scalar(scalar)
                if fits(scalar.scalar_type())
                    && !(expected == "text" && scalar.is_older_boolean()) => {}
            NodeKind::Scalar(scalar)
                if expected == "text" && scalar.scalar_type() != ScalarType::Null =>
            {
                let help = format!("put it in quotes: '{}'", shorten(&scalar.text, MAX_QUOTED));
                self.wrong_type(node, head, expected, help);
            }
            _ => self.wrong_type(node, head, expected, format!("write {expected} here")),
        }
    }

    fn port(&mut self, node: &Node, head: Span, least: u16) {
        let valid = matches!(&node.kind, NodeKind::Scalar(scalar)
            if scalar.plain && decimal(&scalar.text).is_some_and(|port| port >= least));
        if !valid {
            let help = format!(
                "write a whole number from {least} to 65535, without quotes and leading zeros"
            );
            self.wrong_type(node, head, "a port", help);
        }
    }

    fn list(&mut self, node: &'n Node, item: Schema, head: Span) {
        let NodeKind::Sequence(items) = &node.kind else {
            return self.wrong_type(
                node,
                head,
                "a list",
                "write one item a line, each after `- `".into(),
            );
        };
        for (index, node) in items.iter().enumerate() {
            self.below(Step::Item(index), |walk| walk.node(node, item, short(node)));
        }
    }

    fn map(&mut self, node: &'n Node, value: Schema, head: Span) {
        let NodeKind::Mapping(entries) = &node.kind else {
            return self.wrong_type(
                node,
                head,
                "a mapping",
                "write `key: value` lines below it".into(),
            );
        };
        for entry in entries {
            let name = entry.key.text().unwrap_or("?");
            self.below(Step::Key(name), |walk| walk.node(&entry.value, value, entry.key.span));
        }
    }

    fn fields(&mut self, node: &'n Node, fields: &[Field], head: Span) {
        let NodeKind::Mapping(entries) = &node.kind else {
            return self.wrong_type(
                node,
                head,
                "a mapping",
                "write `key: value` lines below it".into(),
            );
        };
        for entry in entries {
            let name = entry.key.text().unwrap_or_default();
            match fields.iter().find(|field| field.name == name) {
                // A collection with nothing below it is an empty one.
                Some(field) if field.is_left_empty(&entry.value) => {}
                Some(field) => self.below(Step::Key(name), |walk| {
                    walk.node(&entry.value, field.shape, entry.key.span);
                }),
                None => self.unknown(name, fields, entry.key.span),
            }
        }
        for field in fields.iter().filter(|field| field.required && node.get(field.name).is_none())
        {
            let path = self.path_of(field.name);
            self.report(
                ViolationKind::MissingField,
                format!("{} is missing", quote_name(&path)),
                format!("add `{}:` to this mapping", field.name),
                head,
            );
        }
    }

    fn unknown(&mut self, name: &str, fields: &[Field], span: Span) {
        let help = match suggest(name, fields.iter().map(|field| field.name)) {
            Some(known) => format!("did you mean {}?", quote(known)),
            None => format!("known here are {}", list_names(fields)),
        };
        let path = self.path_of(name);
        self.report(
            ViolationKind::UnknownField,
            format!("{} is not a known field", quote_name(&path)),
            help,
            span,
        );
    }

    fn wrong_type(&mut self, node: &Node, head: Span, expected: &str, help: String) {
        let path = &self.path;
        let subject = if path.is_empty() { "the file".to_owned() } else { quote_name(path) };
        let found = match &node.kind {
            NodeKind::Scalar(scalar) if !scalar.text.is_empty() => quote(&scalar.text),
            _ => node.describe().to_owned(),
        };
        let span = if matches!(&node.kind, NodeKind::Scalar(s) if !s.text.is_empty()) {
            node.span
        } else {
            head
        };
        let message = format!("{subject} should be {expected}, and is {found}");
        self.report(ViolationKind::WrongType, message, help, span);
    }

    fn report(&mut self, kind: ViolationKind, message: String, help: String, span: Span) {
        self.violations.push(Violation { kind, message, help, span });
    }

    fn below(&mut self, step: Step<'n>, then: impl FnOnce(&mut Self)) {
        self.path.push(step);
        then(self);
        self.path.pop();
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

fn short(node: &Node) -> Span {
    node.entries().first().map_or(node.span, |entry| entry.key.span)
}

fn list_names(fields: &[Field]) -> String {
    fields.iter().map(|field| quote(field.name)).collect::<Vec<_>>().join(", ")
}
