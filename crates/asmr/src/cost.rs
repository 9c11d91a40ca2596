//! What a network costs: multiply-adds, sines and weights, by part.
//!
//! Two pairs of figures stand side by side and must never be mixed:
//!
//! * `mac_paper` and `sin_paper` — activation sharing as it was published, for comparison with published
//!   numbers. A bias counts as one multiply-add, padded samples count as samples, and every layer's sine is
//!   evaluated at its children.
//! * `mac_exec` and `sin_exec` — what the angle-sum plan performs for a whole decode, per *real* sample. Cells
//!   that hold padding only are not evaluated, a bias is the start of an accumulator, and no sine is evaluated
//!   at full resolution. It performs somewhat more multiply-adds than the paper counts and far fewer sines.
//!
//! All figures are per sample of one whole decode and are `f64`: a grid of 2^124 samples overflows nothing.

use serde::Serialize;

use crate::modulation::is_mirrored;
use crate::network::{MODULATOR_WIDTH, Modulator, NetworkConfig};

/// A part of a network: one row of a cost table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Sine layer i, 0 to L-2. Its executed cost holds the expansion of the layer before it to this layer's
    /// cells, its matrix, and the sine and cosine of its cells.
    Layer(usize),
    /// The modulator of a level, 1 to L-1. Its executed cost is the digit table, built once per decode.
    Modulator(usize),
    /// The linear output layer. Its executed cost is the last block's matrix product and building that matrix.
    Output,
}

/// The cost of one part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PartCost {
    /// Which part.
    pub part: Part,
    /// Its weights, biases included.
    pub n_params: u128,
    /// MAC/sample by the published formula.
    pub mac_paper: f64,
    /// Sines per sample of published activation sharing.
    pub sin_paper: f64,
    /// MAC/sample that the angle-sum plan performs.
    pub mac_exec: f64,
    /// Sines and cosines per sample that the angle-sum plan evaluates, each counted.
    pub sin_exec: f64,
}

impl PartCost {
    /// Bytes of this part's weights as stored unquantised (`f32`).
    #[must_use]
    pub fn n_bytes(&self) -> u128 {
        4 * self.n_params
    }
}

/// The cost of a network, in total and by part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Sine layers 0 to L-2, then modulators of levels 1 to L-1, then the output layer.
    pub parts: Vec<PartCost>,
    /// Weights in total.
    pub n_params: u128,
    /// MAC/sample by the published formula, with N the padded samples:
    /// `Σ_i (fan_in·fan_out + fan_out)·G_i/N + Σ_{i≥1} (D·d)·K_i/N + Σ_{i<L-1} d·G_i/N`.
    /// A nonlinear modulator replaces `D·d` by its own multiply-adds; a table modulator by 0.
    pub mac_paper: f64,
    /// Sines per sample of published activation sharing: `d·Σ_{i=1..L-1} G_i/N`, and 64 more per tuple of each
    /// nonlinear modulator.
    pub sin_paper: f64,
    /// MAC/sample of a SIREN with as many layers of the same width, counted as `mac_paper` counts.
    pub mac_siren: f64,
    /// Sines per sample of that SIREN: `d·(L-1)`.
    pub sin_siren: f64,
    /// MAC/sample that the angle-sum plan performs, per real sample.
    pub mac_exec: f64,
    /// Sines and cosines per real sample that the angle-sum plan evaluates, each counted.
    pub sin_exec: f64,
}

