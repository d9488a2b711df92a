//! Every registered sampler on targets with known distributions, on every device.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use mixwell::{
    Error,
    energy::{Energy, Evaluation, Gaussian, Mixture, Space, find},
    rng::{Purpose, Rng},
    sampler::{REGISTRY, Run, SamplerConfig},
};
use pollster::block_on;

use crate::common::{assert_close, devices, host, two_devices};

fn config(sampler: &str, step_size: f64) -> SamplerConfig {
    let settings = SamplerConfig {
        step_size: Some(step_size),
        warmup: 0,
        ..SamplerConfig::new(sampler)
            .with("max_tree_depth", 4)
            .with("rungs", 3)
            .with("hottest", 4.0)
    };
    match sampler {
        // SGLD at the noise that makes it ULA; its usual noise has a separate test.
        "sgld" => settings.with("noise", step_size),
        _ => settings,
    }
}

/// a of the samplers without an acceptance test, whose bias is known.
fn drift(sampler: &str, step: f64) -> f64 {
    if ["ula", "sgld"].contains(&sampler) {
        step * step / 2.0
    } else {
        0.0
    }
}

fn start(chains: usize, dim: usize, device: &Device) -> Tensor<2> {
    Rng::new(11).normal_tensor(Purpose::Start, 0, chains, dim, device) * 2.0
}

/// Final states of many independent chains: [chain][coordinate].
fn ends(
    target: Arc<dyn Energy>,
    config: &SamplerConfig,
    chains: usize,
    steps: usize,
    device: &Device,
) -> Vec<Vec<f64>> {
    ends_with_scale(target, config, None, chains, steps, device)
}

