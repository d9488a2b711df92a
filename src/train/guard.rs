//! Recovery from divergence: the signs of a diverging EBM training, and the rule by which the run
//! returns to a checkpoint and changes its settings.
//!
//! The signs are those that one watches by hand: non-finite losses, a growing gap between the energies
//! of data and samples, growing gradient norms, samples saturated at the bounds of pixel space. The
//! rule, in [`GuardConfig`], is our own: return to the newest kept checkpoint that is at least a window
//! older than the sign, and continue with new random numbers and lower learning rates, and with smaller
//! chain steps if the chains showed the sign.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    rng::{Purpose, Rng},
};

/// Thresholds of the signs, and the corrections after an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// Number of incidents from which a run may recover; the next one ends it.
    pub attempts: u32,
    /// Iterations of a phase before growth is checked: early training always shows growth.
    pub settle: usize,
    /// Iterations over which the recent mean is taken.
    pub window: usize,
    /// Largest number of earlier iterations whose median it is compared with.
    pub memory: usize,
    /// Largest accepted ratio of mean to median.
    pub growth: f64,
    /// Mean |E(data) − E(samples)|, in nats, below which a gap is never a sign.
    pub gap: f64,
    /// Mean share of values at the bounds 0 and 1 above which samples count as saturated.
    pub saturated: f64,
    /// Factor on all learning rates after an incident.
    pub learning_rate: f64,
    /// Factor on the chains' step size after an incident that the chains showed.
    pub step_size: f64,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            attempts: 6,
            settle: 200,
            window: 20,
            memory: 500,
            growth: 50.0,
            gap: 10.0,
            saturated: 0.995,
            learning_rate: 0.5,
            step_size: 0.7,
        }
    }
}

/// Names of the metrics in which a system shows signs of divergence.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signs {
    /// Mean energies of data and samples.
    pub energies: Option<[&'static str; 2]>,
    /// Norm of the gradient.
    pub gradient: Option<&'static str>,
    /// Share of the samples' values at the bounds.
    pub saturated: Option<&'static str>,
}

impl Signs {
    /// Only the gradient norm, for a learner without energies to compare.
    pub const GRADIENT: Self = Self {
        energies: None,
        gradient: Some("gradient_norm"),
        saturated: None,
    };
}

/// Recent metrics; stored in every checkpoint, so that a resumed run detects the same signs as an
/// uninterrupted one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    gap: VecDeque<f64>,
    gradient: VecDeque<f64>,
    saturated: VecDeque<f64>,
}

/// A sign of divergence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sign {
    /// Description, with numbers.
    pub seen: String,
    /// Whether the chains showed it.
    pub chains: bool,
}

impl GuardConfig {
    /// Checks all settings.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) naming the first number outside its domain.
    pub fn check(&self) -> Result<()> {
        Error::unless_positive(&[
            ("guard.window", self.window as f64),
            ("guard.memory", self.memory as f64),
            ("guard.growth", self.growth),
            ("guard.gap", self.gap),
            ("guard.saturated", self.saturated),
            ("guard.learning_rate", self.learning_rate),
            ("guard.step_size", self.step_size),
        ])
    }
}

impl Sign {
    /// A divergence reported by the system itself, such as a non-finite loss.
    pub(super) fn of(problem: String) -> Self {
        Self {
            seen: problem,
            chains: false,
        }
    }
}

