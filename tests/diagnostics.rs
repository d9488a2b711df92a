//! The diagnostics against ArviZ and posterior, and against theory.
//!
//! `fixtures/golden.py` made `fixtures/mcmc_diagnostics_golden.json`; the chains are rebuilt here,
//! bit for bit, from the same splitmix64 streams.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mixwell::diagnostics::*;
use mixwell::error::Error;
use serde_json::Value;

type Chains = Vec<Vec<f64>>;

/// Uniform on [0, 1), as golden.py draws them.
fn uniform(seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    })
}

/// Autoregressive chains of uniform noise; `phi` = 0 gives independent draws.
fn ar1(chains: usize, draws: usize, phi: f64) -> Chains {
    let chain = |seed| {
        let step = |x: &mut f64, u: f64| {
            *x = phi * *x + (u - 0.5);
            Some(*x)
        };
        uniform(seed).take(draws).scan(0.0, step).collect()
    };
    (1..=chains as u64).map(chain).collect()
}

fn map_chains(chains: &Chains, map: impl Fn(usize, f64) -> f64) -> Chains {
    let map = &map;
    let chain = |(c, chain): (usize, &Vec<f64>)| chain.iter().map(move |&x| map(c, x)).collect();
    chains.iter().enumerate().map(chain).collect()
}

fn view(chains: &Chains) -> Draws<'_> {
    Draws::new(chains).unwrap()
}

fn summary(chains: &Chains) -> Summary {
    summarise("x", &view(chains), &Rule::default())
}

#[track_caller]
fn assert_close(what: &str, got: f64, want: f64, tolerance: f64) {
    assert!(
        (got - want).abs() <= tolerance * want.abs(),
        "{what}: got {got:?}, want {want:?}, relative error {:e}",
        ((got - want) / want).abs()
    );
}

// ---------------------------------------------------------------- golden values

fn golden_cases() -> Vec<(&'static str, Chains)> {
    let last = |c: usize| c == 3;
    let half = ar1(4, 1000, 0.5);
    vec![
        ("iid_4x1000", ar1(4, 1000, 0.0)),
        ("ar05_4x1000", half.clone()),
        ("ar095_4x1000", ar1(4, 1000, 0.95)),
        ("antithetic_4x1000", ar1(4, 1000, -0.7)),
        (
            "shifted_chain_4x1000",
            map_chains(&half, |c, x| if last(c) { x + 1.0 } else { x }),
        ),
        (
            "scaled_chain_4x1000",
            map_chains(&half, |c, x| if last(c) { x * 8.0 } else { x }),
        ),
        ("odd_length_2x1001", ar1(2, 1001, 0.5)),
        (
            "ties_4x500",
            map_chains(&ar1(4, 500, 0.5), |_, x| (x * 10.0).trunc() / 10.0),
        ),
        ("short_4x8", ar1(4, 8, 0.5)),
    ]
}

/// Every statistic of the fixture, by its name there.
fn statistics(draws: &Draws) -> Vec<(&'static str, Vec<f64>)> {
    let chain = draws.iter().next().unwrap();
    vec![
        ("rhat_rank", vec![rhat_rank(draws)]),
        ("rhat_split", vec![rhat_split(draws)]),
        ("rhat_folded", vec![rhat_folded(draws)]),
        ("rhat_identity", vec![rhat_identity(draws)]),
        ("ess_bulk", vec![ess_bulk(draws)]),
        ("ess_tail", vec![ess_tail(draws)]),
        ("ess_mean", vec![ess_mean(draws)]),
        ("ess_sd", vec![ess_sd(draws)]),
        ("ess_median", vec![ess_median(draws)]),
        ("ess_q05", vec![ess_quantile(draws, 0.05)]),
        ("ess_identity", vec![ess_identity(draws)]),
        ("mcse_mean", vec![mcse_mean(draws)]),
        ("mcse_sd", vec![mcse_sd(draws)]),
        ("mcse_median", vec![mcse_median(draws)]),
        ("mcse_q05", vec![mcse_quantile(draws, 0.05)]),
        (
            "autocorr_chain0_lag0_5",
            autocorrelation(chain).into_iter().take(6).collect(),
        ),
        ("ebfmi", e_bfmi(draws)),
    ]
}

