//! Codes that are unique within a kind, without a counter level.
//!
//! Above the last level a row keeps its nearest codeword as long as every prefix has room: a prefix of length `l` (within
//! a kind) holds at most the product of the levels below it, less what is occupied there. In the last level the rows
//! under one prefix are assigned to the free codewords at the least total squared distance.

use rayon::prelude::*;

use super::assign::Search;
use super::groups::Groups;
use crate::cluster::kernel::BLOCK;
use crate::cluster::pack::Codewords;
use crate::cluster::rank::{check_ranks, ranks};
use crate::cluster::{balance, lap};
use crate::error::{Error, Result};
use crate::limits::reserved;
use crate::matrix::{self, Rows};
use crate::progress::Progress;

/// Codes below a prefix from which on not all of them are given away without need.
const MANY: usize = 1024;

/// How codes become unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unique {
    /// Last level by linear assignment.
    Assignment,
    /// Last level to the nearest free codeword, cheapest moves first.
    Nearest,
    /// A further level that counts the rows of a kind with equal codes.
    Counter,
    /// Codes may repeat.
    None,
    /// Last level is the rank by distance to the centroid (the published scheme).
    Rank,
}

/// Codes that are taken, with their kinds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Occupied<'a> {
    /// `m x depth`, row-major, where `depth` is that of the result.
    pub codes: &'a [u32],
    /// Kind of each.
    pub kinds: &'a [i64],
}

/// Codes and what uniqueness cost.
#[derive(Debug, Clone)]
pub struct Encoding {
    /// `n x depth`, row-major.
    pub codes: Vec<u32>,
    /// Levels of the codes; one more than the codebook's with `Counter`.
    pub depth: usize,
    /// Share of the rows whose codes are the nearest ones at every level.
    pub kept_share: f64,
    /// Relative quantisation error of the nearest codes.
    pub error_before: f64,
    /// Relative quantisation error of the codes.
    pub error_after: f64,
}

/// Makes the nearest codes of finite rows `x` unique among rows of equal `kinds`, and different from the occupied ones of
/// their kind. At most `cap` rows of a kind get the same first code, unless `first` says which each row gets: they were
/// settled before, together with rows that are not here (`super::first`).
pub fn make_unique(
    x: Rows<'_>,
    search: &Search,
    nearest: &[u32],
    first: Option<&[u32]>,
    kinds: &[i64],
    occupied: Occupied<'_>,
    unique: Unique,
    cap: Option<usize>,
    progress: &Progress,
) -> Result<Encoding> {
    let depth = search.depth();
    let all: Vec<i64> = kinds.iter().chain(occupied.kinds).copied().collect();
    let by_kind = Groups::by_value(&all);
    let n = x.len();
    let (codes, depth_out) = match unique {
        Unique::None => (nearest.to_vec(), depth),
        Unique::Counter => (super::counter::counted(nearest, occupied.codes, depth, by_kind, progress)?, depth + 1),
        _ => {
            check_room(&search.sizes(), by_kind.largest())?;
            let start = Placement { x, search, nearest, first, occupied, unique, cap, progress };
            (start.run(by_kind)?, depth)
        }
    };
    let kept = codes.chunks_exact(depth_out).zip(nearest.chunks_exact(depth)).filter(|(a, b)| a[..depth] == **b);
    let kept_share = kept.count() as f64 / n as f64;
    let plain: Vec<u32> = codes.chunks_exact(depth_out).flat_map(|row| &row[..depth]).copied().collect();
    let [error_before, error_after] = search.errors(x, [nearest, &plain], progress)?;
    Ok(Encoding { codes, depth: depth_out, kept_share, error_before, error_after })
}

pub(super) fn check_room(sizes: &[usize], largest: usize) -> Result<()> {
    let room = product(sizes);
    if largest <= room {
        return Ok(());
    }
    let above = product(&sizes[..sizes.len() - 1]);
    let mut enough = sizes.to_vec();
    *enough.last_mut().expect("a codebook has levels") = largest.div_ceil(above).next_power_of_two();
    Err(Error::invalid(
        "levels",
        format!(
            "{largest} rows of one kind do not fit the {room} codes of levels {sizes:?}; fit with levels={enough:?} \
             or levels=auto_levels([{largest}]), or encode with unique=\"counter\""
        ),
    ))
}