impl Memory {
    /// Adds an iteration's metrics; returns a sign of divergence, if there is one.
    pub fn judge(
        &mut self,
        config: &GuardConfig,
        signs: &Signs,
        values: &[(&'static str, f64)],
    ) -> Option<Sign> {
        let find = |name: &str| values.iter().find(|(n, _)| *n == name).map(|&(_, v)| v);
        let sign = |seen: String, chains| Some(Sign { seen, chains });
        let watched = signs.energies.iter().flatten().copied();
        for name in watched.chain(signs.gradient).chain(signs.saturated) {
            if let Some(v) = find(name).filter(|v| !v.is_finite()) {
                return sign(format!("{name} is {v}"), false);
            }
        }
        if let Some([data, samples]) = signs.energies
            && let (Some(data), Some(samples)) = (find(data), find(samples))
        {
            let gap = (data - samples).abs();
            if let Some((mean, median)) = grown(&mut self.gap, gap, config)
                && mean > config.gap
            {
                let seen = format!(
                    "the gap between the energies of data and samples grew to {mean:.3} nats (mean of {} \
                     iterations; the median before was {median:.3})",
                    config.window
                );
                return sign(seen, true);
            }
        }
        if let Some(norm) = signs.gradient.and_then(find)
            && let Some((mean, median)) = grown(&mut self.gradient, norm, config)
        {
            let seen = format!(
                "the gradient's norm grew to {mean:.3} (mean of {} iterations; the median before was \
                 {median:.3})",
                config.window
            );
            return sign(seen, false);
        }
        if let Some(share) = signs.saturated.and_then(find) {
            keep(&mut self.saturated, share, config.window);
            let mean = mean(self.saturated.iter());
            if self.saturated.len() >= config.window && mean > config.saturated {
                let seen = format!(
                    "{:.1} % of the samples' values are at 0 or 1 (mean of {} iterations)",
                    mean * 100.0,
                    config.window
                );
                return sign(seen, true);
            }
        }
        None
    }
}

fn keep(values: &mut VecDeque<f64>, value: f64, most: usize) {
    values.push_back(value);
    while values.len() > most.max(1) {
        values.pop_front();
    }
}

fn mean<'a>(values: impl ExactSizeIterator<Item = &'a f64>) -> f64 {
    let n = values.len().max(1) as f64;
    values.sum::<f64>() / n
}

/// Adds a value; returns the mean of the window and the median before it, if the mean is too large.
fn grown(values: &mut VecDeque<f64>, value: f64, config: &GuardConfig) -> Option<(f64, f64)> {
    let most = (config.window + config.memory).max(config.settle);
    keep(values, value, most);
    if values.len() < config.settle.max(2 * config.window) {
        return None;
    }
    let cut = values.len() - config.window;
    let recent = mean(values.range(cut..));
    let mut before: Vec<f64> = values.range(..cut).copied().collect();
    let middle = before.len() / 2;
    let median = *before.select_nth_unstable_by(middle, f64::total_cmp).1;
    (recent > config.growth * median.max(f64::MIN_POSITIVE)).then_some((recent, median))
}

/// All corrections so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// Incidents so far; the number selects the random streams.
    pub incidents: u32,
    /// Factor on the recipe's learning rates.
    pub learning_rate: f64,
    /// Factor on the chains' step size.
    pub step_size: f64,
}

impl Default for Correction {
    fn default() -> Self {
        Self {
            incidents: 0,
            learning_rate: 1.0,
            step_size: 1.0,
        }
    }
}

impl Correction {
    /// The rule: the correction after one more incident.
    pub fn after(&self, sign: &Sign, config: &GuardConfig) -> Self {
        Self {
            incidents: self.incidents + 1,
            learning_rate: self.learning_rate * config.learning_rate,
            step_size: self.step_size * if sign.chains { config.step_size } else { 1.0 },
        }
    }

    /// The seed from here on: the recipe's own before any incident.
    pub fn seed(&self, seed: u64) -> u64 {
        match self.incidents {
            0 => seed,
            n => Rng::new(seed).derived(Purpose::Healed, u64::from(n)).seed(),
        }
    }
}

/// A divergence and the action taken: a line of `incidents.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// The phase.
    pub phase: String,
    /// The iteration at which the sign was seen.
    pub iteration: u64,
    /// The sign.
    pub sign: Sign,
    /// The iteration to which the run returned; 0 is the start of the phase.
    pub back_to: u64,
    /// The correction from there on.
    pub correction: Correction,
}

