//! The logistic loss of a classifier between two sets of latents.

use burn::tensor::{Tensor, activation::softplus};

/// ½(−E₊ log σ(f) − E₋ log σ(−f)) with f = −U; `below` holds U of the latents, `above` U of the prior
/// draws. Both classes have equal weight, so at the optimum f is the log ratio of the two densities.
pub fn logistic(below: Tensor<1>, above: Tensor<1>) -> Tensor<1> {
    (softplus(below, 1.0).mean() + softplus(above.neg(), 1.0).mean()) * 0.5
}

/// The same loss on the host, and the balanced accuracy; ties count half.
pub(super) fn held_out(below: &[f64], above: &[f64]) -> (f64, f64) {
    let softplus = |v: f64| v.max(0.0) + (-v.abs()).exp().ln_1p();
    let mean = |values: &[f64], f: &dyn Fn(f64) -> f64| {
        values.iter().map(|&v| f(v)).sum::<f64>() / values.len() as f64
    };
    let right = |v: f64| {
        if v == 0.0 {
            0.5
        } else {
            f64::from(u8::from(v < 0.0))
        }
    };
    (
        0.5 * (mean(below, &softplus) + mean(above, &|v| softplus(-v))),
        0.5 * (mean(below, &right) + mean(above, &|v| right(-v))),
    )
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn held_out_loss_matches_the_training_loss() {
        let device = Device::flex();
        let (below, above) = ([-1.5f64, 0.25, 30.0], [2.0f64, -0.5]);
        let tensor = |v: &[f64]| Tensor::<1>::from_floats(v, &device);
        let loss = logistic(tensor(&below), tensor(&above)).into_scalar::<f64>();
        let (host, accuracy) = held_out(&below, &above);
        assert!((loss - host).abs() < 1e-5, "{loss} {host}");
        assert!((accuracy - 0.5 * (1.0 / 3.0 + 0.5)).abs() < 1e-12);
        assert_eq!(held_out(&[0.0], &[0.0]), (std::f64::consts::LN_2, 0.5));
    }
}
