//! Large pages for tables whose rows are read in no order.
//!
//! A processor keeps the places of some thousand pages at hand. On pages of 4 KB a table of tens of megabytes has more,
//! and nearly every row that is read is looked up anew; on pages of 2 MB it has a few dozen.

/// Smallest piece of memory that is worth asking for, and the size of a large page.
const LARGE: usize = 1 << 21;

/// Room for `len` values, on large pages where the system has them to give; nothing but speed depends on that.
pub fn roomy<T>(len: usize) -> Vec<T> {
    let values = Vec::with_capacity(len);
    advise(values.as_ptr() as usize, len * size_of::<T>());
    values
}

/// As many zeros, on large pages where the system has them to give.
pub fn zeros<T: Clone + Default>(len: usize) -> Vec<T> {
    let mut values = roomy(len);
    values.resize(len, T::default());
    values
}

/// Asks for large pages in the whole pieces of a range that has not been written to.
#[cfg(target_os = "linux")]
fn advise(address: usize, bytes: usize) {
    use std::ffi::{c_int, c_void};
    unsafe extern "C" {
        fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
    }
    const HUGE_PAGE: c_int = 14;
    let (begin, end) = (address.next_multiple_of(LARGE), (address + bytes) / LARGE * LARGE);
    if begin < end {
        // SAFETY: the pieces lie within memory that the caller owns, and the hint does not change what it holds. A
        // system that refuses goes on as before, so its answer does not matter.
        unsafe { madvise(begin as *mut c_void, end - begin, HUGE_PAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_address: usize, _bytes: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_stays() {
        for len in [0, 1, 1000, 3 * LARGE] {
            let mut values = roomy::<u32>(len);
            values.extend(0..len as u32);
            assert!(values.len() == len && values.iter().enumerate().all(|(k, &value)| k == value as usize));
        }
    }
}
