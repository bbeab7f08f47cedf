//! A configuration document with the origin of every value, so that an error can say where to look.
//!
//! TOML text and environment variables go in; what the keys mean is left to [`super::section`] and its callers.

use std::{collections::BTreeMap, fmt, ops::Range};

use toml::de::{DeTable, DeValue};

/// What the names of environment variables begin with that set a key.
pub(super) const VARIABLE_PREFIX: &str = "ANDON__";

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// Line of the file, from 1.
    Line(usize),
    /// An environment variable.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Environment(name) => f.write_str(name),
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Where.
    pub origin: Origin,
    /// What.
    pub value: Value,
}

/// What a TOML document is made of, without dates (no key of ours takes one).
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// `[section]` or `{ … }`.
    Table(BTreeMap<String, Node>),
    /// `[[section]]` or `[ … ]`.
    List(Vec<Node>),
    /// `"text"`.
    Text(String),
    /// `42`.
    Integer(i64),
    /// `0.5`.
    Float(f64),
    /// `true`.
    Boolean(bool),
    /// The text of an environment variable, which means what the key that it sets asks for.
    Raw(String),
}

impl Node {
    /// What stands here where the key takes no text: the text of an environment variable is read as TOML.
    pub(super) fn read(self) -> Self {
        let Value::Raw(text) = &self.value else { return self };
        let text = text.trim();
        let parsed =
            DeValue::parse(text).ok().and_then(|value| from_value(text, value.get_ref(), Origin::Line(1)).ok());
        match parsed {
            Some(node) => node.written_at(&self.origin),
            None => self,
        }
    }

    /// The number that stands here, whole or not.
    pub(super) fn number(&self) -> Option<f64> {
        match self.value {
            Value::Integer(number) => Some(number as f64),
            Value::Float(number) => Some(number),
            _ => None,
        }
    }

    /// The same value, all of it written there.
    fn written_at(self, origin: &Origin) -> Self {
        let value = match self.value {
            Value::Table(nodes) => {
                Value::Table(nodes.into_iter().map(|(key, node)| (key, node.written_at(origin))).collect())
            }
            Value::List(nodes) => Value::List(nodes.into_iter().map(|node| node.written_at(origin)).collect()),
            value => value,
        };
        Self { origin: origin.clone(), value }
    }
}

impl Value {
    /// The kind of value, as an error names it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Table(_) => "a section",
            Self::List(_) => "a list",
            Self::Text(_) | Self::Raw(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a fraction",
            Self::Boolean(_) => "true or false",
        }
    }
}

/// Parses TOML text into the table at its root.
///
/// # Errors
/// A sentence with the line where the text is no TOML.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, &span));
        format!("line {line}: {}", error.message().replace('\n', ", "))
    })?;
    from_table(text, table.get_ref(), Origin::Line(1))
}

/// Lays `ANDON__SECTION__KEY=value` over the document, which makes sections that are missing.
///
/// A value stays the text that it is until a key asks for it: see [`Node::read`].
///
/// # Errors
/// A sentence that names the variable, where it points into something that is no section.
pub(super) fn overlay(root: &mut Node, variables: impl Iterator<Item = (String, String)>) -> Result<(), String> {
    for (name, text) in variables {
        let Some(path) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
        let origin = Origin::Environment(name.clone());
        let mut node = &mut *root;
        let keys: Vec<String> = path.split("__").map(str::to_lowercase).collect();
        for (depth, key) in keys.iter().enumerate() {
            let kind = node.value.kind();
            let Value::Table(table) = &mut node.value else {
                let place = keys[..depth].join(".");
                return Err(format!("{name}: \"{place}\" is {kind}, not a section; set it in the configuration file"));
            };
            node = table
                .entry(key.clone())
                .or_insert_with(|| Node { origin: origin.clone(), value: Value::Table(BTreeMap::new()) });
        }
        *node = Node { origin, value: Value::Raw(text) };
    }
    Ok(())
}

