//! Loss and gradient of a whole signal, or of a batch of its cells, in the angle-sum plan.
//!
//! A tile of cells goes forward to its block outputs, meets its targets, and comes back before the next tile
//! starts, so memory is O(weights + tile) and nothing of size width × samples ever exists. With `Gr = ∂loss/∂Y`
//! of a block product `Y = F·P`: `dF = Gr·Pᵀ`, `dP = Fᵀ·Gr`, `du = dS∘cos u − dC∘sin u`; inner levels fold
//! children back to cells and digit tuples (method, section 3).
//!
//! Work is split into *lanes*, each with its own gradient, summed in a fixed order at the end. Their number depends
//! on the network alone: the same weights give the same gradient bits on any number of threads.

use std::ops::Range;

use asmr::anglesum::{
    Activations, AngleSum, BlockOutputs, PackedChunk, Precision, TupleChunk, output_rows, tile_cells,
};
use asmr::modulation;
use asmr::network::NetworkConfig;
use asmr::partition::{Partition, PerAxis, is_block_edge};
use asmr::signal::Source;
use asmr::walk::{Region, Task, Tile, Walk};
use asmr_kernels::IsaLevel;
use asmr_kernels::dense::{Packed, Start, TransposeScratch, matmul, matmul_transposed};
use asmr_kernels::sharing::{add_column_sums, fold, fold_features, split_mirrored};
use rayon::prelude::*;

/// The most lanes. Clearing and summing one costs about as much as evaluating a thousand samples per thousand
/// weights: 16 cost a sixth of a step on a 512 × 768 picture, 8 half of that.
const MAX_LANES: usize = 8;
/// Memory that all lanes' gradients together may take, in values.
const LANE_VALUES: usize = 64 << 20;
/// Tasks that the walk is cut into, at least, where the signal has that many.
const MIN_TASKS: usize = 64;

/// Which cells a gradient is taken over.
#[derive(Clone, Copy, Debug)]
pub enum Batch<'a> {
    /// All of them.
    Full,
    /// Some, with all their finer cells.
    Part(Part<'a>),
}

/// One of several batches that share out a signal's cells.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Level of the cells, 0 to L-2.
    pub level: usize,
    /// First samples of the cells: distinct, with real samples each, in depth-first order.
    pub cells: &'a [PerAxis],
    /// How many batches there are. The loss is scaled for an equal share, so that the mean of all batches' gradients is the
    /// full one.
    pub n_batches: u32,
}

/// Computes losses and gradients of one network shape on one signal.
pub struct GradientEngine<'s> {
    signal: &'s dyn Source,
    plan: AngleSum,
    /// `omega_0 · W_i`, packed for the way back, sine layers 1 to L-2 (entry 0 is empty).
    backward: Vec<Packed>,
    chunks: Vec<OutputChunk>,
    output_bias: Vec<f32>,
    seam_weight: f64,
    lanes: Vec<Lane>,
}

/// Some columns of P, packed both ways.
struct OutputChunk {
    /// Rows of `Pᵀ`.
    rows: Vec<f32>,
    forward: PackedChunk,
    /// By [`TupleChunk::parts`].
    backward: Vec<Packed>,
}

/// One share of the work: its tasks, its buffers and its part of the gradient.
#[derive(Default)]
struct Lane {
    tile: Tile,
    activations: Activations,
    /// ∂loss/∂u per level, cells × width.
    d_phases: Vec<Vec<f32>>,
    d_inputs: Vec<f32>,
    d_features: Vec<f32>,
    /// Outputs of the tile's blocks for a chunk, then their gradient.
    outputs: BlockOutputs,
    target: Vec<f32>,
    sums: RunSums,
    transpose: TransposeScratch,
    /// As the weights, without the factors `omega_0`; output and modulator parts unused.
    gradient: Vec<f32>,
    /// ∂loss/∂m per level, K × width.
    d_tables: Vec<Vec<f32>>,
    /// ∂loss/∂Pᵀ per chunk and part of it, columns × width of the part.
    d_rows: Vec<Vec<Vec<f32>>>,
    d_output_bias: Vec<f32>,
    squared_error: f64,
    n_values: u64,
    /// Cells evaluated, by level.
    n_cells: Vec<u64>,
}

/// What a pass over a batch found.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// Mean squared error over the batch's real values, on the network's \[0, 1\] scale.
    pub mse: f64,
    /// The batch's real samples.
    pub n_samples: u64,
}

