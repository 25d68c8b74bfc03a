//! An ONNX model, built operation by operation with WebNN's graph builder: what networks of convolutions need.

use std::collections::HashMap;

use prost::Message;
use rustnn::error::GraphBuilderError;
use rustnn::mlcontext::{MLGraphBuilder, MLNamedOperands, MLOperand, MLOperandDescriptor};
use rustnn::operator_enums::MLOperandDataType::Float32;
use rustnn::operator_options::{MLClampOptions, MLConv2dOptions, MLDimension, MLGemmOptions};
use rustnn::protos::onnx::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
use serde_json::json;

use crate::failure::Failure;

/// ONNX's number of float32.
const FLOAT: i32 = 1;

type Builder = MLGraphBuilder<'static, 'static>;

/// The model file, decoded.
pub struct Model(GraphProto);

impl Model {
    /// Decodes the bytes of an ONNX file.
    ///
    /// # Errors
    ///
    /// The reason why they are not a model.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let model = ModelProto::decode(bytes).map_err(|error| error.to_string())?;
        model.graph.map(Self).ok_or_else(|| "it has no graph".to_owned())
    }

    /// Names of the inputs without initialisers, and of the outputs.
    pub fn names(&self) -> (Vec<&str>, Vec<&str>) {
        let weight = |name: &str| self.0.initializer.iter().any(|tensor| tensor.name == name);
        let inputs = self.0.input.iter().map(|input| input.name.as_str()).filter(|name| !weight(name)).collect();
        (inputs, self.0.output.iter().map(|output| output.name.as_str()).collect())
    }

    /// Adds the model to `builder`; returns the operands of its `outputs`, with their shapes.
    ///
    /// # Errors
    ///
    /// `model-unsupported`, with the operator and the node.
    pub fn add_to<'a>(
        self,
        builder: &mut Builder,
        inputs: &[(&str, Vec<u32>)],
        outputs: &[&'a str],
    ) -> Result<(MLNamedOperands<'a>, Vec<Vec<u64>>), Failure> {
        let mut values: HashMap<String, Value> = HashMap::new();
        for (name, shape) in inputs {
            let shape = shape.iter().copied().map(u64::from).collect();
            let input = builder.input(name, &MLOperandDescriptor::new(Float32, shape));
            values.insert((*name).to_owned(), Value::Operand(input.map_err(unsupported)?));
        }
        for tensor in self.0.initializer {
            values.insert(tensor.name.clone(), Value::Constant(tensor));
        }
        for node in self.0.node {
            let made = Node { node: &node, builder, values: &mut values }.convert()?;
            values.insert(node.output.first().cloned().unwrap_or_default(), made);
        }
        let (mut named, mut shapes) = (MLNamedOperands::new(), Vec::new());
        for &name in outputs {
            let Some(Value::Operand(operand)) = values.get(name) else {
                return Err(unsupported(format!("output {name:?} is a constant, or is not computed")));
            };
            shapes.push(builder.rustnn_operand_shape(*operand).map_err(unsupported)?);
            named.insert(name, *operand);
        }
        Ok((named, shapes))
    }
}

#[derive(Clone)]
enum Value {
    Constant(TensorProto),
    Operand(MLOperand),
}

/// A node, with what it is added to.
struct Node<'a> {
    node: &'a NodeProto,
    builder: &'a mut Builder,
    values: &'a mut HashMap<String, Value>,
}

type Made = Result<MLOperand, GraphBuilderError>;

