//! The Playground's session: equal budgets, exact rewinding, statistics, learning, clear errors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use burn::tensor::Device;
use mixwell::{
    Error,
    energy::Drawing,
    sampler::REGISTRY,
    session::playground::{Chart, LearnConfig, Play, PlayConfig, Start},
};
use pollster::block_on;
use serde_json::Value;

use crate::common::devices;

fn clock() -> f64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64() * 1e3)
}

fn play(device: &Device) -> Play {
    Play::new(device.clone(), clock)
}

fn config(play: &Play, target: &str, samplers: &[&str]) -> PlayConfig {
    let mut config = PlayConfig {
        seed: 1,
        chains: 8,
        superchains: 4,
        ..play.defaults(target).unwrap()
    };
    let side = config.sides[0].clone();
    config.sides = samplers
        .iter()
        .map(|s| {
            let mut side = side.clone();
            side.sampler.sampler = (*s).into();
            side.sampler.warmup = 60;
            side.sampler = side.sampler.with("max_tree_depth", 5);
            side
        })
        .collect();
    config
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn refused<T>(result: Result<T, Error>, about: &str) {
    match result {
        Err(Error::Invalid { what, .. }) => assert!(what.contains(about), "{what} for {about}"),
        Err(other) => panic!("{about}: {other}"),
        Ok(_) => panic!("{about} was accepted"),
    }
}

#[test]
fn both_sides_use_the_same_number_of_gradients() {
    let device = Device::flex();
    let mut play = play(&device);
    let two = config(&play, "banana", &["mala", "nuts"]);
    block_on(play.configure(two)).unwrap();
    for _ in 0..5 {
        let frame = block_on(play.advance(100.0, false)).unwrap();
        let [a, b] = [0, 1].map(|s| frame.sides[s].clock);
        // The sides may differ by the largest tree of depth 5, of one chain among eight.
        assert!((a - b).abs() <= 31.0, "{a} and {b}");
        assert_eq!(frame.sides[0].draws, frame.sides[0].clocks.0.len());
    }
}

/// Rewinding replays the chains from a stored state: positions and continuation are reproduced bit for
/// bit, for every sampler, within warm-up and after it.
#[test]
fn rewinding_and_continuing_gives_the_same_chains() {
    for (name, device) in devices() {
        for sampler in REGISTRY.iter().map(|r| r.name) {
            if name != "cpu" && sampler == "nuts" {
                continue; // 31 leapfrog steps of every chain in lockstep: the CPU covers it
            }
            let mut play = play(&device);
            let mut one = config(&play, "two-modes", &[sampler]);
            one.sides[0].sampler.adapt_mass = sampler != "sgld";
            block_on(play.configure(one)).unwrap();
            let per = |f: &Value| f["sides"][0]["clock"].as_f64().unwrap();
            let part = |f: &Value| {
                let side = &f["sides"][0];
                (
                    side["positions"].clone(),
                    side["step_size"].clone(),
                    side["clock"].clone(),
                    side["transitions"].clone(),
                )
            };
            let cost = match sampler {
                "hmc" => 10.0,
                "tempering" => 4.0,
                _ => 1.0,
            };
            let early = json(&block_on(play.advance(30.0 * cost, false)).unwrap());
            let middle = json(&block_on(play.advance(60.0 * cost, false)).unwrap());
            let end = json(&block_on(play.advance(70.0 * cost, true)).unwrap());
            for moment in [&middle, &early, &middle, &early] {
                let back = json(&block_on(play.seek(per(moment), true)).unwrap());
                let clock = per(&back);
                if clock < per(moment) {
                    // Later than the present: run there instead of rewinding.
                    let on = block_on(play.advance(per(moment) - clock, false)).unwrap();
                    assert_eq!(
                        part(&json(&on)),
                        part(moment),
                        "{sampler} on {name}, forwards"
                    );
                } else {
                    assert_eq!(part(&back), part(moment), "{sampler} on {name}, back");
                    assert_eq!(back["replayed"], true);
                    let draws = back["sides"][0]["draws"].as_u64().unwrap();
                    assert_eq!(draws, moment["sides"][0]["transitions"].as_u64().unwrap());
                }
            }
            let far = per(&end) - per(&early);
            let again = json(&block_on(play.advance(far, true)).unwrap());
            assert_eq!(part(&again), part(&end), "{sampler} on {name}, to the end");
            let stats = |f: &Value| f["sides"][0]["statistics"]["summaries"].clone();
            assert_eq!(stats(&again), stats(&end), "{sampler} on {name}");
        }
    }
}

#[test]
fn statistics_reflect_known_sampler_quality() {
    let device = Device::flex();
    let mut play = play(&device);
    let mut two = config(&play, "donut", &["hmc", "sgld"]);
    two.start = Start::Superchains;
    block_on(play.configure(two)).unwrap();
    let frame = block_on(play.advance(30_000.0, true)).unwrap();
    let good = frame.sides[0].statistics.clone().unwrap();
    let cold = frame.sides[1].statistics.clone().unwrap();
    assert_eq!(good.summaries.len(), 3);
    assert!(good.rhat_max.unwrap() < 1.05, "{:?}", good.rhat_max);
    assert!(good.nested_rhat.unwrap() < 1.1, "{:?}", good.nested_rhat);
    assert!(good.ess_per_second.unwrap() > 0.0);
    // HMC's draws are nearly as good as exact ones; SGLD's, with almost no noise, are far off.
    let (fit, exact) = (good.ksd.unwrap(), good.ksd_exact.unwrap());
    assert!(fit < 2.0 * exact, "{fit} against {exact}");
    let frozen = cold.ksd.unwrap();
    assert!(
        frozen > 2.0 * fit.max(exact),
        "{frozen} against {fit}, {exact}"
    );
    let side = &frame.sides[1];
    assert!(
        (side.temperature - 1e-4).abs() < 1e-8,
        "{}",
        side.temperature
    );
    assert!(cold.acceptance.is_some(), "its shadow");
    for (kind, quantity) in [
        ("ranks", "x"),
        ("running", "energy"),
        ("autocorrelation", "y"),
    ] {
        match play.chart(0, kind, quantity).unwrap() {
            Chart::Ranks { counts, .. } => assert_eq!(counts.len(), 8),
            Chart::Running {
                draws,
                rhat,
                nested,
            } => {
                assert_eq!((draws.len(), rhat.len(), nested.len()), (30, 30, 30));
            }
            Chart::Autocorrelation { lags } => {
                assert!(lags.iter().all(|l| l[0] == 1.0 && l.len() == 101));
            }
        }
    }
}

/// Chains with distinct starts form no superchains, because the spread of their starts would enter the
/// within-group variance.
#[test]
fn nested_r_hat_is_omitted_without_shared_starts() {
    let device = Device::flex();
    let mut play = play(&device);
    let one = config(&play, "banana", &["mala"]);
    assert_eq!((one.start, one.superchains), (Start::Dispersed, 4));
    block_on(play.configure(one)).unwrap();
    let frame = block_on(play.advance(200.0, true)).unwrap();
    let statistics = frame.sides[0].statistics.clone().unwrap();
    assert!(statistics.nested_rhat.is_none() && statistics.rhat_max.is_some());
}

/// Chains of a superchain, and chains started at a mode, share every coordinate of their start.
#[test]
fn superchains_share_every_coordinate() {
    let device = Device::flex();
    let mut play = play(&device);
    for (start, distinct) in [
        (Start::Superchains, 4),
        (Start::Mode, 1),
        (Start::Dispersed, 8),
    ] {
        let mut one = config(&play, "eight-schools", &["nuts"]);
        one.start = start;
        block_on(play.configure(one)).unwrap();
        let frame = json(&block_on(play.advance(0.0, false)).unwrap());
        // The energy is a function of all ten coordinates.
        let energies = frame["sides"][0]["energies"].as_array().unwrap().clone();
        let mut bits: Vec<u64> = energies
            .iter()
            .map(|e| e.as_f64().unwrap().to_bits())
            .collect();
        bits.sort_unstable();
        bits.dedup();
        assert_eq!(bits.len(), distinct, "{start:?}");
    }
}

/// Chains that all start in one of two distant modes pass R-hat and the Stein discrepancy; superchains
/// detect the missed mode. This is lesson three.
#[test]
fn superchains_detect_a_missed_mode_that_r_hat_does_not() {
    let device = Device::flex();
    let mut play = play(&device);
    let run = |play: &mut Play, start: Start| {
        let mut one = config(play, "eight-modes", &["mala"]);
        one.start = start;
        one.chains = 32;
        one.superchains = 8;
        block_on(play.configure(one)).unwrap();
        let frame = block_on(play.advance(1500.0, true)).unwrap();
        frame.sides[0].statistics.clone().unwrap()
    };
    let fooled = run(&mut play, Start::Mode);
    assert!(fooled.rhat_max.unwrap() < 1.05, "{:?}", fooled.rhat_max);
    assert!(fooled.nested_rhat.unwrap() < 1.05);
    let seen = run(&mut play, Start::Superchains);
    assert!(seen.rhat_max.unwrap() > 1.5, "{:?}", seen.rhat_max);
    assert!(seen.nested_rhat.unwrap() > 1.5, "{:?}", seen.nested_rhat);
}

#[test]
fn a_path_is_shown_in_the_plane() {
    let device = Device::flex();
    let mut play = play(&device);
    let two = config(&play, "donut", &["hmc", "mala"]);
    block_on(play.configure(two)).unwrap();
    refused(block_on(play.path(0, 0)), "Playground");
    let frame = json(&block_on(play.advance(30.0, false)).unwrap());
    let path = json(&block_on(play.path(0, 2)).unwrap());
    // The start and ten leapfrog positions.
    assert_eq!(path["points"].as_array().unwrap().len(), 22);
    assert_eq!(path["energies"].as_array().unwrap().len(), 11);
    let positions = &frame["sides"][0]["positions"];
    for i in 0..2 {
        let (a, b) = (&path["end"][i], &positions[4 + i]);
        assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-5);
    }
    refused(block_on(play.path(2, 0)), "side");
    refused(block_on(play.path(0, 99)), "chain");
}

