//! Tables that one thread owns, or that all threads write to without order (hogwild).

use std::marker::PhantomData;

use crate::skipgram::simd::LANES;

/// A table of rows that a training step may change, seen as strips.
pub trait Table {
    /// The strip that begins at a place of the table.
    fn strip(&mut self, at: usize) -> &mut [f32; LANES];

    /// Where the table begins, for prefetching; never read through.
    fn start(&self) -> *const f32;
}

/// A table that nobody else can see.
pub struct Owned<'a>(pub &'a mut [f32]);

impl Table for Owned<'_> {
    #[inline(always)]
    fn strip(&mut self, at: usize) -> &mut [f32; LANES] {
        self.0[at..].first_chunk_mut().expect("rows are padded to whole strips")
    }

    #[inline(always)]
    fn start(&self) -> *const f32 {
        self.0.as_ptr()
    }
}

/// A table that other threads change at the same time (Recht et al., "Hogwild!", 2011).
///
/// The one type of the crate that breaks the rules on purpose: updates of one row by two threads may be lost or
/// mixed, which stochastic gradient descent bears and the caller opted into. Values are plain `f32`, read and written
/// as aligned machine words, so that none is torn.
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    table: PhantomData<&'a mut [f32]>,
}

// SAFETY: sending and sharing the pointer is the purpose of the type; see there for what its users accept.
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
    fn strip(&mut self, at: usize) -> &mut [f32; LANES] {
        assert!(at < self.len && at + LANES <= self.len);
        // SAFETY: inside the table that `new` borrowed for `'a`; races on its values are accepted (see the type).
        unsafe { &mut *self.start.add(at).cast() }
    }

    #[inline(always)]
    fn start(&self) -> *const f32 {
        self.start
    }
}