/// A number or a list of numbers.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().map(|value| value.as_f64().unwrap()).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

#[test]
fn agrees_with_arviz_and_posterior() {
    let golden: Value =
        serde_json::from_str(include_str!("fixtures/mcmc_diagnostics_golden.json")).unwrap();
    let cases = golden["cases"].as_object().unwrap();
    assert_eq!(cases.len(), golden_cases().len());
    let mut worst = (0.0, String::new());
    for (case, chains) in golden_cases() {
        let want = cases[case].as_object().unwrap();
        let draws = view(&chains);

        // First the chains themselves, up to the last bit, which a JSON parser may lose.
        assert_eq!(
            numbers(&want["shape"]),
            [draws.chains() as f64, draws.draws() as f64]
        );
        for (&got, want) in chains[0].iter().zip(numbers(&want["first3"])) {
            assert_close(&format!("{case} first3"), got, want, 4e-16);
        }
        let last = *chains.last().unwrap().last().unwrap();
        assert_close(
            &format!("{case} last"),
            last,
            want["last"].as_f64().unwrap(),
            4e-16,
        );

        let got = statistics(&draws);
        assert_eq!(
            want.len(),
            got.len() + 3,
            "{case}: a statistic of the fixture is unchecked"
        );
        for (name, got) in got {
            let want = numbers(&want[name]);
            assert_eq!(got.len(), want.len(), "{case} {name}");
            for (got, want) in got.into_iter().zip(want) {
                let what = format!("{case} {name}");
                assert_close(&what, got, want, 1e-8);
                let error = if want == 0.0 {
                    0.0
                } else {
                    ((got - want) / want).abs()
                };
                if error > worst.0 {
                    worst = (error, what);
                }
            }
        }
    }
    println!("largest relative error {:e}, in {}", worst.0, worst.1);
}

#[test]
fn the_last_pair_of_lags_is_handled_as_in_arviz() {
    // The draws end at a pair of lags whose even lag is negative and whose sum is not. The expected
    // value is ArviZ 0.8.0's; no golden case reaches this branch.
    let chains = vec![
        vec![0.0, 3.0, 0.0, 0.0, 2.0, -2.0, 3.0, -2.0],
        vec![0.0, -2.0, 1.0, 2.0, -3.0, 0.0, -3.0, -2.0],
    ];
    let ess = ess_identity(&view(&chains));
    assert_close("ess_identity", ess, 13.390_769_230_769_235, 1e-12);
}

#[test]
fn the_summary_agrees_with_the_single_statistics() {
    for (case, chains) in golden_cases() {
        let draws = view(&chains);
        let summary = summarise(case, &draws, &Rule::default());
        assert_eq!(summary.name, case);
        assert_eq!(
            (summary.chains, summary.draws),
            (draws.chains(), draws.draws())
        );
        assert_eq!(summary.mcse_mean, Some(mcse_mean(&draws)), "{case}");
        assert_eq!(summary.rhat, Some(rhat_rank(&draws)), "{case}");
        assert_eq!(summary.ess_bulk, Some(ess_bulk(&draws)), "{case}");
        assert_eq!(summary.ess_tail, Some(ess_tail(&draws)), "{case}");
        let converged = ["iid", "ar05", "antithetic", "odd", "ties"];
        let expected = if converged.iter().any(|start| case.starts_with(start)) {
            Status::Converged
        } else {
            Status::NotConverged
        };
        assert_eq!(summary.status, expected, "{case}");
    }
    let summary = summary(&vec![(1..=9).map(f64::from).collect()]);
    assert_close("mean of 1..=9", summary.mean.unwrap(), 5.0, 1e-15);
    assert_close("sd of 1..=9", summary.sd.unwrap(), 7.5_f64.sqrt(), 1e-15);
}

// ---------------------------------------------------------------- invariances

/// Chains in steps of 2⁻²⁰, so that shifts and doublings below are exact and ties stay ties.
fn on_grid(phi: f64) -> Chains {
    let grid = f64::from(1 << 20);
    map_chains(&ar1(4, 301, phi), |c, x| {
        (x * grid).round() / grid + c as f64 / 16.0
    })
}

