//! Trains vectors on walks while they are made.
//!
//! An *episode* is a bounded share of the walks of one pass. In order: its walks are made in parallel and their pairs
//! put into the cells of the block grid ([`crate::skipgram::blocks`]); then, diagonal by diagonal, the cells train in
//! parallel, each with its pairs ordered by centre (pairs of one centre in the order of their walks), so that they
//! form large groups ([`crate::skipgram::loss`]). Nothing depends on which thread does what. With hogwild an episode
//! is split among threads as it comes, each walk in its own order, and all write to the same rows.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::graph::metapath::MetaPath;
use crate::graph::typed::Graph;
use crate::graph::walk::Walker;
use crate::limits::check_room;
use crate::matrix::finite;
use crate::progress::Progress;
use crate::rng::Rng;
use crate::simd::Isa;
use crate::skipgram::blocks::{Blocks, shuffle};
use crate::skipgram::corpus::{Start, Walks};
use crate::skipgram::group::{Noise, Pair};
use crate::skipgram::pairs::{Sorter, kept};
use crate::skipgram::params::{Checked, Params};
use crate::skipgram::shared::{Owned, Shared};
use crate::skipgram::step::train;
use crate::skipgram::strip::LANES;
use crate::skipgram::tables::{Given, Tables, gather};

const ORDER_STREAM: u64 = 0x0DE2;
const NEGATIVE_STREAM: u64 = 0x4E46;
/// Walks that one thread makes at a time.
const CHUNK: usize = 32;
/// Pieces of an episode whose pairs lie together, at most, about: with more the pairs of a cell are strewn over memory.
const PIECES: usize = 512;
/// Pairs trained between two looks at Ctrl-C.
const PATIENCE: usize = 1 << 14;

/// What training leaves.
#[derive(Debug)]
pub struct Trained {
    /// `[n_nodes, dim]`; for nodes that no walk visits what was given, else zero.
    pub vectors: Vec<f32>,
    /// The same of the contexts.
    pub contexts: Vec<f32>,
    /// Whether any walk visits the node.
    pub trained: Vec<bool>,
    /// Number of pairs that were trained on.
    pub pairs: u64,
}

/// Trains one vector per node of `graph` on walks along `paths`.
pub fn fit(graph: &Graph, paths: &[MetaPath], params: &Params, given: Given, progress: &Progress) -> Result<Trained> {
    let params = params.check()?;
    if paths.is_empty() {
        return Err(Error::invalid("meta_paths", "expected at least one path"));
    }
    // Vectors and contexts, as they are trained and as they are returned.
    check_room("dim", &[graph.n_nodes(), params.dim.next_multiple_of(LANES), 16])?;
    given.check(params.dim)?;
    let walkers: Vec<Walker> = paths.iter().map(|path| Walker::new(graph, path)).collect::<Result<_>>()?;
    let mut visits = vec![0f64; graph.n_nodes()];
    for (walker, path) in walkers.iter().zip(paths) {
        progress.check()?;
        walker.expected_visits(graph, path, params.walk_length, &mut visits, progress)?;
    }
    // Hogwild is one block that everyone trains in.
    let blocks = Blocks::new(&visits, if params.hogwild { Some(1) } else { params.blocks }, params.seed);
    let walks = Walks { walkers: &walkers, params: &params, kept: kept(&visits, params.subsample) };
    let tables = Tables::new(&blocks, params.dim, params.seed, given);
    let isa = Isa::choose(None)?;
    let mut trainer = Trainer {
        walks,
        blocks: &blocks,
        params: &params,
        progress,
        isa,
        tables,
        pieces: Vec::new(),
        sorters: Vec::new(),
        pairs: 0,
    };
    trainer.run()?;
    let (Tables { centres, contexts, .. }, pairs) = (trainer.tables, trainer.pairs);
    let vectors = gather(centres, &blocks, params.dim, given.vectors);
    let contexts = gather(contexts, &blocks, params.dim, given.contexts);
    let found = Trained { vectors, contexts, trained: visits.iter().map(|&v| v > 0.0).collect(), pairs };
    check_trained(&found, &params)?;
    Ok(found)
}

