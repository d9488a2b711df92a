//! The record of the stages: every check of the held-out loss, and when a stage ends.

use serde::{Deserialize, Serialize};

use super::config::Rule;

/// One check of the held-out loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "StageCheck"))]
pub struct Check {
    /// Iterations of the stage.
    pub iteration: u64,
    /// Mean logistic loss on held-out latents and held-out chains; ln 2 is chance.
    pub loss: f64,
    /// Classification accuracy on both sets, averaged.
    pub accuracy: f64,
}

/// The record of a stage: its checks, and why it ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Iterations.
    pub iterations: u64,
    /// "plateau", "longest", "at chance", "end of training"; empty while it runs.
    pub ended: String,
    /// Whether its ratio was added to the prior.
    pub kept: bool,
    /// Effective sample size (Σw)²/Σw² of the chains' weights under its ratio, if they were resampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resampled_ess: Option<f64>,
    /// Every check.
    pub checks: Vec<Check>,
}

/// Record of all stages; a checkpoint's `stages.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Book {
    /// Stages so far, the current one last.
    pub stages: Vec<StageRecord>,
    /// Smallest held-out loss of the current stage; none before its first check.
    pub best: Option<f64>,
    /// Checks since it last improved by more than the tolerance.
    pub waited: u32,
    /// Whether the prior is finished.
    pub finished: bool,
    /// Total iterations of the prior.
    pub iteration: u64,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            stages: vec![StageRecord::default()],
            best: None,
            waited: 0,
            finished: false,
            iteration: 0,
        }
    }
}

impl Book {
    /// Adds a check of the current stage; returns why the stage must end, if it must.
    pub fn enter(&mut self, check: Check, rule: &Rule) -> Option<&'static str> {
        let best = self.best.unwrap_or(f64::INFINITY);
        if check.loss < best - rule.tolerance {
            self.waited = 0;
        } else {
            self.waited += 1;
        }
        let best = best.min(check.loss);
        self.best = Some(best);
        if let Some(stage) = self.stages.last_mut() {
            stage.checks.push(check);
        }
        let ended = if self.waited >= rule.patience {
            "plateau"
        } else if check.iteration >= rule.longest {
            "longest"
        } else {
            return None;
        };
        Some(if best >= rule.chance {
            "at chance"
        } else {
            ended
        })
    }

    /// Ends the current stage and starts the next, unless the prior is finished.
    pub(super) fn end(&mut self, why: &str, rule: &Rule) {
        let kept = why != "at chance";
        if let Some(stage) = self.stages.last_mut() {
            stage.ended = why.into();
            stage.kept = kept;
        }
        self.finished = !kept || self.kept() >= rule.stages;
        if !self.finished {
            self.stages.push(StageRecord::default());
        }
        (self.best, self.waited) = (None, 0);
    }

    /// Number of ratios added to the prior.
    pub fn kept(&self) -> usize {
        self.stages.iter().filter(|s| s.kept).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Rule {
        Rule {
            check_every: 10,
            tolerance: 0.01,
            patience: 2,
            longest: 100,
            chance: 0.69,
            stages: 3,
        }
    }

    #[test]
    fn stages_end_by_the_rule() {
        let check = |iteration, loss| Check {
            iteration,
            loss,
            accuracy: 0.5,
        };
        let mut book = Book::default();
        // Falls, then plateaus: the second check without progress ends it.
        assert_eq!(book.enter(check(10, 0.6), &rule()), None);
        assert_eq!(book.enter(check(20, 0.5), &rule()), None);
        assert_eq!(book.enter(check(30, 0.495), &rule()), None);
        assert_eq!(book.enter(check(40, 0.498), &rule()), Some("plateau"));
        book.end("plateau", &rule());
        assert_eq!(
            (book.kept(), book.stages.len(), book.finished),
            (1, 2, false)
        );
        // Still falling, but at the largest length.
        for k in 1..10 {
            assert_eq!(
                book.enter(check(10 * k, 0.6 - 0.02 * k as f64), &rule()),
                None
            );
        }
        assert_eq!(book.enter(check(100, 0.1), &rule()), Some("longest"));
        book.end("longest", &rule());
        // At chance: not kept, and the prior is finished.
        assert_eq!(book.enter(check(10, 0.693), &rule()), None);
        assert_eq!(book.enter(check(20, 0.692), &rule()), None);
        assert_eq!(book.enter(check(30, 0.694), &rule()), Some("at chance"));
        book.end("at chance", &rule());
        assert_eq!(
            (book.kept(), book.stages.len(), book.finished),
            (2, 3, true)
        );
    }
}