impl<'s> GradientEngine<'s> {
    /// Prepares for a shape and a signal of the same extents and channels.
    ///
    /// # Panics
    /// When extents or channels differ.
    #[must_use]
    pub fn new(config: &NetworkConfig, signal: &'s dyn Source, isa: IsaLevel) -> Self {
        assert_eq!(
            config.partition.extents(),
            signal.info().extents,
            "network and signal have the same extents"
        );
        assert_eq!(config.channels, signal.info().channels, "network and signal have the same channels");
        let plan = AngleSum::new(config, &vec![0.0; config.n_params()], isa, Precision::F32);
        let n_tuples = config.partition.n_tuples(config.partition.n_levels() - 1);
        let mirrored = modulation::is_mirrored(config.modulator);
        let chunks: Vec<OutputChunk> = TupleChunk::all(n_tuples, config.channels, mirrored)
            .into_iter()
            .map(|chunk| OutputChunk {
                rows: Vec::new(),
                backward: vec![Packed::default(); chunk.parts(config.width).len()],
                forward: PackedChunk::new(chunk, config.width, config.channels, Precision::F32),
            })
            .collect();
        let lane_values = config.n_params()
            + chunks.iter().map(|c| c.forward.columns() * 2 * config.width).sum::<usize>()
            + (1..config.partition.n_levels())
                .map(|l| config.partition.n_tuples(l) * config.width)
                .sum::<usize>();
        let n_lanes = (LANE_VALUES / lane_values).clamp(1, MAX_LANES);
        Self {
            signal,
            backward: vec![Packed::default(); config.n_sine_layers()],
            output_bias: vec![0.0; config.channels],
            seam_weight: 1.0,
            chunks,
            lanes: (0..n_lanes).map(|_| Lane::default()).collect(),
            plan,
        }
    }

    /// The shape.
    #[must_use]
    pub fn config(&self) -> &NetworkConfig {
        self.plan.config()
    }

    /// Sets the weight of samples at a seam ([`is_block_edge`]) relative to the others in the gradient; 1 at first.
    /// Weights are scaled to a mean of 1 over a block. The loss that is told stays unweighted.
    pub fn set_seam_weight(&mut self, weight: f64) {
        self.seam_weight = weight;
    }

    /// Cells that the last pass evaluated, by level 0 to L-2; nothing before the first.
    #[must_use]
    pub fn evaluated_cells(&self) -> &[u64] {
        &self.lanes[0].n_cells
    }

    /// Mean squared error over the batch; its gradient (with seams weighted, [`Self::set_seam_weight`]) with respect to all
    /// weights replaces `gradient`.
    ///
    /// # Panics
    /// When `params` or `gradient` has not the length that the configuration needs.
    pub fn loss_and_gradient(&mut self, params: &[f32], batch: Batch<'_>, gradient: &mut [f32]) -> Loss {
        self.pass(params, batch, None, gradient)
    }

    /// The gradient that errors of 1 and -1 at random would give, drawn for each value by `seed`, in place of outputs minus
    /// targets. Its squares have the mean `(2 / n)² · Σ (∂y/∂w)²` over n values (Hutchinson's estimator of the diagonal of
    /// JᵀJ): how much the outputs move with a weight.
    ///
    /// # Panics
    /// As [`Self::loss_and_gradient`].
    pub fn probe(&mut self, params: &[f32], batch: Batch<'_>, seed: u64, gradient: &mut [f32]) {
        self.pass(params, batch, Some(seed), gradient);
    }

    fn pass(&mut self, params: &[f32], batch: Batch<'_>, probe: Option<u64>, gradient: &mut [f32]) -> Loss {
        self.prepare(params);
        let partition = &self.plan.config().partition;
        let cells = tile_cells(self.plan.config().width);
        let region = Region::whole(partition.extents());
        let (walk, tasks, n_batches) = match batch {
            Batch::Full => {
                let walk = Walk::new(partition, region, cells);
                let (_, tasks) = walk.tasks(MIN_TASKS);
                (walk, tasks, 1)
            }
            Batch::Part(part) => {
                let walk = Walk::from_level(partition, region, cells, part.level);
                let tasks = walk.tasks_below(part.level, part.cells);
                (walk, tasks, part.n_batches)
            }
        };
        let n_values =
            partition.n_samples() as f64 * self.plan.config().channels as f64 / f64::from(n_batches);
        let pass = Pass {
            signal: self.signal,
            plan: &self.plan,
            backward: &self.backward,
            chunks: &self.chunks,
            run_bias: self
                .output_bias
                .repeat(partition.base(partition.n_axes() - 1, partition.n_levels() - 1)),
            walk: &walk,
            probe,
            scales: RunScales::new(partition, self.plan.config().channels, 2.0 / n_values, self.seam_weight),
        };
        let n_lanes = self.lanes.len().min(tasks.len()).max(1);
        self.lanes[..n_lanes].par_iter_mut().enumerate().for_each(|(i, lane)| {
            let share = &tasks[i * tasks.len() / n_lanes..(i + 1) * tasks.len() / n_lanes];
            pass.run(lane, share);
        });
        self.finish(params, n_lanes, gradient)
    }

