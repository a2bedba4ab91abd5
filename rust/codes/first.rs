//! The first level on its own, for rows that are too many to be in one place.
//!
//! Below their first codes rows do not meet, so every first code can be made unique apart from the others. What ties them
//! together is the room of the first codes, and that is decided from counts: only where a first code has more rows than
//! codes below it do rows have to come together, in order to be moved as `super::unique` moves them.

use super::assign::Search;
use super::unique::{Unique, capacity, check_places, check_room};
use crate::cluster::{balance, transport};
use crate::error::{Error, Result};
use crate::matrix::{self, Rows};
use crate::progress::Progress;

/// The first codes whose rows have to come together, ascending, given the number of rows that are nearest to each: none
/// where all fit; all that have rows where the case is small enough to be solved exactly; else those with too many.
pub fn contested(counts: &[usize], sizes: &[usize], unique: Unique, cap: Option<usize>) -> Result<Vec<u32>> {
    let ranked = unique == Unique::Rank && cap.is_none();
    if matches!(unique, Unique::None | Unique::Counter) {
        return Ok(Vec::new());
    }
    let rows = counts.iter().sum();
    let room = capacity(rows, sizes, cap, true);
    check_room(sizes, rows)?;
    let excess: usize = counts.iter().map(|&count| count.saturating_sub(room)).sum();
    if excess == 0 || ranked {
        return Ok(Vec::new());
    }
    check_places(rows, room.saturating_mul(sizes[0]), sizes[0], cap)?;
    let all = unique == Unique::Assignment && transport::small(rows, sizes[0], excess);
    let least = if all { 0 } else { room };
    Ok((0..sizes[0] as u32).filter(|&code| counts[code as usize] > least).collect())
}

/// First codes of the rows that `contested` has named, in their order, so that every first code keeps within its room.
///
/// `nearest` are their nearest first codes, and `counts` the numbers of all rows, those elsewhere too, which stay.
pub fn settle(
    x: Rows<'_>,
    search: &Search,
    nearest: &[u32],
    counts: &[usize],
    unique: Unique,
    cap: Option<usize>,
    progress: &Progress,
) -> Result<Vec<u32>> {
    let mut room = vec![capacity(counts.iter().sum(), &search.sizes(), cap, true); counts.len()];
    let mut elsewhere = counts.to_vec();
    for &code in nearest {
        let left = elsewhere[code as usize].checked_sub(1);
        elsewhere[code as usize] = left.ok_or_else(|| Error::invalid("counts", "count fewer rows than there are"))?;
    }
    room.iter_mut().zip(&elsewhere).for_each(|(room, &held)| *room = room.saturating_sub(held));
    check_places(nearest.len(), room.iter().fold(0, |sum: usize, &r| sum.saturating_add(r)), counts.len(), cap)?;
    let left = matrix::build(x.len(), x.dim(), progress, |i, out| search.place(x.row(i), out))?;
    let mut labels = nearest.to_vec();
    let exact = unique == Unique::Assignment && elsewhere.iter().all(|&held| held == 0);
    balance::limit(Rows::new(&left, x.dim()), &search.packed[0], &room, exact, &mut labels, progress)?;
    Ok(labels)
}
