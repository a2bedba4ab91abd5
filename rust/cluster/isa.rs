//! Instruction sets, and how a routine written once over `Lanes` is run on the one that was chosen.

#[cfg(target_arch = "x86_64")]
use super::amx;
#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};
use super::lanes::{Lanes, Portable};
use crate::error::{Error, Result};

/// Name of the environment variable that forces an instruction set.
const VARIABLE: &str = "METATOKEN_KERNEL";

/// Instruction set of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Any machine.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512F.
    Avx512,
    /// The same, and the bf16 matrix unit (AMX) where it names the nearest codeword beyond doubt.
    Amx,
}

impl Isa {
    /// All that this machine can run, slowest first.
    pub fn available() -> Vec<Isa> {
        let mut found = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Isa::Avx2);
            }
            if is_x86_feature_detected!("avx512f") {
                found.push(Isa::Avx512);
            }
            if amx::available() {
                found.push(Isa::Amx);
            }
        }
        found
    }

    /// Name, as the environment variable takes it.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
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
    pub(super) fn run<J: Job>(self, job: J) -> J::Output {
        // SAFETY: values come from `available` alone, so the machine has the instructions.
        unsafe {
            match self {
                Isa::Portable => job.run::<Portable, 4>(),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2(job),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 | Isa::Amx => avx512(job),
                #[cfg(not(target_arch = "x86_64"))]
                _ => unreachable!("only what `available` lists can be chosen"),
            }
        }
    }
}

/// A routine written over `Lanes`, with its arguments as fields. Its `run` and all that it calls are `inline(always)`,
/// so that they take the target features of the function below that they end up in.
pub(super) trait Job {
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
#[target_feature(enable = "avx512f")]
unsafe fn avx512<J: Job>(job: J) -> J::Output {
    // SAFETY: as above.
    unsafe { job.run::<Avx512, 6>() }
}
