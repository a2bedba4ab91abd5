//! Trains vectors on walks while they are made.
//!
//! An *episode* is a bounded share of the walks of one pass. In order: its walks are made in parallel and their pairs
//! put into the cells of the block grid ([`crate::skipgram::blocks`]); then, diagonal by diagonal, the cells train in
//! parallel, each pair by pair in the order of its walks. Nothing depends on which thread does what. With hogwild an
//! episode is split among threads as it comes, and all write to the same rows.

use rayon::prelude::*;

use crate::error::Result;
use crate::graph::csr::Graph;
use crate::graph::metapath::MetaPath;
use crate::graph::walk::Walker;
use crate::progress::Progress;
use crate::rng::Rng;
use crate::skipgram::blocks::{Blocks, shuffle};
use crate::skipgram::loss::{Step, train};
use crate::skipgram::pairs::each_pair;
use crate::skipgram::params::{Checked, Params};
use crate::skipgram::shared::{Owned, Shared};
use crate::skipgram::simd::{Isa, LANES};

const ORDER_STREAM: u64 = 0x0DE2;
const INIT_STREAM: u64 = 0x1417;
const NEGATIVE_STREAM: u64 = 0x4E46;
/// Pairs of an episode, about: 2 MB.
const EPISODE_PAIRS: usize = 1 << 18;
/// Walks that one thread makes at a time.
const CHUNK: usize = 32;
/// Pairs trained between two looks at Ctrl-C.
const PATIENCE: usize = 1 << 14;

/// What training leaves.
#[derive(Debug)]
pub struct Trained {
    /// `[n_nodes, dim]`, zero for nodes that no walk visits.
    pub vectors: Vec<f32>,
    /// Whether any walk visits the node.
    pub trained: Vec<bool>,
}

/// Trains one vector per node of `graph` on walks along `paths`.
pub fn fit(graph: &Graph, paths: &[MetaPath], params: &Params, progress: &Progress) -> Result<Trained> {
    let params = params.check()?;
    let walkers: Vec<Walker> = paths.iter().map(|path| Walker::new(graph, path)).collect::<Result<_>>()?;
    let mut visits = vec![0f64; graph.n_nodes()];
    for (walker, path) in walkers.iter().zip(paths) {
        progress.check()?;
        walker.expected_visits(graph, path, params.walk_length, &mut visits)?;
    }
    // Hogwild is one block that everyone trains in.
    let blocks = Blocks::new(&visits, if params.hogwild { Some(1) } else { params.blocks }, params.seed);
    let mut trainer = Trainer::new(&walkers, &blocks, &params, progress);
    trainer.run()?;
    Ok(Trained { vectors: trainer.vectors(visits.len()), trained: visits.iter().map(|&v| v > 0.0).collect() })
}

/// One walk to make: which path, from where.
type Start = (usize, u32);
/// Pairs (row in the centre's block, row in the context's block).
type Pairs = Vec<(u32, u32)>;

struct Trainer<'a> {
    walkers: &'a [Walker<'a>],
    blocks: &'a Blocks,
    params: &'a Checked,
    progress: &'a Progress,
    isa: Isa,
    width: usize,
    centres: Vec<Vec<f32>>,
    contexts: Vec<Vec<f32>>,
    /// Pair buffers of the episode: one set of cells for each chunk of its walks.
    chunks: Vec<Vec<Pairs>>,
}

/// What all walks of an episode have in common.
#[derive(Clone, Copy)]
struct Episode {
    number: u64,
    pass: u32,
    rate: f32,
}

