//! Optimisers over all weights of a network, tensor by tensor.

use std::io;

use asmr::network::{Modulator, NetworkConfig, Role, Tensor};
use asmr_kernels::IsaLevel;
use asmr_kernels::optim::{AdamStep, adam};
use rayon::prelude::*;

use crate::checkpoint::Archive;
use crate::config::{Algorithm, FitConfig};
use crate::soap::Soap;

/// Adam's epsilon, the paper's.
const EPSILON: f32 = 1e-8;

/// Moments of all weights.
#[derive(Clone, Debug)]
pub struct Optimiser {
    isa: IsaLevel,
    tensors: Vec<TensorState>,
    steps: u32,
}

#[derive(Clone, Debug)]
struct TensorState {
    tensor: Tensor,
    /// The tensor's rate as a fraction of the step's.
    rate: f64,
    method: Method,
}

#[derive(Clone, Debug)]
enum Method {
    Adam { first: Vec<f32>, second: Vec<f32> },
    Soap(Box<Soap>),
}

impl Optimiser {
    /// Fresh moments. Under [`Algorithm::Soap`] the square matrices between sine layers are preconditioned; all
    /// other tensors (vectors, and matrices with a side of a few values) keep Adam.
    #[must_use]
    pub fn new(network: &NetworkConfig, config: &FitConfig, isa: IsaLevel) -> Self {
        let tensors = network
            .tensors()
            .into_iter()
            .map(|tensor| {
                let rate = match tensor.role {
                    Role::Modulator(_) => modulator_rate(network, config),
                    _ => 1.0,
                };
                let preconditioned = config.algorithm == Algorithm::Soap
                    && matches!(tensor.role, Role::LayerWeight(i) if i > 0)
                    && network.width > 1;
                let method = if preconditioned {
                    Method::Soap(Box::new(Soap::new(tensor.shape[0], tensor.shape[1])))
                } else {
                    Method::Adam { first: vec![0.0; tensor.len()], second: vec![0.0; tensor.len()] }
                };
                TensorState { tensor, rate, method }
            })
            .collect();
        Self { isa, tensors, steps: 0 }
    }

    /// One update of all weights at `rate`.
    ///
    /// # Panics
    /// When the slices have not the network's number of weights.
    pub fn step(&mut self, config: &FitConfig, rate: f64, gradient: &[f32], params: &mut [f32]) {
        self.steps = self.steps.saturating_add(1);
        let (isa, steps) = (self.isa, self.steps);
        let mut rest = params;
        let mut work = Vec::with_capacity(self.tensors.len());
        // Tensors lie one after another in the flat array.
        for state in &mut self.tensors {
            let (weights, later) = rest.split_at_mut(state.tensor.len());
            work.push((state, weights));
            rest = later;
        }
        work.into_par_iter().for_each(|(state, weights)| {
            let gradient = &gradient[state.tensor.range()];
            let moments = |beta1: f64, beta2: f64| AdamStep {
                rate: (rate * state.rate) as f32,
                beta1: beta1 as f32,
                beta2: beta2 as f32,
                epsilon: EPSILON,
                correction1: (1.0 / (1.0 - beta1.powi(steps as i32))) as f32,
                correction2: (1.0 / (1.0 - beta2.powi(steps as i32))) as f32,
                gradient_scale: 1.0,
            };
            match &mut state.method {
                Method::Adam { first, second } => {
                    adam(isa, moments(config.beta1, config.beta2), gradient, first, second, weights);
                }
                Method::Soap(soap) => {
                    soap.update(
                        isa,
                        steps,
                        moments(SOAP_BETA, SOAP_BETA),
                        SOAP_BETA as f32,
                        gradient,
                        weights,
                    );
                }
            }
        });
    }
}

impl Optimiser {
    /// Writes or reads all moments and bases.
    pub(crate) fn archive(&mut self, archive: &mut Archive<'_>) -> io::Result<()> {
        archive.u32(&mut self.steps)?;
        for state in &mut self.tensors {
            match &mut state.method {
                Method::Adam { first, second } => {
                    archive.f32s(first)?;
                    archive.f32s(second)?;
                }
                Method::Soap(soap) => soap.archive(archive)?,
            }
        }
        Ok(())
    }
}

/// Rate of the modulators as a fraction of the step's. The small network of the nonlinear modulator is touchier than a
/// matrix or a table: a tenth suits it.
fn modulator_rate(network: &NetworkConfig, config: &FitConfig) -> f64 {
    // The paper's protocol (Adam) has one rate for all.
    if network.modulator == Modulator::Nonlinear && config.algorithm == Algorithm::Soap {
        0.1 * config.modulator_rate
    } else {
        config.modulator_rate
    }
}

/// SOAP's decay of both moments and of the covariances (the method's own default).
const SOAP_BETA: f64 = 0.95;
