//! Rows that one thread owns, or that all threads write to without order (hogwild).

use std::marker::PhantomData;

/// A table of equally wide rows that a training step may change.
pub trait Table {
    /// The `width` values of a row.
    fn row(&mut self, row: u32, width: usize) -> &mut [f32];
}

/// Rows that nobody else can see.
pub struct Owned<'a>(pub &'a mut [f32]);

impl Table for Owned<'_> {
    #[inline(always)]
    fn row(&mut self, row: u32, width: usize) -> &mut [f32] {
        &mut self.0[row as usize * width..][..width]
    }
}

/// Rows that other threads change at the same time (Recht et al., "Hogwild!", 2011).
///
/// The one type of the crate that breaks the rules on purpose: updates of one row by two threads may be lost or
/// mixed, which stochastic gradient descent bears and the caller opted into. Values are plain `f32` read and written
/// by aligned machine words, so no value can be torn.
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    table: PhantomData<&'a mut [f32]>,
}

// SAFETY: sending or sharing the pointer is the purpose of the type; see there for what its users accept.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Borrows the table for as long as any handle lives.
    pub fn new(table: &'a mut [f32]) -> Self {
        Self { start: table.as_mut_ptr(), len: table.len(), table: PhantomData }
    }

    /// Another handle to the same rows.
    pub fn handle(&self) -> Self {
        Self { start: self.start, len: self.len, table: PhantomData }
    }
}

impl Table for Shared<'_> {
    #[inline(always)]
    fn row(&mut self, row: u32, width: usize) -> &mut [f32] {
        let begin = row as usize * width;
        assert!(begin + width <= self.len);
        // SAFETY: inside the table that `new` borrowed for `'a`; races on its values are accepted (see the type).
        unsafe { std::slice::from_raw_parts_mut(self.start.add(begin), width) }
    }
}
