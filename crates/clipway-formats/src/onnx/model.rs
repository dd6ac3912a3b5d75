//! Model, graph and nodes: checks before the initializers are trusted.

use crate::error::{Code, FormatError, Place, shown};
use crate::onnx::graph::{Graph, Maker, read_attribute};
use crate::onnx::interface::{OnnxInterface, read_port};
use crate::onnx::node::OnnxOperation;
use crate::onnx::operators::OPERATORS;
use crate::onnx::tensor::{Initializer, read_initializer, read_pair};
use crate::onnx::wire::{Field, Message};
use crate::source::ReadAt;

/// Versions of the format: the first has operator sets, the last is ONNX 1.23.
const IR_VERSIONS: std::ops::RangeInclusive<u64> = 3..=14;

/// Latest version of ONNX's own operators.
const LAST_OPERATOR_SET: u64 = 28;

/// Known operator sets besides ONNX's own: its classic machine learning, and ONNX Runtime's.
const OTHER_DOMAINS: [&str; 2] = ["ai.onnx.ml", "com.microsoft"];

/// Maximum number of initializers, of nodes, of their attributes, and of metadata pairs.
const MOST: usize = 1 << 18;

/// The parts of a model that are kept.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) initializers: Vec<Initializer>,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) interface: OnnxInterface,
    /// Nodes, in an order in which they can be executed.
    pub(super) operations: Vec<OnnxOperation>,
    attributes: usize,
}

impl Model {
    /// Reads the `ModelProto` that is the whole file.
    pub(super) fn read(source: &dyn ReadAt) -> Result<Model, FormatError> {
        let mut message = Message::new(source, 0, source.size());
        let mut model = Model::default();
        let (mut version, mut graph) = (None, None);
        let mut texts: [Option<String>; 4] = Default::default();
        let mut model_version = None;
        while let Some(field) = message.next()? {
            match field.number {
                1 => field.set(&mut version, field.number()?)?,
                2..=4 => field.set(&mut texts[field.number as usize - 2], message.text(&field)?)?,
                5 => field.set(&mut model_version, field.number()?)?,
                6 => field.set(&mut texts[3], message.text(&field)?)?,
                7 => field.set(&mut graph, message.message(&field)?)?,
                8 => {
                    let set = read_operator_set(message.message(&field)?, &field)?;
                    let domain = &set.0;
                    if model.interface.operator_sets.iter().any(|(other, _)| other == domain) {
                        let cause = format!("duplicate operator set `{}`", shown(domain));
                        return Err(field.error(Code::Duplicate, cause));
                    }
                    model.interface.operator_sets.push(set);
                }
                14 if model.metadata.len() == MOST => return Err(too_many(&field, "pairs of metadata")),
                14 => model.metadata.push(read_pair(message.message(&field)?)?),
                20 => return Err(field.error(Code::Unsupported, "training information is not supported")),
                25 => return Err(field.error(Code::Unsupported, "functions of the model are not supported")),
                26 => return Err(field.error(Code::Unsupported, "device configurations are not supported")),
                _ => return Err(field.unknown("an ONNX model")),
            }
        }
        let version = version.ok_or_else(|| missing("an ONNX model needs its IR version"))?;
        if !IR_VERSIONS.contains(&version) {
            let cause = format!(
                "IR version {version}; supported are {} to {}",
                IR_VERSIONS.start(),
                IR_VERSIONS.end()
            );
            return Err(FormatError::new(Code::Unsupported, Place::File, cause));
        }
        if model.interface.operator_sets.is_empty() {
            return Err(missing("the model names no operator set"));
        }
        model.interface.ir_version = version;
        model.interface.producer = std::mem::take(&mut texts[0]).unwrap_or_default();
        model.read_graph(graph.ok_or_else(|| missing("the model has no graph"))?)?;
        Ok(model)
    }

    fn read_graph(&mut self, mut graph: Message<'_>) -> Result<(), FormatError> {
        let mut values = Graph::default();
        let mut texts: [Option<String>; 2] = Default::default();
        while let Some(field) = graph.next()? {
            match field.number {
                1 => self.read_node(graph.message(&field)?, &field, &mut values)?,
                2 => field.set(&mut texts[0], graph.text(&field)?)?,
                5 if self.initializers.len() == MOST => return Err(too_many(&field, "initializers")),
                5 => {
                    let initializer = read_initializer(graph.message(&field)?, &field)?;
                    values.make(initializer.info.name.clone(), Maker::Initializer, &field)?;
                    self.initializers.push(initializer);
                }
                10 => field.set(&mut texts[1], graph.text(&field)?)?,
                11 => {
                    let port = read_port(graph.message(&field)?)?;
                    values.make(port.name.clone(), Maker::Input, &field)?;
                    self.interface.inputs.push(port);
                }
                12 => {
                    let port = read_port(graph.message(&field)?)?;
                    values.add_output(port.name.clone(), &field)?;
                    self.interface.outputs.push(port);
                }
                13 | 14 | 16 => {
                    field.bytes()?;
                }
                15 => return Err(field.error(Code::Unsupported, "sparse initializers are not supported")),
                _ => return Err(field.unknown("an ONNX graph")),
            }
        }
        // What is stored in the file needs nobody to give it.
        self.interface.inputs.retain(|port| !values.is_stored(&port.name));
        if !values.has_output() {
            return Err(missing("the graph has no output"));
        }
        // Everything needed must exist, so that no initializer is lost unnoticed.
        let (order, needed) = values.finish()?;
        if let Some(name) = needed.first() {
            let cause = format!("a node or an output needs `{}`, which nothing produces", shown(name));
            return Err(missing(&cause));
        }
        self.operations =
            order.iter().map(|&node| std::mem::take(&mut self.operations[node as usize])).collect();
        Ok(())
    }