    /// Packs the weights of this step.
    fn prepare(&mut self, params: &[f32]) {
        self.plan.update(params);
        let (config, layout) = (self.plan.config(), self.plan.layout());
        let d = config.width;
        for i in 1..config.n_sine_layers() {
            self.backward[i].pack(d, d, &params[layout.layer_weights[i].clone()], d, 1, config.omega_0);
        }
        for chunk in &mut self.chunks {
            let weight = &params[layout.output_weight.clone()];
            let tuples = chunk.forward.chunk();
            output_rows(&self.plan, weight, tuples.low.clone(), &mut chunk.rows);
            for (part, packed) in tuples.parts(d).into_iter().zip(&mut chunk.backward) {
                packed.pack(chunk.forward.columns(), part.len(), &chunk.rows[part.start..], 2 * d, 1, 1.0);
            }
            chunk.forward.pack(&chunk.rows);
        }
        self.output_bias.copy_from_slice(&params[layout.output_bias.clone()]);
    }

    /// Sums the lanes and turns ∂loss/∂P and ∂loss/∂m into gradients of weights.
    fn finish(&mut self, params: &[f32], n_lanes: usize, gradient: &mut [f32]) -> Loss {
        let (config, layout) = (self.plan.config(), self.plan.layout());
        let (d, channels, last) = (config.width, config.channels, config.partition.n_levels() - 1);
        let (first, others) = self.lanes[..n_lanes].split_at_mut(1);
        let total = &mut first[0];
        let others = &*others;
        add_all(&mut total.gradient, others, |lane| &lane.gradient);
        for (level, table) in total.d_tables.iter_mut().enumerate().take(last) {
            add_all(table, others, |lane| &lane.d_tables[level]);
        }
        reset(&mut total.d_tables[last], config.partition.n_tuples(last) * d);
        for (chunk, parts) in total.d_rows.iter_mut().enumerate() {
            for (part, rows) in parts.iter_mut().enumerate() {
                add_all(rows, others, |lane| &lane.d_rows[chunk][part]);
            }
        }
        add_all(&mut total.d_output_bias, others, |lane| &lane.d_output_bias);
        for lane in others {
            total.squared_error += lane.squared_error;
            total.n_values += lane.n_values;
            for (n, more) in total.n_cells.iter_mut().zip(&lane.n_cells) {
                *n += more;
            }
        }

        gradient.copy_from_slice(&total.gradient);
        for range in layout.layer_weights.iter().chain(&layout.layer_biases) {
            for g in &mut gradient[range.clone()] {
                *g *= config.omega_0;
            }
        }
        gradient[layout.output_bias.clone()].copy_from_slice(&total.d_output_bias);
        let weight = &params[layout.output_weight.clone()];
        let table = self.plan.table(last);
        let d_weight = &mut gradient[layout.output_weight.clone()];
        for (chunk, d_parts) in self.chunks.iter().zip(&total.d_rows) {
            for (k, tuple) in chunk.forward.chunk().low.clone().enumerate() {
                let (sin_m, cos_m) = table[tuple * 2 * d..][..2 * d].split_at(d);
                let d_table = &mut total.d_tables[last][tuple * d..][..d];
                for (channel, (w, dw)) in weight.chunks_exact(d).zip(d_weight.chunks_exact_mut(d)).enumerate()
                {
                    let row = k * channels + channel;
                    let (d_cos, d_sin) = match &d_parts[..] {
                        [even, odd] => (&even[row * d..][..d], &odd[row * d..][..d]),
                        whole => whole[0][row * 2 * d..][..2 * d].split_at(d),
                    };
                    for j in 0..d {
                        dw[j] += d_cos[j] * cos_m[j] + d_sin[j] * sin_m[j];
                        d_table[j] += w[j] * (d_sin[j] * cos_m[j] - d_cos[j] * sin_m[j]);
                    }
                }
            }
        }
        for level in 1..=last {
            // Before the factor omega_0, a bias' gradient is that of its phase.
            let d_middle = &total.gradient[layout.layer_biases[level - 1].clone()];
            modulation::add_gradient(
                config,
                layout,
                params,
                level,
                &total.d_tables[level],
                d_middle,
                gradient,
            );
        }
        Loss {
            mse: total.squared_error / total.n_values.max(1) as f64,
            n_samples: total.n_values / channels as u64,
        }
    }
}

