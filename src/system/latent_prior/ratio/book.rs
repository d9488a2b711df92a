//! The bookkeeping of the stages: every check of the held-out loss, and when a stage ends.

use serde::{Deserialize, Serialize};

use super::config::Rule;

/// One look at the held-out loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "StageCheck"))]
pub struct Check {
    /// Iterations of the stage.
    pub iteration: u64,
    /// Mean logistic loss on held-out latents and held-out chains; ln 2 is chance.
    pub loss: f64,
    /// Share of them that is told right.
    pub accuracy: f64,
}

/// What a stage was, and why it ended: the evidence of the rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Iterations.
    pub iterations: u64,
    /// "plateau", "longest", "at chance", "end of training"; empty while it goes on.
    pub ended: String,
    /// Whether its ratio was multiplied in.
    pub kept: bool,
    /// How many of the chains the weights of its ratio were worth, (Σw)²/Σw², where they were drawn
    /// again by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resampled_ess: Option<f64>,
    /// Every check.
    pub checks: Vec<Check>,
}

/// Bookkeeping of the stages; a checkpoint's `stages.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Book {
    /// Stages so far, the present one last.
    pub stages: Vec<StageRecord>,
    /// The smallest held-out loss of the present stage; none before its first check.
    pub best: Option<f64>,
    /// Checks since it was last undercut.
    pub waited: u32,
    /// Whether the prior is finished.
    pub finished: bool,
    /// Iterations of the prior in all.
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
    /// Enters a check of the present stage; says why the stage is to end, if it is.
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

    /// Ends the present stage and begins the next, if there is to be one.
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

    /// Ratios that were multiplied in.
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
    fn stages_end_when_the_rule_says() {
        let check = |iteration, loss| Check {
            iteration,
            loss,
            accuracy: 0.5,
        };
        let mut book = Book::default();
        // Falls, then stays: the second check without progress ends it.
        assert_eq!(book.enter(check(10, 0.6), &rule()), None);
        assert_eq!(book.enter(check(20, 0.5), &rule()), None);
        assert_eq!(book.enter(check(30, 0.495), &rule()), None);
        assert_eq!(book.enter(check(40, 0.498), &rule()), Some("plateau"));
        book.end("plateau", &rule());
        assert_eq!(
            (book.kept(), book.stages.len(), book.finished),
            (1, 2, false)
        );
        // Still falling, but too long.
        for k in 1..10 {
            assert_eq!(
                book.enter(check(10 * k, 0.6 - 0.02 * k as f64), &rule()),
                None
            );
        }
        assert_eq!(book.enter(check(100, 0.1), &rule()), Some("longest"));
        book.end("longest", &rule());
        // At chance: not kept, and the last.
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
