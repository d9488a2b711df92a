//! Posteriors with published means, on Stan's unconstrained space, with hand-written gradients: for
//! tests of samplers.
//!
//! Models and reference summaries are posteriordb's (<https://github.com/stan-dev/posteriordb>), the
//! data stat_comp_benchmarks' (<https://github.com/stan-dev/stat_comp_benchmarks>), both BSD-3-Clause;
//! `tests/fixtures/posteriors.json` has the references and the data with all published digits.
//! Everywhere E(x) = −log p(θ(x), y) − log|det ∂θ/∂x| up to a constant, where θ(x) are the
//! parameters that Stan declares and x its unconstrained ones.

use burn::tensor::{
    Device, Tensor, TensorData,
    activation::{log_sigmoid, sigmoid},
};

use super::{Energy, Evaluation, Point, Space};

/// A target whose states are the unconstrained parameters of a model.
pub trait Posterior: Energy {
    /// The parameters, named as in the published summary.
    fn names(&self) -> &'static [&'static str];

    /// Unconstrained states `[B, D]` → the parameters named by [`names`](Self::names), `[B, K]`.
    fn constrained(&self, x: Tensor<2>) -> Tensor<2>;
}

/// Values as `[1, N]`.
fn row(values: &[f32], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [1, values.len()]), device)
}

/// Coordinate `i` of states `[B, D]`, `[B, 1]`.
fn coordinate(x: &Tensor<2>, i: usize) -> Tensor<2> {
    x.clone().narrow(1, i, 1)
}

/// `[B, 1]` → `[B]`.
fn flat(column: Tensor<2>) -> Tensor<1> {
    let [batch, _] = column.dims();
    column.reshape([batch])
}

fn space(dim: usize) -> Space {
    Space {
        name: "plane",
        dim,
        image: None,
    }
}

/// E alone, from `[B, 1]`.
fn evaluation(energy: Tensor<2>) -> Evaluation {
    Evaluation {
        energy: flat(energy),
        observed: None,
    }
}

/// A point from its energy `[B, 1]` and its gradient in pieces `[B, …]`.
fn point(x: Tensor<2>, energy: Tensor<2>, gradient: Vec<Tensor<2>>) -> Point {
    Point {
        x,
        energy: flat(energy),
        gradient: Tensor::cat(gradient, 1),
        observed: None,
    }
}

/// A fifth-order autoregression (posteriordb `arK-arK`): α, βₖ ~ N(0, 10), σ ~ Cauchy⁺(0, 2.5),
/// yₜ ~ N(α + Σₖ βₖ yₜ₋ₖ, σ) for t = 6…200, k = 1…5.
///
/// x = (α, β₁…β₅, log σ), `[B, 7]`.
pub struct Autoregression {
    /// A row of ones, then yₜ₋ₖ for k = 1…5, `[6, 195]`.
    design: Tensor<2>,
    /// yₜ, `[1, 195]`.
    response: Tensor<2>,
}

/// Terms shared by E and ∇E of [`Autoregression`].
struct AutoregressionTerms {
    /// α and β, `[B, 6]`.
    coefficients: Tensor<2>,
    log_sigma: Tensor<2>,
    /// 1/σ².
    precision: Tensor<2>,
    /// yₜ − α − Σₖ βₖ yₜ₋ₖ, `[B, 195]`.
    residual: Tensor<2>,
    /// Σₜ residual²/σ².
    chi_square: Tensor<2>,
}

impl Autoregression {
    const ORDER: usize = 5;
    const LENGTH: usize = 200;
    const TERMS: usize = Self::LENGTH - Self::ORDER;

    /// The data are 200 values simulated from a fifth-order autoregression.
    pub fn new(device: &Device) -> Self {
        let lags = (1..=Self::ORDER).flat_map(|k| {
            let first = Self::ORDER - k;
            &AUTOREGRESSION_Y[first..first + Self::TERMS]
        });
        let design = std::iter::repeat_n(&1.0, Self::TERMS)
            .chain(lags)
            .copied()
            .collect::<Vec<f32>>();
        Self {
            design: Tensor::from_data(
                TensorData::new(design, [Self::ORDER + 1, Self::TERMS]),
                device,
            ),
            response: row(&AUTOREGRESSION_Y[Self::ORDER..], device),
        }
    }

    fn terms(&self, x: &Tensor<2>) -> AutoregressionTerms {
        let coefficients = x.clone().narrow(1, 0, Self::ORDER + 1);
        let log_sigma = coordinate(x, Self::ORDER + 1);
        let precision = (log_sigma.clone() * -2.0).exp();
        let residual = -coefficients.clone().matmul(self.design.clone()) + self.response.clone();
        AutoregressionTerms {
            chi_square: residual.clone().powi_scalar(2).sum_dim(1) * precision.clone(),
            coefficients,
            log_sigma,
            precision,
            residual,
        }
    }
}

impl AutoregressionTerms {
    fn energy(&self) -> Tensor<2> {
        let variance = (self.log_sigma.clone() * 2.0).exp();
        self.chi_square.clone() * 0.5
            // n log σ of the likelihood minus the Jacobian's log σ.
            + self.log_sigma.clone() * (Autoregression::TERMS as f64 - 1.0)
            + self.coefficients.clone().powi_scalar(2).sum_dim(1) * (0.5 / 100.0)
            + (variance * (1.0 / 6.25)).log1p()
    }
}

impl Energy for Autoregression {
    fn space(&self) -> Space {
        space(Self::ORDER + 2)
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        evaluation(self.terms(&x).energy())
    }