/// The unitless statistics that are valid for any distribution.
fn unitless(draws: &Draws) -> Vec<(&'static str, Vec<f64>)> {
    let keep = |(name, _): &(&str, Vec<f64>)| !name.starts_with("mcse") && *name != "ess_q05";
    statistics(draws).into_iter().filter(keep).collect()
}

#[test]
fn unitless_statistics_are_invariant_to_shift_and_scale() {
    for phi in [-0.7, 0.0, 0.5, 0.9] {
        let chains = on_grid(phi);
        for (scale, shift) in [(4.0, -3.0), (-0.5, 100.0), (2_f64.powi(-60), 0.0)] {
            let moved = map_chains(&chains, |_, x| scale * x + shift);
            let pairs = unitless(&view(&chains))
                .into_iter()
                .zip(unitless(&view(&moved)));
            for ((name, want), (_, got)) in pairs {
                for (got, want) in got.into_iter().zip(want) {
                    let what = format!("{name}, phi {phi}, {scale} x + {shift}");
                    // The autocorrelation may cross 0, hence the absolute tolerance.
                    assert!(
                        (got - want).abs() <= 1e-9 * want.abs().max(1.0),
                        "{what}: {got} {want}"
                    );
                }
            }
        }
    }
}

#[test]
fn standard_errors_scale_with_the_unit() {
    let chains = on_grid(0.5);
    let moved = map_chains(&chains, |_, x| 4.0 * x - 3.0);
    let mcse = [mcse_mean, mcse_sd, mcse_median, |draws: &Draws| {
        mcse_quantile(draws, 0.2)
    }];
    for (index, mcse) in mcse.into_iter().enumerate() {
        let (before, after) = (mcse(&view(&chains)), mcse(&view(&moved)));
        assert!(before > 0.0);
        assert_close(&format!("mcse {index}"), after, 4.0 * before, 1e-9);
    }
}

#[test]
fn statistics_do_not_depend_on_the_order_of_chains() {
    for phi in [-0.7, 0.5, 0.9] {
        let chains = on_grid(phi);
        let mut permuted = chains.clone();
        permuted.swap(0, 3);
        permuted.rotate_left(1);
        let per_chain = ["autocorr_chain0_lag0_5", "ebfmi"];
        let pairs = statistics(&view(&chains))
            .into_iter()
            .zip(statistics(&view(&permuted)));
        for ((name, want), (_, got)) in pairs.filter(|((name, _), _)| !per_chain.contains(name)) {
            assert_close(&format!("{name}, phi {phi}"), got[0], want[0], 1e-9);
        }
        let mut energies = e_bfmi(&view(&chains));
        energies.swap(0, 3);
        energies.rotate_left(1);
        assert_eq!(energies, e_bfmi(&view(&permuted)));
    }
}

#[test]
fn statistics_depend_on_the_order_of_draws() {
    let chains = ar1(4, 500, 0.9);
    let mut sorted = chains.clone();
    sorted
        .iter_mut()
        .for_each(|chain| chain.sort_by(f64::total_cmp));
    assert!(rhat_rank(&view(&chains)) < 1.05);
    assert!(
        rhat_rank(&view(&sorted)) > 1.5,
        "a drift within chains must show"
    );
    // Unsplit chains hide this drift, which is why R̂ splits them.
    assert!(rhat_identity(&view(&sorted)) < 1.05);
}

#[test]
fn rank_statistics_are_invariant_to_increasing_transformations() {
    for phi in [-0.7, 0.5, 0.9] {
        let chains = ar1(4, 500, phi);
        let (draws, maps) = (
            view(&chains),
            [f64::exp, |x: f64| x.powi(3), |x: f64| (9.0 * x).exp()],
        );
        for (index, map) in maps.into_iter().enumerate() {
            let mapped = map_chains(&chains, |_, x| map(x));
            let mapped = view(&mapped);
            assert_eq!(
                rank_normalise(&mapped),
                rank_normalise(&draws),
                "map {index}"
            );
            assert_eq!(rhat_bulk(&mapped), rhat_bulk(&draws), "map {index}");
            assert_eq!(ess_bulk(&mapped), ess_bulk(&draws), "map {index}");
            assert_eq!(ess_tail(&mapped), ess_tail(&draws), "map {index}");
            assert_eq!(ess_median(&mapped), ess_median(&draws), "map {index}");
            // The plain statistics do change; otherwise the test above would be vacuous.
            assert_ne!(rhat_split(&mapped), rhat_split(&draws), "map {index}");
        }
    }
}

