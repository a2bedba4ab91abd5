//! Tables that one thread owns, or that all threads write to without order (hogwild).

use std::marker::PhantomData;

use crate::skipgram::strip::Line;

/// A table of rows that a training step may change.
pub trait Table {
    /// The address of `count` lines from place `at`; panics where they are not all inside.
    fn lines(&mut self, at: usize, count: usize) -> *mut Line;

    /// Where the table begins, for prefetching; never read through.
    fn start(&self) -> *const Line;
}

/// A table that nobody else can see.
pub struct Owned<'a>(pub &'a mut [Line]);

impl Table for Owned<'_> {
    #[inline(always)]
    fn lines(&mut self, at: usize, count: usize) -> *mut Line {
        self.0[at..at + count].as_mut_ptr()
    }

    #[inline(always)]
    fn start(&self) -> *const Line {
        self.0.as_ptr()
    }
}

/// A table that other threads change at the same time (Recht et al., "Hogwild!", 2011).
///
/// The one type of the crate that breaks the rules on purpose: updates of one row by two threads may be lost or
/// mixed, which stochastic gradient descent bears and the caller opted into. Values are plain `f32`, read and written
/// through pointers as aligned machine words, so that none is torn; no reference to a row ever exists.
pub struct Shared<'a> {
    start: *mut Line,
    len: usize,
    table: PhantomData<&'a mut [Line]>,
}

// SAFETY: sending and sharing the pointer is the purpose of the type; see there for what its users accept.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Borrows the table for as long as any handle lives.
    pub fn new(table: &'a mut [Line]) -> Self {
        Self { start: table.as_mut_ptr(), len: table.len(), table: PhantomData }
    }

    /// Another handle to the same rows.
    pub fn handle(&self) -> Self {
        Self { start: self.start, len: self.len, table: PhantomData }
    }
}

impl Table for Shared<'_> {
    #[inline(always)]
    fn lines(&mut self, at: usize, count: usize) -> *mut Line {
        assert!(at < self.len && count <= self.len - at);
        // SAFETY: inside the table that `new` borrowed for `'a`; races on its values are accepted (see the type).
        unsafe { self.start.add(at) }
    }

    #[inline(always)]
    fn start(&self) -> *const Line {
        self.start
    }
}
