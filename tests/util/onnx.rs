//! Writes small ONNX files by hand: nodes, constants, inputs and outputs, in protobuf's wire format.
//!
//! Knows the format's field numbers and nothing of tract, so that what reads the files is tested against another's
//! writing.

/// Element types, by their numbers in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in ONNX")]
pub enum Elem {
    F32 = 1,
    U8 = 2,
    I8 = 3,
    I32 = 6,
    I64 = 7,
    F16 = 10,
}

/// One dimension of an input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim<'a> {
    /// A number.
    Fixed(i64),
    /// A name, to be decided later.
    Symbol(&'a str),
}

/// The value of a node's attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "named as in ONNX")]
pub enum Attr<'a> {
    Int(i64),
    Float(f32),
    Text(&'a str),
    Ints(&'a [i64]),
}

/// An ONNX file in the making.
#[derive(Clone, Debug)]
pub struct Model {
    graph: Message,
    metadata: Vec<(String, String)>,
    opset: i64,
    nodes: usize,
}

impl Model {
    /// An empty model of this version of the operator set.
    pub fn new(opset: i64) -> Self {
        let mut graph = Message::default();
        graph.text(2, "tiny");
        Self { graph, metadata: Vec::new(), opset, nodes: 0 }
    }

    /// Adds an input of the graph.
    pub fn input(&mut self, name: &str, elem: Elem, dims: &[Dim<'_>]) {
        self.graph.message(11, &value_info(name, elem, dims));
    }

    /// Adds an output of the graph.
    pub fn output(&mut self, name: &str, elem: Elem, dims: &[Dim<'_>]) {
        self.graph.message(12, &value_info(name, elem, dims));
    }

    /// Adds a node, named after its first output, and gives that output's name back.
    pub fn node(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attr<'_>)]) -> String {
        let mut node = Message::default();
        for input in inputs {
            node.text(1, input);
        }
        for output in outputs {
            node.text(2, output);
        }
        self.nodes += 1;
        node.text(3, &format!("/{op}_{}", self.nodes));
        node.text(4, op);
        for (name, value) in attributes {
            node.message(5, &attribute(name, *value));
        }
        self.graph.message(1, &node);
        outputs[0].to_owned()
    }

    /// Adds a constant of floats.
    pub fn floats(&mut self, name: &str, dims: &[i64], values: &[f32]) -> String {
        self.constant(name, Elem::F32, dims, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
    }

    /// Adds a constant of 64-bit integers.
    pub fn longs(&mut self, name: &str, dims: &[i64], values: &[i64]) -> String {
        self.constant(name, Elem::I64, dims, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
    }

    /// Adds a constant of any type from its bytes, little end first.
    pub fn constant(&mut self, name: &str, elem: Elem, dims: &[i64], bytes: &[u8]) -> String {
        let mut tensor = Message::default();
        tensor.packed(1, dims);
        tensor.int(2, elem as i64);
        tensor.text(8, name);
        tensor.bytes(9, bytes);
        self.graph.message(5, &tensor);
        name.to_owned()
    }

    /// Adds a constant whose bytes are said to lie in another file.
    pub fn external(&mut self, name: &str, elem: Elem, dims: &[i64], location: &str) -> String {
        let mut tensor = Message::default();
        tensor.packed(1, dims);
        tensor.int(2, elem as i64);
        tensor.text(8, name);
        tensor.message(13, &entry("location", location));
        tensor.int(14, 1);
        self.graph.message(5, &tensor);
        name.to_owned()
    }

    /// Adds an entry of the exporter's metadata.
    pub fn metadata(&mut self, key: &str, value: &str) {
        self.metadata.push((key.to_owned(), value.to_owned()));
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut opset = Message::default();
        opset.text(1, "");
        opset.int(2, self.opset);
        let mut model = Message::default();
        model.int(1, 8);
        model.text(2, "andon tests");
        model.message(7, &self.graph);
        model.message(8, &opset);
        for (key, value) in &self.metadata {
            model.message(14, &entry(key, value));
        }
        model.0
    }
}

/// The fields of one protobuf message.
#[derive(Clone, Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn int(&mut self, field: u64, value: i64) {
        self.varint(field << 3);
        self.varint(value as u64);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn text(&mut self, field: u64, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    fn message(&mut self, field: u64, value: &Self) {
        self.bytes(field, &value.0);
    }

    fn packed(&mut self, field: u64, values: &[i64]) {
        let mut inner = Self::default();
        for value in values {
            inner.varint(*value as u64);
        }
        self.message(field, &inner);
    }
}

fn value_info(name: &str, elem: Elem, dims: &[Dim<'_>]) -> Message {
    let mut shape = Message::default();
    for dim in dims {
        let mut inner = Message::default();
        match dim {
            Dim::Fixed(value) => inner.int(1, *value),
            Dim::Symbol(name) => inner.text(2, name),
        }
        shape.message(1, &inner);
    }
    let mut tensor = Message::default();
    tensor.int(1, elem as i64);
    tensor.message(2, &shape);
    let mut kind = Message::default();
    kind.message(1, &tensor);
    let mut info = Message::default();
    info.text(1, name);
    info.message(2, &kind);
    info
}

fn attribute(name: &str, value: Attr<'_>) -> Message {
    let mut attribute = Message::default();
    attribute.text(1, name);
    let kind = match value {
        Attr::Float(value) => {
            attribute.float(2, value);
            1
        }
        Attr::Int(value) => {
            attribute.int(3, value);
            2
        }
        Attr::Text(value) => {
            attribute.text(4, value);
            3
        }
        Attr::Ints(values) => {
            attribute.packed(8, values);
            7
        }
    };
    attribute.int(20, kind);
    attribute
}

fn entry(key: &str, value: &str) -> Message {
    let mut entry = Message::default();
    entry.text(1, key);
    entry.text(2, value);
    entry
}
