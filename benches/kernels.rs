//! The kernels of the native core by themselves, on one thread: `make bench-core`.
//!
//! Criterion compares with the run before, so that a regression shows without any peer. Rows lie in heaps within heaps,
//! as those of `benchmarks/clustering.py` do.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use metatoken::cluster::fit;
use metatoken::cluster::pack::Codewords;
use metatoken::cluster::params::{Init, Method, Metric, Settings};
use metatoken::matrix::Rows;
use metatoken::progress::Progress;
use metatoken::rng::Rng;
use metatoken::simd::Isa;

const FAR: usize = 16;
const NEAR: usize = 256;

/// `count x dim` values that are about normal.
fn draw(rng: &mut Rng, count: usize, dim: usize, scale: f32) -> Vec<f32> {
    let mut normal = || (0..12).map(|_| rng.uniform() as f32).sum::<f32>() - 6.0;
    (0..count * dim).map(|_| scale * normal()).collect()
}

/// Row-major rows around `NEAR` centres, which lie around `FAR` ones.
fn heaps(n: usize, dim: usize) -> Vec<f32> {
    let mut rng = Rng::new(1, 0, 0);
    let (far, near) = (draw(&mut rng, FAR, dim, 2.0), draw(&mut rng, NEAR, dim, 1.0));
    let mut rows = draw(&mut rng, n, dim, 1.0);
    for (i, row) in rows.chunks_exact_mut(dim).enumerate() {
        let heap = i * 7919 % NEAR;
        let centre = near[heap * dim..][..dim].iter().zip(&far[heap % FAR * dim..][..dim]);
        row.iter_mut().zip(centre).for_each(|(v, (a, b))| *v += a + b);
    }
    rows
}

/// The nearest codeword of each row; throughput is in products of values.
fn nearest(c: &mut Criterion) {
    let mut group = c.benchmark_group("nearest");
    for (n, k, dim) in [(8192, 64, 64), (8192, 256, 64), (8192, 4096, 64), (1024, 256, 768)] {
        let data = heaps(n + k, dim);
        let (words, rows) = (Rows::new(&data[..k * dim], dim), Rows::new(&data[k * dim..], dim));
        let mut labels = vec![0; n];
        group.throughput(Throughput::Elements((n * k * dim) as u64));
        for isa in Isa::available() {
            let code = Codewords::pack(words, isa);
            group.bench_function(BenchmarkId::new(isa.name(), format!("{k}x{dim}")), |b| {
                b.iter(|| black_box(code.nearest(rows, &mut labels)));
            });
        }
    }
}

/// Whole fits: starts, passes with bounds, and the small nodes of a tree.
fn fits(c: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    let mut group = c.benchmark_group("fit");
    group.sample_size(10);
    let (n, dim) = (40_000, 64);
    let data = heaps(n, dim);
    for (name, levels, method) in
        [("flat 128", vec![128], Method::Residual), ("tree 16x16", vec![16, 16], Method::Tree)]
    {
        for isa in Isa::available() {
            let settings = Settings {
                metric: Metric::Euclidean,
                init: Init::PlusPlus,
                max_iterations: 10,
                sample: None,
                max_cluster_size: None,
                seed: 0,
                isa,
            };
            let fit = || fit(Rows::new(&data, dim), &levels, method, &settings, &Progress::new());
            group.bench_function(BenchmarkId::new(isa.name(), name), |b| b.iter(|| black_box(pool.install(fit))));
        }
    }
}

criterion_group!(benches, nearest, fits);
criterion_main!(benches);
