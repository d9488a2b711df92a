//! One gradient on several devices: the batch is split, every device differentiates its part on a copy of
//! the module, and the parts are added up on the first one (data parallelism, synchronous).
//!
//! Built from burn's own pieces (`fork`, `GradientsParams::to_device`, `GradientsAccumulator`). burn's
//! all-reduce is not used: in 0.22 only its CUDA backend implements it.

#[cfg(feature = "native")]
use burn::optim::GradientsAccumulator;
use burn::{
    module::Module,
    optim::GradientsParams,
    tensor::{Device, Tensor},
};

use crate::{device::scalar, error::Result};

/// The mean of `loss` over the rows of `x` (`[B, D]`, on a device without autodiff), and its gradient, on
/// the module's own device. `loss` gives the mean over the rows it gets, `[1]`; `others` are further
/// devices that take their share of the rows, as many each as the first, which takes what is left over.
///
/// # Errors
/// [`Error::Device`](crate::Error::Device) when a device cannot be read.
pub async fn gradient<M: Module + Send + Sync>(
    module: &M,
    x: Tensor<2>,
    others: &[Device],
    loss: impl Fn(&M, Tensor<2>) -> Tensor<1> + Sync,
) -> Result<(f64, GradientsParams)> {
    // A page has one device, and no threads to drive others.
    #[cfg(feature = "native")]
    if !others.is_empty() && x.dims()[0] > others.len() {
        return shared(module, x, others, loss);
    }
    let _ = others;
    let mean = loss(module, x);
    let value = scalar(mean.clone().inner()).await?;
    Ok((value, GradientsParams::from_grads(mean.backward(), module)))
}

#[cfg(feature = "native")]
fn shared<M: Module + Send + Sync>(
    module: &M,
    x: Tensor<2>,
    others: &[Device],
    loss: impl Fn(&M, Tensor<2>) -> Tensor<1> + Sync,
) -> Result<(f64, GradientsParams)> {
    let [rows, _] = x.dims();
    let share = rows / (others.len() + 1);
    let first = rows - share * others.len();
    let home = x.device();
    // Of a part: its share of the mean, and the gradient of that.
    let part = |module: &M, x: Tensor<2>| -> Result<(f64, GradientsParams)> {
        let weight = x.dims()[0] as f64 / rows as f64;
        let mean = loss(module, x) * weight;
        let value = pollster::block_on(scalar(mean.clone().inner()))?;
        Ok((value, GradientsParams::from_grads(mean.backward(), module)))
    };
    std::thread::scope(|scope| {
        let away: Vec<_> = others
            .iter()
            .enumerate()
            .map(|(k, device)| {
                let copy = module.clone().fork(&device.clone().autodiff());
                let x = x.clone().narrow(0, first + k * share, share);
                let x = x.to_device(device);
                let (part, home) = (&part, &home);
                scope.spawn(move || {
                    part(&copy, x).map(|(value, parts)| (value, parts.to_device(home, &copy)))
                })
            })
            .collect();
        let mut sum = GradientsAccumulator::new();
        let (mut value, gradients) = part(module, x.clone().narrow(0, 0, first))?;
        sum.accumulate(module, gradients);
        for thread in away {
            let part = thread.join();
            let (v, gradients) = part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            value += v;
            sum.accumulate(module, gradients);
        }
        Ok((value, sum.grads()))
    })
}

#[cfg(test)]
mod tests {
    use burn::optim::AdamConfig;

    use super::*;
    use crate::{
        nn::{
            gradient::gradient_norm,
            layers::Init,
            tilt::{Tilt, TiltConfig},
        },
        rng::{Purpose, Rng},
    };

    fn net() -> Tilt {
        let config = TiltConfig::Mlp {
            hidden: 24,
            layers: 2,
            bound: 0.0,
        };
        Tilt::new(
            &config,
            [5, 1, 1],
            &mut Init::new(3, &Device::flex().autodiff()),
        )
    }

    fn loss(net: &Tilt, x: Tensor<2>) -> Tensor<1> {
        (net.forward(x) - 0.3).powi_scalar(2).mean()
    }

    /// Five steps on a batch of 22 rows, which three devices do not share evenly.
    fn train(others: usize) -> (Vec<f64>, Vec<f64>) {
        let device = Device::flex();
        let others = vec![device.clone(); others];
        let (mut net, mut optimiser) = (net(), AdamConfig::new().init());
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        for step in 0..5 {
            let x = Rng::new(1).normal_tensor(Purpose::Data, step, 22, 5, &device);
            let (value, gradients) = pollster::block_on(gradient(&net, x, &others, loss)).unwrap();
            norms.push(pollster::block_on(gradient_norm(&net, &gradients)).unwrap());
            losses.push(value);
            net = optimiser.step(1e-2, net, gradients);
        }
        (losses, norms)
    }

    #[test]
    fn several_devices_learn_what_one_does() {
        let (alone, norms) = train(0);
        assert!(alone[4] < alone[0] && norms.iter().all(|n| *n > 1e-3));
        for others in [1, 2] {
            let (losses, shared) = train(others);
            for (a, b) in alone.iter().chain(&norms).zip(losses.iter().chain(&shared)) {
                assert!(
                    (a - b).abs() < 1e-5 * a.abs().max(1.0),
                    "{a} alone, {b} with {others} more"
                );
            }
        }
    }
}
