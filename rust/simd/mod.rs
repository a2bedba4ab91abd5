//! Instruction sets: what this machine has, which one is used, and how a routine written once is run on it.

pub(crate) mod arrays;
pub(crate) mod lanes;
#[cfg(target_arch = "aarch64")]
mod lanes_arm;
#[cfg(target_arch = "x86_64")]
mod lanes_x86;
#[cfg(target_arch = "x86_64")]
pub(crate) mod tiles;

use rayon::prelude::*;

use crate::error::{Error, Result};
#[cfg(target_arch = "aarch64")]
use lanes::Neon;
#[cfg(target_arch = "x86_64")]
use lanes::{Avx2, Avx512};
use lanes::{Lanes, Portable};

/// Name of the environment variable that forces an instruction set.
const VARIABLE: &str = "METATOKEN_KERNEL";

/// Instruction set of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Any machine.
    Portable,
    /// 64-bit ARM.
    Neon,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512F.
    Avx512,
    /// The same, and the bf16 matrix unit (AMX): for the nearest codeword where it names it beyond doubt, and for the item
    /// softmax.
    Amx,
}

impl Isa {
    /// All that this machine can run, slowest first.
    pub fn available() -> Vec<Isa> {
        let mut found = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2 && is_x86_feature_detected!("avx512f");
            let sets = [(Isa::Avx2, avx2), (Isa::Avx512, avx512), (Isa::Amx, avx512 && matrix_unit())];
            found.extend(sets.into_iter().filter_map(|(isa, there)| there.then_some(isa)));
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Isa::Neon);
        found
    }

    /// Name, as the environment variable takes it.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Neon => "neon",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Amx => "amx",
        }
    }

    /// The one that was asked for, else the one of the environment, else the fastest.
    pub fn choose(asked: Option<&str>) -> Result<Isa> {
        let available = Isa::available();
        let from_environment = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty());
        match asked.or(from_environment.as_deref()) {
            None => Ok(available[available.len() - 1]),
            Some(name) => available.iter().copied().find(|isa| isa.name() == name).ok_or_else(|| {
                let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
                Error::invalid("kernel", format!("this machine can run {}, got {name:?}", names.join(", ")))
            }),
        }
    }

    /// Runs a job with this instruction set.
    pub(crate) fn run<J: Job>(self, job: J) -> J::Output {
        // SAFETY: values come from `available` alone, so the machine has the instructions.
        unsafe {
            match self {
                Isa::Portable => job.run::<Portable, 4>(),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2(job),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 | Isa::Amx => avx512(job),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => job.run::<Neon, 4>(),
                _ => unreachable!("only what `available` lists can be chosen"),
            }
        }
    }
}

/// Whether processor and system have what the bf16 matrix unit needs. Asks the system for the right to use tiles, once.
#[cfg(target_arch = "x86_64")]
fn matrix_unit() -> bool {
    static FOUND: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *FOUND.get_or_init(|| {
        const TILES_AND_BF16: u32 = 1 << 24 | 1 << 22;
        let vectors = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        if !vectors || !is_x86_feature_detected!("avx512bf16") {
            return false;
        }
        let leaf = std::arch::x86_64::__cpuid_count(7, 0);
        leaf.edx & TILES_AND_BF16 == TILES_AND_BF16 && permitted()
    })
}

/// `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`, which Linux wants before the first use of a tile.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    let mut result = ARCH_PRCTL;
    // SAFETY: the call changes nothing but the process's own right to the tile registers.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") result, in("rdi") 0x1023, in("rsi") 18, lateout("rcx") _,
            lateout("r11") _, options(nostack));
    }
    result == 0
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn permitted() -> bool {
    false
}

/// Asks for the line of the cache that something begins in, before it is needed; does nothing where there is no such hint.
#[inline(always)]
pub(crate) fn prefetch<T>(from: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint; it reads nothing and any address may be given.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

/// A routine written over `Lanes`, with its arguments as fields. Its `run` and all that it calls are `inline(always)`,
/// so that they take the target features of the function below that they end up in.
pub(crate) trait Job {
    /// What it returns.
    type Output;

    /// Runs it; `R` is the height of a tile.
    ///
    /// # Safety
    /// The instruction set of `L` must be available.
    unsafe fn run<L: Lanes, const R: usize>(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<J: Job>(job: J) -> J::Output {
    // SAFETY: the caller has checked for the instructions.
    unsafe { job.run::<Avx2, 6>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn avx512<J: Job>(job: J) -> J::Output {
    // SAFETY: as above.
    unsafe { job.run::<Avx512, 6>() }
}

/// Independent sums: more than the latency of a multiply-add times those that start in a cycle.
const CHAINS: usize = 12;
/// Multiply-adds of each chain in one run of the job.
const STEPS: usize = 1 << 20;
const RUNS: usize = 200;

/// What a roofline is measured against: billions of f32 operations (a multiply-add is two) in a second on `threads`
/// threads at once, all in registers; the best of some runs on each thread, added up.
pub fn peak_gflops(isa: Isa, threads: usize) -> f64 {
    let best: Vec<f64> = (0..threads)
        .into_par_iter()
        .with_max_len(1)
        .map(|_| {
            (0..RUNS).fold(0.0f64, |best, _| {
                let start = std::time::Instant::now();
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
