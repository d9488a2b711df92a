//! Principal components: of training images, as test functions; of latents, as a plotting plane.

use burn::tensor::{Device, Tensor, TensorData};
use nalgebra::DMatrix;

use super::{COMPONENTS, Projection};
use crate::data::Dataset;

/// Leading principal axes of a set of vectors.
pub(super) struct Axes {
    /// Mean of the vectors.
    pub mean: Vec<f64>,
    /// Unit vectors by decreasing variance. An eigenvector's sign is arbitrary, so the entry with the
    /// largest magnitude is made positive.
    pub directions: Vec<Vec<f64>>,
    /// Variance along each.
    pub variances: Vec<f64>,
    /// Variance along all axes together.
    pub total: f64,
}

/// The first `count` principal axes of the rows of a matrix.
pub(super) fn axes(rows: &DMatrix<f64>, count: usize) -> Axes {
    let (n, dim) = rows.shape();
    let mean = rows.row_mean();
    let centred = DMatrix::from_fn(n, dim, |i, j| rows[(i, j)] - mean[j]);
    let eigen = (centred.tr_mul(&centred) / (n - 1).max(1) as f64).symmetric_eigen();
    let mut order: Vec<usize> = (0..dim).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    order.truncate(count);
    let direction = |&column: &usize| {
        let vector = eigen.eigenvectors.column(column);
        let sign = vector[vector.iamax()].signum();
        vector.iter().map(|v| sign * v).collect()
    };
    Axes {
        mean: mean.iter().copied().collect(),
        directions: order.iter().map(direction).collect(),
        variances: order.iter().map(|&k| eigen.eigenvalues[k]).collect(),
        total: eigen.eigenvalues.iter().sum(),
    }
}

/// Mean and leading principal components of the first 5,000 images of a training set, with 8-bit values
/// reduced to `bits`.
pub(super) fn principal_components(data: &Dataset, bits: u32, device: &Device) -> Projection {
    let n = data.count.min(5000);
    let dim = data.height * data.width * data.channels;
    let steps = f64::from(1u32 << bits);
    let values = data.images[..n * dim]
        .iter()
        .map(|&v| (f64::from(v >> (8 - bits)) + 0.5) / steps);
    let axes = axes(&DMatrix::from_row_iterator(n, dim, values), COMPONENTS);
    let mut directions = vec![0.0f32; dim * COMPONENTS];
    for (k, (direction, variance)) in axes.directions.iter().zip(&axes.variances).enumerate() {
        let sd = variance.max(1e-12).sqrt();
        for (i, v) in direction.iter().enumerate() {
            directions[i * COMPONENTS + k] = (v / sd) as f32;
        }
    }
    Projection::new(
        row(&axes.mean, [dim], device),
        Tensor::from_data(TensorData::new(directions, [dim, COMPONENTS]), device),
    )
}

/// f64 values as a tensor of f32.
pub(super) fn row(values: &[f64], shape: [usize; 1], device: &Device) -> Tensor<1> {
    let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Rng};

    /// Vectors with known axes: 3·N(0, 1) along (1, 2, 2)/3, 1·N(0, 1) along (2, 1, −2)/3, and none else.
    #[test]
    fn axes_of_a_known_covariance_are_found() {
        let (a, b) = (
            [1.0, 2.0, 2.0].map(|v| v / 3.0),
            [2.0, 1.0, -2.0].map(|v| v / 3.0),
        );
        let n = 20_000;
        let xi = Rng::new(1).normals(Purpose::Data, 0, n, 2);
        let rows = DMatrix::from_fn(n, 3, |i, j| {
            5.0 + 3.0 * f64::from(xi[2 * i]) * a[j] + f64::from(xi[2 * i + 1]) * b[j]
        });
        let found = axes(&rows, 2);
        for (direction, expected) in found.directions.iter().zip([a, b]) {
            let dot: f64 = direction.iter().zip(expected).map(|(u, v)| u * v).sum();
            assert!(dot.abs() > 0.999, "{direction:?} for {expected:?}");
        }
        // Three standard errors of a variance, σ²·√(2/n).
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.03;
        assert!(near(found.variances[0], 9.0) && near(found.variances[1], 1.0));
        assert!(near(found.total, 10.0), "{}", found.total);
        assert!(
            found.mean.iter().all(|m| (m - 5.0).abs() < 0.1),
            "{:?}",
            found.mean
        );
        // The largest entry of each direction is positive.
        for direction in &found.directions {
            let largest = direction
                .iter()
                .fold(0.0f64, |m, &v| if v.abs() > m.abs() { v } else { m });
            assert!(largest > 0.0, "{direction:?}");
        }
    }

    /// Images of two independent pixels: the coordinates are standardised, for values as the bits leave
    /// them.
    #[test]
    fn coordinates_of_the_training_images_are_standardised() {
        let n = 500;
        let words = Rng::new(2).words(Purpose::Data, 0, n, 2);
        let images: Vec<u8> = words
            .chunks(2)
            .flat_map(|w| [(w[0] >> 24) as u8, (w[1] >> 25) as u8])
            .collect();
        let device = Device::flex();
        let values = images.iter().map(|v| (f32::from(v >> 6) + 0.5) / 4.0);
        let x = TensorData::new(values.collect::<Vec<f32>>(), [n, 2]);
        let data = Dataset {
            name: "d".into(),
            title: "D".into(),
            classes: vec!["c".into()],
            preprocessing: String::new(),
            split: crate::data::Split::Train,
            images,
            labels: vec![0; n],
            count: n,
            height: 1,
            width: 2,
            channels: 1,
        };
        let found = principal_components(&data, 2, &device).apply(Tensor::from_data(x, &device));
        let found: Vec<f64> = found.into_data().iter::<f64>().collect();
        for k in 0..2 {
            let column = || found.iter().skip(k).step_by(COMPONENTS);
            let mean = column().sum::<f64>() / n as f64;
            let variance = column().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
            assert!(
                mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-3,
                "{mean}, {variance}"
            );
        }
    }
}
