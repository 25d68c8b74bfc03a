//! What a caller gives a model: Python's objects as ONNX Runtime's values.

use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use ort::environment::Environment;
use ort::value::ValueType;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMapping, PyString};
use runoff_core::Error;
use runoff_core::dtype::Dtype;
use runoff_core::session::{Session, ValueInfo, empty_sequence, show_shape};
use runoff_core::value::{Dimensions, Value};
use smallvec::SmallVec;

use crate::array::{self, InPlace};
use crate::errors::mismatch;
use crate::runtime;

/// One for each input, or output: few models have more than four.
pub type Few<T> = SmallVec<[T; 4]>;

/// Something for one input.
enum Feed<'py> {
    /// Numbers, which are not copied.
    Array(Bound<'py, PyUntypedArray>, Dtype),
    Strings(Dimensions, Vec<String>),
    List(Vec<Self>),
    /// A list of nothing, of tensors.
    Empty(Environment, Dtype),
    /// Keys and values.
    Map(Box<[Self; 2]>),
}

/// What was given for all inputs.
pub struct Feeds<'py> {
    /// Inputs of the session, in the order of `given`.
    pub places: Few<usize>,
    given: Few<Feed<'py>>,
}

impl<'py> Feeds<'py> {
    /// Reads `feeds`, a mapping, for the inputs of `session`; each fits its input afterwards, and none is missing.
    pub fn read(session: &Session, feeds: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = feeds.py();
        let feeds = dictionary(feeds, "feeds")?;
        let mut read = Self { places: Few::new(), given: Few::new() };
        for (name, value) in feeds.iter() {
            let place = session.input(text(&name)?).map_err(|error| mismatch(py, &error))?;
            let info = session.input_at(place);
            if value.is_none() && matches!(info.value, ValueType::Optional(_)) {
                continue;
            }
            let feed = Feed::read(info, &info.value, value)?;
            if info.dtype.is_some() {
                feed.check(session, place).map_err(|error| mismatch(py, &error))?;
            }
            read.places.push(place);
            read.given.push(feed);
        }
        session.check_all_given(&read.places).map_err(|error| mismatch(py, &error))?;
        Ok(read)
    }

    /// The values, which lie where the objects are.
    pub fn values(&self) -> Result<Few<Value<'_>>, Error> {
        self.given.iter().map(Feed::value).collect()
    }

    /// Which memory is read in place.
    pub fn in_place(&self) -> InPlace {
        let mut all = InPlace::default();
        self.given.iter().for_each(|feed| feed.note(&mut all));
        all
    }
}

impl<'py> Feed<'py> {
    /// Reads `value`, or a part of it, as what the info takes, or a part of that.
    fn read(info: &ValueInfo, kind: &ValueType, value: Bound<'py, PyAny>) -> PyResult<Self> {
        match kind {
            ValueType::Tensor { ty, .. } => Self::tensor(info, Dtype::from_onnx((*ty).into()), &value),
            ValueType::Sequence(item) => {
                let list = value.cast_into::<PyList>().map_err(|error| wrong(info, &class(&error.into_inner())))?;
                if list.is_empty() {
                    return Self::empty(info, item, list.py());
                }
                list.iter().map(|value| Self::read(info, item, value)).collect::<PyResult<_>>().map(Self::List)
            }
            ValueType::Map { key, value: item } => {
                let map = value.cast_into::<PyDict>().map_err(|error| wrong(info, &class(&error.into_inner())))?;
                let column = |list: &Bound<'py, PyList>, kind| Self::column(info, Dtype::from_onnx(kind), list);
                Ok(Self::Map(Box::new([column(&map.keys(), (*key).into())?, column(&map.values(), (*item).into())?])))
            }
            ValueType::Optional(kind) => Self::read(info, kind, value),
        }
    }

    /// Reads a list of nothing.
    fn empty(info: &ValueInfo, item: &ValueType, py: Python<'py>) -> PyResult<Self> {
        let ValueType::Tensor { ty, .. } = item else {
            return Err(wrong(info, "an empty list"));
        };
        let dtype = Dtype::from_onnx((*ty).into()).ok_or_else(|| wrong(info, "an empty list"))?;
        Ok(Self::Empty(runtime::environment(py)?, dtype))
    }

    /// Reads an array, or what can be seen as one.
    fn tensor(info: &ValueInfo, expected: Option<Dtype>, value: &Bound<'py, PyAny>) -> PyResult<Self> {
        let array = match array::cast(value)? {
            Some(array) => array.clone(),
            None => exchanged(info, value)?,
        };
        match array::dtype(&array)? {
            Some(dtype) if expected != Some(dtype) => Err(wrong(info, &shown(&array))),
            None => Err(wrong(info, &shown(&array))),
            Some(Dtype::Str) => Ok(Self::Strings(array::dimensions(&array), texts(info, array.as_any())?)),
            Some(dtype) if array::is_plain(&array) => Ok(Self::Array(array, dtype)),
            Some(dtype) => Ok(Self::Array(array::to_plain(&array)?, dtype)),
        }
    }

