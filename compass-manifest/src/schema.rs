//! Declares schemas of YAML files as data, and validates documents.

use crate::escape::{MAX_QUOTED, quote, quote_name, shorten};
use crate::node_path::{NodePath, Step};
use crate::source::Span;
use crate::suggest;
use crate::yaml::{Entry, Node, NodeKind, ScalarType, decimal};

/// The expected value of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Schema {
    /// Text; a number or boolean must be quoted.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A port number, 1 to 65535.
    Port,
    /// A port number, or 0 if the cluster chooses it.
    PortOrZero,
    /// Any scalar except null, for example a resource quantity.
    Scalar,
    /// Any scalar, or null.
    ScalarOrNothing,
    /// Any node.
    Any,
    /// A list of items with one schema.
    List(&'static Schema),
    /// An item, or a list of items.
    OneOrMore(&'static Schema),
    /// A mapping with any keys and one schema for the values.
    MapOf(&'static Schema),
    /// A mapping with known fields.
    Fields(&'static [Field]),
}

/// A field of [`Schema::Fields`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) schema: Schema,
}

/// A violation of a schema.
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
    /// Returns whether a value is null and the field is an optional collection.
    ///
    /// Such a value means an empty collection.
    fn is_empty_collection(&self, value: &Node) -> bool {
        let collection =
            matches!(self.schema, Schema::List(_) | Schema::MapOf(_) | Schema::Fields(_));
        collection && !self.required && value.is_null()
    }
}

/// Declares a required field.
pub(crate) const fn required(name: &'static str, schema: Schema) -> Field {
    Field { name, required: true, schema }
}

/// Declares an optional field.
pub(crate) const fn optional(name: &'static str, schema: Schema) -> Field {
    Field { name, required: false, schema }
}

/// Validates a document, and returns all violations.
pub(crate) fn validate(root: &Node, schema: Schema) -> Vec<Violation> {
    let mut walk = Walk { path: NodePath::default(), violations: Vec::new() };
    let key_span = root.entries().first().map_or(root.span, |entry| entry.key.span);
    walk.node(root, schema, key_span);
    walk.violations
}

struct Walk<'n> {
    path: NodePath<'n>,
    violations: Vec<Violation>,
}

impl<'n> Walk<'n> {
    /// Validates a node.
    ///
    /// `key_span` is the span of the node's key, for violations without a more precise span.
    fn node(&mut self, node: &'n Node, schema: Schema, key_span: Span) {
        // The rule `unquoted-template` reports this node.
        if node.unquoted_template().is_some() {
            return;
        }
        match schema {
            Schema::Any => {}
            Schema::Text => {
                self.scalar(node, key_span, "text", |scalar| scalar == ScalarType::Text)
            }
            Schema::Boolean => {
                self.scalar(node, key_span, "`true` or `false`", |scalar| {
                    scalar == ScalarType::Boolean
                });
            }
            Schema::Scalar => {
                self.scalar(node, key_span, "a value", |scalar| scalar != ScalarType::Null)
            }
            Schema::ScalarOrNothing => self.scalar(node, key_span, "a value", |_| true),
            Schema::Port => self.port(node, key_span, 1),
            Schema::PortOrZero => self.port(node, key_span, 0),
            Schema::List(item) => self.list(node, *item, key_span),
            Schema::OneOrMore(item) if matches!(node.kind, NodeKind::Sequence(_)) => {
                self.list(node, *item, key_span);
            }
            Schema::OneOrMore(item) => self.node(node, *item, key_span),
            Schema::MapOf(value) => self.map(node, *value, key_span),
            Schema::Fields(fields) => self.fields(node, fields, key_span),
        }
    }

    fn scalar(
        &mut self,
        node: &Node,
        key_span: Span,
        expected: &str,
        fits: impl Fn(ScalarType) -> bool,
    ) {
        match &node.kind {
            NodeKind::Scalar(scalar)
                if fits(scalar.scalar_type())
                    && !(expected == "text" && scalar.is_yaml11_boolean()) => {}
            NodeKind::Scalar(scalar)
                if expected == "text" && scalar.scalar_type() != ScalarType::Null =>
            {
                let help = format!("quote the value: '{}'", shorten(&scalar.text, MAX_QUOTED));
                self.wrong_type(node, key_span, expected, help);
            }
            _ => self.wrong_type(node, key_span, expected, format!("write {expected}")),
        }
    }

