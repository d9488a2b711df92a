//! Every registered density against its f64 implementation and finite differences.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use burn::tensor::{Device, Tensor, TensorData};
use mixwell::{
    Error,
    energy::{Density, Drawing, Grid, REGISTRY},
    rng::Rng,
};

use crate::common::{devices, host};

fn states(values: Vec<f32>, dim: usize, device: &Device) -> Tensor<2> {
    let n = values.len() / dim;
    Tensor::from_data(TensorData::new(values, [n, dim]), device)
}

/// All targets available without training one.
fn all(device: &Device) -> Vec<(String, std::sync::Arc<dyn Density>)> {
    let mut all: Vec<_> = REGISTRY
        .iter()
        .map(|r| (r.name.to_owned(), (r.build)(device)))
        .collect();
    let mut ink = vec![0; Drawing::SIDE * Drawing::SIDE];
    for k in 0..20 {
        ink[Drawing::SIDE * (3 + k) + 5 + k / 2] = 60 + 9 * k as u8;
    }
    let drawn = Drawing::density(&ink, device).unwrap();
    all.push(("drawn".into(), std::sync::Arc::new(drawn)));
    all
}

#[test]
fn gradients_are_finite_differences() {
    for (device_name, device) in devices() {
        for (name, target) in all(&device) {
            let dim = target.space().dim;
            // At typical points: exact draws in the plane, over-dispersed starts for the rest.
            let values = target.lift(&target.draws(&Rng::new(4), 0, 40));
            let x = states(values, dim, &device);
            let v = Rng::new(6).normal_tensor(mixwell::rng::Purpose::Start, 2, 40, dim, &device);
            let gradient = host((target.point(x.clone()).gradient * v.clone()).sum_dim(1));
            let h = 1e-3;
            let e = |s: f64| host(target.evaluate(x.clone() + v.clone() * s).energy);
            let (plus, minus) = (e(h), e(-h));
            for (i, g) in gradient.iter().enumerate() {
                let n = (plus[i] - minus[i]) / (2.0 * h);
                // The tolerance covers f32 energies of order 10 differenced over 2h,
                // 10⁻⁶·10/2·10⁻³ = 5·10⁻³, and the curvature of the narrowest targets.
                assert!(
                    (g - n).abs() < 0.02 * n.abs().max(1.0),
                    "{name} on {device_name}, point {i}: {g} against {n}"
                );
            }
        }
    }
}

#[test]
fn hand_written_gradients_match_autodiff() {
    let device = Device::flex();
    for (name, target) in all(&device) {
        let dim = target.space().dim;
        let values = target.lift(&target.draws(&Rng::new(5), 0, 40));
        let x = states(values, dim, &device);
        let by_hand = host(target.point(x.clone()).gradient);
        let leaf = x.autodiff().require_grad();
        let mut grads = target.evaluate(leaf.clone()).energy.sum().backward();
        let derived = host(leaf.grad_remove(&mut grads).unwrap());
        for (a, b) in by_hand.iter().zip(&derived) {
            assert!((a - b).abs() < 1e-3 * b.abs().max(1.0), "{name}: {a}, {b}");
        }
    }
}

/// In the plane, E and the f64 density implement one distribution: they agree up to a constant.
#[test]
fn energies_are_negative_log_densities() {
    for (device_name, device) in devices() {
        for (name, target) in all(&device) {
            if target.space().dim != 2 {
                continue;
            }
            let draws = target.draws(&Rng::new(4), 1, 200);
            let x = states(draws.concat(), 2, &device);
            let energies = host(target.evaluate(x).energy);
            let sums: Vec<f64> = draws
                .iter()
                .zip(&energies)
                .map(|(p, e)| e + target.log_plane(f64::from(p[0]), f64::from(p[1])))
                .collect();
            let mean = sums.iter().sum::<f64>() / sums.len() as f64;
            for s in &sums {
                assert!(
                    (s - mean).abs() < 2e-4,
                    "{name} on {device_name}: {s}, {mean}"
                );
            }
        }
    }
}

