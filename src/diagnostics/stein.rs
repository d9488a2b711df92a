//! Kernel Stein discrepancy: how well draws fit a density whose score is known.

use crate::error::{Error, Result};

/// Kernel Stein discrepancy with the inverse multiquadric kernel k(x, y) = (1 + ‖x − y‖²/h²)^{−½}
/// (Liu, Lee & Jordan 2016; Gorham & Mackey 2017, who show that this kernel detects non-convergence
/// where a Gaussian one does not). The V-statistic √(Σᵢⱼ k₀(xᵢ, xⱼ))/n, never negative.
///
/// `x` and `score` hold n rows of `dim` values each: the draws, and s(x) = ∇log p(x) = −∇E(x)/T at the
/// draws. `scale` is h, in the unit of the draws. The value has the unit of a score; compare it with
/// that of equally many exact draws. It needs no normalising constant. It cannot detect a missing mode
/// far from all draws, beyond the reach of the kernel and the score. O(n²·dim).
///
/// # Errors
///
/// [`Error::Invalid`] when the sizes do not match, there are fewer than two draws, or `scale` is not a
/// positive number.
pub fn ksd(x: &[f64], score: &[f64], dim: usize, scale: f64) -> Result<f64> {
    if dim == 0 || x.len() != score.len() || !x.len().is_multiple_of(dim) || x.len() < 2 * dim {
        return Err(Error::invalid(
            "draws for the Stein discrepancy",
            "n ≥ 2 rows of D draws and as many scores",
            format_args!("{} and {} values for D = {dim}", x.len(), score.len()),
            "pass the score of every draw",
        ));
    }
    if !(scale.is_finite() && scale > 0.0) {
        return Err(Error::invalid(
            "kernel scale",
            "a positive number",
            scale,
            "pass about the typical distance between draws",
        ));
    }
    let n = x.len() / dim;
    let h2 = 1.0 / (scale * scale);
    let row = |v: &'_ [f64], i: usize| -> Vec<f64> { v[i * dim..(i + 1) * dim].to_vec() };
    let mut sum = 0.0;
    for i in 0..n {
        let (xi, si) = (row(x, i), row(score, i));
        // The sum is symmetric: count each pair once, doubled, and the diagonal once.
        for j in 0..=i {
            let (xj, sj) = (&x[j * dim..(j + 1) * dim], &score[j * dim..(j + 1) * dim]);
            let (mut square, mut scores, mut cross) = (0.0, 0.0, 0.0);
            for d in 0..dim {
                let difference = xi[d] - xj[d];
                square += difference * difference;
                scores += si[d] * sj[d];
                cross += (si[d] - sj[d]) * difference;
            }
            // With q = 1 + ‖x−y‖²/h²: ∇ₓk = −(x−y)/h² q^{−3/2}, ∇ᵧk its negative, and
            // tr ∇ₓ∇ᵧk = D/h² q^{−3/2} − 3‖x−y‖²/h⁴ q^{−5/2}.
            let q = 1.0 + square * h2;
            let (r1, r3) = (q.powf(-0.5), q.powf(-1.5));
            let stein = scores * r1 + cross * h2 * r3 + dim as f64 * h2 * r3
                - 3.0 * square * h2 * h2 * r3 / q;
            sum += if i == j { stein } else { 2.0 * stein };
        }
    }
    // Rounding could make the sum of a perfect fit negative.
    Ok(sum.max(0.0).sqrt() / n as f64)
}
