//! The Fréchet distance between two Gaussians (Dowson & Landau 1982) fitted to features. With features
//! of [`Inception`](super::inception::Inception), it is the Fréchet Inception Distance (Heusel,
//! Ramsauer, Unterthiner, Nessler, Hochreiter, "GANs Trained by a Two Time-Scale Update Rule Converge
//! to a Local Nash Equilibrium", NeurIPS 2017).
//!
//! The distance between finite samples is biased upwards, and more so for fewer samples: compare
//! numbers at equal [`Moments::n`] only, and state it with them (50 000 is usual).

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use crate::error::{Error, Result};

/// Rows converted to f64 at once.
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
    /// Moments of no rows. `dim` is the dimension of the features.
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
    /// [`Error::Invalid`] when the values are not a whole number of rows, or not all finite; then none
    /// of them is added.
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
                "check that image: its values are probably not finite",
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
        // One column per image.
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

    /// Unbiased covariance of the features, `[dim, dim]` (divisor n − 1, as numpy.cov).
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
/// The eigenvalues of Σ₁Σ₂ equal those of the symmetric Σ₁^½ Σ₂ Σ₁^½, so two symmetric
/// eigendecompositions suffice, and covariances may be singular (fewer images than dimensions). Takes
/// about 10 s for 2048 features, independent of the number of images.
///
/// # Errors
/// [`Error::Invalid`] for features of different dimensions, or fewer than 2 rows; [`Error::Diverged`]
/// when the eigenvalues cannot be found.
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
    let reversed = |m: &DMatrix<f64>| {
        let n = m.nrows();
        DMatrix::from_fn(n, n, |i, j| m[(n - 1 - i, n - 1 - j)])
    };
    // The distance does not depend on the order of the two sets or of the coordinates, but the
    // eigensolver does: on a singular covariance (1,000 images, 2,048 features) it occasionally returns
    // wrong values without an error. The invariants below detect this; then another order is tried.
    let overlap = overlap(&first, &second)
        .or_else(|| overlap(&second, &first))
        .or_else(|| overlap(&reversed(&first), &reversed(&second)))
        .or_else(|| overlap(&reversed(&second), &reversed(&first)));
    let overlap = overlap.ok_or_else(|| Error::Diverged {
        problem: "the eigenvalues of the features' covariances could not be computed".into(),
        fix: "use another number of images, or look for extreme values among the features".into(),
    })?;
    let distance = (a.mean() - b.mean()).norm_squared() + traces - 2.0 * overlap;
    // Only rounding can make it negative.
    Ok(distance.max(0.0))
}

/// Tr (Σ₁Σ₂)^½, or `None` if the computed eigenvalues are wrong.
fn overlap(first: &DMatrix<f64>, second: &DMatrix<f64>) -> Option<f64> {
    let near =
        |found: f64, expected: f64| (found - expected).abs() <= 1e-8 * expected.abs().max(1e-300);
    // Eigenvalues sum to the trace, their squares to the sum of the squared entries.
    let right = |values: &DVector<f64>, of: &DMatrix<f64>| {
        near(values.sum(), of.trace()) && near(values.norm_squared(), of.norm_squared())
    };
    // A few iterations per eigenvalue are usual.
    let limit = 1000 + 100 * first.nrows();
    let eigen = SymmetricEigen::try_new(first.clone(), f64::EPSILON, limit)?;
    if !right(&eigen.eigenvalues, first) {
        return None;
    }
    // Σ₁ = V Λ Vᵀ, and Σ₁^½ Σ₂ Σ₁^½ has the eigenvalues of (V Λ^½)ᵀ Σ₂ (V Λ^½).
    let mut root = eigen.eigenvectors;
    for (mut column, value) in root.column_iter_mut().zip(eigen.eigenvalues.iter()) {
        // Rounding can make zeros slightly negative.
        column *= value.max(0.0).sqrt();
    }
    let product = root.tr_mul(&(second * &root));
    let product = (&product + product.transpose()) / 2.0;
    // Correct eigenvectors give Tr(Σ₁Σ₂).
    if !near(product.trace(), first.dot(second)) {
        return None;
    }
    let values = SymmetricEigen::try_new(product.clone(), f64::EPSILON, limit)?.eigenvalues;
    right(&values, &product).then(|| values.iter().map(|v| v.max(0.0).sqrt()).sum())
}