/// The same with length scales as a warm-up learns them.
fn ends_with_scale(
    target: Arc<dyn Energy>,
    config: &SamplerConfig,
    scale: Option<&[f32]>,
    chains: usize,
    steps: usize,
    device: &Device,
) -> Vec<Vec<f64>> {
    let dim = target.space().dim;
    let mut run = Run::new(target, config, Rng::new(5), start(chains, dim, device)).unwrap();
    if let Some(scale) = scale {
        let mut saved = block_on(run.save()).unwrap();
        saved.scale = Some(scale.to_vec());
        run.restore(saved).unwrap();
    }
    block_on(run.advance(steps)).unwrap();
    host(run.states())
        .chunks(dim)
        .map(<[f64]>::to_vec)
        .collect()
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// Kolmogorov–Smirnov distance of independent values to a distribution function.
fn ks(mut values: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    values
        .iter()
        .enumerate()
        .map(|(i, &v)| {
            let c = cdf(v);
            (c - i as f64 / n).abs().max(((i + 1) as f64 / n - c).abs())
        })
        .fold(0.0, f64::max)
}

const CHAINS: usize = 600;
/// The KS distance that 600 independent draws exceed with probability 10⁻⁴: 2.225/√600. Seeds are fixed.
const KS_LIMIT: f64 = 0.0908;

/// (sampler, step size, transitions) that forget the start. HMC: 5 leapfrog steps of 0.3 multiply the
/// narrow coordinate by cos(1.5/0.6) = −0.8 per transition; steps of 0.4 would nearly flip it (−0.98).
const RUNS: [(&str, f64, usize); 9] = [
    ("rwm", 1.2, 400),
    ("ula", 0.3, 300),
    ("sgld", 0.3, 300),
    ("mala", 0.7, 150),
    ("hmc", 0.3, 40),
    ("nuts", 0.5, 15),
    ("underdamped", 0.3, 250),
    ("tempering", 0.7, 150),
    ("gibbs", 1.0, 2),
];

#[test]
fn every_registered_sampler_is_tested() {
    let here: Vec<_> = RUNS.iter().map(|r| r.0).collect();
    let registered: Vec<_> = REGISTRY.iter().map(|r| r.name).collect();
    assert_eq!(here, registered, "a new sampler wants a line in RUNS");
}

/// At a temperature other than 1 and with learned length scales, on every device: a sampler that ignores
/// either in any part of a transition has another stationary distribution. `mixture_ks` has T = 1.
#[test]
fn gaussian_moments_and_ks() {
    const T: f64 = 1.7;
    let scale = [1.4, 0.8];
    for (name, device) in devices() {
        for (sampler, step, steps) in RUNS {
            // Gibbs samples at T = 1 only.
            let temperature = if sampler == "gibbs" { 1.0 } else { T };
            let (mean, sd) = ([1.0, -2.0], [1.0, 0.6]);
            let target = Arc::new(Gaussian::new(
                &mean.map(|v| v as f32),
                &sd.map(|v| v as f32),
                &device,
            ));
            let settings = config(sampler, step).with_temperature_factor(temperature);
            let x = ends_with_scale(
                target,
                &settings,
                Some(&scale.map(|v| v as f32)),
                CHAINS,
                steps,
                &device,
            );
            for i in 0..2 {
                let values: Vec<f64> = x.iter().map(|row| row[i]).collect();
                // ULA's stationary distribution has variance T s²/(1 − a/(2s²)), a = ε²/2 times the
                // squared length scale.
                let a = drift(sampler, step) * scale[i] * scale[i];
                let sd = sd[i] * temperature.sqrt() / (1.0 - a / (2.0 * sd[i] * sd[i])).sqrt();
                let n = CHAINS as f64;
                let m = values.iter().sum::<f64>() / n;
                let v = values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (n - 1.0);
                let what = format!("{sampler} on {name}, coordinate {i}");
                assert!(
                    (m - mean[i]).abs() < 4.0 * sd / n.sqrt(),
                    "{what}: mean {m}"
                );
                assert!(
                    (v / (sd * sd) - 1.0).abs() < 4.0 * (2.0 / n).sqrt(),
                    "{what}: variance {v}"
                );
                let d = ks(values, |x| normal_cdf((x - mean[i]) / sd));
                assert!(d < KS_LIMIT, "{what}: KS {d}");
            }
        }
    }
}

#[test]
fn mixture_ks() {
    for (name, device) in devices() {
        for (sampler, step, steps) in [
            ("rwm", 1.5, 500),
            ("ula", 0.25, 500),
            ("sgld", 0.25, 500),
            ("mala", 0.9, 250),
            ("hmc", 0.45, 60),
            ("nuts", 0.6, 25),
            ("underdamped", 0.4, 300),
            ("tempering", 0.9, 150),
            ("gibbs", 1.0, 2),
        ] {
            let target = Arc::new(Mixture::new(&[[-1.2], [1.2]], 0.8, &device));
            let x = ends(target, &config(sampler, step), CHAINS, steps, &device);
            let cdf = |x: f64| 0.5 * (normal_cdf((x + 1.2) / 0.8) + normal_cdf((x - 1.2) / 0.8));
            let d = ks(x.into_iter().map(|row| row[0]).collect(), cdf);
            assert!(d < KS_LIMIT, "{sampler} on {name}: KS {d}");
        }
    }
}

#[test]
fn warm_up_reaches_the_target_acceptance_and_adaptation_stops() {
    let device = Device::flex();
    for (sampler, accept) in [
        ("rwm", 0.234),
        ("mala", 0.574),
        ("hmc", 0.65),
        ("nuts", 0.8),
        ("underdamped", 0.9),
        ("tempering", 0.574),
    ] {
        let settings = SamplerConfig {
            warmup: 200,
            groups: 2,
            ..config(sampler, 0.01)
        };
        let target = Arc::new(Gaussian::new(&[0.0; 20], &[1.0; 20], &device));
        let mut run = Run::new(target, &settings, Rng::new(1), start(32, 20, &device)).unwrap();
        let warm = block_on(run.advance(200)).unwrap();
        assert!(warm.iter().all(|d| d.warmup) && !run.warming_up());
        let frozen = run.step_sizes().to_vec();
        assert_ne!(frozen[0], frozen[1], "each group adapts its own");
        let draws = block_on(run.advance(100)).unwrap();
        assert_eq!(run.step_sizes(), frozen);
        let all: Vec<f32> = draws.iter().flat_map(|d| d.accept.clone()).collect();
        let mean = all.iter().sum::<f32>() as f64 / all.len() as f64;
        assert!(
            (mean - accept).abs() < 0.06,
            "{sampler}: {mean} for {accept}"
        );
    }
}

#[test]
fn step_sizes_are_fixed_without_adaptation() {
    let device = Device::flex();
    for (sampler, no_adapt) in [("ula", false), ("mala", true), ("hmc", true)] {
        let settings = SamplerConfig {
            warmup: 20,
            no_adapt,
            target_accept: Some(0.574),
            ..config(sampler, 0.3)
        };
        let target = Arc::new(Gaussian::new(&[0.0; 4], &[1.0; 4], &device));
        let mut run = Run::new(target, &settings, Rng::new(1), start(8, 4, &device)).unwrap();
        block_on(run.advance(25)).unwrap();
        assert_eq!(run.step_sizes(), [0.3], "{sampler}");
    }
}

#[test]
fn a_run_replays_from_its_seed_and_resumes_from_a_save() {
    for (_, device) in devices() {
        for (sampler, step, _) in RUNS {
            let settings = SamplerConfig {
                warmup: 5,
                ..config(sampler, step)
            };
            let run = |seed| {
                let target = Arc::new(Mixture::new(&[[0.0, 1.0], [2.0, -1.0]], 0.7, &device));
                Run::new(target, &settings, Rng::new(seed), start(4, 2, &device)).unwrap()
            };
            let energies = |run: &mut Run, n| -> Vec<Vec<f32>> {
                block_on(run.advance(n))
                    .unwrap()
                    .into_iter()
                    .map(|d| d.energy)
                    .collect()
            };
            let whole = energies(&mut run(1), 12);
            assert_eq!(whole, energies(&mut run(1), 12));
            assert_ne!(whole, energies(&mut run(2), 12));
            let mut first = run(1);
            energies(&mut first, 3);
            let saved = block_on(first.save()).unwrap();
            let mut second = run(1);
            second.restore(saved).unwrap();
            assert_eq!(energies(&mut second, 9), whole[3..], "{sampler}");
        }
    }
}

#[test]
fn chains_agree_between_devices() {
    let all = two_devices();
    for (sampler, step, _) in RUNS {
        let run = |device: &Device| {
            let target = Arc::new(Mixture::new(&[[0.0, 1.0], [2.0, -1.0]], 0.7, device));
            ends(target, &config(sampler, step), 8, 5, device).concat()
        };
        let cpu = run(&all[0].1);
        for (_, device) in &all[1..] {
            assert_close(&run(device), &cpu, 1e-4);
        }
    }
}

/// E = x²/2 for x > 0, NaN elsewhere.
struct HalfLine;

impl Energy for HalfLine {
    fn space(&self) -> Space {
        Space {
            name: "plane",
            dim: 1,
            image: None,
        }
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        let [batch, _] = x.dims();
        let outside = x.clone().sqrt() * 0.0;
        Evaluation {
            energy: (x.powi_scalar(2) * 0.5 + outside).reshape([batch]),
            observed: None,
        }
    }
}

#[test]
fn proposals_with_undefined_energy_are_never_accepted() {
    for (name, device) in devices() {
        for sampler in ["mala", "hmc"] {
            let x = start(64, 1, &device).abs() + 0.01;
            let mut run =
                Run::new(Arc::new(HalfLine), &config(sampler, 0.8), Rng::new(3), x).unwrap();
            let draws = block_on(run.advance(50)).unwrap();
            let x = host(run.states());
            assert!(x.iter().all(|&v| v > 0.0), "{sampler} on {name}");
            assert!(
                host(run.point().gradient.clone())
                    .iter()
                    .all(|v| v.is_finite())
            );
            let refused = draws
                .iter()
                .flat_map(|d| &d.accept)
                .filter(|&&a| a == 0.0)
                .count();
            assert!(refused > 0, "the boundary was never tried");
        }
    }
}

#[test]
fn invalid_settings_are_named() {
    let device = Device::flex();
    let bad = |change: fn(&mut SamplerConfig), name: &str| {
        let mut settings = config("mala", 0.1);
        change(&mut settings);
        let target = Arc::new(Gaussian::new(&[0.0], &[1.0], &device));
        match Run::new(target, &settings, Rng::new(1), start(4, 1, &device)) {
            Err(Error::Invalid { what, .. }) => assert!(what.contains(name), "{what}"),
            other => panic!("{name}: {:?}", other.err()),
        }
    };
    bad(|s| s.sampler = "metropolis".into(), "sampler");
    bad(|s| *s = s.clone().with("noise", 0.0), "noise");
    bad(|s| *s = s.clone().with("clip", f64::INFINITY), "clip");
    bad(|s| *s = s.clone().with("friction", -1.0), "friction");
    bad(|s| *s = s.clone().with("viscosity", 1.0), "sampler setting");
    bad(|s| *s = s.clone().with("clamp", 1.0), "clamp");
    bad(|s| *s = s.clone().with("hottest", 0.5), "hottest");
    bad(|s| *s = s.clone().with("rungs", 1), "rungs");
    bad(|s| *s = s.clone().with("rungs", 2.5), "rungs");
    bad(|s| *s = s.clone().with("max_tree_depth", 11), "tree depth");
    bad(
        |s| {
            s.sampler = "gibbs".into();
            s.temperature = 2.0;
        },
        "temperature",
    );
    bad(|s| s.step_size = Some(0.0), "step size");
    bad(|s| s.step_size = Some(f64::NAN), "step size");
    bad(|s| s.step_size = Some(1e9), "step size");
    bad(|s| s.step_size = None, "step size");
    bad(|s| s.temperature = -1.0, "temperature");
    bad(|s| *s = s.clone().with("leapfrog_steps", 0), "leapfrog");
    bad(|s| s.target_accept = Some(1.0), "acceptance");
    bad(|s| s.groups = 5, "start states");
}

/// The banana has no known conditionals; Gibbs refuses it at construction.
#[test]
fn gibbs_refuses_a_target_without_conditionals() {
    let device = Device::flex();
    let target = (find("banana").unwrap().build)(&device);
    match Run::new(
        target,
        &config("gibbs", 1.0),
        Rng::new(1),
        start(4, 2, &device),
    ) {
        Err(Error::Invalid { what, .. }) => assert_eq!(what, "Gibbs"),
        other => panic!("{:?}", other.err()),
    }
}

/// SGLD as commonly used samples N(0, T·s²) with T = σ²/(2a) ≪ 1, and reports T.
#[test]
fn sgld_at_its_usual_noise_reports_its_low_temperature() {
    let device = Device::flex();
    let mut settings = config("sgld", 0.4);
    settings.settings.set("noise", None);
    let target = Arc::new(Gaussian::new(&[0.0], &[1.0], &device));
    let run = Run::new(target.clone(), &settings, Rng::new(1), start(8, 1, &device)).unwrap();
    let (a, sigma) = run.drift_and_noise();
    assert_close(&[a, sigma], &[0.08, 0.004], 1e-12);
    let x = ends(target, &settings, CHAINS, 400, &device);
    let v = x.iter().map(|r| r[0] * r[0]).sum::<f64>() / CHAINS as f64;
    let temperature = sigma * sigma / (2.0 * a);
    let expected = temperature / (1.0 - a / 2.0);
    assert!(
        (v / expected - 1.0).abs() < 4.0 * (2.0 / CHAINS as f64).sqrt(),
        "{v} for {expected}"
    );
}

/// For N(0, 0.1²), gradient components at |x| > 0.01 exceed a clip of 1.
#[test]
fn clip_is_applied_and_its_share_reported() {
    let device = Device::flex();
    let settings = config("sgld", 0.1).with("clip", 1.0);
    let target = Arc::new(Gaussian::new(&[0.0; 3], &[0.1; 3], &device));
    let x = start(16, 3, &device);
    let share = host(x.clone().abs().greater_elem(0.01).float().mean())[0];
    let mut run = Run::new(target, &settings, Rng::new(1), x.clone()).unwrap();
    let draws = block_on(run.advance(1)).unwrap();
    assert_close(&[draws[0].clipped.unwrap()], &[share], 1e-6);
    // The drift is at most a·clip; the rest is noise of known size.
    let moved = host(run.states() - x);
    assert!(moved.iter().all(|d| d.abs() < 0.005 + 6.0 * 0.1));
}

#[test]
fn clamp_keeps_states_within_the_image_range() {
    for (_, device) in devices() {
        let settings = config("sgld", 0.8).with("clamp", true);
        let target = Arc::new(Gaussian::new(&[2.0; 3], &[1.0; 3], &device));
        let x = start(16, 3, &device).clamp(0.0, 1.0);
        let mut run = Run::new(target, &settings, Rng::new(1), x).unwrap();
        block_on(run.advance(20)).unwrap();
        let x = host(run.states());
        assert!(x.iter().all(|v| (0.0..=1.0).contains(v)));
        assert!(x.contains(&1.0), "the target's mass reaches beyond it");
    }
}

/// At stationarity the shadow acceptance equals MALA's at the same step size: the same test, not
/// applied.
#[test]
fn shadow_acceptance_matches_malas_acceptance() {
    let device = Device::flex();
    let accept = |sampler: &str| {
        let target = Arc::new(Gaussian::new(&[0.0; 10], &[1.0; 10], &device));
        let x = Rng::new(3).normal_tensor(Purpose::Start, 0, 64, 10, &device);
        let mut run = Run::new(target, &config(sampler, 0.6), Rng::new(1), x).unwrap();
        assert_eq!(run.has_test(), sampler == "mala");
        let draws = block_on(run.advance(200)).unwrap();
        let all: Vec<f32> = draws.into_iter().flat_map(|d| d.accept).collect();
        all.iter().sum::<f32>() / all.len() as f32
    };
    let (mala, shadow) = (accept("mala"), accept("ula"));
    assert!((mala - shadow).abs() < 0.02, "{mala} against {shadow}");
    assert!(mala < 0.99, "the step is large enough to be rejected");
}

/// A step size far beyond stability diverges in HMC and NUTS; a small one never does.
#[test]
fn divergences_are_counted() {
    let device = Device::flex();
    for sampler in ["hmc", "nuts", "underdamped"] {
        let count = |step: f64| {
            let target = Arc::new(Gaussian::new(&[0.0; 2], &[0.01, 1.0], &device));
            let settings = config(sampler, step);
            let mut run = Run::new(target, &settings, Rng::new(1), start(16, 2, &device)).unwrap();
            let draws = block_on(run.advance(20)).unwrap();
            draws.iter().map(|d| d.divergent).sum::<u32>()
        };
        assert_eq!(count(0.005), 0, "{sampler}");
        assert!(count(1.0) > 100, "{sampler}: {}", count(1.0));
    }
}

/// The counters include every leapfrog step, and the trees that ended at the largest depth.
#[test]
fn nuts_counts_leapfrog_steps_and_saturated_trees() {
    let device = Device::flex();
    let advance = |step: f64| {
        let target = Arc::new(Gaussian::new(&[0.0; 2], &[1.0; 2], &device));
        let mut run = Run::new(
            target,
            &config("nuts", step),
            Rng::new(1),
            start(16, 2, &device),
        )
        .unwrap();
        let draws = block_on(run.advance(20)).unwrap();
        let saturated = draws.iter().map(|d| d.saturated.unwrap()).sum::<u32>();
        (run.gradients() / 20.0, saturated)
    };
    let (cost, saturated) = advance(0.001);
    assert_eq!(
        (cost, saturated),
        (15.0, 16 * 20),
        "the whole tree of depth 4, always"
    );
    let (cost, saturated) = advance(0.5);
    assert!((2.0..10.0).contains(&cost), "{cost}");
    assert!(saturated < 20, "{saturated}");
}

/// An adapted mass matrix equalises scales of 10⁻² and 10².
#[test]
fn mass_matrix_is_adapted_during_warm_up() {
    let device = Device::flex();
    let sd = [0.01, 1.0, 100.0];
    for sampler in ["rwm", "mala", "hmc", "nuts", "underdamped"] {
        let settings = SamplerConfig {
            warmup: 600,
            adapt_mass: true,
            ..config(sampler, 0.01).with("max_tree_depth", 6)
        };
        let target = Arc::new(Gaussian::new(&[0.0; 3], &sd.map(|v| v as f32), &device));
        let x = Rng::new(3).normal_tensor(Purpose::Start, 0, 64, 3, &device)
            * Tensor::<2>::from_floats([[0.01, 1.0, 100.0]], &device)
            * 1.5;
        let mut run = Run::new(target, &settings, Rng::new(1), x).unwrap();
        block_on(run.advance(600 + 100)).unwrap();
        let x = host(run.states());
        for (i, s) in sd.iter().enumerate() {
            let v = x.chunks(3).map(|r| (r[i] / s).powi(2)).sum::<f64>() / 64.0;
            assert!(
                (v - 1.0).abs() < 4.0 * (2.0f64 / 64.0).sqrt(),
                "{sampler}, scale {s}: variance {v}"
            );
        }
        let step = run.step_sizes()[0];
        assert!(step > 0.2, "{sampler}: step {step} in units of the scales");
    }
}

/// Two modes that no local sampler connects: tempering finds the weights of both, started in one.
#[test]
fn tempering_crosses_between_modes_where_mala_does_not() {
    let device = Device::flex();
    let share = |sampler: &str| {
        let target = Arc::new(Mixture::weighted(
            &[([-4.0], 0.75), ([4.0], 0.25)],
            0.5,
            [-6.0, 6.0, -6.0, 6.0],
            &device,
        ));
        let settings = config(sampler, 0.5).with("rungs", 6).with("hottest", 60.0);
        let x = Tensor::<2>::zeros([CHAINS, 1], &device) + 4.0;
        let mut run = Run::new(target, &settings, Rng::new(2), x).unwrap();
        block_on(run.advance(600)).unwrap();
        let x = host(run.states());
        x.iter().filter(|&&v| v < 0.0).count() as f64 / CHAINS as f64
    };
    assert_eq!(share("mala"), 0.0);
    let found = share("tempering");
    let se = (0.75f64 * 0.25 / CHAINS as f64).sqrt();
    assert!((found - 0.75).abs() < 4.0 * se, "{found}");
}

/// The last transition of one chain, replayed alone, ends at the chain's state.
#[test]
fn replayed_path_ends_at_the_chains_state() {
    for (_, device) in devices() {
        for (sampler, step, _) in RUNS {
            let target = Arc::new(Mixture::new(&[[0.0, 1.0], [2.0, -1.0]], 0.7, &device));
            let mut run = Run::new(
                target,
                &config(sampler, step),
                Rng::new(1),
                start(5, 2, &device),
            )
            .unwrap();
            assert!(block_on(run.path(0)).unwrap().is_none());
            block_on(run.advance(7)).unwrap();
            let states = host(run.states());
            for chain in [0, 3] {
                let path = block_on(run.path(chain)).unwrap().unwrap();
                let end = host(path.outcome.point.x.narrow(0, 0, 1));
                assert_close(&end, &states[2 * chain..2 * chain + 2], 1e-5);
                assert_eq!(path.transition, 6);
                assert!(path.states.dims()[0] > 1, "{sampler}");
                if let Some(gradients) = path.outcome.gradients {
                    // On a GPU as on the CPU: the start, and every leapfrog position.
                    assert_eq!(path.states.dims()[0] as f64, 1.0 + host(gradients)[0]);
                }
            }
            assert!(block_on(run.path(5)).is_err());
        }
    }
}

/// One transition, with a preconditioned scale, applied to many exact draws of a curved target at
/// T ≠ 1 must preserve the target: a bias of a hundredth of a standard deviation would be detected.
#[test]
fn one_transition_preserves_the_target() {
    const N: usize = 40_000;
    const T: f64 = 1.5;
    // The banana at temperature t: x ~ N(0, 1.6²t), y | x ~ N((x² − 1.6²)/2, 0.5²t).
    let exact = |temperature: f64, stream: u32| -> Vec<f32> {
        let xi = Rng::new(41).normals(Purpose::Data, stream, N, 2);
        let bent = |v: &[f32]| {
            let x = 1.6 * temperature.sqrt() * f64::from(v[0]);
            let y = 0.5 * (x * x - 2.56) + 0.5 * temperature.sqrt() * f64::from(v[1]);
            [x as f32, y as f32]
        };
        xi.chunks(2).flat_map(bent).collect()
    };
    // Test functions and their exact means.
    type Function = fn(f64, f64) -> f64;
    let functions: [(&str, Function, f64); 6] = [
        ("x", |x, _| x, 0.0),
        ("x²", |x, _| x * x, 2.56 * T),
        ("|x| < 1", |x, _| f64::from(u8::from(x.abs() < 1.0)), {
            2.0 * normal_cdf(1.0 / (1.6 * T.sqrt())) - 1.0
        }),
        ("bend", |x, y| y - 0.5 * (x * x - 2.56), 0.0),
        ("bend²", |x, y| (y - 0.5 * (x * x - 2.56)).powi(2), 0.25 * T),
        ("x bend", |x, y| x * (y - 0.5 * (x * x - 2.56)), 0.0),
    ];
    // Samplers, step sizes, transitions, and the temperatures of a chain's rows as multiples of T.
    let cases: [(&str, f64, usize, &[f64]); 6] = [
        ("rwm", 0.6, 1, &[1.0]),
        ("mala", 0.35, 1, &[1.0]),
        ("hmc", 0.25, 1, &[1.0]),
        ("nuts", 0.2, 1, &[1.0]),
        // Three transitions for persistent momenta, so that both kept and reversed momenta occur.
        ("underdamped", 0.3, 3, &[1.0]),
        // Two, so that even and odd pairs of rungs swap.
        ("tempering", 0.35, 2, &[1.0, 2.0, 4.0]),
    ];
    for (device_name, device) in devices() {
        for (sampler, step, transitions, ladder) in cases {
            // NUTS and underdamped Langevin take half a minute on a software adapter, and are composed
            // of parts that the others test there.
            if device_name != "cpu" && ["nuts", "underdamped"].contains(&sampler) {
                continue;
            }
            let settings = SamplerConfig {
                temperature: T,
                ..config(sampler, step).with("max_tree_depth", 5)
            };
            let target = (find("banana").unwrap().build)(&device);
            let before: Vec<f32> = (ladder.iter().zip(0..))
                .flat_map(|(t, stream)| exact(t * T, stream))
                .collect();
            let x = TensorData::new(before[..2 * N].to_vec(), [N, 2]);
            let x = Tensor::<2>::from_data(x, &device);
            let mut run = Run::new(target, &settings, Rng::new(42), x).unwrap();
            let mut saved = block_on(run.save()).unwrap();
            saved.scale = Some(vec![0.7, 1.6]);
            // Every rung in equilibrium at its own temperature: swaps must preserve the product.
            assert_eq!(saved.x.len(), before.len(), "{sampler}'s rows per chain");
            saved.x.clone_from(&before);
            run.restore(saved).unwrap();
            block_on(run.advance(transitions)).unwrap();
            let states = host(run.states());
            let moved = states
                .chunks(2)
                .zip(before.chunks(2))
                .filter(|(a, b)| a[0] != f64::from(b[0]));
            assert!(moved.count() > N / 4, "{sampler} hardly moved");
            for (name, f, mean) in functions {
                let values: Vec<f64> = states.chunks(2).map(|r| f(r[0], r[1])).collect();
                let m = values.iter().sum::<f64>() / N as f64;
                let v = values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / N as f64;
                let z = (m - mean) / (v / N as f64).sqrt();
                let what = format!("{sampler} on {device_name}, {name}");
                assert!(z.abs() < 4.0, "{what}: {m} for {mean}, z {z}");
            }
        }
    }
}

/// A Gaussian that counts the rows whose energy is evaluated.
struct Counting {
    target: Gaussian,
    rows: std::sync::atomic::AtomicUsize,
}

impl Counting {
    fn count(&self, x: &Tensor<2>) {
        let rows = x.dims()[0];
        self.rows
            .fetch_add(rows, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Energy for Counting {
    fn space(&self) -> Space {
        self.target.space()
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        self.count(&x);
        self.target.evaluate(x)
    }

    fn point(&self, x: Tensor<2>) -> mixwell::energy::Point {
        self.count(&x);
        self.target.point(x)
    }
}

/// The promised cost of a transition is what it evaluates. NUTS, whose cost varies, reaches its largest
/// at steps too short for a U-turn.
#[test]
fn costs_are_the_evaluations() {
    let device = Device::flex();
    for entry in REGISTRY {
        // Gibbs draws from conditional distributions.
        if entry.name == "gibbs" {
            continue;
        }
        let counting = Arc::new(Counting {
            target: Gaussian::new(&[0.0; 4], &[1.0; 4], &device),
            rows: Default::default(),
        });
        let settings = config(entry.name, 1e-3);
        let x = start(8, 4, &device);
        let mut run = Run::new(counting.clone(), &settings, Rng::new(1), x).unwrap();
        let before = counting.rows.load(std::sync::atomic::Ordering::Relaxed);
        block_on(run.advance(3)).unwrap();
        let after = counting.rows.load(std::sync::atomic::Ordering::Relaxed);
        let promised = run.gradients_per_transition();
        assert_eq!(after - before, 3 * 8 * promised, "{}", entry.name);
        assert_eq!(run.cost_varies(), entry.name == "nuts", "{}", entry.name);
    }
}

/// Groups of chains on one target adapt to similar steps, each from its own chains.
#[test]
fn groups_adapt_alike() {
    let device = Device::flex();
    let settings = SamplerConfig {
        warmup: 200,
        groups: 4,
        ..config("mala", 0.01)
    };
    let target = Arc::new(Gaussian::new(&[0.0; 20], &[1.0; 20], &device));
    let mut run = Run::new(target, &settings, Rng::new(1), start(64, 20, &device)).unwrap();
    block_on(run.advance(200)).unwrap();
    let steps = run.step_sizes();
    let largest = steps.iter().fold(0.0f64, |a, &b| a.max(b));
    assert!(steps.iter().all(|&s| s > 0.8 * largest), "{steps:?}");
}

/// With another generator the last transition cannot be replayed.
#[test]
fn a_reseeded_run_has_no_path() {
    let device = Device::flex();
    let target = Arc::new(Gaussian::new(&[0.0; 2], &[1.0; 2], &device));
    let x = start(2, 2, &device);
    let mut run = Run::new(target, &config("mala", 0.3), Rng::new(1), x).unwrap();
    block_on(run.advance(1)).unwrap();
    assert!(block_on(run.path(0)).unwrap().is_some());
    run.reseed(Rng::new(2));
    assert!(block_on(run.path(0)).unwrap().is_none());
}
