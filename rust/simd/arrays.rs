//! Arrays of numbers that routines go through in whole steps, and that the compiler keeps in registers: written without
//! branches and by copies, since it does not vectorise over memory that two arguments might share. All of it is inlined
//! into a [`super::Job`], whose instruction set it takes.

/// Values that one step handles.
pub(crate) const LANES: usize = 8;
/// Values that a search for one of them passes over at once.
const WIDE: usize = 32;

/// The smaller of each two.
#[inline(always)]
pub(crate) fn smaller<const N: usize>(a: [f64; N], b: [f64; N]) -> [f64; N] {
    std::array::from_fn(|j| if a[j] < b[j] { a[j] } else { b[j] })
}

/// The larger of each two.
#[inline(always)]
pub(crate) fn larger<const N: usize>(a: [f64; N], b: [f64; N]) -> [f64; N] {
    std::array::from_fn(|j| if a[j] > b[j] { a[j] } else { b[j] })
}

/// The least of some values.
#[inline(always)]
pub(crate) fn least(values: [f64; LANES]) -> f64 {
    values.into_iter().fold(f64::INFINITY, f64::min)
}

/// First place of a value from `begin` on.
#[inline(always)]
pub(crate) fn position(values: &[f64], value: f64, begin: usize) -> Option<usize> {
    let skip = begin / WIDE * WIDE;
    let found = |j: &usize| *j >= begin && values[*j] == value;
    let (chunks, end) = values[skip..].as_chunks::<WIDE>();
    for (c, chunk) in chunks.iter().enumerate() {
        let equal = chunk.iter().fold(0u32, |equal, &v| equal | u32::from(v == value));
        if equal != 0 {
            let at = skip + c * WIDE;
            if let Some(place) = (at..at + WIDE).find(found) {
                return Some(place);
            }
        }
    }
    (values.len() - end.len()..values.len()).find(found)
}