    fn port(&mut self, node: &Node, key_span: Span, min: u16) {
        let valid = matches!(&node.kind, NodeKind::Scalar(scalar)
            if scalar.plain && decimal(&scalar.text).is_some_and(|port| port >= min));
        if !valid {
            let help =
                format!("write an integer from {min} to 65535, without quotes and leading zeros");
            self.wrong_type(node, key_span, "a port", help);
        }
    }

    fn list(&mut self, node: &'n Node, item: Schema, key_span: Span) {
        let NodeKind::Sequence(items) = &node.kind else {
            let help = "write one item per line, each after `- `";
            return self.wrong_type(node, key_span, "a list", help.to_owned());
        };
        for (index, node) in items.iter().enumerate() {
            self.descend(Step::Item(index), |walk| walk.node(node, item, first_key_span(node)));
        }
    }

    /// Returns the entries of a mapping.
    ///
    /// For another node, adds a violation and returns `None`.
    fn entries(&mut self, node: &'n Node, key_span: Span) -> Option<&'n [Entry]> {
        if let NodeKind::Mapping(entries) = &node.kind {
            return Some(entries);
        }
        let help = "write indented `key: value` lines";
        self.wrong_type(node, key_span, "a mapping", help.to_owned());
        None
    }

    fn map(&mut self, node: &'n Node, value: Schema, key_span: Span) {
        for entry in self.entries(node, key_span).unwrap_or_default() {
            let name = entry.key.text().unwrap_or("?");
            self.descend(Step::Key(name), |walk| walk.node(&entry.value, value, entry.key.span));
        }
    }

    fn fields(&mut self, node: &'n Node, fields: &[Field], key_span: Span) {
        let Some(entries) = self.entries(node, key_span) else { return };
        for entry in entries {
            let name = entry.key.text().unwrap_or_default();
            match fields.iter().find(|field| field.name == name) {
                Some(field) if field.is_empty_collection(&entry.value) => {}
                Some(field) => self.descend(Step::Key(name), |walk| {
                    walk.node(&entry.value, field.schema, entry.key.span);
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
                key_span,
            );
        }
    }

    fn unknown(&mut self, name: &str, fields: &[Field], span: Span) {
        let help = match suggest(name, fields.iter().map(|field| field.name)) {
            Some(known) => format!("did you mean {}?", quote(known)),
            None => format!("known fields: {}", list_names(fields)),
        };
        let path = self.path_of(name);
        self.report(
            ViolationKind::UnknownField,
            format!("{} is not a known field", quote_name(&path)),
            help,
            span,
        );
    }

    fn wrong_type(&mut self, node: &Node, key_span: Span, expected: &str, help: String) {
        let path = &self.path;
        let subject = if path.is_empty() { "the file".to_owned() } else { quote_name(path) };
        let found = match &node.kind {
            NodeKind::Scalar(scalar) if !scalar.text.is_empty() => quote(&scalar.text),
            _ => node.describe().to_owned(),
        };
        let span = if matches!(&node.kind, NodeKind::Scalar(s) if !s.text.is_empty()) {
            node.span
        } else {
            key_span
        };
        let message = format!("{subject} should be {expected}, but is {found}");
        self.report(ViolationKind::WrongType, message, help, span);
    }

    fn report(&mut self, kind: ViolationKind, message: String, help: String, span: Span) {
        self.violations.push(Violation { kind, message, help, span });
    }

    fn descend(&mut self, step: Step<'n>, then: impl FnOnce(&mut Self)) {
        self.path.push(step);
        then(self);
        self.path.pop();
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

fn first_key_span(node: &Node) -> Span {
    node.entries().first().map_or(node.span, |entry| entry.key.span)
}

fn list_names(fields: &[Field]) -> String {
    fields.iter().map(|field| quote(field.name)).collect::<Vec<_>>().join(", ")
}