/// Refuses settings that have taught nothing, or no numbers.
fn check_trained(found: &Trained, params: &Checked) -> Result<()> {
    let (share, rate) = (params.subsample, params.learning_rate);
    if share > 0.0 && found.pairs == 0 && found.trained.contains(&true) {
        let said = format!("expected a share that leaves pairs to train on, got {share}; raise it, or say 0");
        return Err(Error::invalid("subsample", said));
    }
    if !finite(&found.vectors) || !finite(&found.contexts) {
        return Err(Error::invalid("learning_rate", format!("vectors grow beyond all numbers at {rate}; use less")));
    }
    Ok(())
}

/// What all walks of an episode have in common.
#[derive(Clone, Copy)]
struct Episode {
    number: u64,
    pass: u32,
    rate: f32,
}

struct Trainer<'a> {
    walks: Walks<'a>,
    blocks: &'a Blocks,
    params: &'a Checked,
    progress: &'a Progress,
    isa: Isa,
    tables: Tables,
    /// Pair buffers of the episode: one set of cells for each piece of its walks.
    pieces: Vec<Vec<Vec<Pair>>>,
    /// One for each cell of a diagonal.
    sorters: Vec<Sorter>,
    pairs: u64,
}

impl Trainer<'_> {
    fn run(&mut self) -> Result<()> {
        let params = self.params;
        let mut starts = self.walks.starts();
        let passes = params.epochs * params.walks_per_node;
        let total = (starts.len() * passes).max(1);
        self.progress.set_total(total as u64);
        let nodes: usize = self.blocks.members.iter().map(Vec::len).sum();
        let per_episode = self.walks.per_episode(nodes);
        let (mut done, mut number) = (0, 0);
        for pass in 0..passes {
            shuffle(&mut starts, &mut Rng::new(params.seed, ORDER_STREAM, pass as u64));
            for share in starts.chunks(per_episode) {
                let fall = (params.learning_rate - params.min_learning_rate) * done as f64 / total as f64;
                let episode = Episode { number, pass: pass as u32, rate: (params.learning_rate - fall) as f32 };
                if params.hogwild {
                    self.pairs += self.train_freely(share, episode)?;
                } else {
                    self.make_pairs(share, episode);
                    self.pairs += self.train_cells(episode)?;
                }
                (done, number) = (done + share.len(), number + 1);
                self.progress.advance(share.len() as u64)?;
            }
        }
        Ok(())
    }

    /// Fills `pieces` with the pairs of an episode, cell by cell.
    fn make_pairs(&mut self, share: &[Start], episode: Episode) {
        let (walks, places) = (&self.walks, &self.blocks.places);
        let count = self.blocks.members.len();
        let piece = share.len().div_ceil(PIECES).next_multiple_of(CHUNK);
        self.pieces.resize(share.len().div_ceil(piece), vec![Vec::new(); count * count]);
        self.pieces.par_iter_mut().zip(share.par_chunks(piece)).for_each(|(cells, starts)| {
            cells.iter_mut().for_each(Vec::clear);
            for mut walk in starts.chunks(CHUNK).flat_map(|starts| walks.made(starts, episode.pass)) {
                walks.pairs(&mut walk, |centre, context| {
                    let (a, b) = (places[centre as usize], places[context as usize]);
                    cells[a.block as usize * count + b.block as usize].push((a.row, b.row));
                });
            }
        });
    }

    /// Trains the cells of one diagonal after the other.
    fn train_cells(&mut self, episode: Episode) -> Result<u64> {
        let (blocks, params, progress, isa) = (self.blocks, self.params, self.progress, self.isa);
        let (count, pieces) = (blocks.members.len(), &self.pieces);
        let Tables { lines, centres, contexts, .. } = &mut self.tables;
        let (lines, sorters) = (*lines, &mut self.sorters);
        sorters.resize_with(count, Sorter::default);
        let mut trained = 0;
        for diagonal in 0..count {
            // Cell (i, i + diagonal): rotating the context blocks lines both tables up.
            contexts.rotate_left(diagonal);
            let cells = centres.par_iter_mut().zip(contexts.par_iter_mut()).zip(sorters.par_iter_mut()).enumerate();
            let outcome = cells.map(|(row, ((centres, contexts), sorter))| {
                let column = (row + diagonal) % count;
                let cell = row * count + column;
                let index = episode.number * (count * count) as u64 + cell as u64;
                let mut rng = Rng::new(params.seed, NEGATIVE_STREAM, index);
                let noise = Noise { negatives: params.negatives, rate: episode.rate, alias: &blocks.negatives[column] };
                let pairs = sorter.by_centre(pieces.iter().map(|cells| &cells[cell][..]), blocks.members[row].len());
                for pairs in pairs.chunks(PATIENCE) {
                    progress.check()?;
                    train(isa, &noise, lines, &mut Owned(centres), &mut Owned(contexts), pairs, &mut rng);
                }
                Ok(pairs.len() as u64)
            });
            let outcome: Result<u64> = outcome.sum();
            contexts.rotate_right(diagonal);
            trained += outcome?;
        }
        Ok(trained)
    }

    /// Trains an episode with all threads on the same rows.
    fn train_freely(&mut self, share: &[Start], episode: Episode) -> Result<u64> {
        let (walks, params, progress, isa) = (&self.walks, self.params, self.progress, self.isa);
        let (places, alias) = (&self.blocks.places, self.blocks.negatives.first());
        let Tables { lines, centres, contexts, .. } = &mut self.tables;
        let (Some(alias), [centres], [contexts]) = (alias, &mut centres[..], &mut contexts[..]) else {
            return Ok(0);
        };
        let (centres, contexts) = (Shared::new(centres), Shared::new(contexts));
        let noise = Noise { negatives: params.negatives, rate: episode.rate, alias };
        let chunks = share.par_chunks(CHUNK).enumerate().map(|(chunk, starts)| {
            progress.check()?;
            let mut negatives = Rng::new(params.seed, NEGATIVE_STREAM, episode.number << 32 | chunk as u64);
            let (mut pairs, mut trained) = (Vec::new(), 0);
            for mut walk in walks.made(starts, episode.pass) {
                pairs.clear();
                walks.pairs(&mut walk, |centre, context| {
                    pairs.push((places[centre as usize].row, places[context as usize].row));
                });
                train(isa, &noise, *lines, &mut centres.handle(), &mut contexts.handle(), &pairs, &mut negatives);
                trained += pairs.len() as u64;
            }
            Ok(trained)
        });
        chunks.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(hogwild: bool) -> Params {
        Params {
            dim: 8,
            window: 2,
            negatives: 3,
            walks_per_node: 20,
            walk_length: 10,
            epochs: 1,
            seed: 1,
            learning_rate: 0.05,
            min_learning_rate: 0.0001,
            dynamic_window: true,
            subsample: 0.0,
            hogwild,
            blocks: Some(2),
        }
    }

    /// Two stars that share nothing, and a user without edges.
    fn fit_stars(hogwild: bool, threads: usize) -> Trained {
        fit_with(&params(hogwild), threads).unwrap()
    }

    fn fit_with(params: &Params, threads: usize) -> Result<Trained> {
        let mut graph = Graph::new(&[("user".to_string(), 9), ("item".to_string(), 2)]).unwrap();
        graph.connect("user", "item", &[0, 1, 2, 3, 4, 5, 6, 7], &[0, 0, 0, 0, 1, 1, 1, 1]).unwrap();
        let paths = [MetaPath::parse("user-item-user", &graph).unwrap()];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fit(&graph, &paths, params, Given::default(), &Progress::new()))
    }

    #[test]
    fn threads_do_not_matter() {
        let one = fit_stars(false, 1);
        assert_eq!(one.vectors, fit_stars(false, 3).vectors);
        assert!(one.vectors.iter().all(|v| v.is_finite()));
        assert!(!one.trained[8] && one.vectors[64..72].iter().all(|&v| v == 0.0));
    }

    #[test]
    fn a_share_that_leaves_nothing_is_refused() {
        let few = |subsample| fit_with(&Params { subsample, ..params(false) }, 1);
        assert!(few(1e-12).unwrap_err().to_string().contains("subsample"));
        assert!(few(0.1).unwrap().pairs > 0);
    }

    #[test]
    fn hogwild_trains_the_same_nodes_on_the_same_pairs() {
        let (free, exact) = (fit_stars(true, 2), fit_stars(false, 1));
        assert_eq!((free.trained, free.pairs), (exact.trained, exact.pairs));
        assert!(free.vectors.iter().all(|v| v.is_finite()));
    }
}
