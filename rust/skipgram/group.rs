//! Groups of pairs with one centre, and the rows that a step on a group touches.

use crate::rng::Rng;
use crate::skipgram::negative::Alias;
use crate::skipgram::params::MAX_NEGATIVES;
use crate::skipgram::strip::LANES;

/// (row of the centre, row of the context)
pub type Pair = (u32, u32);

/// Most pairs of a group: a window of 5 has up to 10.
pub const MOST_PAIRS: usize = 10;
/// Largest sum of a group's rates, over its contexts and negatives.
const REACH: f32 = 3.0;
/// Fewest rows to draw negatives from for each pair of a group.
const ROWS_PER_PAIR: usize = 8;
/// Pairs' worth of negatives that a group draws at most.
pub const SHARE: usize = 2;
/// Most rows that a step changes besides the centre's, in whole lines.
pub const MOST_ROWS: usize = (MOST_PAIRS + SHARE * MAX_NEGATIVES).next_multiple_of(LANES);

/// What all groups of a run of steps have in common.
pub struct Noise<'a> {
    /// Negatives of a pair (K).
    pub negatives: usize,
    /// Learning rate.
    pub rate: f32,
    /// Rows that negatives are drawn from.
    pub alias: &'a Alias,
}

/// Pairs that a group may have.
///
/// A group takes its scores before any of its steps, so rows that it meets many times over would be pushed too far:
/// in tiny graphs, or at high rates, where the steps of its pairs add up to more than [`REACH`]. There groups are small,
/// down to the single pair of word2vec.
pub fn most_pairs(noise: &Noise) -> usize {
    let by_rate = REACH / (noise.rate * (1 + noise.negatives) as f32);
    (by_rate as usize).min(noise.alias.len() / ROWS_PER_PAIR).clamp(1, MOST_PAIRS)
}

/// Cuts off the first group: the longest run of one centre, up to `most` pairs.
#[inline(always)]
pub fn next_group(pairs: &[Pair], most: usize) -> Option<(&[Pair], &[Pair])> {
    let centre = pairs.first()?.0;
    let len = pairs.iter().take(most).take_while(|pair| pair.0 == centre).count();
    Some(pairs.split_at(len))
}

/// The contexts of a group, then its negatives.
pub struct Targets {
    /// Rows of the context table.
    pub rows: [u32; MOST_ROWS],
    /// Learning rate times `w_t` of [`crate::skipgram::loss`].
    pub weights: [f32; MOST_ROWS],
    /// Row of the centre table.
    pub centre: u32,
    /// Number of contexts.
    pub positives: usize,
    /// Number of rows.
    pub count: usize,
}

/// For no group yet.
impl Default for Targets {
    fn default() -> Self {
        Self { rows: [0; MOST_ROWS], weights: [0.0; MOST_ROWS], centre: 0, positives: 0, count: 0 }
    }
}

impl Targets {
    /// Takes up a group and draws its negatives.
    #[inline(always)]
    pub fn draw(&mut self, noise: &Noise, group: &[Pair], rng: &mut Rng) {
        // Last six bits of the contexts: few negatives share them, and only these are compared one by one.
        let mut bits = 0u64;
        for (place, &(_, context)) in group.iter().enumerate() {
            bits |= 1 << (context % 64);
            self.rows[place] = context;
            self.weights[place] = noise.rate;
        }
        let drawn = noise.negatives * group.len().min(SHARE);
        let share = noise.rate * noise.negatives as f32 / drawn as f32;
        let whole = share * group.len() as f32;
        for place in group.len()..group.len() + drawn {
            let row = noise.alias.draw(rng);
            self.rows[place] = row;
            self.weights[place] = whole;
            if bits >> (row % 64) & 1 == 1 {
                self.weights[place] = share * group.iter().filter(|pair| pair.1 != row).count() as f32;
            }
        }
        self.centre = group[0].0;
        self.positives = group.len();
        self.count = group.len() + drawn;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_runs_of_a_centre() {
        let mut rest: &[Pair] = &[(1, 5), (1, 6), (2, 5), (1, 7)];
        let mut sizes = Vec::new();
        while let Some((group, after)) = next_group(rest, MOST_PAIRS) {
            sizes.push(group.len());
            rest = after;
        }
        assert_eq!(sizes, vec![2, 1, 1]);
        assert_eq!(next_group(&[(3, 3); MOST_PAIRS + 4], MOST_PAIRS).unwrap().0.len(), MOST_PAIRS);
    }

    #[test]
    fn groups_are_small_where_a_step_could_go_too_far() {
        let most = |rate, rows| most_pairs(&Noise { negatives: 5, rate, alias: &Alias::new(&vec![1.0; rows]) });
        assert_eq!((most(0.05, 1000), most(0.1, 1000), most(0.9, 1000)), (10, 5, 1));
        assert_eq!((most(0.05, 1), most(0.05, 40), most(0.0, 1000)), (1, 5, 10));
    }

    #[test]
    fn a_negative_is_left_out_for_the_pairs_whose_context_it_is() {
        let alias = Alias::new(&[0.0, 1.0]);
        let noise = Noise { negatives: 3, rate: 0.5, alias: &alias };
        let mut targets = Targets::default();
        targets.draw(&noise, &[(0, 1), (0, 0), (0, 0)], &mut Rng::new(0, 0, 0));
        assert_eq!((targets.positives, targets.count), (3, 9));
        assert_eq!(&targets.rows[..9], &[1, 0, 0, 1, 1, 1, 1, 1, 1]);
        // 3 pairs x 3 negatives shared by 6 draws: half each, for the two pairs with another context.
        assert_eq!(&targets.weights[..9], &[0.5; 9]);
        targets.draw(&noise, &[(0, 1)], &mut Rng::new(0, 0, 0));
        assert_eq!((&targets.weights[..4], targets.count), (&[0.5, 0.0, 0.0, 0.0][..], 4));
    }
}