fn from_table(text: &str, table: &DeTable<'_>, origin: Origin) -> Result<Node, String> {
    let mut nodes = BTreeMap::new();
    for (key, value) in table {
        let origin = Origin::Line(line_of(text, &key.span()));
        nodes.insert(key.get_ref().to_string(), from_value(text, value.get_ref(), origin)?);
    }
    Ok(Node { origin, value: Value::Table(nodes) })
}

fn from_value(text: &str, value: &DeValue<'_>, origin: Origin) -> Result<Node, String> {
    let value = match value {
        DeValue::String(s) => Value::Text(s.to_string()),
        DeValue::Boolean(b) => Value::Boolean(*b),
        DeValue::Integer(number) => match i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => return Err(format!("{origin}: {} is too large a number", number.as_str())),
        },
        DeValue::Float(number) => match number.as_str().replace('_', "").parse::<f64>() {
            Ok(number) => Value::Float(number),
            Err(_) => return Err(format!("{origin}: {} is no number", number.as_str())),
        },
        DeValue::Datetime(date) => {
            return Err(format!("{origin}: no key takes a date; quote \"{date}\" to make it a text"));
        }
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| from_value(text, item.get_ref(), Origin::Line(line_of(text, &item.span()))))
                .collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => return from_table(text, table, origin),
    };
    Ok(Node { origin, value })
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    text.as_bytes()[..span.start.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<'a>(node: &'a Node, path: &str) -> &'a Node {
        path.split('.').fold(node, |node, key| match &node.value {
            Value::Table(table) => &table[key],
            Value::List(items) => &items[key.parse::<usize>().unwrap()],
            other => panic!("{} has no {key}", other.kind()),
        })
    }

    #[test]
    fn values_know_their_lines() {
        let root = parse("[mqtt]\nhost = \"a\"\nport = 0x10\n\n[[camera]]\nroi = [1, 2.5,\n true]\n").unwrap();
        assert_eq!(get(&root, "mqtt.port"), &Node { origin: Origin::Line(3), value: Value::Integer(16) });
        assert_eq!(get(&root, "camera.0.roi.1").value, Value::Float(2.5));
        assert_eq!(get(&root, "camera.0.roi.2"), &Node { origin: Origin::Line(7), value: Value::Boolean(true) });
    }

    #[test]
    fn wrong_toml_says_where() {
        assert!(parse("[mqtt]\nport = = 3\n").unwrap_err().starts_with("line 2: "));
        assert!(parse("[mqtt]\nport = 99999999999999999999\n").unwrap_err().contains("line 2"));
        assert!(parse("since = 2026-01-01\n").unwrap_err().contains("date"));
    }

    #[test]
    fn the_environment_overrides_and_adds() {
        let mut root = parse("[mqtt]\nhost = \"a\"\n[[camera]]\nid = \"in\"\n").unwrap();
        let variables = [
            ("ANDON__MQTT__HOST", "broker.local"),
            ("ANDON__MQTT__PORT", "8883"),
            ("ANDON__DEVICE__ID", "17"),
            ("ANDON__MODEL__CLASSES", "[\"a\", 2]"),
            ("PATH", "/bin"),
        ];
        overlay(&mut root, variables.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter()).unwrap();
        assert_eq!(get(&root, "mqtt.host").value, Value::Raw("broker.local".into()));
        let port = get(&root, "mqtt.port").clone().read();
        assert_eq!((port.value, port.origin), (Value::Integer(8883), Origin::Environment("ANDON__MQTT__PORT".into())));
        assert_eq!(get(&root, "device.id").value, Value::Raw("17".into()));
        let classes = get(&root, "model.classes").clone().read();
        let second = Node { origin: Origin::Environment("ANDON__MODEL__CLASSES".into()), value: Value::Integer(2) };
        assert_eq!(get(&classes, "1"), &second);
        let refused = overlay(&mut root, [("ANDON__CAMERA__ID".to_owned(), "x".to_owned())].into_iter());
        assert!(refused.unwrap_err().contains("\"camera\" is a list"));
    }
}