#[test]
fn invalid_settings_are_refused_and_the_last_run_is_kept() {
    let device = Device::flex();
    let mut play = play(&device);
    refused(block_on(play.advance(1.0, false)), "Playground");
    let good = config(&play, "banana", &["mala"]);
    block_on(play.configure(good.clone())).unwrap();
    block_on(play.advance(5.0, false)).unwrap();
    type Change = fn(&mut PlayConfig);
    let changes: [(&str, Change); 10] = [
        ("chains", |c| c.chains = 0),
        ("chains", |c| c.chains = 100_000),
        ("superchains", |c| c.superchains = 3),
        ("step size", |c| c.sides[0].sampler.step_size = Some(0.0)),
        ("step size", |c| {
            c.sides[0].sampler.step_size = Some(f64::NAN)
        }),
        ("step size", |c| c.sides[0].sampler.step_size = Some(1e9)),
        ("sampler", |c| c.sides[0].sampler.sampler = "magic".into()),
        ("space", |c| c.sides[0].space = "latent".into()),
        ("target", |c| c.target = "nowhere".into()),
        ("Gibbs", |c| c.sides[0].sampler.sampler = "gibbs".into()),
    ];
    for (about, change) in changes {
        let mut bad = good.clone();
        change(&mut bad);
        refused(block_on(play.configure(bad)), about);
    }
    refused(block_on(play.advance(f64::INFINITY, false)), "gradients");
    refused(block_on(play.advance(f64::NAN, false)), "gradients");
    refused(play.defaults("drawn"), "target");
    refused(play.draw(&[0; Drawing::SIDE * Drawing::SIDE]), "drawing");
    refused(play.chart(0, "pie", "x"), "chart");
    refused(play.chart(0, "ranks", "z"), "quantity");
    let frame = block_on(play.advance(5.0, false)).unwrap();
    assert_eq!(frame.sides[0].transitions, 10);
}

