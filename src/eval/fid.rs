//! The Fréchet distance between two Gaussians (Dowson & Landau 1982) fitted to features: with those
//! of [`Inception`](super::inception::Inception), the Fréchet Inception Distance (Heusel, Ramsauer,
//! Unterthiner, Nessler, Hochreiter, "GANs Trained by a Two Time-Scale Update Rule Converge to a
//! Local Nash Equilibrium", NeurIPS 2017).
//!
//! The distance between finite samples is biased upwards, the more the fewer there are: numbers
//! compare only at equal [`Moments::n`], which has to be stated with them (50 000 is usual).

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use crate::error::{Error, Result};

/// Rows that are converted to f64 at once.
const ROWS: usize = 512;

/// Mean and covariance of the rows seen so far, in f64 and in one pass: batches are centred on their
/// own mean, then merged (Chan, Golub & LeVeque 1979).
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    n: usize,
    mean: DVector<f64>,
    /// Σ (x − mean)(x − mean)ᵀ
    scatter: DMatrix<f64>,
}

impl Moments {
    /// Of no rows yet. `dim` is the features' dimension.
    pub fn new(dim: usize) -> Self {
        Self {
            n: 0,
            mean: DVector::zeros(dim),
            scatter: DMatrix::zeros(dim, dim),
        }
    }

    /// Number of rows seen.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Dimension of the features.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Adds features `[n, dim]`, row by row in one slice.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the values are no whole number of rows, or not all finite; none of
    /// them is added then.
    pub fn add(&mut self, rows: &[f32]) -> Result<()> {
        let dim = self.dim();
        if dim == 0 || !rows.len().is_multiple_of(dim) {
            return Err(Error::invalid(
                "features",
                format!("whole rows of {dim} values, at least one value each"),
                format!("{} values", rows.len()),
                "give features of one network",
            ));
        }
        if let Some(i) = rows.iter().position(|v| !v.is_finite()) {
            return Err(Error::invalid(
                "features",
                "finite numbers",
                format!("{} in row {}", rows[i], i / dim),
                "look at that image: it is likely not finite itself",
            ));
        }
        for part in rows.chunks(ROWS * dim) {
            self.add_part(part);
        }
        Ok(())
    }

    fn add_part(&mut self, rows: &[f32]) {
        let dim = self.dim();
        let (n, k) = (self.n as f64, (rows.len() / dim) as f64);
        let values = rows.iter().map(|&v| f64::from(v));
        // One image a column.
        let mut x = DMatrix::from_iterator(dim, rows.len() / dim, values);
        let mean = x.column_mean();
        for mut column in x.column_iter_mut() {
            column -= &mean;
        }
        self.scatter.gemm(1.0, &x, &x.transpose(), 1.0);
        let step = mean - &self.mean;
        self.scatter.ger(n * k / (n + k), &step, &step, 1.0);
        self.mean.axpy(k / (n + k), &step, 1.0);
        self.n += rows.len() / dim;
    }

    /// Mean of each feature, `[dim]`.
    pub fn mean(&self) -> &DVector<f64> {
        &self.mean
    }

    /// Unbiased covariance of the features, `[dim, dim]` (as numpy.cov: divided by n − 1).
    ///
    /// # Errors
    /// [`Error::Invalid`] for fewer than 2 rows.
    pub fn covariance(&self) -> Result<DMatrix<f64>> {
        if self.n < 2 {
            return Err(Error::invalid(
                "covariance of features",
                "at least 2 images",
                self.n,
                "give more images",
            ));
        }
        Ok(&self.scatter / (self.n - 1) as f64)
    }
}

/// ‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½), in squared units of the features.
///
/// The eigenvalues of Σ₁Σ₂ are those of the symmetric Σ₁^½ Σ₂ Σ₁^½, so that two symmetric
/// eigendecompositions suffice and covariances may be singular (fewer images than dimensions).
/// Takes some 10 s for 2048 features, whatever the number of images.
///
/// # Errors
/// [`Error::Invalid`] for features of two dimensions, or fewer than 2 rows; [`Error::Diverged`] when
/// the eigenvalues cannot be found.
pub fn frechet(a: &Moments, b: &Moments) -> Result<f64> {
    if a.dim() != b.dim() {
        return Err(Error::invalid(
            "features",
            format!("{} in both sets", a.dim()),
            format!("{} in the second", b.dim()),
            "compare features of one network",
        ));
    }
    let (first, second) = (a.covariance()?, b.covariance()?);
    let traces = first.trace() + second.trace();
    // A handful of iterations an eigenvalue is usual.
    let limit = 1000 + 100 * a.dim();
    let eigen =
        SymmetricEigen::try_new(first, f64::EPSILON, limit).ok_or_else(|| Error::Diverged {
            problem: format!("no eigenvalues of the features' covariance after {limit} iterations"),
            fix: "look for extreme values among the features".into(),
        })?;
    // Σ₁ = V Λ Vᵀ, and Σ₁^½ Σ₂ Σ₁^½ has the eigenvalues of (V Λ^½)ᵀ Σ₂ (V Λ^½).
    let mut root = eigen.eigenvectors;
    for (mut column, value) in root.column_iter_mut().zip(eigen.eigenvalues.iter()) {
        // Rounding makes zeros a little negative.
        column *= value.max(0.0).sqrt();
    }
    let product = root.tr_mul(&(second * &root));
    let product = (&product + product.transpose()) / 2.0;
    let trace = product.trace();
    let values = product.symmetric_eigenvalues();
    let overlap: f64 = values.iter().map(|v| v.max(0.0).sqrt()).sum();
    let distance = (a.mean() - b.mean()).norm_squared() + traces - 2.0 * overlap;
    // An eigensolver that went astray must not pass for a distance: eigenvalues sum to the trace, and
    // a distance is below 0 by no more than rounding.
    let astray = (values.sum() - trace).abs() > 1e-6 * trace.abs() + f64::MIN_POSITIVE;
    if astray || !distance.is_finite() || distance < -1e-4 * traces {
        return Err(Error::Diverged {
            problem: format!(
                "the covariances' eigenvalues are wrong: they sum to {}, the trace is {trace}, and the \
                 distance would be {distance}",
                values.sum()
            ),
            fix: "report this as a bug, with the features".into(),
        });
    }
    Ok(distance.max(0.0))
}
