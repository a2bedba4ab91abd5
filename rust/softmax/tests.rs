//! Against sums in `f64`, on every instruction set and for any number of threads.

use super::slices::{Gradients, Slopes, below, gradients};
use super::{Problem, Softmax, catalogue};
use crate::matrix::{self, Rows};
use crate::pool;
use crate::progress::Progress;
use crate::rng::Rng;
use crate::simd::Isa;

struct World {
    dim: usize,
    states: Vec<f32>,
    vectors: Vec<f32>,
    bias: Vec<f32>,
    weights: Vec<f32>,
    begin: Vec<i64>,
    end: Vec<i64>,
}

impl World {
    fn new(rows: usize, items: usize, dim: usize, length: f32) -> Self {
        let mut rng = Rng::new(7, 0, 0);
        let mut draw =
            |n: usize, scale: f32| (0..n).map(|_| scale * (2.0 * rng.uniform() as f32 - 1.0)).collect::<Vec<_>>();
        let states = draw(rows * dim, length / (dim as f32).sqrt());
        let (vectors, mut bias, weights) = (draw(items * dim, 3.0), draw(items, 2.0), draw(rows, 1.0));
        bias[items / 2] = f32::NEG_INFINITY;
        let begin: Vec<i64> = (0..rows).map(|r| (r / 3 * 11 % items) as i64).collect();
        let end = begin.iter().enumerate().map(|(r, b)| (b + (r / 3 % 5) as i64 * 3).min(items as i64)).collect();
        Self { dim, states, vectors, bias, weights, begin, end }
    }

    fn problem(&self) -> Problem<'_> {
        let (states, vectors) = (Rows::new(&self.states, self.dim), Rows::new(&self.vectors, self.dim));
        Problem { states, vectors, bias: Some(&self.bias) }
    }

    /// What both functions should find over slices, one item at a time.
    fn expected(&self, begin: &[i64], end: &[i64]) -> (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>) {
        let (problem, dim) = (self.problem(), self.dim);
        let (rows, items) = (problem.states.len(), problem.vectors.len());
        let mut total = vec![f64::NEG_INFINITY; rows];
        let (mut states, mut vectors) = (vec![0.0; rows * dim], vec![0.0; items * dim]);
        let mut bias = vec![0.0; items];
        for r in 0..rows {
            let slice = begin[r] as usize..(end[r].max(begin[r])) as usize;
            let dot = |j: usize| -> f64 {
                let pairs = problem.states.row(r).iter().zip(problem.vectors.row(j));
                pairs.map(|(s, v)| f64::from(*s) * f64::from(*v)).sum::<f64>() + f64::from(self.bias[j])
            };
            let most = slice.clone().map(dot).fold(f64::NEG_INFINITY, f64::max);
            if most == f64::NEG_INFINITY {
                continue;
            }
            total[r] = most + slice.clone().map(|j| (dot(j) - most).exp()).sum::<f64>().ln();
            for j in slice {
                let slope = f64::from(self.weights[r]) * (dot(j) - total[r]).exp();
                bias[j] += slope;
                for k in 0..dim {
                    states[r * dim + k] += slope * f64::from(problem.vectors.row(j)[k]);
                    vectors[j * dim + k] += slope * f64::from(problem.states.row(r)[k]);
                }
            }
        }
        (total, states, vectors, bias)
    }

    fn slices(&self, isa: Isa) -> Softmax {
        let (problem, progress) = (self.problem(), Progress::new());
        let total = below(problem, &self.begin, &self.end, isa, &progress).unwrap();
        let (mut states, mut vectors) = (vec![0.0; self.states.len()], vec![0.0; self.vectors.len()]);
        let mut bias = vec![0.0; self.bias.len()];
        let out = Gradients { states: &mut states, vectors: &mut vectors, bias: Some(&mut bias) };
        let slopes = Slopes { below: &total, weights: &self.weights };
        gradients(problem, &self.begin, &self.end, slopes, isa, &progress, out).unwrap();
        Softmax { total, states, vectors, bias }
    }

    fn whole(&self, isa: Isa) -> Softmax {
        catalogue(self.problem(), Some(&self.weights), isa, &Progress::new()).unwrap()
    }
}

fn near(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().filter(|v| v.is_finite()).fold(1.0f64, |most, v| most.max(v.abs()));
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let equal = f64::from(found) == expected || (f64::from(found) - expected).abs() <= tolerance * scale;
        assert!(equal, "place {i}: {found} for {expected}");
    }
}

/// Blocks, chunks and tasks that are full, short and one alone; widths of every number of registers.
const SIZES: [(usize, usize, usize); 7] =
    [(1, 1, 1), (5, 7, 3), (130, 250, 16), (64, 121, 40), (150, 260, 64), (3, 4000, 80), (2100, 1200, 8)];

