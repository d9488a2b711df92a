//! The tilt U: the network that reweights the flow, p(x) ∝ exp(−U(x)) q(x).

use burn::{module::Module, tensor::Tensor};
use serde::{Deserialize, Serialize};

use super::{
    dict::{Dict, DictBuilder},
    layers::{Conv, Dense, Init, leaky},
};
use crate::error::Result;

/// Architecture of the tilt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TiltConfig {
    /// The strided convolutional network of short-run EBMs (Nijkamp et al. 2019): 3×3 to `channels`,
    /// then two 4×4 stride-2 convolutions that double the channels, then a fully connected layer of
    /// `4·channels`, leaky ReLU 0.2.
    Conv {
        /// Channels of the first convolution.
        channels: usize,
    },
    /// An MLP with `layers` hidden layers of `hidden` units, for vectors.
    Mlp {
        /// Units per hidden layer.
        hidden: usize,
        /// Number of hidden layers.
        layers: usize,
        /// Largest |U| in nats: the output is `bound·tanh(U/bound)`; 0 disables the bound.
        #[serde(default)]
        bound: f64,
    },
}

/// Standard deviation of an MLP's initial biases: its hinges then lie where whitened vectors do. Without
/// biases, the error on the ring of `mixwell toys` (10 nats, six stages) was 0.55 nats instead of 0.15.
const HINGES: f32 = 1.0;

/// U(x).
#[derive(Module, Debug)]
pub struct Tilt {
    convs: Vec<Conv>,
    dense: Vec<Dense>,
    #[module(skip)]
    shape: [usize; 3],
    #[module(skip)]
    bound: f64,
}

impl Tilt {
    /// A new network for images `[channels, height, width]`. Its last layer starts near zero, so that
    /// training starts at the flow itself.
    pub fn new(config: &TiltConfig, shape: [usize; 3], init: &mut Init<'_>) -> Self {
        let [c, h, w] = shape;
        let (convs, widths) = match *config {
            TiltConfig::Conv { channels: n } => {
                let half = |v: usize| v / 2;
                let (h, w) = (half(half(h)), half(half(w)));
                (
                    vec![
                        Conv::new(init, c, n, 3, 1, 1, 1.0),
                        Conv::new(init, n, 2 * n, 4, 2, 1, 1.0),
                        Conv::new(init, 2 * n, 4 * n, 4, 2, 1, 1.0),
                    ],
                    vec![4 * n * h * w, 4 * n, 1],
                )
            }
            TiltConfig::Mlp { hidden, layers, .. } => {
                let mut widths = vec![c * h * w];
                widths.extend(std::iter::repeat_n(hidden, layers));
                widths.push(1);
                (Vec::new(), widths)
            }
        };
        let last = widths.len() - 2;
        let dense = widths
            .windows(2)
            .enumerate()
            .map(|(i, io)| {
                let gain = if i == last { 0.01 } else { 1.0 };
                let layer = Dense::new(init, io[0], io[1], gain);
                match config {
                    TiltConfig::Mlp { .. } if i < last => layer.with_biases(init, HINGES),
                    _ => layer,
                }
            })
            .collect();
        Self {
            convs,
            dense,
            shape,
            bound: match *config {
                TiltConfig::Mlp { bound, .. } => bound,
                TiltConfig::Conv { .. } => 0.0,
            },
        }
    }

    /// The same network with all layers but the last from `other`, which has the same architecture.
    pub fn with_features_of(mut self, other: &Self) -> Self {
        let last = self.dense.len() - 1;
        self.dense[..last].clone_from_slice(&other.dense[..last]);
        self.convs.clone_from(&other.convs);
        self
    }