impl<'a> Trainer<'a> {
    fn new(walkers: &'a [Walker<'a>], blocks: &'a Blocks, params: &'a Checked, progress: &'a Progress) -> Self {
        let width = params.dim.next_multiple_of(LANES);
        let contexts = blocks.members.iter().map(|nodes| vec![0.0; nodes.len() * width]).collect();
        let isa = Isa::detect();
        let centres = blocks.members.iter().map(|nodes| initial(nodes, params, width)).collect();
        Self { walkers, blocks, params, progress, isa, width, centres, contexts, chunks: Vec::new() }
    }

    fn run(&mut self) -> Result<()> {
        let params = self.params;
        let mut starts: Vec<Start> = Vec::new();
        for (path, walker) in self.walkers.iter().enumerate() {
            starts.extend(walker.starts().filter(|&node| walker.can_start(node)).map(|node| (path, node)));
        }
        let passes = params.epochs * params.walks_per_node;
        let total = (starts.len() * passes).max(1);
        self.progress.set_total(total as u64);
        let per_episode = (EPISODE_PAIRS / (params.walk_length * (params.window + 1))).max(1);
        let (mut done, mut number) = (0, 0);
        for pass in 0..passes {
            shuffle(&mut starts, &mut Rng::new(params.seed, ORDER_STREAM, pass as u64));
            for share in starts.chunks(per_episode) {
                let fall = (params.learning_rate - params.min_learning_rate) * done as f64 / total as f64;
                let episode = Episode { number, pass: pass as u32, rate: (params.learning_rate - fall) as f32 };
                if params.hogwild {
                    self.train_freely(share, episode)?;
                } else {
                    self.make_pairs(share, episode);
                    self.train_cells(episode)?;
                }
                (done, number) = (done + share.len(), number + 1);
                self.progress.advance(share.len() as u64)?;
            }
        }
        Ok(())
    }

    /// Fills `chunks` with the pairs of an episode, cell by cell.
    fn make_pairs(&mut self, share: &[Start], episode: Episode) {
        let (walkers, params, places) = (self.walkers, self.params, &self.blocks.places);
        let count = self.blocks.members.len();
        self.chunks.resize(share.len().div_ceil(CHUNK), vec![Pairs::new(); count * count]);
        self.chunks.par_iter_mut().zip(share.par_chunks(CHUNK)).for_each(|(cells, starts)| {
            cells.iter_mut().for_each(Vec::clear);
            let mut walk = Vec::with_capacity(params.walk_length);
            for &(path, start) in starts {
                let mut rng = walkers[path].walk(params.seed, start, episode.pass, params.walk_length, &mut walk);
                each_pair(&walk, params.window, &mut rng, |centre, context| {
                    let (a, b) = (places[centre as usize], places[context as usize]);
                    cells[a.block as usize * count + b.block as usize].push((a.row, b.row));
                });
            }
        });
    }

    /// Trains the cells of one diagonal after the other.
    fn train_cells(&mut self, episode: Episode) -> Result<()> {
        let (blocks, params, progress, isa, width) = (self.blocks, self.params, self.progress, self.isa, self.width);
        let (count, chunks) = (blocks.members.len(), &self.chunks);
        for diagonal in 0..count {
            // Cell (i, i + diagonal): rotating the context blocks lines both tables up.
            self.contexts.rotate_left(diagonal);
            let cells = self.centres.par_iter_mut().zip(self.contexts.par_iter_mut()).enumerate();
            let outcome = cells.try_for_each(|(row, (centres, contexts))| {
                let column = (row + diagonal) % count;
                let cell = row * count + column;
                let index = episode.number * (count * count) as u64 + cell as u64;
                let mut rng = Rng::new(params.seed, NEGATIVE_STREAM, index);
                let alias = &blocks.negatives[column];
                let step = Step { width, negatives: params.negatives, rate: episode.rate, alias };
                for pairs in chunks.iter().flat_map(|cells| cells[cell].chunks(PATIENCE)) {
                    progress.check()?;
                    train(isa, &step, &mut Owned(centres), &mut Owned(contexts), pairs, &mut rng);
                }
                Ok(())
            });
            self.contexts.rotate_right(diagonal);
            outcome?;
        }
        Ok(())
    }

    /// Trains an episode with all threads on the same rows.
    fn train_freely(&mut self, share: &[Start], episode: Episode) -> Result<()> {
        let (walkers, params, progress, isa) = (self.walkers, self.params, self.progress, self.isa);
        let (places, alias) = (&self.blocks.places, self.blocks.negatives.first());
        let (Some(alias), [centres], [contexts]) = (alias, &mut self.centres[..], &mut self.contexts[..]) else {
            return Ok(());
        };
        let (centres, contexts) = (Shared::new(centres), Shared::new(contexts));
        let step = Step { width: self.width, negatives: params.negatives, rate: episode.rate, alias };
        share.par_chunks(CHUNK).enumerate().try_for_each(|(chunk, starts)| {
            progress.check()?;
            let mut negatives = Rng::new(params.seed, NEGATIVE_STREAM, episode.number << 32 | chunk as u64);
            let (mut walk, mut pairs) = (Vec::with_capacity(params.walk_length), Pairs::new());
            for &(path, start) in starts {
                let mut rng = walkers[path].walk(params.seed, start, episode.pass, params.walk_length, &mut walk);
                pairs.clear();
                each_pair(&walk, params.window, &mut rng, |centre, context| {
                    pairs.push((places[centre as usize].row, places[context as usize].row));
                });
                train(isa, &step, &mut centres.handle(), &mut contexts.handle(), &pairs, &mut negatives);
            }
            Ok(())
        })
    }

    /// The centre rows in node order, without their padding.
    fn vectors(&self, n_nodes: usize) -> Vec<f32> {
        let dim = self.params.dim;
        let mut vectors = vec![0f32; n_nodes * dim];
        for (nodes, rows) in self.blocks.members.iter().zip(&self.centres) {
            for (&node, row) in nodes.iter().zip(rows.chunks(self.width)) {
                vectors[node as usize * dim..][..dim].copy_from_slice(&row[..dim]);
            }
        }
        vectors
    }
}

/// Uniform in +-1/2 over `dim`, as word2vec; a stream per node, so that blocks do not matter.
fn initial(nodes: &[u32], params: &Checked, width: usize) -> Vec<f32> {
    let mut rows = vec![0f32; nodes.len() * width];
    for (&node, row) in nodes.iter().zip(rows.chunks_mut(width)) {
        let mut rng = Rng::new(params.seed, INIT_STREAM, u64::from(node));
        for value in &mut row[..params.dim] {
            *value = ((rng.uniform() - 0.5) / params.dim as f64) as f32;
        }
    }
    rows
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
            hogwild,
            blocks: Some(2),
        }
    }

    /// Two stars that share nothing, and a user without edges.
    fn fit_stars(hogwild: bool, threads: usize) -> Trained {
        let mut graph = Graph::new(&[("user".to_string(), 9), ("item".to_string(), 2)]).unwrap();
        graph.connect("user", "item", &[0, 1, 2, 3, 4, 5, 6, 7], &[0, 0, 0, 0, 1, 1, 1, 1]).unwrap();
        let paths = [MetaPath::parse("user-item-user", &graph).unwrap()];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fit(&graph, &paths, &params(hogwild), &Progress::new())).unwrap()
    }

    #[test]
    fn threads_do_not_matter() {
        let one = fit_stars(false, 1);
        assert_eq!(one.vectors, fit_stars(false, 3).vectors);
        assert!(one.vectors.iter().all(|v| v.is_finite()));
        assert!(!one.trained[8] && one.vectors[64..72].iter().all(|&v| v == 0.0));
    }

    #[test]
    fn hogwild_trains_the_same_nodes() {
        let free = fit_stars(true, 2);
        assert_eq!(free.trained, fit_stars(false, 1).trained);
        assert!(free.vectors.iter().all(|v| v.is_finite()));
    }
}
