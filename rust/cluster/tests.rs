//! The kernel against plain loops, and passes that leave rows and groups out against passes over all rows.

use super::bounds::Bounds;
use super::fit;
use super::lloyd::Run;
use super::pack::Codewords;
use super::params::{Init, Method, Metric, Settings};
use super::sweep::{Totals, UNLABELLED};
use crate::matrix::{Rows, squared_distance};
use crate::progress::Progress;
use crate::rng::Rng;
use crate::simd::Isa;

fn settings(isa: Isa) -> Settings {
    let (metric, init, max_iterations) = (Metric::Euclidean, Init::PlusPlus, 5);
    Settings { metric, init, max_iterations, sample: None, max_cluster_size: None, seed: 0, isa }
}

fn normal(rng: &mut Rng) -> f32 {
    (0..12).map(|_| rng.uniform() as f32).sum::<f32>() - 6.0
}

/// The first codeword of the least score, each a sum in the order of the kernel and rounded as there.
fn plain(row: &[f32], words: Rows<'_>, isa: Isa) -> u32 {
    let fma = |a: f32, b: f32, c: f32| if isa == Isa::Portable { a * b + c } else { a.mul_add(b, c) };
    let score = |word: &[f32]| {
        let half = 0.5 * word.iter().fold(0.0, |sum, &c| fma(c, c, sum));
        row.iter().zip(word).fold(half, |sum, (&x, &c)| fma(-x, c, sum))
    };
    let mut best = (0, f32::INFINITY);
    for k in 0..words.len() {
        let found = score(words.row(k));
        if found < best.1 {
            best = (k as u32, found);
        }
    }
    best.0
}

#[test]
fn the_kernel_is_a_plain_loop_on_every_instruction_set() {
    let mut rng = Rng::new(6, 0, 0);
    for isa in Isa::available() {
        for (n, k, dim) in [(1, 1, 1), (5, 16, 3), (49, 17, 31), (97, 64, 16), (100, 65, 33), (193, 130, 7)] {
            let mut data: Vec<f32> = (0..(n + k) * dim).map(|_| normal(&mut rng)).collect();
            data.copy_within(0..dim, (k - 1) * dim); // the last codeword is the first one, and a row lies on both
            data.copy_within(0..dim, k * dim);
            let (words, rows) = (Rows::new(&data[..k * dim], dim), Rows::new(&data[k * dim..], dim));
            let (code, mut labels) = (Codewords::pack(words, isa), vec![UNLABELLED; n]);
            assert!(code.nearest(rows, &mut labels));
            let expected: Vec<u32> = (0..n).map(|i| plain(rows.row(i), words, isa)).collect();
            assert_eq!(labels, expected, "{isa:?}, {n} x {dim} to {k}");
            let mut odd = rows.data().to_vec();
            odd[n * dim / 2] = f32::NAN;
            assert!(!code.nearest(Rows::new(&odd, dim), &mut labels), "a row that is not finite is told");
        }
    }
}

#[test]
fn every_instruction_set_finds_the_same_heaps() {
    let (world, progress) = (heaps(3000, 20, 13, 9.0), Progress::new());
    for method in [Method::Residual, Method::Tree] {
        for metric in [Metric::Euclidean, Metric::Cosine] {
            let codes = |isa| {
                let settings = Settings { metric, ..settings(isa) };
                fit(Rows::new(&world.data, world.dim), &[18, 6], method, &settings, &progress).unwrap().codes
            };
            let all: Vec<Vec<u32>> = Isa::available().into_iter().map(codes).collect();
            let first = |codes: &[u32]| codes.iter().step_by(2).copied().collect::<Vec<_>>();
            assert!(all.iter().all(|codes| first(codes) == first(&all[0])), "{method:?}, {metric:?}");
        }
    }
}

/// Rows, and the centroids of their first pass.
struct World {
    data: Vec<f32>,
    centroids: Vec<f32>,
    dim: usize,
}