pub(super) fn product(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |product, &k| product.saturating_mul(k))
}

/// Most rows that a codeword of the first of some levels may get, of so many in all.
///
/// They are as many as there are codes below it, or `cap`. Where these are many, rows that fill all of them take the cube
/// of their number to assign, and the last ones find codewords far away; so a quarter of them stays free if the rows fit
/// then. It is there for rows that come later: `alone` says that no codes are taken.
pub(super) fn capacity(rows: usize, sizes: &[usize], cap: Option<usize>, alone: bool) -> usize {
    let below = product(&sizes[1..]);
    let airy = below - below / 4;
    if alone && cap.is_none() && below >= MANY && rows <= airy.saturating_mul(sizes[0]) {
        return airy;
    }
    below.min(cap.unwrap_or(below))
}

struct Placement<'a> {
    x: Rows<'a>,
    search: &'a Search,
    nearest: &'a [u32],
    first: Option<&'a [u32]>,
    occupied: Occupied<'a>,
    unique: Unique,
    cap: Option<usize>,
    progress: &'a Progress,
}

impl Placement<'_> {
    fn run(&self, mut groups: Groups) -> Result<Vec<u32>> {
        let (n, dim, depth) = (self.x.len(), self.search.dim, self.search.depth());
        let mut left = matrix::build(n, dim, self.progress, |i, out| self.search.place(self.x.row(i), out))?;
        let mut codes = vec![0; n * depth];
        let mut labels = vec![0; n + self.occupied.kinds.len()];
        for level in 0..depth {
            let taken = self.occupied.codes.chunks_exact(depth).map(|row| row[level]);
            labels[n..].iter_mut().zip(taken).for_each(|(label, code)| *label = code);
            if let (0, Some(first)) = (level, self.first) {
                labels[..n].copy_from_slice(first);
            } else {
                self.start(level, &codes, Rows::new(&left, dim), &mut labels[..n])?;
                self.settle_level(level, &groups, Rows::new(&left, dim), &mut labels)?;
            }
            matrix::change(&mut left, dim, self.progress, |i, row| self.search.take(level, labels[i], row))?;
            codes.chunks_exact_mut(depth).zip(&labels).for_each(|(row, &label)| row[level] = label);
            groups = groups.split(&labels, self.progress)?;
        }
        Ok(codes)
    }

    /// Nearest codeword of every row: the known one, unless a level above moved the row.
    fn start(&self, level: usize, codes: &[u32], left: Rows<'_>, labels: &mut [u32]) -> Result<()> {
        let depth = self.search.depth();
        let known = |row: usize| &self.nearest[row * depth..][..depth];
        labels.iter_mut().enumerate().for_each(|(row, label)| *label = known(row)[level]);
        let moved: Vec<u32> = (0..left.len() as u32)
            .filter(|&row| codes[row as usize * depth..][..level] != known(row as usize)[..level])
            .collect();
        let part = matrix::gather(left, &moved, self.progress)?;
        let found = balance::packed_nearest(Rows::new(&part, left.dim()), &self.search.packed[level], self.progress)?;
        moved.iter().zip(found).for_each(|(&row, label)| labels[row as usize] = label);
        self.progress.advance(left.len() as u64)
    }

    /// Changes the labels of one level until every group keeps within its room. Rows from `left.len()` on are the
    /// occupied codes, which stay.
    fn settle_level(&self, level: usize, groups: &Groups, left: Rows<'_>, labels: &mut [u32]) -> Result<()> {
        let sizes = self.search.sizes();
        let last = level + 1 == sizes.len();
        if last && self.unique == Unique::Rank {
            check_ranks(groups.largest(), &sizes)?;
        }
        let cap = if level == 0 { self.cap } else { None };
        let found: Vec<Vec<u32>> = groups
            .members()
            .into_par_iter()
            .map(|members| {
                self.progress.check()?;
                let (rows, fixed) = members.split_at(members.partition_point(|&row| (row as usize) < left.len()));
                let mut room = vec![capacity(rows.len(), &sizes[level..], cap, fixed.is_empty()); sizes[level]];
                let taken = fixed.iter().map(|&row| labels[row as usize] as usize);
                taken.for_each(|c| room[c] = room[c].saturating_sub(1));
                let mut own: Vec<u32> = rows.iter().map(|&row| labels[row as usize]).collect();
                self.settle(level, rows, left, &room, &mut own)?;
                Ok(own)
            })
            .collect::<Result<_>>()?;
        for (range, part) in groups.ranges().zip(found) {
            for (&row, label) in groups.order()[range].iter().zip(part) {
                labels[row as usize] = label;
            }
        }
        Ok(())
    }

    /// Labels of the rows of one group, from the nearest ones to ones that fit.
    fn settle(&self, level: usize, rows: &[u32], left: Rows<'_>, room: &[usize], labels: &mut [u32]) -> Result<()> {
        let last = level + 1 == self.search.depth();
        if last && self.unique == Unique::Rank {
            labels.copy_from_slice(&ranks(rows, left));
            return Ok(());
        }
        if fits(room, labels) || (self.unique == Unique::Rank && self.cap.is_none()) {
            return Ok(());
        }
        let places = room.iter().fold(0usize, |sum, &r| sum.saturating_add(r));
        check_places(rows.len(), places, room.len(), self.cap)?;
        let all = rows.len() == left.len(); // in their order, since groups are ascending
        let gathered = if all { Vec::new() } else { matrix::gather(left, rows, self.progress)? };
        let part = if all { left } else { Rows::new(&gathered, left.dim()) };
        if last && self.unique == Unique::Assignment && room.iter().all(|&r| r <= 1) {
            return one_each(part, &self.search.packed[level], room, labels, self.progress);
        }
        let exact = self.unique == Unique::Assignment;
        balance::limit(part, &self.search.packed[level], room, exact, labels, self.progress).map(drop)
    }
}

