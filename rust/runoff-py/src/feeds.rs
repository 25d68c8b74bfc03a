//! What a caller gives a model: Python's objects as ONNX Runtime's values.

use std::cell::RefCell;

use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyBufferError, PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMapping, PyString};
use runoff_session::dlpack::{Device, Imported};
use runoff_session::{
    Dimensions, Dtype, Environment, Error, Session, Value, ValueInfo, ValueType, empty_sequence, show_shape,
};
use smallvec::SmallVec;

use crate::errors::{bad_argument, mismatch};
use crate::held::{Held, InPlace};
use crate::{array, dlpack, runtime};

/// One for each input, or output: few models have more than four.
pub type Few<T> = SmallVec<[T; 4]>;

/// Keys and values.
pub type Pairs<'py> = Few<(Bound<'py, PyAny>, Bound<'py, PyAny>)>;

/// Something for one input.
enum Feed<'py> {
    /// Numbers, which are not copied.
    Array(Held<'py>),
    /// Numbers of another library, in the session's memory.
    There(Imported),
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
        Self::read_from(session, feeds, None)
    }

    /// As [`Self::read`]; tensors that lie in `memory` are taken as they are, and must not be looked at.
    pub fn read_from(session: &Session, feeds: &Bound<'py, PyAny>, memory: Option<Device>) -> PyResult<Self> {
        let py = feeds.py();
        let mut read = Self { places: Few::new(), given: Few::new() };
        for (name, value) in items(feeds, "feeds")? {
            let place = session.input(text(&name)?).map_err(|error| mismatch(py, &error))?;
            if read.places.contains(&place) {
                return Err(twice(&name));
            }
            let info = session.input_at(place);
            if value.is_none() && matches!(info.value, ValueType::Optional(_)) {
                continue;
            }
            let feed = match memory.map_or(Ok(None), |memory| dlpack::import(&value, memory))? {
                Some(tensor) if info.dtype == Some(tensor.dtype) => Feed::There(tensor),
                Some(tensor) => return Err(wrong(info, &format!("{} of {}", class(&value), tensor.dtype.name()))),
                None => Feed::read(info, &info.value, value)?,
            };
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
            ValueType::Tensor(dtype) => Self::tensor(info, *dtype, &value),
            ValueType::Sequence(item) => {
                let list = value.cast_into::<PyList>().map_err(|error| wrong(info, &class(&error.into_inner())))?;
                if list.is_empty() {
                    return Self::empty(info, item, list.py());
                }
                list.iter().map(|value| Self::read(info, item, value)).collect::<PyResult<_>>().map(Self::List)
            }
            ValueType::Map { key, value: item } => {
                let map = value.cast_into::<PyDict>().map_err(|error| wrong(info, &class(&error.into_inner())))?;
                // both first: to read a list may run Python code, which may change the dictionary
                let (keys, values) = (map.keys(), map.values());
                Ok(Self::Map(Box::new([Self::column(info, *key, &keys)?, Self::column(info, *item, &values)?])))
            }
            ValueType::Optional(kind) => Self::read(info, kind, value),
            _ => Err(wrong(info, &class(&value))),
        }
    }

    /// Reads a list of nothing.
    fn empty(info: &ValueInfo, item: &ValueType, py: Python<'py>) -> PyResult<Self> {
        let ValueType::Tensor(Some(dtype)) = item else {
            return Err(wrong(info, "an empty list"));
        };
        Ok(Self::Empty(runtime::environment(py)?, *dtype))
    }

    /// Reads an array, or what can be seen as one.
    fn tensor(info: &ValueInfo, expected: Option<Dtype>, value: &Bound<'py, PyAny>) -> PyResult<Self> {
        let array = match array::cast(value)? {
            Some(array) => array.clone(),
            None => exchanged(info, expected, value)?,
        };
        let (dtype, held) = Held::of(&array)?;
        match (dtype, held) {
            (Some(Dtype::Str), _) if expected == dtype => Self::strings(info, &array),
            (Some(_), Some(held)) if expected == dtype => Ok(Self::Array(held)),
            (Some(_), None) if expected == dtype => Self::copied(info, expected, &array),
            _ => Err(wrong(info, &shown(&array))),
        }
    }

    /// Reads an array whose elements lie otherwise than ONNX Runtime wants them.
    fn copied(info: &ValueInfo, expected: Option<Dtype>, array: &Bound<'py, PyUntypedArray>) -> PyResult<Self> {
        let copy = array::to_plain(array)?;
        match Held::of(&copy)? {
            (dtype, Some(held)) if expected == dtype => Ok(Self::Array(held)),
            _ => Err(wrong(info, &shown(&copy))),
        }
    }

    /// Copies the strings of an array.
    fn strings(info: &ValueInfo, array: &Bound<'py, PyUntypedArray>) -> PyResult<Self> {
        let dims = array::dimensions(array);
        let texts = texts(info, array.as_any())?;
        // a subclass may have methods of its own
        let count = dims.iter().try_fold(1_i64, |count, &dim| count.checked_mul(dim));
        if count.and_then(|count| usize::try_from(count).ok()) != Some(texts.len()) {
            let message =
                format!("{:?} has {} strings, which are not an array of shape {dims:?}", info.name, texts.len());
            return Err(bad_argument(array.py(), &message));
        }
        Ok(Self::Strings(dims, texts))
    }

    /// Reads the keys or the values of a map.
    fn column(info: &ValueInfo, dtype: Option<Dtype>, list: &Bound<'py, PyList>) -> PyResult<Self> {
        let dtype = dtype.ok_or_else(|| wrong(info, "a dict"))?;
        if dtype == Dtype::Str {
            let dims = Dimensions::from_slice(&[i64::try_from(list.len()).unwrap_or(i64::MAX)]);
            let texts = list.iter().map(|text| string(info, &text)).collect::<PyResult<_>>()?;
            return Ok(Self::Strings(dims, texts));
        }
        Self::tensor(info, Some(dtype), converted(info, dtype, list)?.as_any())
    }

    fn check(&self, session: &Session, place: usize) -> Result<(), Error> {
        match self {
            Self::Array(held) => session.check_tensor(place, held.view.dtype, &held.view.dims),
            Self::There(tensor) => session.check_tensor(place, tensor.dtype, &tensor.dims),
            Self::Strings(dims, _) => session.check_tensor(place, Dtype::Str, dims),
            Self::List(_) | Self::Empty(..) | Self::Map(_) => Ok(()),
        }
    }

    fn value(&self) -> Result<Value<'_>, Error> {
        match self {
            Self::Array(held) => held.value(),
            Self::There(tensor) => tensor.value(),
            Self::Strings(dims, texts) => Value::strings(dims, texts),
            Self::List(items) => Value::sequence(&items.iter().map(Self::value).collect::<Result<Vec<_>, _>>()?),
            Self::Empty(environment, dtype) => empty_sequence(environment, *dtype),
            Self::Map(columns) => Value::map(columns[0].value()?, columns[1].value()?),
        }
    }

    fn note(&self, all: &mut InPlace) {
        match self {
            Self::Array(held) => all.add(&held.view),
            Self::Strings(..) | Self::Empty(..) | Self::There(_) => {}
            Self::List(items) => items.iter().for_each(|item| item.note(all)),
            Self::Map(columns) => columns.iter().for_each(|column| column.note(all)),
        }
    }
}