#[test]
fn a_drawing_can_be_sampled_and_learned() {
    let device = Device::flex();
    let mut play = play(&device);
    let mut ink = vec![0; Drawing::SIDE * Drawing::SIDE];
    for k in 8..24 {
        ink[Drawing::SIDE * 16 + k] = 255;
    }
    play.draw(&ink).unwrap();
    let one = config(&play, "drawn", &["gibbs"]);
    block_on(play.configure(one)).unwrap();
    let frame = json(&block_on(play.advance(50.0, true)).unwrap());
    for xy in frame["sides"][0]["positions"].as_array().unwrap().chunks(2) {
        // The ink lies from x = −2 to 2, at y = 0.125.
        assert!(xy[0].as_f64().unwrap().abs() < 3.0 && xy[1].as_f64().unwrap().abs() < 1.2);
    }
    let settings = LearnConfig {
        target: "drawn".into(),
        flow_iterations: 200,
        tilt_iterations: 100,
        steps: 3,
        hidden: 16,
        ..LearnConfig::default()
    };
    block_on(play.learn(settings)).unwrap();
    let mut stages = Vec::new();
    let last = loop {
        let frame = block_on(play.learn_step(50)).unwrap();
        stages.push(frame.stage);
        if frame.stage == "done" {
            break frame;
        }
    };
    assert!(
        stages.contains(&"flow") && stages.contains(&"tilt"),
        "{stages:?}"
    );
    let kl = last.kl_flow.unwrap();
    assert!(kl.is_finite() && kl < 2.0, "{kl}");
    assert!(last.kl_model.unwrap().is_finite() && last.surface.is_some());
    // The model in both spaces, from the same points.
    let two = play.defaults("learned").unwrap();
    assert_eq!(two.sides[1].space, "latent");
    block_on(play.configure(two)).unwrap();
    let start = json(&block_on(play.advance(0.0, false)).unwrap());
    // Twelve chains in the plane.
    assert_eq!(start["sides"][0]["positions"].as_array().unwrap().len(), 24);
    let frame = block_on(play.advance(50.0, true)).unwrap();
    assert_eq!(frame.sides[0].clock, frame.sides[1].clock);
    let path = json(&block_on(play.path(1, 0)).unwrap());
    assert_eq!(path["points"].as_array().unwrap().len(), 4);
}