    /// U(x), `[B, D]` (flattened `[C, H, W]`) → `[B]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<1> {
        let batch = x.dims()[0];
        let [c, h, w] = self.shape;
        let mut flat = x;
        if !self.convs.is_empty() {
            // Images have values in about [0, 1].
            let mut image = flat.reshape([batch, c, h, w]) * 2.0 - 1.0;
            for conv in &self.convs {
                image = leaky(conv.forward(image));
            }
            flat = image.flatten::<2>(1, 3);
        }
        let last = self.dense.len() - 1;
        for (i, layer) in self.dense.iter().enumerate() {
            flat = layer.forward(flat);
            if i < last {
                flat = leaky(flat);
            }
        }
        let u = flat.reshape([batch]);
        match self.bound > 0.0 {
            true => (u / self.bound).tanh() * self.bound,
            false => u,
        }
    }

    /// Adds all weights to `to` under `name.…`.
    pub fn save(&self, to: &mut DictBuilder, name: &str) {
        for (i, conv) in self.convs.iter().enumerate() {
            conv.save(to, &format!("{name}.conv.{i}"));
        }
        for (i, dense) in self.dense.iter().enumerate() {
            dense.save(to, &format!("{name}.dense.{i}"));
        }
    }

    /// Reads a tilt of this architecture, saved under this name.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) for missing or misshapen tensors.
    pub fn load(
        from: &Dict<'_>,
        name: &str,
        config: &TiltConfig,
        shape: [usize; 3],
    ) -> Result<Self> {
        let mut init = Init::new(0, from.device());
        let blank = Self::new(config, shape, &mut init);
        Ok(Self {
            convs: blank
                .convs
                .into_iter()
                .enumerate()
                .map(|(i, conv)| conv.load(from, &format!("{name}.conv.{i}")))
                .collect::<Result<_>>()?,
            dense: blank
                .dense
                .into_iter()
                .enumerate()
                .map(|(i, dense)| dense.load(from, &format!("{name}.dense.{i}")))
                .collect::<Result<_>>()?,
            shape,
            bound: blank.bound,
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// Without initial biases f(2x) = 2 f(x), for any width and depth.
    #[test]
    fn new_mlp_has_hinges_away_from_the_origin() {
        let device = Device::flex();
        let config = TiltConfig::Mlp {
            hidden: 16,
            layers: 2,
            bound: 0.0,
        };
        let tilt = Tilt::new(&config, [2, 1, 1], &mut Init::new(1, &device));
        let x = Tensor::<2>::from_data(
            TensorData::new(vec![0.5f32, -0.3, 1.0, -0.6], [2, 2]),
            &device,
        );
        let u: Vec<f32> = tilt.forward(x).into_data().iter::<f32>().collect();
        assert!(
            (u[1] - 2.0 * u[0]).abs() > 0.1 * u[0].abs(),
            "homogeneous: {u:?}"
        );
    }

    /// At inputs where |U| without its bound is many times the bound, and after a round trip.
    #[test]
    fn bound_is_applied_and_survives_storage() {
        let device = Device::flex();
        let config = |bound: f64| TiltConfig::Mlp {
            hidden: 16,
            layers: 2,
            bound,
        };
        let shape = [2, 1, 1];
        let x: Vec<f32> = (0..24)
            .map(|i| 900.0 * (f64::from(i) * 1.3).sin() as f32)
            .collect();
        let x = Tensor::<2>::from_data(TensorData::new(x, [12, 2]), &device);
        let host = |u: Tensor<1>| u.into_data().iter::<f64>().collect::<Vec<_>>();
        let tilt = |bound| Tilt::new(&config(bound), shape, &mut Init::new(1, &device));
        let free = host(tilt(0.0).forward(x.clone()));
        let bounded = host(tilt(0.5).forward(x.clone()));
        assert!(free.iter().any(|u| u.abs() > 2.0), "{free:?}");
        for (free, bounded) in free.iter().zip(&bounded) {
            assert!((bounded - 0.5 * (free / 0.5).tanh()).abs() < 1e-5);
        }
        let mut file = DictBuilder::default();
        tilt(0.5).save(&mut file, "u");
        let bytes = file.finish().unwrap();
        let dict = Dict::open(&bytes, "test", &device).unwrap();
        let stored = Tilt::load(&dict, "u", &config(0.5), shape).unwrap();
        for (stored, bounded) in host(stored.forward(x)).iter().zip(&bounded) {
            // 16 bits a weight.
            assert!((stored - bounded).abs() < 5e-3, "{stored} for {bounded}");
        }
    }
}