    fn point(&self, x: Tensor<2>) -> Point {
        let terms = self.terms(&x);
        let energy = terms.energy();
        let AutoregressionTerms {
            coefficients,
            log_sigma,
            precision,
            residual,
            chi_square,
        } = terms;
        let variance = (log_sigma * 2.0).exp();
        let gradient = vec![
            coefficients * (1.0 / 100.0)
                - residual.matmul(self.design.clone().transpose()) * precision,
            variance.clone() * 2.0 / (variance + 6.25) - chi_square + (Self::TERMS as f64 - 1.0),
        ];
        point(x, energy, gradient)
    }
}

impl Posterior for Autoregression {
    fn names(&self) -> &'static [&'static str] {
        &[
            "alpha", "beta[1]", "beta[2]", "beta[3]", "beta[4]", "beta[5]", "sigma",
        ]
    }

    fn constrained(&self, x: Tensor<2>) -> Tensor<2> {
        let AutoregressionTerms {
            coefficients,
            log_sigma,
            ..
        } = self.terms(&x);
        Tensor::cat(vec![coefficients, log_sigma.exp()], 1)
    }
}

/// A GARCH(1, 1) time series (posteriordb `garch-garch11`): yₜ ~ N(μ, √hₜ) for t = 1…200, with
/// h₁ = 0.25 given and hₜ = α₀ + α₁(yₜ₋₁ − μ)² + β₁hₜ₋₁; flat priors on μ, α₀ > 0, 0 < α₁ < 1 and
/// 0 < β₁ < 1 − α₁.
///
/// x = (μ, log α₀, logit α₁, logit β₁/(1 − α₁)), `[B, 4]`.
pub struct Garch {
    /// yₜ, `[1, 200]`.
    y: Tensor<2>,
}

/// Terms shared by E and ∇E of [`Garch`].
struct GarchTerms {
    mu: Tensor<2>,
    alpha0: Tensor<2>,
    alpha1: Tensor<2>,
    beta1: Tensor<2>,
    /// β₁/(1 − α₁).
    share: Tensor<2>,
    /// log|det ∂θ/∂x|.
    log_jacobian: Tensor<2>,
    /// yₜ − μ, `[B, 200]`.
    residual: Tensor<2>,
    /// hₜ, `[B, 200]`.
    variance: Tensor<2>,
}

/// All sₜ = uₜ + ρsₜ₋₁ at once, or, if `backwards`, sₜ = uₜ + ρsₜ₊₁, with zeros beyond the ends; `u`
/// is `[B, T]`, `rho` `[B, 1]`. By doubling: if sₜ holds the first k terms of Σⱼ ρʲuₜ₋ⱼ, then
/// sₜ + ρᵏsₜ₋ₖ holds the first 2k, so ⌈log₂ T⌉ rounds replace a loop over T.
fn recurrence(u: Tensor<2>, rho: Tensor<2>, backwards: bool) -> Tensor<2> {
    let [_, length] = u.dims();
    let (mut sum, mut power, mut terms) = (u, rho, 1);
    while terms < length {
        let zeros = sum.clone().narrow(1, 0, terms).zeros_like();
        let shifted = if backwards {
            let rest = sum.clone().narrow(1, terms, length - terms);
            Tensor::cat(vec![rest, zeros], 1)
        } else {
            let rest = sum.clone().narrow(1, 0, length - terms);
            Tensor::cat(vec![zeros, rest], 1)
        };
        sum = sum + shifted * power.clone();
        power = power.powi_scalar(2);
        terms *= 2;
    }
    sum
}

impl Garch {
    const TERMS: usize = 200;
    /// The variance of y₁.
    const FIRST_VARIANCE: f64 = 0.25;

    /// The data are 200 values simulated from a GARCH(1, 1) process.
    pub fn new(device: &Device) -> Self {
        Self {
            y: row(&GARCH_Y, device),
        }
    }

    fn terms(&self, x: &Tensor<2>) -> GarchTerms {
        let mu = coordinate(x, 0);
        let (log_alpha0, u, v) = (coordinate(x, 1), coordinate(x, 2), coordinate(x, 3));
        let alpha0 = log_alpha0.clone().exp();
        let alpha1 = sigmoid(u.clone());
        let share = sigmoid(v.clone());
        // 1 − α₁ = sigmoid(−u), without cancellation.
        let beta1 = sigmoid(-u.clone()) * share.clone();
        // ∂α₁/∂u = α₁(1 − α₁) and ∂β₁/∂v = (1 − α₁)·share·(1 − share).
        let log_jacobian = log_alpha0
            + log_sigmoid(u.clone())
            + log_sigmoid(-u) * 2.0
            + log_sigmoid(v.clone())
            + log_sigmoid(-v);
        let residual = -mu.clone() + self.y.clone();
        let before = residual.clone().narrow(1, 0, Self::TERMS - 1);
        let later = before.powi_scalar(2) * alpha1.clone() + alpha0.clone();
        let first = alpha0.zeros_like() + Self::FIRST_VARIANCE;
        let drive = Tensor::cat(vec![first, later], 1);
        GarchTerms {
            variance: recurrence(drive, beta1.clone(), false),
            mu,
            alpha0,
            alpha1,
            beta1,
            share,
            log_jacobian,
            residual,
        }
    }
}

impl GarchTerms {
    fn energy(&self) -> Tensor<2> {
        let standardised = self.residual.clone().powi_scalar(2) / self.variance.clone();
        (self.variance.clone().log() + standardised).sum_dim(1) * 0.5 - self.log_jacobian.clone()
    }
}