/// Rows around centroids that lie `spread` apart, every fiftieth right on one; some centroids are there twice.
fn heaps(n: usize, k: usize, dim: usize, spread: f32) -> World {
    let mut rng = Rng::new(3, 0, 0);
    let mut centroids: Vec<f32> = (0..k * dim).map(|_| spread * normal(&mut rng)).collect();
    centroids.copy_within(0..dim, 5 * dim); // ties for the rows of both
    centroids.copy_within(0..dim, (k - 1) * dim);
    let mut data: Vec<f32> = Vec::with_capacity(n * dim);
    for i in 0..n {
        let centre = &centroids[i % k * dim..][..dim];
        data.extend(centre.iter().map(|c| if i % 50 == 0 { *c } else { c + normal(&mut rng) }));
    }
    World { data, centroids, dim }
}

fn one_of<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.below(of.len() as u64) as usize]
}

/// Any world: copies of rows and of centroids, rows halfway between two centroids, columns of one value, all of it far
/// from the origin, tiny or huge.
fn any(rng: &mut Rng) -> (World, f32) {
    let (n, k, dim) = (1 + rng.below(300) as usize, one_of(rng, &[1, 2, 20, 64, 100, 150]), 1 + rng.below(24) as usize);
    let (spread, noise) = (one_of(rng, &[0.0, 1.0, 30.0]), one_of(rng, &[0.0, 1e-4, 1.0]));
    let (place, scale) = (one_of(rng, &[0.0, 100.0]), one_of(rng, &[1e-12, 1.0, 1e12]));
    let constant = one_of(rng, &[1, 3, 1000]);
    let value = |column: usize, v: f32| if column.is_multiple_of(constant) { scale } else { (v + place) * scale };
    let mut centroids: Vec<f32> = (0..k * dim).map(|i| value(1 + i % dim, spread * normal(rng))).collect();
    for _ in 0..k / 4 {
        let (from, to) = (rng.below(k as u64) as usize, rng.below(k as u64) as usize);
        centroids.copy_within(from * dim..(from + 1) * dim, to * dim);
    }
    let mut data = Vec::with_capacity(n * dim);
    for _ in 0..n {
        let (one, other) = (rng.below(k as u64) as usize * dim, rng.below(k as u64) as usize * dim);
        let (share, size) = (one_of(rng, &[0.0, 0.0, 0.5]), one_of(rng, &[0.0, noise * scale]));
        data.extend((0..dim).map(|j| {
            let centre = centroids[one + j] * (1.0 - share) + centroids[other + j] * share;
            centre + size * normal(rng)
        }));
    }
    (World { data, centroids, dim }, scale)
}

/// The bounds of every fifth row hold, in exact differences.
fn check_bounds(bounds: &Bounds, rows: Rows<'_>, labels: &[u32], centroids: Rows<'_>) {
    let groups = bounds.groups().expect("begun");
    for (i, &label) in labels.iter().enumerate().step_by(5) {
        let distance = |k: u32| squared_distance(rows.row(i), centroids.row(k as usize)).sqrt();
        assert!(f64::from(bounds.upper[i]) >= distance(label), "row {i}");
        for (group, place) in bounds.places(i).enumerate() {
            let others = groups.members(group).iter().filter(|&&k| k != label).map(|&k| distance(k));
            assert!(f64::from(bounds.lower[place]) <= others.fold(f64::INFINITY, f64::min), "row {i}, group {group}");
        }
    }
}

