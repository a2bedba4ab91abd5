//! A chunk of items of [`super::tiled`]: its exponentials with 128 states, as both factors of the products.

use std::arch::x86_64::*;
use std::f32::consts::LOG2_E;
use std::ops::Range;

use crate::matrix::Rows;
use crate::simd::lanes::{Avx512, Lanes};
use crate::simd::tiles::{Factors, GROUP, Line, SQUARE, STEP, Scores, TILE, pairs, row, split};

/// Items, and states, whose exponentials are used while they are in the cache.
pub(super) const CHUNK: usize = 128;
/// Squares, and steps, of a chunk.
pub(super) const SIDE: usize = CHUNK / SQUARE;

/// The states of a block.
#[derive(Default)]
pub(super) struct Block {
    /// Steps of a vector.
    pub steps: usize,
    /// States there are.
    pub count: usize,
    /// Whole squares of them over `ln 2` as a right factor: `steps` groups of each 16.
    pub states: Vec<Line>,
    /// `c_r` of whole squares, over `ln 2`.
    pub reference: Vec<f32>,
}

impl Block {
    /// States in whole squares.
    pub fn squares(&self) -> usize {
        self.count.div_ceil(SQUARE)
    }
}

/// What a task has of its own while it goes through its items, chunk by chunk.
pub(super) struct Chunk {
    /// A chunk of vectors as a left factor: `steps` groups of each 16.
    rows: Vec<Line>,
    /// The same transposed: [`SIDE`] groups of each 16 values.
    transposed: Vec<Line>,
    /// Its biases, over `ln 2`; minus infinity past the last item.
    bias: [f32; CHUNK],
    /// Exponentials of the chunk and 128 states, as a left factor: [`SIDE`] groups of each 16 items.
    left: Vec<Line>,
    /// And as a right factor: [`SIDE`] groups of each 16 states.
    right: Vec<Line>,
    scores: [Scores; 2],
}

impl Chunk {
    pub fn new(steps: usize, gradient: bool) -> Self {
        let lines = |there: bool, groups: usize| vec![Line::ZERO; if there { groups * GROUP } else { 0 }];
        let factor = CHUNK / TILE * SIDE;
        Self {
            rows: lines(true, CHUNK / TILE * steps),
            transposed: lines(gradient, CHUNK / TILE * steps),
            bias: [0.0; CHUNK],
            left: lines(gradient, factor),
            right: lines(gradient, factor),
            scores: [const { Scores([0.0; SQUARE * SQUARE]) }; 2],
        }
    }

