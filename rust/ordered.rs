//! Scores and ids in one number, so that no two are equal and selection and order are the same on every machine.

/// Larger for a larger score, and among equal scores for a lower id. -0 is 0; a score is no NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(u64);

impl Key {
    /// The key of a score and an id of 0 or more.
    #[inline]
    pub fn new(score: f32, id: i32) -> Self {
        // As unsigned integers floats keep their order if positive ones get the sign bit and negative ones are inverted.
        let bits = (score + 0.0).to_bits();
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        Self(u64::from(ordered) << 32 | u64::from(u32::MAX - id as u32))
    }

    /// The least key of a score.
    #[inline]
    pub fn least(score: f32) -> Self {
        Self::new(score, i32::MAX)
    }

    /// The score.
    #[inline]
    pub fn score(self) -> f32 {
        let ordered = (self.0 >> 32) as u32;
        f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
    }

    /// The id.
    #[inline]
    pub fn id(self) -> i32 {
        (u32::MAX - self.0 as u32) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_by_score_then_by_lower_id() {
        let scores = [f32::NEG_INFINITY, -3.5, -1e-30, 0.0, 1e-30, 2.0, f32::INFINITY];
        for (place, &one) in scores.iter().enumerate() {
            for (other, &two) in scores.iter().enumerate() {
                for (a, b) in [(0, 1), (7, 7), (i32::MAX, 3)] {
                    let expected = place.cmp(&other).then(b.cmp(&a));
                    assert_eq!(Key::new(one, a).cmp(&Key::new(two, b)), expected);
                }
            }
            assert_eq!((Key::new(one, 9).score(), Key::new(one, 9).id()), (one, 9));
            assert!(Key::least(one) <= Key::new(one, 9));
        }
        assert_eq!(Key::new(-0.0, 4), Key::new(0.0, 4));
    }
}
