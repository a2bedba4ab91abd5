//! Checks of rows of different lengths that lie one behind the other.

use crate::error::{Error, Result};

/// Whether `offsets` divide `0..len` into ranges.
pub fn divide(offsets: &[i64], len: usize) -> bool {
    offsets.first() == Some(&0) && offsets.last() == Some(&(len as i64)) && offsets.is_sorted()
}

/// Fails unless all are rows of a catalogue of `n` items.
pub fn check_items(argument: &'static str, items: &[i32], n: usize) -> Result<()> {
    match items.iter().find(|&&item| item < 0 || item as usize >= n) {
        Some(item) => {
            let last = n as i64 - 1;
            Err(Error::invalid(argument, format!("expected item rows from 0 to {last}, got {item}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_go_from_zero_to_the_end() {
        assert!(divide(&[0], 0) && divide(&[0, 0, 3], 3));
        for offsets in [&[][..], &[1, 3], &[0, 2], &[0, 4, 3], &[0, -1, 3]] {
            assert!(!divide(offsets, 3), "{offsets:?}");
        }
    }

    #[test]
    fn items_are_rows_of_the_catalogue() {
        assert!(check_items("seen", &[0, 4, 2], 5).is_ok() && check_items("seen", &[], 0).is_ok());
        for items in [[-1], [5]] {
            let said = check_items("seen", &items, 5).expect_err("none").to_string();
            assert!(said.contains("item rows from 0 to 4"), "{said}");
        }
    }
}