// ---------------------------------------------------------------- known results

#[test]
fn ess_of_antithetic_chains_exceeds_the_number_of_draws() {
    for phi in [-0.3, -0.5, -0.7, -0.9] {
        let chains = ar1(4, 1000, phi);
        let (draws, size) = (view(&chains), 4000.0_f64);
        for ess in [ess_bulk(&draws), ess_mean(&draws), ess_identity(&draws)] {
            assert!(ess > 1.2 * size, "phi {phi}: {ess}");
            assert!(
                ess <= size * size.log10() * (1.0 + 1e-12),
                "phi {phi}: {ess}"
            );
        }
    }
}

#[test]
fn ess_matches_the_theory_of_autoregressions() {
    // The ESS of the mean is S (1 − φ) / (1 + φ).
    for phi in [-0.3, 0.0, 0.5, 0.8] {
        let chains = ar1(8, 20_000, phi);
        let theory = 160_000.0 * (1.0 - phi) / (1.0 + phi);
        assert_close(
            &format!("phi {phi}"),
            ess_mean(&view(&chains)),
            theory,
            0.05,
        );
    }
}

#[test]
fn autocovariance_matches_the_direct_sum() {
    // Lengths that are prime, even, a power of two, and 1.
    for draws in [1, 2, 97, 128, 250] {
        let chain = &ar1(1, draws, 0.8)[0];
        let mean = chain.iter().sum::<f64>() / draws as f64;
        let covariances = autocovariance(chain);
        assert_eq!(covariances.len(), draws);
        for (lag, got) in covariances.into_iter().enumerate() {
            let products = chain
                .iter()
                .zip(&chain[lag..])
                .map(|(a, b)| (a - mean) * (b - mean));
            let want = products.sum::<f64>() / draws as f64;
            assert!(
                (got - want).abs() < 1e-14,
                "{draws} draws, lag {lag}: {got} {want}"
            );
        }
    }
    assert!(autocovariance(&[]).is_empty() && autocorrelation(&[]).is_empty());
    assert_eq!(autocovariance(&[0.1; 7]), [0.0; 7]);
    assert!(autocorrelation(&[0.1; 7]).iter().all(|x| x.is_nan()));
    assert!(
        autocovariance(&[0.0, 1.0, f64::INFINITY])
            .iter()
            .all(|x| x.is_nan())
    );
}

#[test]
fn normal_scores_are_blom_scores_of_average_ranks() {
    // Ranks 1, 2.5, 2.5, 4 of 4; Φ⁻¹(0.625 / 4.25) from scipy.
    let scores = rank_normalise(&view(&vec![vec![7.0, -0.0, 0.0, -3.0]]));
    assert_close("rank 4", scores[0], 1.049_131_397_963_971, 1e-14);
    assert_eq!(
        scores[1..3],
        [0.0; 2],
        "0 and -0 are tied, at the middle rank"
    );
    assert_eq!(scores[3], -scores[0]);
}

#[test]
fn a_stuck_chain_is_not_converged() {
    // A chain stuck at the median has an inconspicuous mean; only the folded R̂ detects it.
    for stuck_at in [0.4, 0.0, 3.0] {
        let mut chains = ar1(4, 1000, 0.0);
        chains[2] = vec![stuck_at; 1000];
        let summary = summary(&chains);
        assert_eq!(summary.status, Status::NotConverged);
        assert!(
            summary.rhat.unwrap() > 1.1,
            "{stuck_at}: {:?}",
            summary.rhat
        );
    }
}