impl Energy for Garch {
    fn space(&self) -> Space {
        space(4)
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        evaluation(self.terms(&x).energy())
    }

    fn point(&self, x: Tensor<2>) -> Point {
        let terms = self.terms(&x);
        let energy = terms.energy();
        let GarchTerms {
            alpha0,
            alpha1,
            beta1,
            share,
            residual,
            variance,
            ..
        } = terms;
        let earlier = |t: &Tensor<2>| t.clone().narrow(1, 0, Self::TERMS - 1);
        let scaled = residual.clone() / variance.clone();
        let direct = (-scaled.clone().powi_scalar(2) + variance.clone().recip()) * 0.5;
        // ∂E/∂hₜ including the effect of hₜ on later variances; h₁ is fixed and needs no derivative.
        let adjoint = recurrence(direct, beta1.clone(), true).narrow(1, 1, Self::TERMS - 1);
        let before = earlier(&residual);
        let by_alpha0 = adjoint.clone().sum_dim(1);
        let by_alpha1 = (adjoint.clone() * before.clone().powi_scalar(2)).sum_dim(1);
        let by_beta1 = (adjoint.clone() * earlier(&variance)).sum_dim(1);
        let by_mu = -(adjoint * before).sum_dim(1) * alpha1.clone() * 2.0 - scaled.sum_dim(1);
        // ∂α₁/∂u = α₁(1 − α₁), ∂β₁/∂u = −α₁β₁, ∂β₁/∂v = β₁(1 − share).
        let rest = -alpha1.clone() + 1.0;
        let by_u = (by_alpha1 * rest - by_beta1.clone() * beta1.clone()) * alpha1.clone();
        let by_v = by_beta1 * beta1 * (-share.clone() + 1.0);
        let gradient = vec![
            by_mu,
            by_alpha0 * alpha0 - 1.0,
            by_u + alpha1 * 3.0 - 1.0,
            by_v + share * 2.0 - 1.0,
        ];
        point(x, energy, gradient)
    }
}

impl Posterior for Garch {
    fn names(&self) -> &'static [&'static str] {
        &["mu", "alpha0", "alpha1", "beta1"]
    }

    fn constrained(&self, x: Tensor<2>) -> Tensor<2> {
        let GarchTerms {
            mu,
            alpha0,
            alpha1,
            beta1,
            ..
        } = self.terms(&x);
        Tensor::cat(vec![mu, alpha0, alpha1, beta1], 1)
    }
}

/// Two Gaussians of unknown location, scale and weight (posteriordb
/// `low_dim_gauss_mix-low_dim_gauss_mix`): μ₁ < μ₂ ~ N(0, 2), σₖ ~ N⁺(0, 2), θ ~ Beta(5, 5),
/// yₙ ~ θN(μ₁, σ₁) + (1 − θ)N(μ₂, σ₂) for n = 1…1000.
///
/// x = (μ₁, log(μ₂ − μ₁), log σ₁, log σ₂, logit θ), `[B, 5]`.
pub struct GaussianMixture {
    /// yₙ, `[1, 1000]`.
    y: Tensor<2>,
}

/// One component of [`GaussianMixture`].
struct Component {
    mean: Tensor<2>,
    log_sd: Tensor<2>,
    /// (yₙ − μ)/σ, `[B, 1000]`.
    z: Tensor<2>,
    /// log weight + log density, without the constant −log √2π, `[B, 1000]`.
    log_density: Tensor<2>,
}

/// Terms shared by E and ∇E of [`GaussianMixture`].
struct MixtureTerms {
    components: [Component; 2],
    log_gap: Tensor<2>,
    logit: Tensor<2>,
    /// Log odds that yₙ belongs to the first component, `[B, 1000]`.
    log_odds: Tensor<2>,
}

impl Component {
    fn new(y: Tensor<2>, mean: Tensor<2>, log_sd: Tensor<2>, log_weight: Tensor<2>) -> Self {
        let z = (y - mean.clone()) * (-log_sd.clone()).exp();
        Self {
            log_density: z.clone().powi_scalar(2) * -0.5 + (log_weight - log_sd.clone()),
            mean,
            log_sd,
            z,
        }
    }

    /// −log of the priors of μ and σ, and of σ's Jacobian.
    fn prior_energy(&self) -> Tensor<2> {
        let variance = (self.log_sd.clone() * 2.0).exp();
        (self.mean.clone().powi_scalar(2) + variance) * (0.5 / 4.0) - self.log_sd.clone()
    }

    /// ∂E/∂μ and ∂E/∂log σ; `share` (`[B, 1000]`) is the probability that yₙ belongs to this component.
    fn gradient(&self, share: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let pull = (share.clone() * self.z.clone()).sum_dim(1) * (-self.log_sd.clone()).exp();
        let spread = (share * (self.z.clone().powi_scalar(2) - 1.0)).sum_dim(1);
        let variance = (self.log_sd.clone() * 2.0).exp();
        (
            self.mean.clone() * 0.25 - pull,
            variance * 0.25 - spread - 1.0,
        )
    }
}

impl GaussianMixture {
    const TERMS: usize = 1000;

    /// The data are 1000 values simulated from two well-separated Gaussians.
    pub fn new(device: &Device) -> Self {
        Self {
            y: row(&MIXTURE_Y, device),
        }
    }