impl Cost {
    /// Counts a network's cost from its shape alone.
    ///
    /// With `d` the width, `C` the channels, `K_l` a level's digit tuples, `Gv_i` the cells of level i that hold
    /// a real sample and N the real samples, the executed figures are these sums divided by N:
    ///
    /// ```text
    /// mac_exec: Gv_0·D·d + Σ_{i=1..L-2} Gv_i·(d² + 2d) + (Gv_{L-2} + 1)·2d·S·C + tables
    ///           S      = ⌈K_{L-1} / 2⌉ (linear: block folded about its middle), K_{L-1} (others)
    ///           tables = Σ_{l=1..L-1} (K_l + 1)·D·d (linear), K_l·(D·32 + 32·32 + 32·d) (nonlinear), 0 (table)
    /// sin_exec: 2d·(Σ_{i=0..L-2} Gv_i + Σ_{l=1..L-1} K_l) + (nonlinear: 64·Σ_{l=1..L-1} K_l)
    /// ```
    ///
    /// The configuration need not be within the limits of [`NetworkConfig::validate`]; nothing overflows.
    #[must_use]
    pub fn of(config: &NetworkConfig) -> Self {
        let p = &config.partition;
        let (n_levels, n_axes) = (p.n_levels(), p.n_axes());
        let last = n_levels - 1;
        let (d, c, axes) = (config.width as f64, config.channels as f64, n_axes as f64);
        let h = MODULATOR_WIDTH as f64;

        let n_samples: f64 = p.extents().iter().map(|&e| e as f64).product();
        let tuples: Vec<f64> = (0..n_levels).map(|l| p.n_tuples(l) as f64).collect();
        let padded: f64 = tuples.iter().product();
        // G_i/N = 1 / (digit tuples of the levels below): exact where the bases are powers of two.
        let cells_paper = |i: usize| 1.0 / tuples[i + 1..].iter().product::<f64>();
        let cells_exec = |i: usize| p.n_visible_cells(i) as f64 / n_samples;
        let tuples_paper = |l: usize| tuples[l] / padded;
        let tuples_exec = |l: usize| tuples[l] / n_samples;
        // Digit tuples of the last level whose columns of P exist.
        let mirrored = is_mirrored(config.modulator);
        let stored = if mirrored { (tuples[last] / 2.0).ceil() } else { tuples[last] };

        let (wide, axes_n, hidden) = (config.width as u128, n_axes as u128, MODULATOR_WIDTH as u128);
        let mut parts = Vec::with_capacity(2 * last + 1);
        for i in 0..last {
            let fan_in = if i == 0 { axes } else { d };
            let expand = if i == 0 { 0.0 } else { 2.0 * d };
            parts.push(PartCost {
                part: Part::Layer(i),
                n_params: wide * (if i == 0 { axes_n } else { wide } + 1),
                // The layer, and one addition of the modulation per activation.
                mac_paper: (fan_in * d + d + d) * cells_paper(i),
                // Published sharing takes layer i's sine after the modulation: at the cells of level i+1.
                sin_paper: d * cells_paper(i + 1),
                mac_exec: (fan_in * d + expand) * cells_exec(i),
                sin_exec: 2.0 * d * cells_exec(i),
            });
        }
        for level in 1..n_levels {
            let (mac_paper, mac_exec, sines, n_params) = match config.modulator {
                Modulator::Linear => (axes * d, axes * d, 0.0, axes_n * wide),
                Modulator::Nonlinear => (
                    (axes * h + h) + (h * h + h) + (h * d + d),
                    axes * h + h * h + h * d,
                    2.0 * h,
                    hidden * (axes_n + 1) + hidden * (hidden + 1) + wide * (hidden + 1),
                ),
                Modulator::Table => {
                    (0.0, 0.0, 0.0, (0..n_axes).map(|a| p.base(a, level) as u128 * wide).sum())
                }
            };
            parts.push(PartCost {
                part: Part::Modulator(level),
                n_params,
                mac_paper: mac_paper * tuples_paper(level),
                sin_paper: sines * tuples_paper(level),
                // The middle of a mirrored level is one tuple more.
                mac_exec: mac_exec * (tuples_exec(level) + if mirrored { 1.0 / n_samples } else { 0.0 }),
                sin_exec: (2.0 * d + sines) * tuples_exec(level),
            });
        }
        parts.push(PartCost {
            part: Part::Output,
            n_params: config.channels as u128 * (wide + 1),
            mac_paper: d * c + c,
            sin_paper: 0.0,
            mac_exec: 2.0 * d * c * stored * (cells_exec(last - 1) + 1.0 / n_samples),
            sin_exec: 0.0,
        });

        let total = |figure: fn(&PartCost) -> f64| parts.iter().map(figure).sum();
        Self {
            n_params: parts.iter().map(|part| part.n_params).sum(),
            mac_paper: total(|part| part.mac_paper),
            sin_paper: total(|part| part.sin_paper),
            mac_siren: (axes * d + d) + (last - 1) as f64 * (d * d + d) + (d * c + c),
            sin_siren: d * last as f64,
            mac_exec: total(|part| part.mac_exec),
            sin_exec: total(|part| part.sin_exec),
            parts,
        }
    }

    /// How many times fewer multiply-adds than the SIREN of the same shape, as published: `mac_siren / mac_paper`.
    #[must_use]
    pub fn ratio_paper(&self) -> f64 {
        self.mac_siren / self.mac_paper
    }

    /// Bytes of all weights as stored unquantised (`f32`).
    #[must_use]
    pub fn n_bytes(&self) -> u128 {
        4 * self.n_params
    }
}
