//! CLEL's objectives against PyTorch, and the identity that makes it work.

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use common::{assert_close, devices, host};
use mixwell::system::clel::objective::{
    Weights, contrastive_loss, cosine, energy_loss, marginal_energy, normalised,
};
use serde_json::Value;

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/clel_objective.json")).unwrap()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// The same inputs as the script makes.
fn wave(n: usize, d: usize, a: f64, b: f64, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..n * d).map(|i| (i as f64 * a + b).sin() as f32).collect();
    Tensor::from_data(TensorData::new(values, [n, d]), device)
}

#[test]
fn the_contrastive_loss_is_pytorchs_cross_entropy() {
    let f = fixture();
    let [n, m, d] = ["n", "m", "d"].map(|k| f[k].as_u64().unwrap() as usize);
    for (_, device) in devices() {
        for (name, extra) in [("with", true), ("without", false)] {
            let first = wave(n, d, 1.7, 0.3, &device).autodiff().require_grad();
            let second = wave(n, d, 1.7, 0.5, &device) + wave(n, d, 2.9, 0.1, &device) * 0.3;
            let second = second.autodiff().require_grad();
            let negatives = extra.then(|| wave(m, d, 0.9, 0.2, &device));
            let tau = f["temperature"].as_f64().unwrap();
            let (loss, accuracy) =
                contrastive_loss(first.clone(), second.clone(), negatives, tau);
            let want = &f[name];
            assert_close(&host(loss.clone().inner()), &[want["loss"].as_f64().unwrap()], 1e-5);
            let nearest = want["accuracy"].as_f64().unwrap();
            assert_close(&host(accuracy.inner()), &[nearest], 1e-6);
            let mut grads = loss.backward();
            let first = first.grad_remove(&mut grads).unwrap();
            let second = second.grad_remove(&mut grads).unwrap();
            assert_close(&host(first), &numbers(&want["first"]), 1e-5);
            assert_close(&host(second), &numbers(&want["second"]), 1e-5);
        }
    }
}

#[test]
fn the_energy_loss_is_pytorchs() {
    let f = fixture();
    let want = &f["energy"];
    let [n, d] = ["n", "d"].map(|k| f[k].as_u64().unwrap() as usize);
    let number = |k: &str| want[k].as_f64().unwrap();
    for (_, device) in devices() {
        let tracked = |t: Tensor<2>| t.autodiff().require_grad();
        let data = tracked(wave(n, d, 1.1, 0.7, &device) * 0.5);
        let samples = tracked(wave(n, d, 1.3, 0.9, &device) * 0.4);
        let g = tracked(wave(n, d, 2.1, 0.4, &device));
        let z = wave(n, d, 0.7, 0.6, &device);
        let weights = Weights {
            alpha: number("alpha"),
            beta: number("beta"),
        };
        let loss = energy_loss(data.clone(), samples.clone(), Some((g.clone(), z)), weights);
        for (found, name) in [
            (loss.total.clone(), "total"),
            (loss.data, "data"),
            (loss.samples, "samples"),
            (loss.guidance, "cosine"),
        ] {
            assert_close(&host(found.inner()), &[number(name)], 1e-5);
        }
        let mut grads = loss.total.backward();
        for (i, t) in [data, samples, g].into_iter().enumerate() {
            let found = host(t.grad_remove(&mut grads).unwrap());
            assert_close(&found, &numbers(&want["gradients"][i]), 1e-5);
        }
        // β = 0 is the unguided arm: g learns nothing.
        let data = tracked(wave(n, d, 1.1, 0.7, &device));
        let alone = energy_loss(data.clone(), data.clone(), None, weights);
        assert_eq!(host(alone.guidance.inner()), [0.0]);
    }
}

/// On the circle (d = 2): ∫ exp(−E(x, z)) dz, by the midpoint rule, is exp(−½‖f‖²)·2π I₀(β) whatever
/// the direction of g. This is why no z-chain is ever run.
#[test]
fn the_marginal_does_not_depend_on_the_direction() {
    let device = Device::flex();
    let n = 720;
    let angle = |i: usize| std::f64::consts::TAU * (i as f64 + 0.5) / f64::from(n);
    let circle: Vec<f32> = (0..n as usize)
        .flat_map(|i| [angle(i).cos() as f32, angle(i).sin() as f32])
        .collect();
    let z = Tensor::<2>::from_data(TensorData::new(circle, [n as usize, 2]), &device);
    let f = Tensor::<2>::from_floats([[0.8, -0.3]], &device);
    let marginal = host(marginal_energy(f))[0];
    for beta in [0.01, 1.0, 5.0] {
        // I₀ by its series.
        let bessel: f64 = (0..40)
            .scan(1.0, |term, k| {
                let now = *term;
                *term *= (beta / 2.0) * (beta / 2.0) / f64::from((k + 1) * (k + 1));
                Some(now)
            })
            .sum();
        for g in [[1.0, 0.0], [0.2, -3.0], [-0.7, 0.7], [-1e-3, 2e-3]] {
            let g = Tensor::<2>::from_floats([g], &device).expand([n as usize, 2]);
            let joint = host(cosine(g, z.clone()));
            let integral: f64 = joint
                .iter()
                .map(|c| (beta * c - marginal).exp() * std::f64::consts::TAU / f64::from(n))
                .sum();
            let expected = (-marginal).exp() * std::f64::consts::TAU * bessel;
            assert!(
                (integral / expected - 1.0).abs() < 1e-5,
                "β {beta}: {integral} for {expected}"
            );
        }
    }
}

#[test]
fn normalised_rows_have_unit_length_and_zero_stays_finite() {
    let device = Device::flex();
    let x = Tensor::<2>::from_floats([[3.0, 4.0], [0.0, 0.0]], &device);
    assert_close(&host(normalised(x)), &[0.6, 0.8, 0.0, 0.0], 1e-6);
}
