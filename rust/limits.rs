//! Bounds of what an argument may ask for: every number that sizes something is held against one of these before anything
//! is allocated.

use crate::error::{Error, Result};

/// Walks, nodes in a walk, dimensions and the like that an argument may ask for.
pub const MOST: i64 = 1 << 20;

/// An integer that must be `least` or more and `most` or less.
pub fn within(argument: &'static str, value: i128, least: i64, most: i64) -> Result<i64> {
    match i64::try_from(value) {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => {
            let bound = if most == i64::MAX { String::new() } else { format!(" and at most {most}") };
            Err(Error::invalid(argument, format!("expected an integer of at least {least}{bound}, got {value}")))
        }
    }
}

/// An integer that must be `least` or more (and at most [`MOST`] unless it is the seed).
pub fn at_least(argument: &'static str, value: i64, least: i64) -> Result<u64> {
    let most = if argument == "seed" { i64::MAX } else { MOST };
    within(argument, value.into(), least, most).map(|value| value as u64)
}

/// The error where memory is short.
fn short(argument: &'static str) -> Error {
    Error::invalid(argument, "needs more memory than there is; give a smaller number")
}

/// An empty vector with room for `size` values (`None`: more than can be counted); an error where memory is short.
pub fn reserved<T>(argument: &'static str, size: Option<usize>) -> Result<Vec<T>> {
    let mut values = Vec::new();
    match size.map(|size| values.try_reserve_exact(size)) {
        Some(Ok(())) => Ok(values),
        _ => Err(short(argument)),
    }
}

/// Fails unless the system would give as many bytes as the product of some counts, at once. What is allocated piece by
/// piece ends the process where there is no memory for it, so it is asked for before, as a whole.
pub fn check_room(argument: &'static str, counts: &[usize]) -> Result<()> {
    let bytes = counts.iter().try_fold(1usize, |product, &count| product.checked_mul(count));
    reserved::<u8>(argument, bytes).map(drop)
}

/// Within these the squares of values, and sums of them, are ordinary f32 numbers.
const VALUES: (f32, f32) = (1e-15, 1e15);

/// Fails where the largest value of some rows has a square that f32 cannot hold or, where they are `fitted`, cannot tell
/// from zero. NaN is no value here.
pub fn check_range(argument: &'static str, largest: f32, fitted: bool) -> Result<()> {
    let (least, most) = VALUES;
    if largest <= most && !(fitted && largest > 0.0 && largest < least) {
        return Ok(());
    }
    if !largest.is_finite() {
        return Err(Error::invalid(argument, format!("expected finite numbers, got {largest}")));
    }
    let power = -f64::from(largest).log10().floor();
    let message = format!(
        "expected the largest value to be within {least:e} and {most:e}, got {largest:e}, whose square float32 cannot \
         hold; multiply the vectors by 1e{power}"
    );
    Err(Error::invalid(argument, message))
}

/// The largest absolute value; NaN where one is NaN.
#[inline]
pub fn largest(values: &[f32]) -> f32 {
    // Without their signs, floats are ordered as integers are, NaN behind infinity.
    f32::from_bits(values.iter().fold(0, |most, value| most.max(value.to_bits() & 0x7fff_ffff)))
}

/// The larger of two values without signs, NaN if one is.
#[inline]
pub fn larger(a: f32, b: f32) -> f32 {
    f32::from_bits(a.to_bits().max(b.to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_held_within_their_bounds() {
        assert_eq!(within("seed", 5, 0, i64::MAX).unwrap(), 5);
        for value in [-1, 1 << 63, i128::MAX, i128::MIN] {
            assert!(
                within("seed", value, 0, i64::MAX).unwrap_err().to_string().starts_with("seed: expected an integer")
            );
        }
        assert!(within("dim", 1 << 21, 1, MOST).unwrap_err().to_string().contains("at least 1 and at most 1048576"));
    }

    #[test]
    fn memory_that_nobody_has_is_refused() {
        assert!(check_room("levels", &[1 << 20, 8]).is_ok());
        for counts in [&[1 << 40, 1 << 20][..], &[usize::MAX, 2], &[usize::MAX]] {
            assert!(check_room("levels", counts).unwrap_err().to_string().starts_with("levels: needs more memory"));
        }
    }

    #[test]
    fn values_whose_squares_are_none_are_refused() {
        assert_eq!(largest(&[1.0, -3.0, 2.0]), 3.0);
        assert_eq!(largest(&[]), 0.0);
        assert!(largest(&[1.0, f32::NAN, f32::INFINITY]).is_nan());
        for good in [0.0, 1e-15, 1.0, 1e15] {
            assert!(check_range("x", good, true).is_ok());
        }
        assert!(check_range("x", 1e-30, false).is_ok());
        assert!(check_range("x", 1e-30, true).unwrap_err().to_string().ends_with("multiply the vectors by 1e30"));
        assert!(check_range("x", 1.5e20, false).unwrap_err().to_string().ends_with("multiply the vectors by 1e-20"));
        assert!(check_range("x", f32::NAN, false).is_err() && check_range("x", f32::INFINITY, false).is_err());
    }
}