/// Labels and totals are those of full passes after every movement, ties and forgotten rows included.
fn compare(isa: Isa, world: &World, rng: &mut Rng, move_by: f32, jump: f32) -> Bounds {
    let (dim, mut centroids, settings, progress) = (world.dim, world.centroids.clone(), settings(isa), Progress::new());
    let run = Run { rows: Rows::new(&world.data, dim), spherical: false, settings: &settings, progress: &progress };
    let (n, k) = (run.rows.len(), centroids.len() / dim);
    let (mut labels, mut expected) = (vec![UNLABELLED; n], vec![UNLABELLED; n]);
    let (mut totals, mut full) = (Totals::new(k, dim), Totals::new(k, dim));
    let (mut bounds, mut none) = (Bounds::new(true), Bounds::new(false));
    for step in 0..10 {
        let judged = bounds.kept();
        run.pass(&centroids, &mut labels, &mut totals, &mut bounds).unwrap();
        run.pass(&centroids, &mut expected, &mut full, &mut none).unwrap();
        assert_eq!(labels, expected, "{isa:?}, {n} x {dim} to {k}, step {step}");
        assert!(totals.sums == full.sums && totals.counts == full.counts && totals.changed == full.changed);
        if judged {
            check_bounds(&bounds, run.rows, &labels, Rows::new(&centroids, dim));
        }
        for row in [step % n, (n / 2 + step) % n, n - 1] {
            // As `repair` does: the row is given away without a look at its distances.
            let other = (labels[row] + 1) % k as u32;
            for (labels, totals) in [(&mut labels, &mut totals), (&mut expected, &mut full)] {
                totals.shift(run.rows.row(row), labels[row], other);
                labels[row] = other;
            }
            bounds.forget(row);
        }
        let before = centroids.clone();
        let size = if step == 6 { jump } else { move_by };
        centroids.iter_mut().skip(step * dim).step_by(2).for_each(|v| *v += size * normal(rng));
        bounds.moved(&before, &centroids, dim);
    }
    bounds
}

#[test]
fn labels_are_those_of_full_passes() {
    for isa in Isa::available() {
        for (n, k, dim) in [(700, 6, 2), (900, 20, 9), (1500, 64, 12), (500, 100, 17), (300, 256, 33)] {
            let (world, mut rng) = (heaps(n, k, dim, 4.0), Rng::new(4, 0, 0));
            assert!(compare(isa, &world, &mut rng, 0.02, 2.0).kept(), "{isa:?}, {k}: most is left out");
        }
    }
}

/// `METATOKEN_CASES` is the number of worlds, `METATOKEN_KERNEL` the only instruction set.
#[test]
fn labels_are_those_of_full_passes_in_any_world() {
    let cases = std::env::var("METATOKEN_CASES").map_or(40, |cases| cases.parse().expect("a number of cases"));
    let asked = std::env::var("METATOKEN_KERNEL").is_ok_and(|name| !name.is_empty());
    let sets = if asked { vec![Isa::choose(None).unwrap()] } else { Isa::available() };
    let mut kept = 0;
    for case in 0..cases {
        let mut rng = Rng::new(5, 0, case);
        let (world, scale) = any(&mut rng);
        let move_by = scale * one_of(&mut rng, &[0.0, 1e-6, 0.02, 1.0]);
        for isa in &sets {
            kept += u64::from(compare(*isa, &world, &mut rng.clone(), move_by, 2.0 * scale).kept());
        }
    }
    assert!(kept > cases / 10, "bounds of {kept} runs were kept to their end");
}

#[test]
fn bounds_that_do_not_pay_are_tried_once_more_when_little_changes() {
    for isa in Isa::available() {
        let (n, k, dim) = (1000, 64, 16);
        let world = heaps(n, k, dim, 0.0);
        let mut bounds = compare(isa, &world, &mut Rng::new(4, 0, 0), 2.0, 2.0);
        bounds.after(n, n / 2);
        assert!(!bounds.kept(), "all centroids moved farther than rows are from them");
        bounds.after(n, n / 20);
        assert!(bounds.kept(), "again");
        bounds.begin(Rows::new(&world.data, dim), Rows::new(&world.centroids, dim), isa);
        bounds.after(n, n / 20);
        bounds.moved(&vec![0.0; k * dim], &vec![9.0; k * dim], dim);
        bounds.after(n, 0);
        assert!(!bounds.kept(), "never");
    }
    assert!(!Bounds::new(false).kept());
}

#[test]
fn bounds_are_computed_anew_before_rounding_could_break_them() {
    let mut bounds = Bounds::new(true);
    assert!(bounds.fresh());
    let passes = (0..3000).filter(|_| {
        bounds.after(100, 50);
        bounds.fresh()
    });
    assert_eq!(passes.count(), 2, "with fewer than 1,678 passes between, 6e-8 each lose less than 1e-4");
}