#[test]
fn chains_stuck_apart_are_not_converged() {
    let chains: Chains = [0.1, 0.2, 0.3, 0.4].map(|x| vec![x; 100]).to_vec();
    assert_eq!(rhat_rank(&view(&chains)), f64::INFINITY);
    assert_eq!(rhat_split(&view(&chains)), f64::INFINITY);
    let summary = summary(&chains);
    assert_eq!((summary.status, summary.rhat), (Status::NotConverged, None));
    assert!(summary.ess_bulk.unwrap() < 10.0);
}

#[test]
fn two_valued_draws_have_no_folded_rhat() {
    for tails in (1..40).map(|tenths| f64::from(tenths) / -10.0) {
        let heads = 2.4;
        let coins = map_chains(
            &ar1(4, 500, 0.0),
            |_, x| if x < 0.0 { tails } else { heads },
        );
        assert_eq!(summary(&coins).status, Status::Converged);
        // Every toss is followed by its opposite, so that both sides are equally far from the mean, up
        // to rounding.
        let opposite = |x| if x == heads { tails } else { heads };
        let pairs = |chain: &Vec<f64>| chain.iter().flat_map(|&x| [x, opposite(x)]).collect();
        let balanced: Chains = coins.iter().map(pairs).collect();
        let draws = view(&balanced);
        assert_eq!(rhat_rank(&draws), rhat_bulk(&draws));
        assert_eq!(ess_sd(&draws), 4000.0, "{tails}");
        assert!(mcse_sd(&draws) < 1e-12);
        assert_eq!(ess_quantile(&draws, 1.0), 4000.0);
    }
    let two = vec![[1.0, -1.0].repeat(20), [-1.0, 1.0].repeat(20)];
    assert!(rhat_folded(&view(&two)).is_nan());
    assert!(rhat_rank(&view(&two)).is_finite());
}

#[test]
fn quantile_errors_match_the_theory_of_uniform_draws() {
    // √(p (1 − p) / S) divided by the density, which is 1. The estimate spans some 200 draws at
    // p = 0.1, so its relative uncertainty is 1 / √200, or 7 %.
    let chains = ar1(4, 25_000, 0.0);
    for p in [0.1, 0.5, 0.9] {
        let theory = (p * (1.0 - p) / 100_000.0_f64).sqrt();
        let error = mcse_quantile(&view(&chains), p);
        assert_close(&format!("p {p}"), error, theory, 0.2);
    }
}

#[test]
fn a_single_chain_is_split_and_compared_with_itself() {
    let steady = ar1(1, 1000, 0.0);
    assert_eq!(summary(&steady).status, Status::Converged);
    assert!(rhat_identity(&view(&steady)).is_nan());
    let drifting: Chains = vec![
        steady[0]
            .iter()
            .zip(0..)
            .map(|(x, t)| x + f64::from(t) / 500.0)
            .collect(),
    ];
    let summary = summary(&drifting);
    assert_eq!(summary.status, Status::NotConverged);
    assert!(summary.rhat.unwrap() > 1.5);
}

// ---------------------------------------------------------------- degenerate draws

/// All statistics of the pooled draws; all must be undefined for degenerate draws.
#[track_caller]
fn assert_undefined(chains: &Chains) {
    let per_chain = ["autocorr_chain0_lag0_5", "ebfmi"];
    for (name, values) in statistics(&view(chains)) {
        if !per_chain.contains(&name) {
            assert!(values[0].is_nan(), "{name} is {}", values[0]);
        }
    }
    let draws = view(chains);
    assert!(rhat_bulk(&draws).is_nan());
    assert!(rank_normalise(&draws).iter().all(|z| z.is_nan()));
    let summary = summary(chains);
    let undefined = [
        summary.mcse_mean,
        summary.rhat,
        summary.ess_bulk,
        summary.ess_tail,
    ];
    assert_eq!(undefined, [None; 4]);
}

#[test]
fn equal_draws_are_constant_not_unconverged() {
    for value in [0.0, 0.1, -1e9] {
        let chains = vec![vec![value; 50]; 4];
        assert_undefined(&chains);
        let summary = summary(&chains);
        assert_eq!(summary.status, Status::Constant);
        assert_eq!((summary.mean, summary.sd), (Some(value), Some(0.0)));
        assert!(e_bfmi(&view(&chains)).iter().all(|x| x.is_nan()));
    }
    // Small values are not constant values.
    let tiny = map_chains(&ar1(4, 1000, 0.0), |_, x| x * 1e-30);
    assert_eq!(summary(&tiny).status, Status::Converged);
}