    fn terms(&self, x: &Tensor<2>) -> MixtureTerms {
        let mean = coordinate(x, 0);
        let log_gap = coordinate(x, 1);
        let logit = coordinate(x, 4);
        let other = mean.clone() + log_gap.clone().exp();
        let components = [
            (mean, coordinate(x, 2), log_sigmoid(logit.clone())),
            (other, coordinate(x, 3), log_sigmoid(-logit.clone())),
        ]
        .map(|(mean, log_sd, log_weight)| Component::new(self.y.clone(), mean, log_sd, log_weight));
        MixtureTerms {
            log_odds: components[0].log_density.clone() - components[1].log_density.clone(),
            components,
            log_gap,
            logit,
        }
    }
}

impl MixtureTerms {
    fn energy(&self) -> Tensor<2> {
        let [first, second] = &self.components;
        // log(eᵃ + eᵇ) = a − log sigmoid(a − b).
        let likelihood = first.log_density.clone() - log_sigmoid(self.log_odds.clone());
        // Beta(5, 5) and the logit's Jacobian: θ⁵(1 − θ)⁵.
        let weight = log_sigmoid(self.logit.clone()) + log_sigmoid(-self.logit.clone());
        first.prior_energy() + second.prior_energy()
            - likelihood.sum_dim(1)
            - self.log_gap.clone()
            - weight * 5.0
    }
}

impl Energy for GaussianMixture {
    fn space(&self) -> Space {
        space(5)
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        evaluation(self.terms(&x).energy())
    }

    fn point(&self, x: Tensor<2>) -> Point {
        let terms = self.terms(&x);
        let energy = terms.energy();
        let MixtureTerms {
            components: [first, second],
            log_gap,
            logit,
            log_odds,
        } = terms;
        let share = sigmoid(log_odds.clone());
        let theta = sigmoid(logit);
        let of_first = share.clone().sum_dim(1);
        let (by_first, by_log_sd_first) = first.gradient(share);
        let (by_second, by_log_sd_second) = second.gradient(sigmoid(-log_odds));
        let gradient = vec![
            by_first + by_second.clone(),
            by_second * log_gap.exp() - 1.0,
            by_log_sd_first,
            by_log_sd_second,
            theta * (Self::TERMS as f64 + 10.0) - of_first - 5.0,
        ];
        point(x, energy, gradient)
    }
}

impl Posterior for GaussianMixture {
    fn names(&self) -> &'static [&'static str] {
        &["mu[1]", "mu[2]", "sigma[1]", "sigma[2]", "theta"]
    }

    fn constrained(&self, x: Tensor<2>) -> Tensor<2> {
        let mean = coordinate(&x, 0);
        let other = mean.clone() + coordinate(&x, 1).exp();
        let sds = x.clone().narrow(1, 2, 2).exp();
        Tensor::cat(vec![mean, other, sds, sigmoid(coordinate(&x, 4))], 1)
    }
}

// Data, rounded to f32 precision.

/// yₜ of [`Autoregression`].
static AUTOREGRESSION_Y: [f32; Autoregression::LENGTH] = [
    0.72938526, 0.8297636, 0.7839527, 1.0259589, 0.96968246, 1.082886, 0.7063891, 0.7769244,
    0.46180296, 0.63859975, 0.37423444, 0.08549664, -0.1260149, -0.2934151, -0.2617309, -0.3359221,
    -0.5019896, -0.64174, -0.6224629, -0.8508997, -0.8678352, -1.0163853, -1.0558902, -0.9694812,
    -1.0672519, -0.8430989, -0.6827006, -0.4446573, -0.5920387, -0.510569, -0.4178858, -0.1736169,
    -0.1072501, -0.0355026, 0.34321684, 0.38419035, 0.4960877, 0.70845115, 0.59628063, 0.6414424,
    0.65132225, 0.59421533, 0.7779414, 0.73077625, 0.48224726, 0.5320372, 0.4851022, 0.36855212,
    0.3533268, 0.163369, 0.25303894, 0.0006621, -0.0157675, -0.0144909, -0.0252629, -0.0056256,
    -0.3189177, -0.0227792, -0.0716866, -0.1850183, -0.2350076, -0.1243112, -0.1304924, -0.1994778,
    0.07757393, -0.1628522, 0.0234646, -0.0646808, 0.0845325, 0.0550151, 0.14174241, 0.08766382,
    -0.0528467, 0.06952171, -0.10145, -0.0688807, -0.2512073, -0.3902873, -0.1676284, -0.2791636,
    -0.3121254, -0.2865503, -0.4117702, -0.4982098, -0.5028523, -0.7394004, -0.2492281, -0.4710159,
    -0.4645727, -0.4457058, -0.2844237, -0.0227787, -0.0605507, 0.0662256, 0.1405233, 0.2763395,
    0.37722337, 0.6103045, 0.88086945, 0.7885174, 0.8013632, 0.6609678, 0.80976695, 0.8205077,
    0.9807563, 0.7240389, 0.9318587, 0.8504881, 0.48059186, 0.50858116, 0.4161126, 0.31466857,
    -0.0281539, -0.0717017, -0.1439207, -0.5223661, -0.4033621, -0.6886329, -0.6947171, -0.6496557,
    -0.9926993, -0.9354099, -0.8969864, -0.9781524, -1.0668406, -0.9535621, -0.7570774, -0.8425755,
    -0.6977697, -0.3165582, -0.3878217, -0.0671166, -0.0385155, 0.08956468, 0.1454579, 0.18521316,
    0.39561278, 0.6852644, 0.5563108, 0.7108445, 0.7462805, 0.6684519, 0.6936535, 0.73799926,
    0.6627708, 0.690094, 0.68073046, 0.3733192, 0.45367405, 0.31376824, 0.45003343, -0.0337948,
    0.0047341, -0.0856874, 0.10825433, -0.139827, -0.0429735, -0.4541637, -0.3326428, -0.2333534,
    -0.2014613, -0.1826792, -0.2278848, -0.0415384, -0.1210078, -0.0724354, -0.0482026, 0.15801491,
    0.0583927, -0.1117559, -0.0381725, 0.17898196, -0.0148416, 0.05009662, -0.1980592, -0.1400114,
    -0.1746735, -0.1767851, -0.2154144, -0.4144746, -0.3405434, -0.448279, -0.657116, -0.3546433,
    -0.5257081, -0.6564372, -0.5245263, -0.4758656, -0.3631317, -0.3366915, -0.3254437, 0.0006695,
    0.20804223, 0.0023165, 0.11247521, 0.3494037, 0.4717024, 0.59066004, 0.6048634, 0.9331979,
];

