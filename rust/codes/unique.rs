//! Codes that are unique within a kind, without a counter level.
//!
//! Above the last level a row takes its nearest codeword as long as every prefix keeps room: a prefix of length `l`
//! (within a kind) holds at most the product of the levels below it. In the last level the rows under one prefix are
//! assigned to the shared codewords at the least total squared distance.

use rayon::prelude::*;

use super::assign::{self, Codebook, Prepared};
use super::balance;
use super::groups::Groups;
use crate::cluster::kernel::{Codewords, Isa};
use crate::cluster::lap;
use crate::cluster::rank::{check_ranks, ranks};
use crate::cluster::rows::{Rows, subtract};
use crate::error::{Error, Result};
use crate::progress::Progress;

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

/// Encodes `x`; codes are unique among rows of equal `kinds`.
pub fn encode(
    x: Rows<'_>,
    book: &Codebook<'_>,
    kinds: &[i64],
    unique: Unique,
    progress: &Progress,
) -> Result<Encoding> {
    let prepared = assign::prepare(x, book)?;
    let depth = book.levels.len();
    progress.set_total((2 * x.len() * depth) as u64);
    let by_kind = Groups::by_value(kinds);
    if unique == Unique::Assignment || unique == Unique::Nearest {
        check_room(book, by_kind.largest())?;
    }
    let nearest = assign::greedy(&prepared, book.isa, progress)?;
    let error_before = prepared.error(&nearest);
    let codes = match unique {
        Unique::None | Unique::Counter => nearest.clone(),
        _ => Encoder { prepared: &prepared, isa: book.isa, unique, progress }.run(by_kind.clone())?,
    };
    let kept = codes.chunks_exact(depth).zip(nearest.chunks_exact(depth)).filter(|(a, b)| a == b).count();
    let encoding = Encoding {
        kept_share: if x.is_empty() { 1.0 } else { kept as f64 / x.len() as f64 },
        error_before,
        error_after: prepared.error(&codes),
        codes,
        depth,
    };
    Ok(if unique == Unique::Counter { counted(encoding, by_kind) } else { encoding })
}

fn check_room(book: &Codebook<'_>, largest: usize) -> Result<()> {
    let sizes: Vec<usize> = book.levels.iter().map(Rows::len).collect();
    let room = sizes.iter().fold(1usize, |product, &k| product.saturating_mul(k));
    if largest <= room {
        return Ok(());
    }
    let above: usize = sizes[..sizes.len() - 1].iter().fold(1, |product, &k| product.saturating_mul(k));
    let mut enough = sizes.clone();
    *enough.last_mut().expect("a codebook has levels") = largest.div_ceil(above).next_power_of_two();
    Err(Error::invalid(
        "levels",
        format!(
            "{largest} rows of one kind do not fit the {room} codes of levels {sizes:?}; fit with levels={enough:?} \
             or levels=auto_levels([{largest}]), or encode with unique=\"counter\""
        ),
    ))
}

struct Encoder<'a> {
    prepared: &'a Prepared,
    isa: Isa,
    unique: Unique,
    progress: &'a Progress,
}

impl Encoder<'_> {
    fn run(&self, mut groups: Groups) -> Result<Vec<u32>> {
        let (dim, words) = (self.prepared.dim, &self.prepared.codewords);
        let depth = words.len();
        let mut left = self.prepared.data.clone();
        let mut codes = vec![0; self.prepared.rows().len() * depth];
        for level in 0..depth {
            let below = words[level + 1..].iter().fold(1usize, |p, w| p.saturating_mul(w.len() / dim));
            let search = Rows::new(&self.prepared.search[level], dim);
            let labels = self.level(&groups, Rows::new(&left, dim), search, level, below)?;
            subtract(&mut left, dim, &labels, &words[level]);
            codes.chunks_exact_mut(depth).zip(&labels).for_each(|(row, &label)| row[level] = label);
            groups = groups.split(&labels);
        }
        Ok(codes)
    }

    /// Labels of one level; `capacity` rows may share a codeword within a group.
    fn level(
        &self,
        groups: &Groups,
        left: Rows<'_>,
        words: Rows<'_>,
        level: usize,
        capacity: usize,
    ) -> Result<Vec<u32>> {
        let last = level + 1 == self.prepared.codewords.len();
        if last && self.unique == Unique::Rank {
            let sizes: Vec<usize> = self.prepared.codewords.iter().map(|w| w.len() / self.prepared.dim).collect();
            check_ranks(groups.largest(), &sizes)?;
        }
        let nearest = assign::nearest(left, words.data(), self.isa, self.progress)?;
        let packed = Codewords::pack(words, self.isa);
        let found: Vec<Vec<u32>> = groups
            .members()
            .into_par_iter()
            .map(|members| {
                self.progress.check()?;
                let mut labels: Vec<u32> = members.iter().map(|&row| nearest[row as usize]).collect();
                match self.unique {
                    Unique::Rank if last => return Ok(ranks(members, left)),
                    Unique::Rank => {}
                    Unique::Assignment if last => settle(members, left, &packed, words.len(), &mut labels),
                    _ => balance::limit(members, left, &packed, capacity, &mut labels),
                }
                Ok(labels)
            })
            .collect::<Result<_>>()?;
        let mut labels = nearest;
        for (range, part) in groups.ranges().zip(found) {
            for (&row, label) in groups.order()[range].iter().zip(part) {
                labels[row as usize] = label;
            }
        }
        Ok(labels)
    }
}

/// Assigns the members of one prefix to codewords of their own. `|x|^2` is the same for every codeword of a row, so the
/// kernel's score serves as the cost.
fn settle(members: &[u32], left: Rows<'_>, packed: &Codewords, k: usize, labels: &mut [u32]) {
    let mut taken = vec![false; k];
    if labels.iter().all(|&label| !std::mem::replace(&mut taken[label as usize], true)) {
        return; // every row has its nearest codeword to itself, and nothing is cheaper
    }
    let gathered = left.gather(members);
    let mut products = vec![0.0; members.len() * packed.padded()];
    packed.products(Rows::new(&gathered, left.dim()), &mut products);
    let mut cost = Vec::with_capacity(members.len() * k);
    for row in products.chunks_exact(packed.padded()) {
        cost.extend((0..k).map(|c| f64::from(packed.half_norm(c)) - f64::from(row[c])));
    }
    labels.copy_from_slice(&lap::assign(&cost, members.len(), k));
}

/// Adds the level that counts rows of a kind with equal codes, in row order.
fn counted(encoding: Encoding, by_kind: Groups) -> Encoding {
    let depth = encoding.depth;
    let mut groups = by_kind;
    for level in 0..depth {
        let labels: Vec<u32> = encoding.codes.chunks_exact(depth).map(|row| row[level]).collect();
        groups = groups.split(&labels);
    }
    let mut codes = vec![0; encoding.codes.len() / depth * (depth + 1)];
    for members in groups.members() {
        for (counter, &row) in members.iter().enumerate() {
            let row = row as usize;
            let to = &mut codes[row * (depth + 1)..(row + 1) * (depth + 1)];
            to[..depth].copy_from_slice(&encoding.codes[row * depth..(row + 1) * depth]);
            to[depth] = counter as u32;
        }
    }
    Encoding { codes, depth: depth + 1, ..encoding }
}