impl std::fmt::Display for Incident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "incident {} at iteration {} of {}: {}; back to iteration {}, new random numbers, learning \
             rates × {}, step sizes × {}",
            self.correction.incidents,
            self.iteration,
            self.phase,
            self.sign.seen,
            self.back_to,
            self.correction.learning_rate,
            self.correction.step_size
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNS: Signs = Signs {
        energies: Some(["data", "samples"]),
        gradient: Some("norm"),
        saturated: Some("edge"),
    };

    /// The iteration at which a history of (gap, norm, edge) gives a sign, and the sign.
    fn first(history: impl Iterator<Item = (f64, f64, f64)>) -> Option<(usize, Sign)> {
        let config = GuardConfig {
            settle: 60,
            ..GuardConfig::default()
        };
        let mut memory = Memory::default();
        history.enumerate().find_map(|(i, (gap, norm, edge))| {
            let values = [
                ("data", 1.0 + gap),
                ("samples", 1.0),
                ("norm", norm),
                ("edge", edge),
            ];
            memory
                .judge(&config, &SIGNS, &values)
                .map(|sign| (i + 1, sign))
        })
    }

    /// Bounded fluctuations: a sine will do.
    fn calm(i: usize) -> f64 {
        0.3 * (i as f64 * 1.7).sin()
    }

    #[test]
    fn stable_histories_and_short_spikes_give_no_sign() {
        assert_eq!(
            first((0..2000).map(|i| (calm(i), 2.0 + calm(i), 0.5))),
            None
        );
        // A single large gradient raises the mean of the window by less than a factor of 50.
        let spike = |i| if i == 700 { 900.0 } else { 2.0 };
        assert_eq!(first((0..2000).map(|i| (calm(i), spike(i), 0.5))), None);
        // A gap that grows from 0 to one nat is normal training.
        let learning = |i: usize| 1.0 - (-(i as f64) / 300.0).exp();
        assert_eq!(first((0..2000).map(|i| (learning(i), 1.0, 0.5))), None);
    }

    #[test]
    fn each_sign_is_detected_soon_after_it_starts() {
        type History = dyn Fn(usize) -> (f64, f64, f64);
        let cases: [(&str, bool, &History); 4] = [
            ("gap", true, &|i| {
                (
                    if i < 500 {
                        calm(i)
                    } else {
                        -1.3f64.powi(i as i32 - 500)
                    },
                    1.0,
                    0.5,
                )
            }),
            ("gradient", false, &|i| {
                (
                    0.0,
                    if i < 500 {
                        1.0
                    } else {
                        1.3f64.powi(i as i32 - 500)
                    },
                    0.5,
                )
            }),
            ("values", true, &|i| {
                (0.0, 1.0, if i < 500 { 0.6 } else { 1.0 })
            }),
            ("NaN", false, &|i| {
                (0.0, if i < 500 { 1.0 } else { f64::NAN }, 0.5)
            }),
        ];
        for (what, chains, history) in cases {
            let (at, sign) = first((0..1000).map(history)).unwrap();
            assert!((501..=535).contains(&at), "{what} at {at}");
            assert!(sign.seen.contains(what), "{}", sign.seen);
            assert_eq!(sign.chains, chains, "{what}");
        }
    }

    #[test]
    fn saved_memory_detects_the_same_sign() {
        let config = GuardConfig::default();
        let history = |i: usize| {
            [(
                "norm",
                if i < 500 {
                    1.0
                } else {
                    1.2f64.powi(i as i32 - 500)
                },
            )]
        };
        let signs = Signs {
            gradient: Some("norm"),
            ..Signs::default()
        };
        let run = |cut: Option<usize>| {
            let mut memory = Memory::default();
            (0..800).find(|&i| {
                if cut == Some(i) {
                    let text = serde_json::to_string(&memory).unwrap();
                    memory = serde_json::from_str(&text).unwrap();
                }
                memory.judge(&config, &signs, &history(i)).is_some()
            })
        };
        let whole = run(None);
        assert!(whole.is_some());
        assert_eq!(run(Some(510)), whole);
    }

    #[test]
    fn rule_applies_its_corrections() {
        let config = GuardConfig::default();
        let sign = |chains| Sign {
            seen: String::new(),
            chains,
        };
        let none = Correction::default();
        assert_eq!(none.seed(7), 7);
        let first = none.after(&sign(false), &config);
        assert_eq!(
            (first.incidents, first.learning_rate, first.step_size),
            (1, 0.5, 1.0)
        );
        let second = first.after(&sign(true), &config);
        assert_eq!(
            (second.incidents, second.learning_rate, second.step_size),
            (2, 0.25, 0.7)
        );
        let seeds = [7, first.seed(7), second.seed(7)];
        assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2] && seeds[0] != seeds[2]);
    }
}