/// A state's observables are the coordinates that the density names.
#[test]
fn observables_are_the_coordinates() {
    let device = Device::flex();
    for (name, target) in all(&device) {
        let dim = target.space().dim;
        let values = target.lift(&[[0.5, -0.25]]);
        let x = states(values.clone(), dim, &device);
        let seen = host(target.point(x).observed.unwrap());
        assert_eq!(target.observables(), target.coordinates(), "{name}");
        assert_eq!(seen.len(), target.coordinates().len(), "{name}");
        assert_eq!(&seen[..2], &[0.5, -0.25], "{name}");
        let start = target.dispersed(&Rng::new(1), 7, 1.0);
        assert_eq!(target.lift(&start).len(), 7 * dim, "{name}");
        assert_eq!(target.mode().len(), dim, "{name}");
    }
}

/// Marginals integrate to 1, and their moments are those of the exact draws.
#[test]
fn marginals_and_exact_draws_agree() {
    let device = Device::flex();
    for (name, target) in all(&device) {
        let n = 20_000;
        let draws = target.draws(&Rng::new(8), 0, n);
        for (axis, m) in target.marginals().iter().enumerate() {
            assert_eq!(m.name, target.coordinates()[axis]);
            let step = m.grid[1] - m.grid[0];
            let mass: f64 = m.density.iter().sum::<f64>() * step;
            // The funnel's mouth reaches beyond its picture; all others lie inside.
            let most = if name == "funnel" { 0.06 } else { 1e-6 };
            assert!((mass - 1.0).abs() < most, "{name} {}: {mass}", m.name);
            if name == "funnel" && axis == 1 {
                continue; // x has no fourth moment to speak of
            }
            let values: Vec<f64> = draws.iter().map(|d| f64::from(d[axis])).collect();
            let mean = values.iter().sum::<f64>() / n as f64;
            let var = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
            let fourth = values.iter().map(|v| (v - mean).powi(4)).sum::<f64>() / n as f64;
            let se = ((fourth - var * var) / n as f64).sqrt();
            assert!(
                (mean - m.mean).abs() < 4.5 * (var / n as f64).sqrt(),
                "{name} {}: mean {mean} for {}",
                m.name,
                m.mean
            );
            assert!(
                (var - m.sd * m.sd).abs() < 4.5 * se + 1e-3 * var,
                "{name} {}: variance {var} for {}",
                m.name,
                m.sd * m.sd
            );
        }
    }
}

#[test]
fn every_sampler_with_a_step_size_has_a_recommended_one() {
    for target in REGISTRY {
        for sampler in mixwell::sampler::REGISTRY {
            let wants = sampler.uses(&mixwell::sampler::settings::STEP_SIZE);
            assert_eq!(
                target.step_size(sampler.name).is_some(),
                wants,
                "{} on {}",
                sampler.name,
                target.name
            );
        }
    }
}

#[test]
fn kl_on_a_grid_matches_the_closed_form_for_gaussians() {
    let bounds = [-9.0, 9.0, -9.0, 9.0];
    let normal = |m: f64, s: f64| {
        Grid::over(bounds, 300, move |x, y| {
            -0.5 * (((x - m) / s).powi(2) + ((y + m) / s).powi(2))
        })
    };
    let (p, q) = (normal(0.5, 1.0), normal(0.0, 1.5));
    // Per axis: ln(1.5) + (1 + 0.25)/(2·2.25) − ½.
    let exact = 2.0 * (1.5f64.ln() + 1.25 / 4.5 - 0.5);
    assert!((p.kl(&q) - exact).abs() < 1e-6, "{} for {exact}", p.kl(&q));
    assert_eq!(p.kl(&p), 0.0);
}

#[test]
fn invalid_drawings_are_refused() {
    let device = Device::flex();
    for ink in [vec![], vec![0; 32 * 32], vec![1; 32 * 31]] {
        match Drawing::density(&ink, &device) {
            Err(Error::Invalid { what, .. }) => assert_eq!(what, "drawing"),
            _ => panic!("accepted {} cells", ink.len()),
        }
    }
}
