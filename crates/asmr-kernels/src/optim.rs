//! Optimiser updates on flat slices of weights.

use crate::isa::{kernel, mul_add};

/// What one Adam step needs besides the slices (Kingma and Ba, 2015, algorithm 1).
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// Learning rate of this step.
    pub rate: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// `1 / (1 - beta1^t)`.
    pub correction1: f32,
    /// `1 / (1 - beta2^t)`.
    pub correction2: f32,
    /// Factor on the gradient (clipping).
    pub gradient_scale: f32,
}

kernel! {
    /// One Adam step in place: updates both moments and the weights.
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn adam = adam_body(
        step: AdamStep,
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
        weights: &mut [f32],
    )
}

#[inline(always)]
fn adam_body<const FUSED: bool>(
    step: AdamStep,
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    weights: &mut [f32],
) {
    let n = gradient.len();
    assert!(
        first.len() == n && second.len() == n && weights.len() == n,
        "one moment and gradient per weight"
    );
    for i in 0..n {
        let g = gradient[i] * step.gradient_scale;
        let m = mul_add::<FUSED>(step.beta1, first[i], (1.0 - step.beta1) * g);
        let v = mul_add::<FUSED>(step.beta2, second[i], (1.0 - step.beta2) * (g * g));
        first[i] = m;
        second[i] = v;
        weights[i] -= step.rate * (m * step.correction1) / ((v * step.correction2).sqrt() + step.epsilon);
    }
}