/// Adds the lanes' slices to `total`, lane after lane, in parallel over positions.
fn add_all(total: &mut [f32], lanes: &[Lane], slice: impl Fn(&Lane) -> &Vec<f32> + Sync) {
    const PIECE: usize = 16_384;
    total.par_chunks_mut(PIECE).enumerate().for_each(|(i, piece)| {
        for lane in lanes {
            let from = &slice(lane)[i * PIECE..];
            for (t, &x) in piece.iter_mut().zip(from) {
                *t += x;
            }
        }
    });
}

/// Everything that the lanes of one pass share.
struct Pass<'a> {
    signal: &'a dyn Source,
    plan: &'a AngleSum,
    backward: &'a [Packed],
    chunks: &'a [OutputChunk],
    /// `b_out` for each sample of the longest run along the last axis.
    run_bias: Vec<f32>,
    walk: &'a Walk<'a>,
    /// Seed of the errors that take the place of the real ones.
    probe: Option<u64>,
    scales: RunScales,
}

/// `s` of ∂loss/∂y = s · (y − t), for each value of the longest run along the last axis.
struct RunScales {
    /// Where no weights are asked for.
    unweighted: f32,
    /// Where no other axis has the run at a seam, ...
    inside: Vec<f32>,
    /// ... and where one has.
    seam: Vec<f32>,
}

impl RunScales {
    fn new(partition: &Partition, channels: usize, scale: f64, seam_weight: f64) -> Self {
        let (last_level, last_axis) = (partition.n_levels() - 1, partition.n_axes() - 1);
        let inside_share: f64 = (0..partition.n_axes())
            .map(|axis| partition.base(axis, last_level))
            .map(|base| if base > 2 { (base - 2) as f64 / base as f64 } else { 1.0 })
            .product();
        let mean = inside_share + seam_weight * (1.0 - inside_share);
        let run = partition.base(last_axis, last_level) as u64;
        let (inside, seam) = ((scale / mean) as f32, (scale * seam_weight / mean) as f32);
        let of_run = (0..run).map(|x| if is_block_edge(run, x) { seam } else { inside });
        Self {
            unweighted: scale as f32,
            inside: of_run.flat_map(|s| std::iter::repeat_n(s, channels)).collect(),
            seam: vec![seam; run as usize * channels],
        }
    }
}

