//! The inputs and outputs of a model that a request uses.

use runoff_core::protocol::ModelFile;
use runoff_core::tensor_file;
use runoff_session::{Dtype, Error, Session, TensorSpec, ValueInfo, ValueType};

/// Places of inputs, in graph order, and of outputs, in the order in which the request names them.
#[derive(Debug)]
pub struct Chosen {
    pub inputs: Vec<usize>,
    pub outputs: Vec<usize>,
}

impl Chosen {
    /// Chooses all inputs except optional ones without a name in `model`, and its outputs, or if there are none, all that
    /// are tensors. `is_on_device`: they are in the memory of a device, which holds no strings.
    ///
    /// # Errors
    ///
    /// `type-unsupported` for one that tensor files do not hold; `model-mismatch`.
    pub fn of(session: &Session, model: &ModelFile, is_on_device: bool) -> Result<Self, Error> {
        let check = |what: &str, info: &ValueInfo| {
            let own = info.dtype.filter(|&own| tensor_file::has(own) && !(is_on_device && own == Dtype::Str));
            own.map(drop).ok_or_else(|| tensor_file::unsupported(what, &info.name, &info.kind))
        };
        let is_named = |info: &ValueInfo| model.inputs.iter().any(|spec| spec.name == info.name);
        let is_used = |info: &ValueInfo| is_named(info) || !matches!(info.value, ValueType::Optional(_));
        let inputs = places(session.inputs(), is_used);
        inputs.iter().try_for_each(|&place| check("input", &session.inputs()[place]))?;
        session.check_inputs(&model.inputs)?;
        let named = model.outputs.iter().map(|spec| session.output(&spec.name)).collect::<Result<Vec<_>, _>>()?;
        let tensors = places(session.outputs(), |info| matches!(info.value, ValueType::Tensor(_)));
        // without any tensor, the first output is the one to be named
        let first = (0..session.outputs().len().min(1)).collect();
        let outputs = [named, tensors, first].into_iter().find(|places| !places.is_empty()).unwrap_or_default();
        outputs.iter().try_for_each(|&place| check("output", &session.outputs()[place]))?;
        Ok(Self { inputs, outputs })
    }

    /// The inputs, as the model's file has them.
    pub fn inputs(&self, session: &Session) -> Vec<TensorSpec> {
        self.inputs.iter().map(|&place| session.inputs()[place].spec()).collect()
    }

    /// Descriptions of the outputs.
    pub fn outputs<'s>(&self, session: &'s Session) -> impl Iterator<Item = &'s ValueInfo> {
        self.outputs.iter().map(|&place| &session.outputs()[place])
    }
}

fn places(infos: &[ValueInfo], is_chosen: impl Fn(&ValueInfo) -> bool) -> Vec<usize> {
    infos.iter().enumerate().filter(|(_, info)| is_chosen(info)).map(|(place, _)| place).collect()
}
