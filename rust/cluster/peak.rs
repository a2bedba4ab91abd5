//! The most multiply-adds that this machine makes in a second: what a roofline is measured against.

use std::time::Instant;

use rayon::prelude::*;

use super::isa::{Isa, Job};
use super::lanes::Lanes;

/// Independent sums: more than the latency of a multiply-add times those that start in a cycle.
const CHAINS: usize = 12;
/// Multiply-adds of each chain in one run of the job.
const STEPS: usize = 1 << 20;
const RUNS: usize = 200;

/// Billions of f32 operations (a multiply-add is two) in a second on `threads` threads at once, all in registers: the
/// best of some runs on each thread, added up.
pub fn gflops(isa: Isa, threads: usize) -> f64 {
    let best: Vec<f64> = (0..threads)
        .into_par_iter()
        .with_max_len(1)
        .map(|_| {
            (0..RUNS).fold(0.0f64, |best, _| {
                let start = Instant::now();
                let operations = std::hint::black_box(isa.run(Chains)).1;
                best.max(operations as f64 / start.elapsed().as_secs_f64() / 1e9)
            })
        })
        .collect();
    best.iter().sum()
}

struct Chains;

impl Job for Chains {
    /// A value that depends on every operation, and their number.
    type Output = (f32, usize);

    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize>(self) -> (f32, usize) {
        // SAFETY: registers alone.
        unsafe {
            let (scale, shift) = (L::splat(std::hint::black_box(0.5)), L::splat(std::hint::black_box(1.0)));
            let mut sums = [shift; CHAINS];
            for _ in 0..STEPS {
                for sum in &mut sums {
                    *sum = L::fma(*sum, scale, shift);
                }
            }
            let total = sums.into_iter().fold(L::splat(0.0), |total, sum| L::add(total, sum));
            (L::sum(total), 2 * L::W * CHAINS * STEPS)
        }
    }
}