/// yₜ of [`Garch`].
static GARCH_Y: [f32; Garch::TERMS] = [
    4.9376698, 4.889917, 5.025461, 4.3556767, 3.8357394, 6.425119, 6.217496, 5.3789444, 6.120271,
    5.114311, 7.624573, -1.8588047, 5.509341, 6.4493256, 5.1634192, 3.4463904, 4.169849, 4.1064706,
    4.361484, 5.9580464, 4.045956, 3.1268747, 3.0014272, 7.256853, 0.61810607, -0.1529171,
    9.152013, 4.292917, 8.479766, 3.471211, -0.78446, 6.364369, 7.3924603, 7.448216, 7.9462957,
    7.4520087, 4.9160686, 7.078374, 2.2755716, 4.333851, 5.335667, 7.7133455, 3.8465557, 6.5227737,
    3.8073106, 5.5854836, 4.017151, 3.9905453, 5.356423, 5.638975, 5.8895307, 6.043089, 7.0166373,
    5.239847, 7.5704827, 7.137179, 5.064742, 3.9293895, 3.4554176, 4.3275447, 8.212246, 5.418233,
    4.784177, 3.9840486, 8.269153, 3.3376052, 2.0656948, 1.5275421, 1.8313308, 3.4272587,
    10.672854, 9.151699, 5.0237737, 9.337007, 6.2413673, 6.0495086, 5.1750646, 3.58392, 2.5954828,
    4.8390737, 3.9602637, 5.827589, 4.2354627, 7.2289367, 2.6012533, 4.690642, 1.9171748, 4.610014,
    5.479542, 5.159967, 6.181938, 4.344409, 4.413458, 6.6869845, 3.348995, 6.8327026, 4.1952443,
    6.7873445, 3.3809638, 6.918633, 3.6888826, 6.262241, 3.447451, 0.5621525, 12.0983925,
    -3.9476306, -3.2151897, 8.919016, 6.992515, 8.611304, 0.79729503, 0.7407605, 6.650439,
    -1.0102533, 6.010054, 1.059683, 6.829272, 4.1636763, 5.1217723, 5.358836, 2.9456964, 3.0978777,
    4.258864, 7.3676195, 2.146986, 7.3753853, 4.827242, 4.512044, 5.730446, 4.4193964, 2.755906,
    4.364469, 7.1601114, 8.298416, 2.8166542, 3.917967, 9.795248, -4.7242885, 5.454868, 6.54469,
    6.597337, 6.2416, 3.039685, 1.2093548, 5.2636843, 8.643786, 7.49106, 6.4736414, 4.5251064,
    6.7226653, 4.934133, 4.1566114, 4.5100765, 6.2950697, 3.1982653, 5.0967503, 3.2661672,
    5.537576, 6.2441926, 7.2051306, 3.0704887, 2.7454786, 0.9819569, 5.289445, 3.863789, 3.2133095,
    5.9141655, 7.2122397, 5.72359, 6.8712587, 2.7826502, 3.9139986, 5.871478, 4.82253, 6.4460635,
    4.901386, 4.7609186, 6.5644727, 2.6157804, 7.2306004, 4.306892, 3.9418201, 8.927245, 3.428338,
    1.16723, 0.8543514, 12.146066, -6.3507524, 7.705593, 4.513655, 4.9229183, 6.4621882,
    0.28569132, 3.6447997, 6.2438316, 7.630315, 8.840318, 6.9152913, 4.1049013, 5.284804,
];