    /// Takes a chunk of vectors and their biases. Lines past its end keep what they were: their items
    /// have no bias but minus infinity, and their gradients are dropped.
    ///
    /// # Safety
    /// AVX-512 with bf16 must be available.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub unsafe fn load(&mut self, steps: usize, vectors: Rows<'_>, bias: Option<&[f32]>) {
        self.bias.fill(f32::NEG_INFINITY);
        for j in 0..vectors.len() {
            self.bias[j] = bias.map_or(0.0, |bias| bias[j] * LOG2_E);
            for step in 0..steps {
                let place = (j / TILE * steps + step) * GROUP + j % TILE;
                let (high, low) = self.rows[place..=place + TILE].split_at_mut(TILE);
                // SAFETY: the instructions are there.
                unsafe { split::<false>(vectors.row(j), step, &mut high[0], &mut low[0]) };
                if self.transposed.is_empty() {
                    continue;
                }
                for (value, (&high, &low)) in high[0].0.iter().zip(&low[0].0).enumerate() {
                    let k = step * STEP + value;
                    let place = (k / TILE * SIDE + j / STEP) * GROUP + k % TILE;
                    self.transposed[place].0[j % STEP] = high;
                    self.transposed[place + TILE].0[j % STEP] = low;
                }
            }
        }
    }

    /// Exponentials of `down` squares of items and those of states in `across`: split into both factors, or summed up.
    ///
    /// # Safety
    /// The matrix unit must be there, and tiles have their shape.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub unsafe fn squares<const SPLIT: bool>(
        &mut self,
        block: &Block,
        down: usize,
        across: Range<usize>,
        sums: &mut [f32],
    ) {
        let group = block.steps * GROUP;
        // Each square is multiplied before the one before it is looked at, so that both units are busy.
        let (mut before, mut turn) = (None, 0);
        for i in 0..down {
            for r in across.clone() {
                let factors = Factors {
                    rows: [2 * i, 2 * i + 1].map(|tile| &raw const self.rows[tile * group]),
                    columns: [2 * r, 2 * r + 1].map(|tile| &raw const block.states[tile * group]),
                    steps: block.steps,
                };
                // SAFETY: the caller's; places lie within the chunk and the block.
                unsafe {
                    factors.set(self.scores[turn].0.as_mut_ptr(), SQUARE);
                    turn ^= 1;
                    if let Some(at) = before.replace((i, r)) {
                        self.weigh::<SPLIT>(block, turn, at, across.start, sums);
                    }
                }
            }
        }
        if let Some(at) = before {
            // SAFETY: as above.
            unsafe { self.weigh::<SPLIT>(block, turn ^ 1, at, across.start, sums) };
        }
    }

    /// The exponentials of one square, `at` being its items' in the chunk and its states' in the block; `first` is the
    /// first square of states that both factors have.
    ///
    /// # Safety
    /// AVX-512 must be available.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn weigh<const SPLIT: bool>(
        &mut self,
        block: &Block,
        turn: usize,
        at: (usize, usize),
        first: usize,
        sums: &mut [f32],
    ) {
        let (column, r) = (at.1 * SQUARE, at.1 - first.min(at.1));
        let reference = &block.reference[column..column + SQUARE];
        let bias = &self.bias[at.0 * SQUARE..(at.0 + 1) * SQUARE];
        let scores = &self.scores[turn].0;
        // SAFETY: the instructions are there; lines are indexed, and values lie within a square.
        unsafe {
            let reference = [0, 1].map(|half| _mm512_loadu_ps(reference.as_ptr().add(half * TILE)));
            let mut total = [_mm512_setzero_ps(); 2];
            for pair in 0..TILE {
                let mut e = [[_mm512_setzero_ps(); 2]; 2];
                for i in 0..2 {
                    let bias = _mm512_set1_ps(bias[2 * pair + i]);
                    for half in 0..2 {
                        let score = _mm512_load_ps(scores.as_ptr().add((2 * pair + i) * SQUARE + half * TILE));
                        e[i][half] = Avx512::exp2(_mm512_add_ps(score, _mm512_sub_ps(bias, reference[half])));
                    }
                }
                if SPLIT {
                    for i in 0..2 {
                        let item = at.0 * SQUARE + 2 * pair + i;
                        let place = (item / TILE * SIDE + r) * GROUP + item % TILE;
                        let lines = &mut self.left[place..=place + TILE];
                        [lines[0], lines[TILE]] = row(e[i][0], e[i][1]);
                    }
                    for half in 0..2 {
                        let place = ((2 * r + half) * SIDE + at.0) * GROUP + pair;
                        let lines = &mut self.right[place..=place + TILE];
                        [lines[0], lines[TILE]] = pairs(e[0][half], e[1][half]);
                    }
                } else {
                    for half in 0..2 {
                        total[half] = _mm512_add_ps(total[half], _mm512_add_ps(e[0][half], e[1][half]));
                    }
                }
            }
            if !SPLIT {
                for half in 0..2 {
                    let sum = sums[column + half * TILE..][..TILE].as_mut_ptr();
                    _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), total[half]));
                }
            }
        }
    }

    /// The factors of `E Q`, of which `columns` are the first of the right one: items of square `i`.
    pub fn to_vectors(&self, i: usize, columns: [*const Line; 2], steps: usize) -> Factors {
        Factors { rows: [2 * i, 2 * i + 1].map(|tile| &raw const self.left[tile * SIDE * GROUP]), columns, steps }
    }

    /// The factors of `V' E`: values of square `k`, states of square `i` of those at hand.
    pub fn to_states(&self, k: usize, i: usize, down: usize) -> Factors {
        Factors {
            rows: [2 * k, 2 * k + 1].map(|tile| &raw const self.transposed[tile * SIDE * GROUP]),
            columns: [2 * i, 2 * i + 1].map(|tile| &raw const self.right[tile * SIDE * GROUP]),
            steps: down,
        }
    }

    /// Adds `sum_r E[j][r] share_r` to `out`.
    pub fn add_shares(&self, shares: &[f32], out: &mut [f32]) {
        let value = |bits: u16| f32::from_bits(u32::from(bits) << 16);
        for (j, out) in out.iter_mut().enumerate() {
            for (r, shares) in shares.chunks(SQUARE).enumerate() {
                let place = (j / TILE * SIDE + r) * GROUP + j % TILE;
                let parts = self.left[place].0.iter().zip(self.left[place + TILE].0);
                *out += parts.zip(shares).map(|((&high, low), share)| (value(high) + value(low)) * share).sum::<f32>();
            }
        }
    }
}