#[test]
fn equals_plain_sums() {
    for (rows, items, dim) in SIZES {
        let world = World::new(rows, items, dim, 1.0);
        let whole = world.expected(&vec![0; rows], &vec![items as i64; rows]);
        let slices = world.expected(&world.begin, &world.end);
        for isa in Isa::available() {
            for (found, expected) in [(world.whole(isa), &whole), (world.slices(isa), &slices)] {
                near(&found.total, &expected.0, 2e-6);
                near(&found.states, &expected.1, 1e-5);
                near(&found.vectors, &expected.2, 1e-5);
                near(&found.bias, &expected.3, 1e-5);
            }
        }
    }
}

#[test]
fn long_states_neither_overflow_nor_vanish() {
    for isa in Isa::available() {
        let mut world = World::new(80, 300, 24, 400.0);
        // All logits of the first state are far below what its length allows.
        let row: Vec<f32> = world.states[..24].to_vec();
        world
            .vectors
            .chunks_exact_mut(24)
            .skip(1)
            .for_each(|v| v.copy_from_slice(&row.iter().map(|x| -0.1 * x).collect::<Vec<_>>()));
        let (all, none) = (vec![300; 80], vec![0; 80]);
        let (found, expected) = (world.whole(isa), world.expected(&none, &all));
        near(&found.total, &expected.0, 1e-5);
        near(&found.states, &expected.1, 1e-3);
        near(&world.slices(isa).total, &world.expected(&world.begin, &world.end).0, 1e-5);
    }
}

#[test]
fn no_number_of_threads_changes_a_byte() {
    let world = World::new(200, 1500, 48, 1.0);
    for isa in Isa::available() {
        let one = pool::on(1, || (world.whole(isa), world.slices(isa))).unwrap();
        assert_eq!(one, pool::on(3, || (world.whole(isa), world.slices(isa))).unwrap());
    }
}

#[test]
fn without_weights_there_are_no_gradients() {
    let world = World::new(70, 300, 20, 1.0);
    for isa in Isa::available() {
        let found = catalogue(world.problem(), None, isa, &Progress::new()).unwrap();
        near(&found.total, &world.expected(&[0; 70], &[300; 70]).0, 2e-6);
        assert!(found.states.is_empty() && found.vectors.is_empty() && found.bias.is_empty());
    }
}

#[test]
fn a_value_that_is_no_number_stays_in_its_row() {
    let mut world = World::new(70, 50, 8, 1.0);
    world.states[8] = f32::NAN;
    for isa in Isa::available() {
        let total = catalogue(world.problem(), None, isa, &Progress::new()).unwrap().total;
        assert!(total.iter().enumerate().all(|(r, total)| total.is_nan() == (r == 1)));
    }
}

/// Values that parts of bf16 would lose go another way: NaN of all bits, infinities, the ends of the range.
#[test]
fn odd_values_are_the_same_on_every_instruction_set() {
    let nan = f32::from_bits(0x7fff_ffff);
    let odd: [fn(&mut World, f32); 4] = [
        |world, nan| world.bias[1] = nan,
        |world, nan| world.weights[3] = nan,
        |world, _| world.weights[3] = f32::INFINITY,
        |world, _| {
            world.states.fill(1e-39);
            world.vectors[0] = 3.4e38;
        },
    ];
    for change in odd {
        let mut world = World::new(70, 50, 16, 1.0);
        change(&mut world, nan);
        let expected = world.whole(Isa::available()[0]);
        for isa in Isa::available() {
            let found = world.whole(isa);
            for (found, expected) in [(&found.total, &expected.total), (&found.vectors, &expected.vectors)] {
                let same = |(a, b): (&f32, &f32)| {
                    (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= 1e-4 * b.abs().max(1.0)
                };
                assert!(found.iter().zip(expected).all(same), "{}", isa.name());
            }
        }
    }
}

/// What `tiled` says of its errors, with lengths up to which it is taken.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_matrix_unit_errs_no_more_than_it_says() {
    if !Isa::available().contains(&Isa::Amx) {
        return;
    }
    let world = World::new(200, 900, 64, 8.0);
    let problem = world.problem();
    let length = |rows: Rows<'_>| (0..rows.len()).map(|i| matrix::length(rows.row(i))).fold(0.0, f64::max);
    let limit = 3.0 / 65536.0 * length(problem.states) * length(problem.vectors);
    assert!((32.0..128.0).contains(&(length(problem.states) * length(problem.vectors))));
    let (exact, found) = (world.whole(Isa::Avx512), world.whole(Isa::Amx));
    assert_ne!(exact, found);
    assert!(exact.total.iter().zip(&found.total).all(|(a, b)| f64::from((a - b).abs()) <= limit));
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let world = World::new(3, 50, 8, 1.0);
    let narrow = Problem { vectors: Rows::new(&world.vectors, 4), bias: None, ..world.problem() };
    assert!(catalogue(narrow, None, Isa::Portable, &Progress::new()).is_err());
    let short = Problem { bias: Some(&world.bias[1..]), ..world.problem() };
    assert!(catalogue(short, None, Isa::Portable, &Progress::new()).is_err());
    assert!(catalogue(world.problem(), Some(&[1.0]), Isa::Portable, &Progress::new()).is_err());
    assert!(below(world.problem(), &[0, 0, 40], &[1, 50, 51], Isa::Portable, &Progress::new()).is_err());
}