impl Pass<'_> {
    fn run(&self, lane: &mut Lane, tasks: &[Task]) {
        let config = self.plan.config();
        let (d, n_levels) = (config.width, config.partition.n_levels());
        reset(&mut lane.gradient, config.n_params());
        lane.d_tables.resize_with(n_levels, Vec::new);
        // The last level's comes from P, at the end.
        for level in 1..n_levels - 1 {
            reset(&mut lane.d_tables[level], config.partition.n_tuples(level) * d);
        }
        lane.d_rows.resize_with(self.chunks.len(), Vec::new);
        for (d_parts, chunk) in lane.d_rows.iter_mut().zip(self.chunks) {
            let parts = chunk.forward.chunk().parts(d);
            d_parts.resize_with(parts.len(), Vec::new);
            for (rows, part) in d_parts.iter_mut().zip(parts) {
                reset(rows, chunk.forward.columns() * part.len());
            }
        }
        reset(&mut lane.d_output_bias, config.channels);
        lane.d_phases.resize_with(n_levels - 1, Vec::new);
        lane.squared_error = 0.0;
        lane.n_values = 0;
        lane.n_cells.clear();
        lane.n_cells.resize(n_levels - 1, 0);
        lane.tile.levels.clear();
        for nodes in tasks.iter().flat_map(Task::tiles) {
            let first_fresh = self.walk.first_fresh_level(nodes, &lane.tile);
            self.back_to(lane, first_fresh);
            self.walk.fill(nodes, &mut lane.tile);
            self.plan.forward(&lane.tile, &mut lane.activations);
            for ((d_phase, level), n_cells) in
                lane.d_phases.iter_mut().zip(&lane.tile.levels).zip(&mut lane.n_cells)
            {
                if level.fresh {
                    *n_cells += level.origins.len() as u64;
                    reset(d_phase, level.origins.len() * d);
                }
            }
            self.output_layer(lane);
        }
        self.back_to(lane, 0);
    }

    /// Carries the pending ∂loss/∂u of the tile's levels, finest first, down to level `to` inclusive.
    fn back_to(&self, lane: &mut Lane, to: usize) {
        let (config, layout, isa) = (self.plan.config(), self.plan.layout(), self.plan.isa());
        let d = config.width;
        for level in (to..lane.tile.levels.len()).rev() {
            let cells = &lane.tile.levels[level];
            let n = cells.origins.len();
            let (above, rest) = lane.d_phases.split_at_mut(level);
            let d_phase = &rest[0];
            add_column_sums(isa, d_phase, &mut lane.gradient[layout.layer_biases[level].clone()]);
            let d_weight = &mut lane.gradient[layout.layer_weights[level].clone()];
            if level == 0 {
                let p = &config.partition;
                let axes = p.n_axes();
                for (origin, d_phase) in cells.origins.iter().zip(d_phase.chunks_exact(d)) {
                    for axis in 0..axes {
                        let x = p.coordinate(axis, 0, p.digit(axis, 0, origin[axis])) as f32;
                        for (j, g) in d_phase.iter().enumerate() {
                            d_weight[j * axes + axis] += x * g;
                        }
                    }
                }
                continue;
            }
            let inputs = &lane.activations.inputs[level];
            matmul_transposed(isa, n, d_phase, d, d, inputs, d, d, d_weight, &mut lane.transpose);
            lane.d_inputs.resize(n * d, 0.0);
            matmul(isa, n, d_phase, d, &self.backward[level], Start::Zero, &mut lane.d_inputs, d);
            fold(
                isa,
                d,
                &cells.children,
                &lane.activations.features[level - 1],
                self.plan.table(level),
                &lane.d_inputs,
                &mut above[level - 1],
                &mut lane.d_tables[level],
            );
        }
    }

    /// Outputs, loss, and the way back to ∂loss/∂u of level L-2.
    fn output_layer(&self, lane: &mut Lane) {
        let (config, isa) = (self.plan.config(), self.plan.isa());
        let d = config.width;
        let leaf = lane.tile.levels.len() - 1;
        let n = lane.tile.leaves().len();
        if n == 0 {
            return;
        }
        let features = &lane.activations.features[leaf];
        lane.d_features.resize(n * 2 * d, 0.0);
        for (i, chunk) in self.chunks.iter().enumerate() {
            let tuples = chunk.forward.chunk();
            chunk.forward.outputs(isa, n, features, Start::Zero, &mut lane.outputs);
            let BlockOutputs { low, high, odd, .. } = &mut lane.outputs;
            for (tuples, values) in [(&tuples.low, &mut *low), (&tuples.high, &mut *high)] {
                lane.n_values += self.compare(
                    lane.tile.leaves(),
                    tuples.clone(),
                    values,
                    &mut lane.target,
                    &mut lane.sums,
                );
            }
            if i + 1 == self.chunks.len() {
                lane.squared_error += lane.sums.squares.drain(..).map(f64::from).sum::<f64>();
                for gradients in lane.sums.gradients.chunks_exact(config.channels) {
                    for (d_bias, g) in lane.d_output_bias.iter_mut().zip(gradients) {
                        *d_bias += g;
                    }
                }
                lane.sums.gradients.clear();
            }
            if tuples.is_mirrored() {
                split_mirrored(isa, n, config.channels, tuples.low.len(), tuples.high.len(), low, odd, high);
            }
            let columns = chunk.forward.columns();
            let start = if i == 0 { Start::Zero } else { Start::Output };
            for (p, part) in tuples.parts(d).into_iter().enumerate() {
                let d_outputs = if p == 0 { &*low } else { &*odd };
                let (features, d_features) = (&features[part.start..], &mut lane.d_features[part.start..]);
                matmul(isa, n, d_outputs, columns, &chunk.backward[p], start, d_features, 2 * d);
                matmul_transposed(
                    isa,
                    n,
                    d_outputs,
                    columns,
                    columns,
                    features,
                    2 * d,
                    part.len(),
                    &mut lane.d_rows[i][p],
                    &mut lane.transpose,
                );
            }
        }
        fold_features(isa, n, d, features, &lane.d_features, &mut lane.d_phases[leaf]);
    }

    /// Turns outputs (cells × tuples × channels, without bias) into ∂loss/∂output, zero in the padding; adds to `sums`
    /// and returns the number of real values.
    fn compare(
        &self,
        leaves: &[PerAxis],
        tuples: Range<usize>,
        outputs: &mut [f32],
        target: &mut Vec<f32>,
        sums: &mut RunSums,
    ) -> u64 {
        let config = self.plan.config();
        let (p, channels) = (&config.partition, config.channels);
        let (last_level, last_axis) = (p.n_levels() - 1, p.n_axes() - 1);
        let extents = p.extents();
        let run_limit = p.base(last_axis, last_level);
        let mut n_values = 0;
        if tuples.is_empty() {
            return n_values;
        }
        sums.squares.resize(run_limit * channels, 0.0);
        sums.gradients.resize(run_limit * channels, 0.0);
        for (leaf, outputs) in leaves.iter().zip(outputs.chunks_exact_mut(tuples.len() * channels)) {
            let mut tuple = tuples.start;
            let mut rest = outputs;
            while tuple < tuples.end {
                let digits = p.tuple_digits(last_level, tuple);
                let run = (run_limit - digits[last_axis]).min(tuples.end - tuple);
                let (now, later) = rest.split_at_mut(run * channels);
                rest = later;
                tuple += run;
                let mut flat = Some(0u64);
                let mut scales = &self.scales.inside;
                for axis in 0..last_axis {
                    if is_block_edge(p.base(axis, last_level) as u64, digits[axis] as u64) {
                        scales = &self.scales.seam;
                    }
                    let position = leaf[axis] as usize + digits[axis];
                    flat = flat
                        .filter(|_| position < extents[axis])
                        .map(|f| f * extents[axis] as u64 + position as u64);
                }
                let position = leaf[last_axis] as usize + digits[last_axis];
                let real = extents[last_axis].saturating_sub(position).min(run);
                let Some(flat) = flat.filter(|_| real > 0) else {
                    now.fill(0.0);
                    continue;
                };
                let (now, padding) = now.split_at_mut(real * channels);
                padding.fill(0.0);
                let first = (flat * extents[last_axis] as u64 + position as u64) * channels as u64;
                if let Some(seed) = self.probe {
                    for ((y, gradient), index) in now.iter_mut().zip(&mut sums.gradients).zip(first..) {
                        *y = if is_negative(seed, index) {
                            -self.scales.unweighted
                        } else {
                            self.scales.unweighted
                        };
                        *gradient += *y;
                    }
                    n_values += now.len() as u64;
                    continue;
                }
                target.resize(now.len(), 0.0);
                self.signal.read_scaled(first, target);
                let sums = sums.squares.iter_mut().zip(&mut sums.gradients);
                let scales = &scales[digits[last_axis] * channels..];
                for ((((y, t), bias), scale), (square, gradient)) in
                    now.iter_mut().zip(&*target).zip(&self.run_bias).zip(scales).zip(sums)
                {
                    let error = *y + bias - t;
                    *square += error * error;
                    *y = error * scale;
                    *gradient += *y;
                }
                n_values += now.len() as u64;
            }
        }
        n_values
    }
}

/// A fair coin for each value: the top bit of splitmix64.
fn is_negative(seed: u64, index: u64) -> bool {
    let mut z = seed.wrapping_add(index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) >> 63 == 1
}

/// Sums over the runs of a tile's outputs along the last axis: one of each per value of the longest run, so that they
/// are summed in vectors.
#[derive(Default)]
struct RunSums {
    /// Of squared errors.
    squares: Vec<f32>,
    /// Of ∂loss/∂output.
    gradients: Vec<f32>,
}

/// Makes `values` a vector of `n` zeros, keeping its memory.
fn reset(values: &mut Vec<f32>, n: usize) {
    values.clear();
    values.resize(n, 0.0);
}