/// Names and values of a mapping, as they are now: to read the values may run Python code, which may change the mapping.
pub fn items<'py>(mapping: &Bound<'py, PyAny>, name: &str) -> PyResult<Pairs<'py>> {
    let py = mapping.py();
    if let Ok(dict) = mapping.cast_exact::<PyDict>() {
        return pairs(dict);
    }
    let wrong = || PyTypeError::new_err(format!("{name} is a mapping from names to values, not {}", class(mapping)));
    let dict = PyDict::new(py);
    dict.update(mapping.cast::<PyMapping>().map_err(|_| wrong())?)?;
    pairs(&dict)
}

/// Keys and values of a dictionary, as they are now.
pub fn pairs<'py>(dict: &Bound<'py, PyDict>) -> PyResult<Pairs<'py>> {
    // Collecting runs no Python code, which could change the dictionary; without a GIL, the lock keeps threads away.
    let all = RefCell::new(Pairs::new());
    dict.locked_for_each(|name, value| {
        all.borrow_mut().push((name, value));
        Ok(())
    })?;
    Ok(all.into_inner())
}

/// The error for two values for one input or output: names may be equal and differ as keys.
pub fn twice(name: &Bound<'_, PyAny>) -> PyErr {
    bad_argument(name.py(), &format!("{name:?} is given twice"))
}

/// A name that is a key of a dictionary.
pub fn text<'a>(name: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    let wrong = |_| PyTypeError::new_err(format!("a name is a str, not {}", class(name)));
    name.cast::<PyString>().map_err(wrong)?.to_str()
}

/// Makes an array of Python's own values.
fn converted<'py>(info: &ValueInfo, dtype: Dtype, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let failed = |error| because(value.py(), info, &format!("{} with other values in it", class(value)), error);
    Ok(array::from_python(value, dtype).map_err(failed)?.cast_into()?)
}

/// The error for `given` that a failure of `NumPy`'s shows; others, as that of too deep a recursion, are not the value's.
fn because(py: Python<'_>, info: &ValueInfo, given: &str, error: PyErr) -> PyErr {
    let is_the_values = error.is_instance_of::<PyTypeError>(py)
        || error.is_instance_of::<PyValueError>(py)
        || error.is_instance_of::<PyOverflowError>(py)
        || error.is_instance_of::<PyBufferError>(py);
    if !is_the_values {
        return error;
    }
    let raised = wrong(info, &format!("{given}: {error}"));
    raised.set_cause(py, Some(error));
    raised
}

/// Takes over a tensor of another library, on the CPU and without a copy, or Python's own values.
fn exchanged<'py>(
    info: &ValueInfo,
    expected: Option<Dtype>,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = value.py();
    if let Some(dtype) = expected
        && array::is_pythons(value)?
    {
        return converted(info, dtype, value);
    }
    if !value.hasattr(intern!(py, "__dlpack__"))? {
        return Err(wrong(info, &class(value)));
    }
    let failed = |error| because(py, info, &format!("{} that NumPy cannot take over", class(value)), error);
    Ok(array::numpy(py, "from_dlpack", value, None).map_err(failed)?.cast_into()?)
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