    /// Reads the keys or the values of a map.
    fn column(info: &ValueInfo, dtype: Option<Dtype>, list: &Bound<'py, PyList>) -> PyResult<Self> {
        let dtype = dtype.ok_or_else(|| wrong(info, "a dict"))?;
        if dtype == Dtype::Str {
            let dims = Dimensions::from_slice(&[i64::try_from(list.len()).unwrap_or(i64::MAX)]);
            let texts = list.iter().map(|text| string(info, &text)).collect::<PyResult<_>>()?;
            return Ok(Self::Strings(dims, texts));
        }
        let column = array::from_numbers(list, dtype).map_err(|error| {
            let raised = wrong(info, &format!("one with other types in it: {error}"));
            raised.set_cause(list.py(), Some(error));
            raised
        })?;
        Self::tensor(info, Some(dtype), &column)
    }

    fn check(&self, session: &Session, place: usize) -> Result<(), Error> {
        match self {
            Self::Array(array, dtype) => session.check_tensor(place, *dtype, &array::dimensions(array)),
            Self::Strings(dims, _) => session.check_tensor(place, Dtype::Str, dims),
            Self::List(_) | Self::Empty(..) | Self::Map(_) => Ok(()),
        }
    }

    fn value(&self) -> Result<Value<'_>, Error> {
        match self {
            Self::Array(array, dtype) => array::tensor(array, *dtype),
            Self::Strings(dims, texts) => Value::strings(dims, texts),
            Self::List(items) => Value::sequence(&items.iter().map(Self::value).collect::<Result<Vec<_>, _>>()?),
            Self::Empty(environment, dtype) => empty_sequence(environment, *dtype),
            Self::Map(columns) => Value::map(columns[0].value()?, columns[1].value()?),
        }
    }

    fn note(&self, all: &mut InPlace) {
        match self {
            Self::Array(array, dtype) => all.add(array, *dtype),
            Self::Strings(..) | Self::Empty(..) => {}
            Self::List(items) => items.iter().for_each(|item| item.note(all)),
            Self::Map(columns) => columns.iter().for_each(|column| column.note(all)),
        }
    }
}

/// Sees a mapping as a dictionary.
pub fn dictionary<'py>(mapping: &Bound<'py, PyAny>, name: &str) -> PyResult<Bound<'py, PyDict>> {
    if let Ok(dict) = mapping.cast_exact::<PyDict>() {
        return Ok(dict.clone());
    }
    let given = || PyTypeError::new_err(format!("{name} is a mapping from names to values, not {}", class(mapping)));
    let dict = PyDict::new(mapping.py());
    dict.update(mapping.cast::<PyMapping>().map_err(|_| given())?)?;
    Ok(dict)
}

/// A name that is a key of a dictionary.
pub fn text<'a>(name: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    let wrong = |_| PyTypeError::new_err(format!("a name is a str, not {}", class(name)));
    name.cast::<PyString>().map_err(wrong)?.to_str()
}

/// Takes over a tensor of another library, on the CPU and without a copy.
fn exchanged<'py>(info: &ValueInfo, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = value.py();
    if !value.hasattr(intern!(py, "__dlpack__"))? {
        return Err(wrong(info, &class(value)));
    }
    let array = array::numpy(py, "from_dlpack", value, None).map_err(|error| {
        let raised = wrong(info, &format!("{} that NumPy cannot take over: {error}", class(value)));
        raised.set_cause(py, Some(error));
        raised
    })?;
    Ok(array.cast_into()?)
}

/// The strings of an array, in C order.
fn texts(info: &ValueInfo, array: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let list = array.call_method0("flatten")?.call_method0("tolist")?.cast_into::<PyList>()?;
    list.iter().map(|text| string(info, &text)).collect()
}

fn string(info: &ValueInfo, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let text = value.cast::<PyString>().map_err(|_| wrong(info, &format!("{} among strings", class(value))))?;
    Ok(text.to_str()?.to_owned())
}

/// The error for `given` where the input takes something else.
pub fn wrong(info: &ValueInfo, given: &str) -> PyErr {
    PyTypeError::new_err(format!("{:?} takes {}, not {given}", info.name, expected(info)))
}

fn expected(info: &ValueInfo) -> String {
    match (&info.value, info.dtype) {
        (_, Some(_)) if info.shape.is_empty() => format!("an array of {}", info.kind),
        (_, Some(_)) => format!("an array of {} of shape {}", info.kind, show_shape(&info.shape)),
        (ValueType::Sequence(_), _) => format!("a list that makes a {}", info.kind),
        (ValueType::Map { .. }, _) => format!("a dict that makes a {}", info.kind),
        _ => format!("a {}", info.kind),
    }
}

/// Describes an array for a message.
pub fn shown(array: &Bound<'_, PyUntypedArray>) -> String {
    format!("an array of {} of shape {:?}", array.dtype(), array.shape())
}

/// Describes an object that is no array.
pub fn class(value: &Bound<'_, PyAny>) -> String {
    value.get_type().fully_qualified_name().map_or_else(|_| "this".to_owned(), |name| name.to_string())
}