/// Fails where clusters of at most `cap` rows have fewer places than there are rows.
pub(super) fn check_places(rows: usize, places: usize, clusters: usize, cap: Option<usize>) -> Result<()> {
    if rows <= places {
        return Ok(());
    }
    let message = format!(
        "{rows} rows of one kind do not fit clusters of at most {} rows, {places} places in all; raise it to at least \
         {} or leave it out",
        cap.unwrap_or(0),
        rows.div_ceil(clusters)
    );
    Err(Error::invalid("max_cluster_size", message))
}

fn fits(room: &[usize], labels: &[u32]) -> bool {
    let mut room = room.to_vec();
    labels.iter().all(|&label| {
        let left = &mut room[label as usize];
        let fits = *left > 0;
        *left = left.saturating_sub(1);
        fits
    })
}

/// Assigns rows to free codewords of their own. `|x|^2` is the same for every codeword of a row, so the kernel's score
/// serves as the cost.
fn one_each(rows: Rows<'_>, packed: &Codewords, room: &[usize], labels: &mut [u32], progress: &Progress) -> Result<()> {
    let free: Vec<usize> = (0..room.len()).filter(|&c| room[c] > 0).collect();
    check_costs(rows.len(), free.len())?;
    let mut cost = reserved("levels", rows.len().checked_mul(free.len()))?;
    let mut products = vec![0.0; BLOCK * packed.padded()];
    for begin in (0..rows.len()).step_by(BLOCK) {
        progress.check()?;
        let part = rows.slice(begin, (begin + BLOCK).min(rows.len()));
        let products = &mut products[..part.len() * packed.padded()];
        packed.products(part, products);
        for row in products.chunks_exact(packed.padded()) {
            cost.extend(free.iter().map(|&c| packed.half_norm(c) - row[c]));
        }
    }
    let found = lap::assign(&cost, rows.len(), free.len(), packed.isa(), progress)?;
    labels.iter_mut().zip(found).for_each(|(label, column)| *label = free[column as usize] as u32);
    Ok(())
}

/// Most costs of one exact assignment: 4 GiB of them.
const COSTS: usize = 1 << 30;

fn check_costs(rows: usize, free: usize) -> Result<()> {
    if rows.saturating_mul(free) <= COSTS {
        return Ok(());
    }
    let message = format!(
        "{rows} rows share all codes but the last and have {free} free codewords there, too many for an exact \
         assignment; put more tokens into the levels above, or use unique=\"nearest\""
    );
    Err(Error::invalid("levels", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_that_no_memory_holds_are_refused() {
        assert!(check_costs(1 << 15, 1 << 15).is_ok());
        assert!(check_costs((1 << 15) + 1, 1 << 15).unwrap_err().to_string().contains("nearest"));
        assert!(check_costs(usize::MAX, 2).is_err());
    }
}
