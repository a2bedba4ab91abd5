//! Codes that are unique by a further level that counts.

use super::groups::Groups;
use crate::error::Result;
use crate::progress::Progress;

/// Adds the level that counts rows of a kind with equal codes, in row order and from the lowest free count.
pub fn counted(nearest: &[u32], occupied: &[u32], depth: usize, by_kind: Groups, progress: &Progress) -> Result<Vec<u32>> {
    let n = nearest.len() / depth;
    let mut groups = by_kind;
    for level in 0..depth {
        let taken = occupied.chunks_exact(depth + 1);
        let labels: Vec<u32> = nearest.chunks_exact(depth).chain(taken).map(|row| row[level]).collect();
        groups = groups.split(&labels, progress)?;
    }
    let mut codes = vec![0; n * (depth + 1)];
    for members in groups.members() {
        progress.check()?;
        let (rows, fixed) = members.split_at(members.partition_point(|&row| (row as usize) < n));
        let mut taken: Vec<u32> = fixed.iter().map(|&row| occupied[(row as usize - n) * (depth + 1) + depth]).collect();
        taken.sort_unstable();
        let free = (0u32..).filter(|count| taken.binary_search(count).is_err());
        for (&row, count) in rows.iter().zip(free) {
            let row = row as usize;
            let to = &mut codes[row * (depth + 1)..(row + 1) * (depth + 1)];
            to[..depth].copy_from_slice(&nearest[row * depth..(row + 1) * depth]);
            to[depth] = count;
        }
    }
    Ok(codes)
}