#[test]
fn non_finite_draws_are_reported_and_located() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut chains = ar1(4, 50, 0.0);
        chains[2][7] = bad;
        chains[3][0] = bad;
        assert_undefined(&chains);
        let summary = summary(&chains);
        assert_eq!(summary.status, Status::NonFinite { chain: 2, draw: 7 });
        assert_eq!((summary.mean, summary.sd), (None, None));
        let undefined: Vec<bool> = e_bfmi(&view(&chains)).iter().map(|x| x.is_nan()).collect();
        assert_eq!(undefined, [false, false, true, true]);
    }
    // Divergence takes precedence over too few draws, also if every draw is non-finite.
    let status = |chains: &Chains| summary(chains).status;
    assert_eq!(
        status(&vec![vec![f64::NAN]]),
        Status::NonFinite { chain: 0, draw: 0 }
    );
    assert_eq!(
        status(&vec![vec![f64::INFINITY; 99]]),
        Status::NonFinite { chain: 0, draw: 0 }
    );
}

#[test]
fn short_chains_are_too_short_not_unconverged() {
    for draws in [0, 1, 2, MIN_DRAWS - 1] {
        let chains = ar1(4, draws, 0.0);
        let summary = summary(&chains);
        assert_eq!(
            summary.status,
            Status::TooShort {
                draws,
                needed: MIN_DRAWS
            }
        );
        assert_eq!(
            [summary.rhat, summary.ess_bulk, summary.ess_tail],
            [None; 3]
        );
        assert_eq!(
            (summary.mean.is_some(), summary.sd.is_some()),
            (draws > 0, draws > 0)
        );
        assert!(rhat_rank(&view(&chains)).is_nan() && ess_bulk(&view(&chains)).is_nan());
        assert!(mcse_median(&view(&chains)).is_nan() && ess_mean(&view(&chains)).is_nan());
    }
    let enough = ar1(4, MIN_DRAWS, 0.0);
    assert_eq!(summary(&enough).status, Status::NotConverged);
    assert_undefined(&ar1(4, MIN_SEQUENCE - 1, 0.0));
    assert!(rhat_identity(&view(&ar1(4, MIN_SEQUENCE, 0.0))).is_finite());
    let one = summary(&vec![vec![3.0]]);
    assert_eq!((one.mean, one.sd), (Some(3.0), None));
}

#[test]
fn quantiles_outside_the_unit_interval_are_undefined() {
    let chains = ar1(4, 100, 0.0);
    for p in [-0.1, 1.1, f64::NAN] {
        assert!(ess_quantile(&view(&chains), p).is_nan());
        assert!(mcse_quantile(&view(&chains), p).is_nan());
    }
}

// ---------------------------------------------------------------- views, rule, serde

#[test]
fn nested_and_flat_draws_have_the_same_shape() {
    let chains = ar1(3, 9, 0.5);
    let flat = chains.concat();
    let flat = Draws::from_flat(&flat, 3).unwrap();
    assert_eq!((flat.chains(), flat.draws(), flat.size()), (3, 9, 27));
    assert!(flat.iter().eq(view(&chains).iter()));
    let halves: Vec<&[f64]> = flat.split().iter().collect();
    assert_eq!(halves.len(), 6);
    assert_eq!((halves[2], halves[3]), (&chains[1][..4], &chains[1][5..]));
}

