//! Passes that leave rows and groups out, against passes over all rows.

use super::bounds::Bounds;
use super::lloyd::Run;
use super::params::{Init, Metric, Settings};
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

/// Rows around centroids that lie `spread` apart, every fiftieth right on one; some centroids are there twice.
fn world(n: usize, k: usize, dim: usize, spread: f32) -> (Vec<f32>, Vec<f32>) {
    let mut rng = Rng::new(3, 0, 0);
    let mut centroids: Vec<f32> = (0..k * dim).map(|_| spread * normal(&mut rng)).collect();
    centroids.copy_within(0..dim, 5 * dim); // ties for the rows of both
    centroids.copy_within(0..dim, (k - 1) * dim);
    let mut data: Vec<f32> = Vec::with_capacity(n * dim);
    for i in 0..n {
        let centre = &centroids[i % k * dim..][..dim];
        data.extend(centre.iter().map(|c| if i % 50 == 0 { *c } else { c + normal(&mut rng) }));
    }
    (data, centroids)
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
fn compare(isa: Isa, n: usize, k: usize, dim: usize, spread: f32, move_by: f32) -> Bounds {
    let (data, mut centroids) = world(n, k, dim, spread);
    let (settings, progress, mut rng) = (settings(isa), Progress::new(), Rng::new(4, 0, 0));
    let run = Run { rows: Rows::new(&data, dim), spherical: false, settings: &settings, progress: &progress };
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
        for row in [step, n / 2 + step, n - 1] {
            // As `repair` does: the row is given away without a look at its distances.
            let other = (labels[row] + 1) % k as u32;
            for (labels, totals) in [(&mut labels, &mut totals), (&mut expected, &mut full)] {
                totals.shift(run.rows.row(row), labels[row], other);
                labels[row] = other;
            }
            bounds.forget(row);
        }
        let before = centroids.clone();
        let size = if step == 6 { 2.0 } else { move_by };
        centroids.iter_mut().skip(step * dim).step_by(2).for_each(|v| *v += size * normal(&mut rng));
        bounds.moved(&before, &centroids, dim);
    }
    bounds
}

#[test]
fn labels_are_those_of_full_passes() {
    for isa in Isa::available() {
        for (n, k, dim) in [(700, 6, 2), (900, 20, 9), (1500, 64, 12), (500, 100, 17), (300, 256, 33)] {
            assert!(compare(isa, n, k, dim, 4.0, 0.02).kept(), "{isa:?}, {k}: most is left out");
        }
    }
}

#[test]
fn bounds_that_do_not_pay_are_tried_once_more_when_little_changes() {
    for isa in Isa::available() {
        let (n, k, dim) = (1000, 64, 16);
        let mut bounds = compare(isa, n, k, dim, 0.0, 2.0);
        bounds.after(n, n / 2);
        assert!(!bounds.kept(), "all centroids moved farther than rows are from them");
        bounds.after(n, n / 20);
        assert!(bounds.kept(), "again");
        bounds.after(n, n / 20);
        bounds.moved(&vec![0.0; k * dim], &vec![9.0; k * dim], dim);
        bounds.after(n, 0);
        assert!(!bounds.kept(), "never");
    }
    assert!(!Bounds::new(false).kept());
}
