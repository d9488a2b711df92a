//! Charts computed on request: ranks, running R-hat, autocorrelation.

use serde::Serialize;

use crate::{
    diagnostics,
    error::{Error, Result},
};

/// Data of a chart computed on request.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "PlayChart"))]
pub enum Chart {
    /// Histograms of the ranks of each chain.
    Ranks {
        /// Bins of each histogram.
        bins: usize,
        /// Chains × bins.
        counts: Vec<Vec<u32>>,
        /// Expected count per bin if the chains agree.
        expected: f64,
    },
    /// R-hat against the number of draws.
    Running {
        /// Draws per chain after warm-up.
        draws: Vec<usize>,
        /// R-hat of that many draws.
        rhat: Vec<Option<f64>>,
        /// Nested R-hat of that many draws.
        nested: Vec<Option<f64>>,
    },
    /// Autocorrelation of the first chains.
    Autocorrelation {
        /// Chains × lags, from lag 0.
        lags: Vec<Vec<f64>>,
    },
}

/// The chart of kind `kind` for the draws of every chain.
pub(super) fn of(chains: &[Vec<f64>], superchains: usize, kind: &str) -> Result<Chart> {
    let draws = diagnostics::Draws::new(chains)?;
    match kind {
        "ranks" => {
            let bins = 20;
            Ok(Chart::Ranks {
                bins,
                counts: diagnostics::rank_counts(&draws, bins),
                expected: draws.draws() as f64 / bins as f64,
            })
        }
        "running" => {
            let finite = |v: f64| Some(v).filter(|v| v.is_finite());
            let (mut at, mut rhat, mut nested) = (Vec::new(), Vec::new(), Vec::new());
            for k in 1..=30 {
                let n = draws.draws() * k / 30;
                if n < 1 || at.last() == Some(&n) {
                    continue;
                }
                let part: Vec<&[f64]> = chains.iter().map(|c| &c[..n]).collect();
                let part = diagnostics::Draws::new(&part)?;
                at.push(n);
                rhat.push(finite(diagnostics::rhat_rank(&part)));
                nested.push(
                    (superchains > 1)
                        .then(|| diagnostics::nested_rhat(&part, superchains).ok())
                        .flatten()
                        .and_then(finite),
                );
            }
            Ok(Chart::Running {
                draws: at,
                rhat,
                nested,
            })
        }
        "autocorrelation" => Ok(Chart::Autocorrelation {
            lags: chains
                .iter()
                .take(8)
                .map(|c| {
                    let mut lags = diagnostics::autocorrelation(c);
                    lags.truncate(101);
                    lags.iter_mut().for_each(|l| {
                        // JSON has no NaN, which a constant chain gives.
                        if !l.is_finite() {
                            *l = 0.0;
                        }
                    });
                    lags
                })
                .collect(),
        }),
        _ => Err(Error::invalid(
            "chart",
            "ranks, running or autocorrelation",
            kind,
            "choose one of these",
        )),
    }
}
