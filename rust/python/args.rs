//! Arguments from Python, checked: a value that does not fit is an `ArgumentError` of that argument.

use numpy::{Element, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;

use crate::cluster::params::{Init, Method, Metric};
use crate::codes::unique::Unique;
use crate::error::{Error, Result};
use crate::limits::{reserved, within};
use crate::matrix::Rows;

/// Makes an enum an argument that is one of some words.
macro_rules! words {
    ($type:ty, $argument:literal, $($word:literal => $value:expr),+ $(,)?) => {
        impl<'py> FromPyObject<'_, 'py> for $type {
            type Error = PyErr;

            fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
                match object.extract::<&str>() {
                    $(Ok($word) => Ok($value),)+
                    _ => {
                        let words = [$($word),+].join(", ");
                        let message = format!("expected one of {words}, got {}", object.repr()?);
                        Err(Error::invalid($argument, message).into())
                    }
                }
            }
        }
    };
}

words!(Metric, "metric", "euclidean" => Metric::Euclidean, "cosine" => Metric::Cosine);
words!(Init, "init", "k-means++" => Init::PlusPlus, "random" => Init::Random);
words!(Method, "method", "residual" => Method::Residual, "tree" => Method::Tree, "flat+rank" => Method::FlatRank);
words!(
    Unique, "unique",
    "assignment" => Unique::Assignment,
    "nearest" => Unique::Nearest,
    "counter" => Unique::Counter,
    "none" => Unique::None,
    "rank" => Unique::Rank,
);

/// A whole number, whatever its size: one that 128 bits cannot hold is the largest or least of them, which every bound
/// refuses. So all numbers out of range are `ArgumentError`s, and none an `OverflowError`.
#[derive(Clone, Copy)]
pub(super) struct Int(i128);

impl<'py> FromPyObject<'_, 'py> for Int {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<i128>() {
            Ok(value) => Ok(Self(value)),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                Ok(Self(if object.lt(0)? { i128::MIN } else { i128::MAX }))
            }
            Err(error) => Err(error),
        }
    }
}

impl Int {
    /// The number, where it is `least` or more and `most` or less.
    pub fn within(self, argument: &'static str, least: i64, most: i64) -> Result<i64> {
        within(argument, self.0, least, most)
    }

    /// A seed.
    pub fn seed(self) -> Result<u64> {
        self.within("seed", 0, i64::MAX).map(|seed| seed as u64)
    }

    /// A number of at least `least` that sizes nothing.
    pub fn count(self, argument: &'static str, least: i64) -> Result<usize> {
        self.within(argument, least, i64::MAX).map(|count| count as usize)
    }

    /// A number of which the core knows the bounds: too large for all of them where 64 bits cannot hold it.
    pub fn clamped(self) -> i64 {
        self.0.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }
}

/// A number; one that 64 bits cannot hold is infinite, which every bound refuses.
#[derive(Clone, Copy)]
pub(super) struct Real(pub f64);

impl<'py> FromPyObject<'_, 'py> for Real {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<f64>() {
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => Ok(Self(f64::INFINITY)),
            found => found.map(Self),
        }
    }
}

/// Tokens of each level; `cluster::fit` checks the numbers.
pub(super) struct Levels(pub Vec<usize>);

impl<'py> FromPyObject<'_, 'py> for Levels {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        object.extract().map(Self).or_else(|_| {
            let message = format!("expected level sizes of at least 1 like [256, 64], got {}", object.repr()?);
            Err(Error::invalid("levels", message).into())
        })
    }
}

/// Fails unless something holds.
pub(super) fn expect(holds: bool, argument: &'static str, message: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::invalid(argument, message)) }
}

const CONTIGUOUS: &str = "expected a C-contiguous array, as numpy.ascontiguousarray gives";

/// Values of a contiguous array.
pub(super) fn slice<'a, T: Element>(array: &'a PyReadonlyArray1<'_, T>, argument: &'static str) -> Result<&'a [T]> {
    array.as_slice().map_err(|_| Error::invalid(argument, CONTIGUOUS))
}

/// The values of a contiguous array, copied: a view whose steps are 0 claims more of them than any memory holds.
pub(super) fn copied<T: Element + Copy>(array: &PyReadonlyArray1<'_, T>, argument: &'static str) -> Result<Vec<T>> {
    let given = slice(array, argument)?;
    let mut values = reserved(argument, Some(given.len()))?;
    values.extend_from_slice(given);
    Ok(values)
}

/// Fails unless an array of truth values is contiguous and every byte of it is 0 or 1: any other is none in Rust.
pub(super) fn check_truths(array: &PyReadonlyArray1<'_, bool>, argument: &'static str) -> PyResult<()> {
    // Before its bytes are looked at: a view whose steps are 0 can claim 2^60 of them.
    expect(array.is_c_contiguous(), argument, CONTIGUOUS)?;
    let bytes: PyReadonlyArray1<'_, u8> = array.call_method1("view", ("uint8",))?.extract()?;
    let sound = bytes.as_array().iter().all(|&byte| byte <= 1);
    Ok(expect(sound, argument, "expected truth values, each 0 or 1")?)
}

/// Row-major values of a C-contiguous array.
pub(super) fn table<'a, T: Element>(array: &'a PyReadonlyArray2<'_, T>, argument: &'static str) -> Result<&'a [T]> {
    // Fortran's order is contiguous, too, and would be read as the transposed.
    let rows = if array.is_c_contiguous() { array.as_slice().ok() } else { None };
    rows.ok_or_else(|| Error::invalid(argument, CONTIGUOUS))
}

/// Rows of a C-contiguous array.
pub(super) fn rows<'a>(x: &'a PyReadonlyArray2<'_, f32>, argument: &'static str) -> Result<Rows<'a>> {
    let shape = x.shape();
    if shape[0] == 0 || shape[1] == 0 {
        return Err(Error::invalid(argument, format!("expected at least one row and one column, got {shape:?}")));
    }
    Ok(Rows::new(table(x, argument)?, shape[1]))
}
