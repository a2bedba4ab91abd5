//! Draws negatives in constant time from `visits^0.75` (Mikolov et al., 2013) with an alias table.

use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::rng::Rng;

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Stay in this slot if the fraction is below `keep / 2^32`.
    keep: u32,
    other: u32,
}

/// Walker's alias table, built by Vose's method: every slot holds at most two outcomes.
#[derive(Debug, Clone)]
pub struct Alias {
    slots: Vec<Slot>,
}

impl Alias {
    /// A table over `0..weights.len()`; weights are finite, not negative, and not all zero.
    pub fn new(weights: &[f64]) -> Self {
        let n = weights.len();
        let scale = n as f64 / weights.iter().sum::<f64>();
        let mut scaled: Vec<f64> = weights.iter().map(|w| w * scale).collect();
        let mut slots: Vec<Slot> = (0..n as u32).map(|other| Slot { keep: u32::MAX, other }).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..n).partition(|&k| scaled[k] < 1.0);
        while let (Some(&few), Some(&many)) = (small.last(), large.last()) {
            small.pop();
            slots[few] = Slot { keep: (scaled[few] * 4_294_967_296.0) as u32, other: many as u32 };
            scaled[many] -= 1.0 - scaled[few];
            if scaled[many] < 1.0 {
                large.pop();
                small.push(many);
            }
        }
        // Slots left over differ from 1 by rounding only: they keep themselves.
        Self { slots }
    }

    /// Number of outcomes.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// One outcome from 64 random bits: the slot is the high word of `bits * n`, the fraction the low word.
    #[inline]
    pub fn draw(&self, rng: &mut Rng) -> u32 {
        let product = u128::from(rng.next_u64()) * self.slots.len() as u128;
        let place = (product >> 64) as u32;
        let fraction = ((product as u64) >> 32) as u32;
        let slot = self.slots[place as usize];
        // Without a branch, which could not be foreseen.
        let stay = u32::from(fraction < slot.keep).wrapping_neg();
        (place & stay) | (slot.other & !stay)
    }
}

/// The weight of a node that is visited so often: `visits^0.75`.
///
/// Two square roots are exact to the last bit on every machine, which a general power is not.
pub fn weight(visits: f64) -> f64 {
    visits.sqrt() * visits.sqrt().sqrt()
}

/// Number of outcomes drawn from a table in a fresh stream, for tests of its frequencies.
///
/// # Errors
/// The weights are not finite and at least 0, or their sum is 0, or no ordinary number.
pub fn frequencies(weights: &[f64], draws: usize, seed: u64, progress: &Progress) -> Result<Vec<u64>> {
    let sum: f64 = weights.iter().sum();
    let scales = sum > 0.0 && sum.is_finite() && (weights.len() as f64 / sum).is_finite();
    if weights.iter().any(|w| !w.is_finite() || *w < 0.0) || !scales {
        return Err(Error::invalid("weights", "expected finite weights of at least 0, and an ordinary sum above 0"));
    }
    let (table, mut rng) = (Alias::new(weights), Rng::new(seed, 0, 0));
    let mut counts = vec![0u64; weights.len()];
    for draw in 0..draws {
        if draw % (1 << 20) == 0 {
            progress.check()?;
        }
        counts[table.draw(&mut rng) as usize] += 1;
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_follow_the_weights() {
        let weights = [1.0, 0.0, 3.0, 4.0, 0.5];
        let counts = frequencies(&weights, 170_000, 7, &Progress::new()).unwrap();
        for (count, weight) in counts.iter().zip(weights) {
            let expected = weight * 20_000.0;
            assert!((*count as f64 - expected).abs() <= 5.0 * f64::sqrt(expected), "{counts:?}");
        }
    }

    #[test]
    fn weights_that_cannot_be_drawn_are_refused() {
        let bad: [&[f64]; 6] = [&[], &[0.0], &[-1.0, 2.0], &[f64::NAN], &[1e308; 10], &[1e-320, 0.0]];
        for weights in bad {
            assert!(frequencies(weights, 1, 0, &Progress::new()).is_err(), "{weights:?}");
        }
    }

    #[test]
    fn weight_is_the_three_quarter_power() {
        assert!((weight(81.0) - 27.0).abs() < 1e-12);
    }
}