    /// Checks that a node's operator is known and from an operator set named by the model, and records its values.
    fn read_node(
        &mut self,
        mut message: Message<'_>,
        at: &Field,
        values: &mut Graph,
    ) -> Result<(), FormatError> {
        if self.operations.len() == MOST {
            return Err(too_many(at, "nodes"));
        }
        let node = values.add_node();
        let mut operation = OnnxOperation::default();
        let (mut operator, mut domain) = (None, None);
        let mut texts: [Option<String>; 3] = Default::default();
        while let Some(field) = message.next()? {
            match field.number {
                1 => {
                    let name = message.text(&field)?;
                    values.need(node, name.clone(), &field)?;
                    operation.inputs.push(name);
                }
                2 => {
                    let name = message.text(&field)?;
                    values.make(name.clone(), Maker::Node(node), &field)?;
                    operation.outputs.push(name);
                }
                3 => field.set(&mut texts[0], message.text(&field)?)?,
                4 => field.set(&mut operator, message.text(&field)?)?,
                6 => field.set(&mut texts[1], message.text(&field)?)?,
                7 => field.set(&mut domain, message.text(&field)?)?,
                8 => field.set(&mut texts[2], message.text(&field)?)?,
                5 => {
                    for name in read_attribute(message.message(&field)?, 0)? {
                        values.need(node, name, &field)?;
                    }
                    self.attributes += 1;
                    if self.attributes > MOST {
                        return Err(too_many(&field, "attributes"));
                    }
                    operation.set(message.message(&field)?)?;
                }
                9 | 10 => {
                    field.bytes()?;
                }
                _ => return Err(field.unknown("an ONNX node")),
            }
        }
        let operator = operator.ok_or_else(|| at.error(Code::Missing, "a node without an operator"))?;
        let domain = domain.filter(|domain| domain != "ai.onnx").unwrap_or_default();
        if !self.interface.operator_sets.iter().any(|(known, _)| *known == domain) {
            let cause =
                format!("a node uses the operator set `{}`, which the model does not name", shown(&domain));
            return Err(at.error(Code::Unsupported, cause));
        }
        if domain.is_empty() && OPERATORS.binary_search(&operator.as_str()).is_err() {
            let cause = format!("unknown operator `{}`", shown(&operator));
            return Err(at.error(Code::Unsupported, cause));
        }
        operation.name = std::mem::take(&mut texts[0]).unwrap_or_default();
        operation.operator.clone_from(&operator);
        self.operations.push(operation);
        let operator = if domain.is_empty() { operator } else { format!("{domain}.{operator}") };
        *self.interface.operators.entry(operator).or_default() += 1;
        Ok(())
    }
}

fn missing(cause: &str) -> FormatError {
    FormatError::new(Code::Missing, Place::File, cause)
}

fn too_many(field: &Field, what: &str) -> FormatError {
    field.error(Code::TooLarge, format!("more than {MOST} {what}"))
}

/// Reads an `OperatorSetIdProto`: domain and version.
fn read_operator_set(mut message: Message<'_>, at: &Field) -> Result<(String, u64), FormatError> {
    let (mut domain, mut version) = (None, None);
    while let Some(field) = message.next()? {
        match field.number {
            1 => field.set(&mut domain, message.text(&field)?)?,
            2 => field.set(&mut version, field.number()?)?,
            _ => return Err(field.unknown("an ONNX operator set")),
        }
    }
    let domain = match domain.as_deref() {
        None | Some("" | "ai.onnx") => String::new(),
        Some(other) if OTHER_DOMAINS.contains(&other) => other.to_owned(),
        Some(other) => {
            let cause = format!("unknown operator set `{}`", shown(other));
            return Err(at.error(Code::Unsupported, cause));
        }
    };
    let version = version.ok_or_else(|| at.error(Code::Missing, "an operator set without a version"))?;
    if domain.is_empty() && !(1..=LAST_OPERATOR_SET).contains(&version) {
        let cause = format!("operator set {version}; supported are 1 to {LAST_OPERATOR_SET}");
        return Err(at.error(Code::Unsupported, cause));
    }
    Ok((domain, version))
}