/// yₙ of [`GaussianMixture`].
static MIXTURE_Y: [f32; GaussianMixture::TERMS] = [
    -3.5854297, 3.116252, 3.5542994, 1.5661583, -3.609969, -2.5670083, -2.5506933, 3.460005,
    -3.2740376, 3.2116594, 0.7417022, -2.2028854, -1.3605582, 2.252609, -2.6970935, -3.5592413,
    -3.4150956, -2.4724696, -1.7726016, -4.3478165, -2.0387752, 3.8406985, -1.931398, 2.8487916,
    4.5412927, -3.0368307, -2.7044754, -1.3623389, -3.3805482, 4.3953767, -3.5943089, -1.3166416,
    -2.5594895, 4.4672036, -4.4222903, -2.838457, -1.3177754, -2.8035204, -2.1937158, -3.5140896,
    -4.6588726, 2.7921746, -2.1797254, -2.6024055, -1.3362999, -2.836947, -3.1268775, 3.002454,
    -1.2844083, -3.1100223, -4.033095, 2.1745965, -5.948641, 3.4486196, 3.194897, -3.5418837,
    -3.5688007, -3.2854433, -3.1734269, 3.0155404, -1.9331418, -1.6314583, -2.9665036, -3.793378,
    1.8546554, -1.3658316, 2.0245426, 2.8099177, 3.9797986, -0.749668, -3.2733297, 3.2630517,
    3.5397673, 2.32431, 2.1399088, -2.513285, -1.9138768, -4.469676, 1.802343, 3.8245425,
    -3.0484822, -3.5799296, -3.7280288, -3.2650185, -3.0708542, -3.6369495, -2.740559, -1.9887877,
    -2.962686, -2.044454, 1.7480648, -1.616415, -3.8601644, -2.7376473, 2.3976636, -2.1604104,
    -1.9764307, -0.656406, 2.5659857, -3.6874833, 3.5188875, -3.3122864, -3.8328629, -1.7604153,
    -2.2190096, -4.2764306, -2.6082487, -2.0823438, -5.3681946, -3.058235, -3.8545597, -2.2363257,
    -1.7401198, -3.142355, -2.6316242, 2.1269646, -2.0662384, -2.3845015, -3.1546948, 3.051415,
    -2.2642643, -5.2665777, -1.8114992, 3.1458976, 1.8262407, 3.5469007, -2.0231876, 2.728048,
    -4.0315514, -1.9720433, 2.2080657, -1.7541529, 3.8819175, -1.6246102, -1.4240825, -3.6438887,
    -1.875604, -2.5451872, 3.080969, 2.6295571, -0.993497, -1.6823503, -2.7882092, -3.678101,
    -3.6554854, -0.944196, -2.9658604, -1.9994326, -1.6454401, -2.6535974, 2.3700416, -1.5421308,
    2.6877642, -2.6887398, -2.9713333, 2.2603426, 1.3448561, -4.83697, -1.874698, -5.22978,
    5.0343146, -3.389096, 3.5669856, 4.1836376, 2.6598485, -2.1400845, -4.113001, -2.0498836,
    2.2244046, 1.8183577, -3.2851596, -3.4929256, -1.11186, -2.1196282, 4.886577, -1.6732208,
    -4.1322966, -2.6436481, 1.8072646, -2.869732, -1.9626291, 2.6731126, -0.9697743, -2.7682235,
    2.5737805, 3.055554, 2.9792063, -2.0849037, 3.7313383, -3.948847, 1.9924546, -4.025458,
    -3.641945, 2.1730864, -2.974717, -2.013518, -3.0000734, 3.1166775, -1.1450652, -1.6283696,
    -3.538381, 2.3893983, -1.8866371, 4.247539, -3.7724495, -3.2408552, -6.1296115, -2.203114,
    -2.9842103, 2.7386248, 1.9067271, -4.2467413, -2.06792, 4.0280247, -2.6424146, -3.4386797,
    3.279069, -2.4190507, -4.095438, -2.8831842, -3.8529408, -2.5613184, -2.8662477, -2.6313798,
    1.8169539, 3.6364532, 3.023168, 3.9129229, -2.5354857, -3.8086827, 1.1856067, -2.4692883,
    3.3289847, 1.516577, 2.1104221, -3.0570872, -3.1578505, 2.707922, 4.657362, 2.2360868,
    -3.1396837, -3.001467, -3.3825912, 2.6052394, -3.2570744, 3.0513852, 3.1798341, 1.8787209,
    -3.5656273, -3.9674344, 4.373353, -2.412493, -0.783804, -1.1283892, -3.0665407, 1.9350659,
    -2.7366376, -0.6162484, -3.7606494, -2.3758533, 2.3950844, 2.669847, 4.03931, -2.5215092,
    0.8153441, 2.9217997, 3.41567, -2.6032789, -1.0693928, -3.3024924, -2.8675985, -2.979751,
    -2.7314336, -3.61723, -3.0340123, -2.0895257, -4.031491, -3.9190855, 3.915679, 3.0211563,
    2.566235, 4.363351, 3.8265169, -2.9442887, -3.1612833, -4.537674, -3.2666383, -1.6391025,
    -1.8188976, -3.7660165, -2.9771745, 2.3320842, -2.6080892, 2.577328, 3.7820249, -0.9606778,
    -3.4278686, -1.2100015, -2.0209987, 4.7360244, 3.4946792, 2.913552, -3.8593738, -3.3998344,
    -1.4415942, -3.1656861, -2.8897433, -2.3209782, -4.282439, 4.852058, -1.6297978, 2.2697678,
    3.92423, -3.4763186, 3.2898111, -3.174338, 3.7576106, -3.2870274, 3.5219672, -1.8565758,
    -2.382983, -6.017658, 3.0000155, 2.199487, -2.5456016, -3.0991805, -3.396555, 2.8921907,
    -2.836531, -1.7438678, -4.210019, -2.7146323, 3.0214589, 2.1445813, -4.091108, 4.0401883,
    -3.3063204, 2.556754, -1.9269876, -2.7694309, 3.9696097, -2.7088041, -2.9952075, 3.2845428,
    -2.1659565, 0.6108983, -3.245199, -2.1115072, 1.1312759, -2.1254117, -2.0680835, -4.9369183,
    3.9271257, 3.1734202, 3.350195, -4.069709, 0.78812015, -2.2662868, -2.4633248, -2.5781684,
    -1.3872837, -3.4472682, -3.066518, -1.5570927, -2.552597, -2.023995, -3.3706245, -3.4559176,
    -3.420756, 5.0569563, -2.0275662, -4.262424, -2.4481528, 2.4259646, -3.9032915, -3.1885912,
    -1.339652, 3.115383, -2.0740504, 1.4643617, -3.110003, 3.810147, -3.1769307, -4.5243487,
    1.9341924, -3.132902, 6.0171924, -2.301794, -1.1653346, -3.2336216, 1.4489429, -4.422645,
    -2.8663526, -4.1397586, -1.519859, 1.5124155, -4.050818, -3.1006923, 1.8929157, -2.4568553,
    -2.850257, 2.8632479, 4.872293, 4.107347, -0.97968, -1.4538641, -1.9916866, -2.4015715,
    -2.9697661, -2.992376, -1.993591, -2.7857063, 2.672925, -1.9381458, -2.574707, 2.8304377,
    2.9693787, -3.4565263, -0.304162, 3.7540627, -3.1046588, -2.1759722, 2.1192863, 3.0977225,
    -2.5825617, -3.8741875, -3.4375644, 1.4134623, 3.877525, 4.2738667, 2.7704384, -2.4138284,
    2.821866, -2.1476383, 2.2781377, -0.497692, -1.935885, -3.8068588, -1.2412033, -2.9890907,
    -4.231573, -4.1606116, 1.7727538, 2.5164688, 1.6768892, -3.7633758, 1.3763196, -4.60459,
    2.1100461, -0.248543, 3.0592916, 2.590388, -2.8072362, -3.9839156, -3.2836232, 3.138826,
    -2.0106769, -3.8354287, 1.9975487, 3.3650696, -1.2079904, -4.2134366, 2.1688251, -2.9840732,
    2.0035186, -1.7767638, -1.9348024, -2.757521, -3.8560677, 1.4382585, 2.6715095, -1.8830881,
    -1.492308, -3.4106975, 4.489343, -4.1080227, 3.0510452, -2.9499738, 2.4352634, -3.3310063,
    -2.0939426, -1.7646015, 3.3529775, -1.3711383, -3.1949584, 4.564119, -2.6272914, -3.8721294,
    -2.8623807, 1.3568048, -2.2516835, -2.3512595, 3.4230928, 3.6834722, 2.9986167, 4.015772,
    -2.235595, -3.0162973, -3.3775387, -0.988648, 3.4934278, -1.0676295, 3.8611743, -2.7145479,
    -4.5743384, -3.718054, -2.1352274, -3.5809853, -2.8491259, -2.5206594, 2.1155493, -4.1075172,
    -2.7790835, 3.4653652, 2.2319376, -2.0190282, -3.678401, 1.6402591, -2.8528807, 4.0000696,
    2.9383721, -3.0586562, -3.9155076, -2.7286046, 2.9144351, -3.9093204, -2.4236743, 1.7289871,
    -2.7389305, -2.242692, -4.809699, 2.6384764, 3.2336109, 1.7050992, -0.307239, 3.6309013,
    1.9636456, -2.2268863, -4.022996, 4.5164366, -3.2943308, -1.8056103, -2.5619497, 1.351659,
    3.5051143, -4.301216, 2.4617548, 1.6690683, 4.822637, 1.9851279, -1.2977923, -1.9257704,
    -1.4056832, -3.7133873, -3.2669396, -3.7965, 2.5340743, -3.507809, -1.3600465, -2.0653758,
    3.9857473, 2.3364286, -2.657105, -3.1838462, -3.399315, 2.2722218, -1.3513892, -2.9123485,
    -1.2371006, -2.3432567, -2.1390688, 2.036231, 0.25849548, -1.4009835, -1.9090564, -3.527999,
    3.5601776, 3.0224059, -2.4423673, 3.6285834, -2.1853435, -3.9517605, -4.465151, -2.4507089,
    4.41576, 4.0782104, -2.707609, 2.8048155, -2.4385245, -2.8435786, -2.3906054, 3.3085973,
    -3.5739074, -1.1560297, 3.0793796, -2.7726784, -2.9807136, -2.5549755, 1.505303, 2.2354512,
    4.772407, 2.0530205, -1.8503059, -3.266442, 0.6103854, -2.8608658, 4.550575, -2.7439904,
    -1.7073543, -2.4799285, 3.3654609, 0.01542521, 3.5284693, 4.6591477, -2.9887605, -3.4042025,
    2.2364373, -3.5821593, 3.6345727, 3.5967197, 2.453278, -4.236545, 2.4777198, 2.6531456,
    -1.9859664, -4.327447, -4.011124, 2.6008446, -3.3944647, -1.8734491, -3.979313, -3.1828654,
    -1.7399318, 2.5703456, 0.69436204, 3.7355254, 0.71417445, -3.1915543, 1.9634657, -2.041398,
    -3.4839644, -2.444708, -2.2163444, -1.1794256, 2.5781202, -4.290384, 3.5527253, -3.1825664,
    2.7557905, -3.0877502, 3.1888976, 1.5548855, 3.4787123, -4.5162816, 2.801516, 2.6242769,
    -2.6705585, -3.6643238, -4.7248883, 2.1879435, 4.016472, -2.271776, -3.250069, -2.3943326,
    2.2515595, -1.2709835, 2.1368484, 4.2640886, 1.712918, 3.8934832, 1.1791121, -1.4383975,
    2.7748246, -1.7727617, 2.1912038, 3.6534166, 3.352701, 5.0758834, 3.7184277, -1.6184777,
    -1.4191537, 3.0071049, -2.2025013, 1.2744529, 4.0577803, -1.2056196, -1.3276161, -2.4183125,
    0.5986047, 2.260914, -2.7618713, -4.699907, -2.6297698, -1.7147624, 1.4696748, 2.8935175,
    -1.3446475, 2.0385423, 3.9401698, -1.3224754, 3.3671546, 2.7269495, -4.786693, -2.5210025,
    -1.7255492, -3.572684, 1.9087508, -1.9814161, 4.677558, -1.1580288, -4.2211227, 2.3809557,
    -2.0398283, -1.0101002, 1.040826, 3.3677776, -2.8771563, -1.781942, -1.8753945, 4.3283925,
    -1.17699, -1.9332916, -2.3559186, 0.73954856, -3.1674645, -2.9783735, 2.9156694, -1.7638541,
    -2.0222447, -1.9400268, 2.9521568, 1.7194254, 3.4415803, -2.9396744, 2.510816, -1.642158,
    -2.8458319, -3.9402678, 2.0340436, -2.995059, -2.0164814, 3.4907005, 3.5798614, 2.9013996,
    3.284417, 2.822351, -1.6922618, -2.5609589, -1.8166423, -2.09269, -2.4376373, -4.5774274,
    -2.7850938, -4.7647686, 2.1118107, 2.4167895, -3.6240914, 3.134875, -3.7872179, 3.088773,
    -3.9646516, 3.3608747, -2.0903018, -2.8604112, -1.7940509, -2.6925976, 2.6860356, 3.4720302,
    4.9998293, -1.7715633, -2.299032, -4.0578012, 3.5909133, 3.5894876, -3.4346774, -1.5333242,
    -3.5636406, -3.1143475, -1.2612535, -3.8253143, -3.2254822, -1.8899968, 2.26088, 3.1242938,
    -1.6975325, 1.9340572, 2.8303962, 2.640744, -2.6818628, -2.7193933, -3.0047123, 1.9967277,
    -4.2407923, 2.084467, -2.812005, -4.26229, 2.4065793, -2.7677515, 3.5732222, -2.220447,
    -3.24565, -2.9954517, -2.719983, 3.0520597, 2.1982546, -2.80391, -2.6448047, 4.4280305,
    -3.2611938, -1.7209927, 2.8121402, -3.911384, -3.6998587, -2.1698236, 4.6961713, 1.0963233,
    2.3245482, 4.974068, -1.4938347, -3.125976, -1.5469177, 1.0060683, -3.3989234, 3.2527394,
    -1.4759631, -4.0829625, -3.2202938, -3.3495626, -3.6772995, 4.086182, -3.3865476, -2.1873417,
    -2.1256995, -4.177166, 0.24406727, -1.2404959, -1.2205995, 3.7465668, -2.3735461, 1.6230687,
    -1.3619181, -0.832877, -1.5468061, 2.715481, -2.4404626, 3.916224, -3.679244, -3.68254,
    -2.7585835, -3.0120924, 3.0842624, -3.327837, 2.3884337, -2.4412382, 2.8681123, -4.006853,
    6.1627307, 2.3406634, 1.956325, -2.1161485, -1.8831005, -1.614581, -1.5595055, -2.3141026,
    -0.5007546, 0.2533571, -2.9460433, -2.1844459, -3.5593567, -2.668813, -1.9959501, 4.09097,
    3.397322, 0.16470897, 2.172895, -0.8451287, 1.722128, 2.7503262, -1.8466829, -2.1325884,
    2.3949175, -2.594988, -1.0935861, -5.23644, -2.8414142, -3.1464496, -2.9712083, -4.7410784,
    -1.1080284, 2.8120363, -2.6124465, -3.1717827, 2.898403, -2.1521292, -3.7978282, 3.011571,
    3.39639, 2.791592, -3.7307122, -3.3759785, -2.1351128, -1.800765, -3.2524714, -3.663036,
    4.668085, -2.8081644, -4.1020927, -2.277125, 1.6051958, -3.418681, -4.310032, -3.6877089,
    3.5083935, -2.5587566, 1.9114367, 2.7053232, 1.4947865, -2.219824, 3.8822296, 3.6663816,
    -3.4697642, 3.0104043, 2.5568755, -1.7645965, -2.223689, 4.1459904, -4.68312, -2.2142158,
    3.1453207, 3.2112648, -2.8371012, 3.5178516, -2.8391244, -4.085758, 1.4765702, -3.391402,
    2.989528, -2.7324276, 2.8313763, 2.9416091, 2.682599, -5.2958245, -2.9683201, 3.9592588,
    -3.2677429, -3.9407377, 2.3004596, 4.0950837, 2.4548907, 3.2466428, 5.6794615, 3.1836905,
    2.603474, -2.6746454, -3.8403442, -0.535242, 2.6627994, -2.513578, 3.245123, -4.2834234,
    2.9063447, -5.0760694, -1.3248065, 3.3018517, -3.6875465, 1.9850626, -1.7652209, -1.9831111,
    -1.0417274, -1.5823203, 1.4955845, -1.1749669, 3.4317622, -2.5176895, 1.8132336, -2.353952,
    -4.2136474, -2.9748342, -2.997647, -3.0079708, -3.740033, 2.1690955, -3.2164197, 4.308259,
    -2.1670413, 3.2910497, -2.5373292, -1.8725971, 3.7541945, -2.1782908, -0.637318, -1.1886625,
    1.5118432, 2.3453965, 1.0084428, -1.6306611, -4.3523393, 3.409361, 2.7500231, 0.7608436,
];
