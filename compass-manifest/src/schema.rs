//! Declares the fields of YAML files once, to validate documents and to read their values.
//!
//! A [`Table`] lists the fields of a mapping. Each [`Field`] has a schema, and optionally a function
//! that stores its value. [`validate`] reports violations; [`Table::read`] stores the values,
//! including those of a wrong type that are readable.

use std::convert::Infallible;

use crate::escape::{MAX_QUOTED, quote, quote_name, shorten};
use crate::node_path::{NodePath, Step};
use crate::source::Span;
use crate::suggest;
use crate::yaml::{Entry, Node, NodeKind, ScalarType, decimal};

/// The expected value of a node.
#[derive(Clone, Copy)]
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
    /// One of these texts, which the function that reads the field verifies.
    ///
    /// Validation accepts any scalar, because YAML 1.1 parsers read texts such as `off` as booleans.
    OneOf(&'static [&'static str]),
    /// Any node.
    Any,
    /// A list of items with one schema.
    List(&'static Schema),
    /// An item, or a list of items.
    OneOrMore(&'static Schema),
    /// A mapping with any keys and one schema for the values.
    MapOf(&'static Schema),
    /// A mapping with known fields.
    Fields(&'static dyn Keys),
}

/// The fields of a mapping, which are read into a `T`.
pub(crate) struct Table<T: 'static = (), E: 'static = Infallible>(
    pub(crate) &'static [Field<T, E>],
);

/// A field of a [`Table`].
pub(crate) struct Field<T: 'static = (), E: 'static = Infallible> {
    key: Key,
    read: Read<T, E>,
}

/// The part of a field that validation needs.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) schema: Schema,
}

/// How the value of a field is read.
enum Read<T: 'static, E: 'static> {
    /// The field is only validated.
    Nothing,
    Set(fn(&mut T, &Node)),
    TrySet(fn(&mut T, &Node) -> Result<(), E>),
    /// The value is a mapping, whose fields are read into the same `T`.
    Fields(&'static Table<T, E>),
}

/// The keys of a table whose type is erased.
pub(crate) trait Keys {
    fn key(&self, index: usize) -> Option<&Key>;
}

impl<T, E> Keys for Table<T, E> {
    fn key(&self, index: usize) -> Option<&Key> {
        self.0.get(index).map(|field| &field.key)
    }
}

impl dyn Keys + '_ {
    /// Iterates over the keys, in the order of their declaration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Key> {
        (0..).map_while(|index| self.key(index))
    }
}

impl<T, E> Table<T, E> {
    /// Reads the fields that a mapping has, in the order of their declaration.
    ///
    /// # Errors
    /// Returns the first error of a function that stores a value.
    pub(crate) fn read(&self, node: &Node, into: &mut T) -> Result<(), E> {
        for Field { key, read } in self.0 {
            let value = if matches!(read, Read::Nothing) { None } else { node.get(key.name) };
            match (value, read) {
                (Some(value), Read::Set(set)) => set(into, value),
                (Some(value), Read::TrySet(set)) => set(into, value)?,
                (Some(value), Read::Fields(fields)) => fields.read(value, into)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the fields of a mapping into a new value.
    pub(crate) fn value(&self, node: &Node) -> Result<T, E>
    where
        T: Default,
    {
        let mut value = T::default();
        self.read(node, &mut value)?;
        Ok(value)
    }

    /// Reads the items of a list.
    pub(crate) fn items(&self, list: &Node) -> Result<Vec<T>, E>
    where
        T: Default,
    {
        list.items().iter().map(|item| self.value(item)).collect()
    }
}

/// Returns the value of a result without an error.
pub(crate) fn infallible<T>(result: Result<T, Infallible>) -> T {
    let Ok(value) = result;
    value
}

impl<T, E> Field<T, E> {
    /// Sets the function that stores the value.
    pub(crate) const fn set(self, set: fn(&mut T, &Node)) -> Self {
        Self { key: self.key, read: Read::Set(set) }
    }

    /// Sets the function that stores the value, or rejects it.
    pub(crate) const fn try_set(self, set: fn(&mut T, &Node) -> Result<(), E>) -> Self {
        Self { key: self.key, read: Read::TrySet(set) }
    }
}

/// Declares a required field.
pub(crate) const fn required<T, E>(name: &'static str, schema: Schema) -> Field<T, E> {
    Field { key: Key { name, required: true, schema }, read: Read::Nothing }
}

/// Declares an optional field.
pub(crate) const fn optional<T, E>(name: &'static str, schema: Schema) -> Field<T, E> {
    Field { key: Key { name, required: false, schema }, read: Read::Nothing }
}

/// Declares a required mapping whose fields are read into the same value.
pub(crate) const fn required_group<T, E>(
    name: &'static str,
    fields: &'static Table<T, E>,
) -> Field<T, E> {
    let key = Key { name, required: true, schema: Schema::Fields(fields) };
    Field { key, read: Read::Fields(fields) }
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

impl Key {
    /// Returns whether null is an empty collection in this field.
    pub(crate) fn accepts_null_collection(&self) -> bool {
        let collection =
            matches!(self.schema, Schema::List(_) | Schema::MapOf(_) | Schema::Fields(_));
        collection && !self.required
    }

    fn is_empty_collection(&self, value: &Node) -> bool {
        self.accepts_null_collection() && value.is_null()
    }
}

/// Validates a document, and returns all violations.
pub(crate) fn validate(root: &Node, schema: Schema) -> Vec<Violation> {
    let mut walk = Walk { path: NodePath::default(), violations: Vec::new() };
    walk.node(root, schema, root.head_span());
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
            Schema::Scalar | Schema::OneOf(_) => {
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
            self.descend(Step::Item(index), |walk| walk.node(node, item, node.head_span()));
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

    fn fields(&mut self, node: &'n Node, fields: &dyn Keys, key_span: Span) {
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

    fn unknown(&mut self, name: &str, fields: &dyn Keys, span: Span) {
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

fn list_names(fields: &dyn Keys) -> String {
    fields.iter().map(|field| quote(field.name)).collect::<Vec<_>>().join(", ")
}