#[test]
fn ragged_and_empty_draws_are_refused() {
    let ragged = vec![vec![0.0; 3], vec![0.0; 3], vec![0.0; 2]];
    let Err(error @ Error::Invalid { .. }) = Draws::new(&ragged) else {
        panic!("ragged chains must be refused");
    };
    assert!(error.to_string().contains("2 in chain 2"), "{error}");
    assert!(matches!(
        Draws::new(&Chains::new()),
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(
        Draws::from_flat(&[0.0; 7], 2),
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(
        Draws::from_flat(&[], 0),
        Err(Error::Invalid { .. })
    ));
}

#[test]
fn the_convergence_rule_decides() {
    let chains = ar1(4, 1000, 0.5);
    let draws = view(&chains);
    let measured = summarise("x", &draws, &Rule::default());
    assert_eq!(measured.status, Status::Converged);
    let status = |rule: Rule| summarise("x", &draws, &rule).status;
    // Each bound is inclusive, and each alone can fail the rule.
    let (rhat, bulk, tail) = (
        measured.rhat.unwrap(),
        measured.ess_bulk.unwrap(),
        measured.ess_tail.unwrap(),
    );
    assert!(bulk < tail);
    let rule = Rule {
        max_rhat: rhat,
        min_ess_per_chain: bulk / 4.0,
    };
    assert_eq!(rule.min_ess(4), bulk);
    assert_eq!(status(rule), Status::Converged);
    assert_eq!(
        status(Rule {
            max_rhat: rhat - 1e-9,
            ..rule
        }),
        Status::NotConverged
    );
    assert_eq!(
        status(Rule {
            min_ess_per_chain: bulk / 4.0 + 1e-6,
            ..rule
        }),
        Status::NotConverged
    );
    // For fast mixing chains the tail ESS is the smaller one.
    let fast = ar1(4, 1000, -0.7);
    let fast = view(&fast);
    assert!(ess_tail(&fast) < 3000.0 && ess_bulk(&fast) > 4000.0);
    let rule = Rule {
        min_ess_per_chain: 750.0,
        ..Rule::default()
    };
    assert_eq!(summarise("x", &fast, &rule).status, Status::NotConverged);
}

#[test]
fn the_convergence_rule_is_read_with_defaults_and_checked() {
    let rule: Rule = serde_json::from_str(r#"{"max_rhat": 1.05}"#).unwrap();
    assert_eq!(
        rule,
        Rule {
            max_rhat: 1.05,
            min_ess_per_chain: 100.0
        }
    );
    assert_eq!(
        Rule::default(),
        Rule {
            max_rhat: 1.01,
            min_ess_per_chain: 100.0
        }
    );
    assert!(serde_json::from_str::<Rule>(r#"{"rhat": 1.05}"#).is_err());
    assert!(rule.validate().is_ok());
    for max_rhat in [1.0, 0.0, f64::NAN, f64::INFINITY] {
        assert!(Rule { max_rhat, ..rule }.validate().is_err(), "{max_rhat}");
    }
    for min_ess_per_chain in [0.0, -1.0, f64::NAN] {
        assert!(
            Rule {
                min_ess_per_chain,
                ..rule
            }
            .validate()
            .is_err(),
            "{min_ess_per_chain}"
        );
    }
}

#[test]
fn summaries_survive_json() {
    let mut diverged = ar1(2, 20, 0.0);
    diverged[1][3] = f64::NAN;
    let constant = vec![vec![0.5; 16]; 2];
    let short = vec![vec![0.25, 0.75]; 2];
    let stuck = vec![vec![0.0; 16], vec![1.0; 16]];
    for chains in [diverged, constant, short, stuck] {
        let mut before = summary(&chains);
        // This tests the structure of the round trip, not the JSON parser's last bit.
        for value in [&mut before.sd, &mut before.ess_bulk, &mut before.ess_tail] {
            *value = value.map(|x| (x * 8.0).round() / 8.0);
        }
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(
            serde_json::from_str::<Summary>(&text).unwrap(),
            before,
            "{text}"
        );
    }
    let mut bad = vec![vec![0.0; 20]];
    bad[0][3] = f64::INFINITY;
    let json = serde_json::to_value(summary(&bad)).unwrap();
    assert!(json["rhat"].is_null() && json["mean"].is_null());
    assert_eq!(
        json["status"],
        serde_json::json!({"kind": "non_finite", "chain": 0, "draw": 3})
    );
    let json = serde_json::to_value(Status::TooShort {
        draws: 2,
        needed: 8,
    })
    .unwrap();
    assert_eq!(
        json,
        serde_json::json!({"kind": "too_short", "draws": 2, "needed": 8})
    );
    assert_eq!(
        Status::TooShort {
            draws: 2,
            needed: 8
        }
        .to_string(),
        "too short: 2 of at least 8 draws per chain"
    );
}

/// Values of numpy: see the script in `fixtures/nested_stein.py`.
#[test]
fn nested_rhat_and_stein_discrepancy_agree_with_numpy() {
    let text = include_str!("fixtures/nested_stein.json");
    let fixture: Value = serde_json::from_str(text).unwrap();
    for case in fixture["nested"].as_array().unwrap() {
        let [chains, draws, superchains] =
            ["chains", "draws", "superchains"].map(|k| case[k].as_u64().unwrap() as usize);
        let cut: Chains = ar1(chains, draws, 0.5)
            .into_iter()
            .enumerate()
            .map(|(c, v)| {
                let shift = case["shift"].as_f64().unwrap() * (c * superchains / chains) as f64;
                v.into_iter().map(|x| x + shift).collect()
            })
            .collect();
        let got = nested_rhat(&view(&cut), superchains).unwrap();
        assert_close("nested R-hat", got, case["value"].as_f64().unwrap(), 1e-10);
    }
    for case in fixture["ksd"].as_array().unwrap() {
        let (x, score) = (numbers(&case["x"]), numbers(&case["score"]));
        let dim = case["dim"].as_u64().unwrap() as usize;
        let got = ksd(&x, &score, dim, case["scale"].as_f64().unwrap()).unwrap();
        assert_close("KSD", got, case["value"].as_f64().unwrap(), 1e-10);
    }
}

#[test]
fn nested_rhat_detects_groups_that_remember_their_start() {
    let together = ar1(32, 1, 0.0);
    assert!(nested_rhat(&view(&together), 8).unwrap() < 1.4);
    let apart: Chains = together
        .iter()
        .enumerate()
        .map(|(c, v)| v.iter().map(|x| x + (c / 4) as f64).collect())
        .collect();
    assert!(nested_rhat(&view(&apart), 8).unwrap() > 5.0);
    // The order within a group does not matter; the grouping does.
    assert!(nested_rhat(&view(&apart), 3).is_err());
    assert!(nested_rhat(&view(&apart), 1).is_err());
    assert!(nested_rhat(&view(&ar1(8, 1, 0.0)), 8).unwrap().is_nan());
}

#[test]
fn stein_discrepancy_decreases_for_exact_draws_only() {
    let normal = |n: usize, shift: f64| -> f64 {
        // Normal scores of a grid: ideal draws.
        let chains = vec![(0..n).map(|i| i as f64).collect::<Vec<_>>()];
        let x: Vec<f64> = rank_normalise(&view(&chains))
            .iter()
            .map(|v| v + shift)
            .collect();
        let score: Vec<f64> = x.iter().map(|v| -v).collect();
        ksd(&x, &score, 1, 1.0).unwrap()
    };
    assert!(normal(400, 0.0) < 0.5 * normal(40, 0.0));
    assert!(normal(400, 0.5) > 5.0 * normal(400, 0.0));
    assert!((normal(400, 0.5) / normal(40, 0.5) - 1.0).abs() < 0.2);
    assert!(ksd(&[0.0], &[0.0], 1, 1.0).is_err());
    assert!(ksd(&[0.0, 1.0], &[0.0], 1, 1.0).is_err());
    assert!(ksd(&[0.0, 1.0], &[0.0, 1.0], 1, f64::NAN).is_err());
}

#[test]
fn rank_histograms_count_every_draw_once() {
    let chains = ar1(4, 100, 0.5);
    let counts = rank_counts(&view(&chains), 20);
    assert_eq!(counts.len(), 4);
    for bin in 0..20 {
        let total: u32 = counts.iter().map(|c| c[bin]).sum();
        assert_eq!(total, 20, "ranks are a permutation");
    }
    assert!(counts.iter().all(|c| c.iter().sum::<u32>() == 100));
    let apart: Chains = vec![
        (0..100).map(f64::from).collect(),
        (100..200).map(f64::from).collect(),
    ];
    let counts = rank_counts(&view(&apart), 2);
    assert_eq!(counts, [[100, 0], [0, 100]]);
}