impl Node<'_> {
    fn convert(&mut self) -> Result<Value, Failure> {
        if self.node.output.iter().filter(|name| !name.is_empty()).count() > 1 {
            return Err(self.refuse("it has several outputs"));
        }
        let made = match self.node.op_type.as_str() {
            "Identity" => return self.value(0).cloned(),
            "Constant" => {
                let value = self.attribute("value").and_then(|attribute| attribute.t.clone());
                return value.map(Value::Constant).ok_or_else(|| self.refuse("its value is not a tensor"));
            }
            "Add" => self.binary(Builder::add)?,
            "Sub" => self.binary(Builder::sub)?,
            "Mul" => self.binary(Builder::mul)?,
            "Div" => self.binary(Builder::div)?,
            "Relu" => self.unary(Builder::relu)?,
            "Sigmoid" => self.unary(Builder::sigmoid)?,
            "GlobalAveragePool" => self.unary(Builder::global_average_pool)?,
            "Clip" => self.clip()?,
            "Conv" => self.conv()?,
            "Flatten" => self.flatten()?,
            "Gemm" => self.gemm()?,
            _ => return Err(self.refuse("it is unknown to this conversion")),
        };
        made.map(Value::Operand).map_err(|error| self.refuse(&error.to_string()))
    }

    fn unary(&mut self, add: impl Fn(&mut Builder, MLOperand) -> Made) -> Result<Made, Failure> {
        let x = self.operand(0)?;
        Ok(add(self.builder, x))
    }

    fn binary(&mut self, add: impl Fn(&mut Builder, MLOperand, MLOperand) -> Made) -> Result<Made, Failure> {
        let (a, b) = (self.operand(0)?, self.operand(1)?);
        Ok(add(self.builder, a, b))
    }

    fn clip(&mut self) -> Result<Made, Failure> {
        let limit = |place: usize| -> Result<Option<serde_json::Value>, Failure> {
            if self.is_left_out(place) {
                return Ok(None);
            }
            let Value::Constant(tensor) = self.value(place)? else {
                return Err(self.refuse("its limits are not constants"));
            };
            let bytes = floats(tensor).filter(|bytes| bytes.len() == 4);
            let bytes = bytes.ok_or_else(|| self.refuse("a limit is not one float32"))?;
            Ok(Some(json!(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))))
        };
        let options = MLClampOptions { min_value: limit(1)?, max_value: limit(2)?, ..MLClampOptions::default() };
        let x = self.operand(0)?;
        Ok(self.builder.clamp_with_options(x, options))
    }

    fn conv(&mut self) -> Result<Made, Failure> {
        let automatic = self.attribute("auto_pad").is_some_and(|attribute| attribute.s != b"NOTSET");
        let pads = self.sizes("pads")?;
        if automatic || !matches!(pads.len(), 0 | 4) {
            return Err(self.refuse("it has auto_pad, or is not 2-D"));
        }
        let bias = if self.is_left_out(2) { None } else { Some(self.operand(2)?.rustnn_index()) };
        let options = MLConv2dOptions {
            // ONNX has both beginnings first
            padding: if pads.is_empty() { pads } else { vec![pads[0], pads[2], pads[1], pads[3]] },
            strides: self.sizes("strides")?,
            dilations: self.sizes("dilations")?,
            groups: self.size("group", 1)?,
            bias,
            ..MLConv2dOptions::default()
        };
        let (x, filter) = (self.operand(0)?, self.operand(1)?);
        Ok(self.builder.conv2d_with_options(x, filter, options))
    }

    fn flatten(&mut self) -> Result<Made, Failure> {
        let x = self.operand(0)?;
        let axis = self.size("axis", 1)? as usize;
        let shape = self.builder.rustnn_operand_shape(x).map_err(unsupported)?;
        if axis > shape.len() {
            return Err(self.refuse("its axis is out of range"));
        }
        let side = |sizes: &[u64]| u32::try_from(sizes.iter().product::<u64>()).map(MLDimension::Static);
        let sides = side(&shape[..axis]).and_then(|first| Ok(vec![first, side(&shape[axis..])?]));
        let sides = sides.map_err(|_| self.refuse("its shape is too large"))?;
        Ok(self.builder.reshape(x, sides))
    }

    fn gemm(&mut self) -> Result<Made, Failure> {
        let c = if self.is_left_out(2) { None } else { Some(self.operand(2)?.rustnn_index()) };
        let factor = |name: &str| self.attribute(name).map_or(1.0, |attribute| f64::from(attribute.f));
        let options = MLGemmOptions {
            c,
            alpha: factor("alpha"),
            beta: factor("beta"),
            a_transpose: self.size("transA", 0)? != 0,
            b_transpose: self.size("transB", 0)? != 0,
            ..MLGemmOptions::default()
        };
        let (a, b) = (self.operand(0)?, self.operand(1)?);
        Ok(self.builder.gemm_with_options(a, b, options))
    }

    fn is_left_out(&self, place: usize) -> bool {
        self.node.input.get(place).is_none_or(String::is_empty)
    }

    fn value(&self, place: usize) -> Result<&Value, Failure> {
        let found = self.node.input.get(place).and_then(|name| self.values.get(name));
        found.ok_or_else(|| self.refuse(&format!("its input {place} is missing")))
    }

    /// The input `place` as an operand; a constant becomes one when it is first used.
    fn operand(&mut self, place: usize) -> Result<MLOperand, Failure> {
        let tensor = match self.value(place)? {
            Value::Operand(operand) => return Ok(*operand),
            Value::Constant(tensor) => tensor,
        };
        let bytes = floats(tensor).ok_or_else(|| self.refuse("a constant is not float32, or in another file"))?;
        let shape = tensor.dims.iter().map(|&side| u64::try_from(side).unwrap_or(0)).collect();
        let made = self.builder.constant_from_bytes(&MLOperandDescriptor::new(Float32, shape), bytes);
        let operand = made.map_err(|error| self.refuse(&error.to_string()))?;
        self.values.insert(self.node.input[place].clone(), Value::Operand(operand));
        Ok(operand)
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.node.attribute.iter().find(|attribute| attribute.name == name)
    }

    fn size(&self, name: &str, default: u32) -> Result<u32, Failure> {
        let found = self.attribute(name).map_or(Ok(default), |attribute| u32::try_from(attribute.i));
        found.map_err(|_| self.refuse(&format!("its {name} is negative")))
    }

    fn sizes(&self, name: &str) -> Result<Vec<u32>, Failure> {
        let numbers = self.attribute(name).map_or(&[][..], |attribute| &attribute.ints);
        let found: Result<_, _> = numbers.iter().map(|&number| u32::try_from(number)).collect();
        found.map_err(|_| self.refuse(&format!("its {name} are negative")))
    }

    fn refuse(&self, reason: &str) -> Failure {
        let NodeProto { op_type, name, .. } = self.node;
        unsupported(format!("operator {op_type} (node '{name}') has no equivalent in WebNN: {reason}"))
    }
}

/// The elements of a float32 tensor as little-endian bytes; `None` for other types, and for external data.
fn floats(tensor: &TensorProto) -> Option<Vec<u8>> {
    if tensor.data_type != FLOAT || !tensor.external_data.is_empty() {
        return None;
    }
    let plain = || tensor.float_data.iter().flat_map(|element| element.to_le_bytes()).collect();
    Some(if tensor.raw_data.is_empty() { plain() } else { tensor.raw_data.clone() })
}

#[allow(clippy::needless_pass_by_value)] // an argument of map_err
fn unsupported(what: impl std::fmt::Display) -> Failure {
    let message = what.to_string();
    let line = message.lines().next().unwrap_or_default();
    Failure::new("model-unsupported", line, "use the target webnn-compute or ort-rust; see docs/webnn.md")
}
