//! Arguments from Python, checked: a value that does not fit is an `ArgumentError` of that argument.

use numpy::{Element, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::cluster::params::{Init, Method, Metric};
use crate::codes::unique::Unique;
use crate::error::{Error, Result};
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

/// Values of a contiguous array.
pub(super) fn slice<'a, T: Element>(array: &'a PyReadonlyArray1<'_, T>, argument: &'static str) -> Result<&'a [T]> {
    array.as_slice().map_err(|_| Error::invalid(argument, "expected a contiguous array"))
}

/// Row-major values of a C-contiguous array.
pub(super) fn table<'a, T: Element>(array: &'a PyReadonlyArray2<'_, T>, argument: &'static str) -> Result<&'a [T]> {
    array.as_slice().map_err(|_| Error::invalid(argument, "expected a C-contiguous array"))
}

/// Rows of a C-contiguous array.
pub(super) fn rows<'a>(x: &'a PyReadonlyArray2<'_, f32>, argument: &'static str) -> Result<Rows<'a>> {
    let shape = x.shape();
    if shape[0] == 0 || shape[1] == 0 {
        return Err(Error::invalid(argument, format!("expected at least one row and one column, got {shape:?}")));
    }
    Ok(Rows::new(table(x, argument)?, shape[1]))
}
