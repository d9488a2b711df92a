//! The training loop shared by all recipes: iterate, log, check, save, and recover from divergence.

use std::path::{Path, PathBuf};

use super::{
    event::Event,
    guard::{Correction, GuardConfig, Incident, Sign, Signs},
    health::{HealthConfig, Negatives},
    run_folder::{Intent, Kept, log},
    session::{Session, State, read_json},
};
use crate::{
    error::{Error, Result},
    rng::{Purpose, Rng},
};

/// One phase of a recipe in training.
pub trait Learner: Sized {
    /// The metrics that show divergence.
    const SIGNS: Signs;

    /// Completed iterations.
    fn iteration(&self) -> u64;

    /// Runs one iteration; returns its metrics by name.
    ///
    /// # Errors
    /// The loop recovers from [`Error::Diverged`]; any other error ends the run.
    fn step(&mut self) -> Result<Vec<(&'static str, f64)>>;

    /// Whether it is finished early.
    fn finished(&self) -> bool {
        false
    }

    /// Called after each iteration, for the system's own checks and pictures.
    ///
    /// # Errors
    /// Whatever it reports.
    fn look(&mut self, session: &mut Session<'_, '_, '_>) -> Result<()> {
        let _ = session;
        Ok(())
    }

    /// Scales the step sizes restored from a checkpoint, after an incident that the chains showed. Those
    /// of the recipe are corrected when the learner is made.
    fn scale_steps(&mut self, factor: f64) {
        let _ = factor;
    }

    /// Seconds for which it has waited for data.
    fn waited(&self) -> f64 {
        0.0
    }

    /// The chains of its negatives, if any.
    ///
    /// # Errors
    /// Whatever it reports.
    fn negatives(&self) -> Result<Option<Negatives>> {
        Ok(None)
    }

    /// Writes its complete state, besides recipe and data.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Io`] or [`Error::Device`].
    fn save(&self, to: &Path) -> Result<()>;

    /// Restores the state that [`save`](Self::save) wrote after `iteration` iterations.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Io`] or [`Error::Data`].
    fn load(self, from: &Path, iteration: u64) -> Result<Self>;
}

/// Monitoring of a phase.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Signs of divergence, and the recovery rule.
    pub guard: GuardConfig,
    /// Health checks of the chains.
    pub health: HealthConfig,
    /// Seed of the health checks' chains.
    pub seed: u64,
    /// Training seconds after which the phase ends; 0: no limit.
    pub seconds: f64,
}

/// Why the iterations stopped.
enum End {
    Done,
    Incident(u64, Sign),
}

impl Session<'_, '_, '_> {
    /// Runs a phase to its end. `make` builds a new learner with the given corrections; a resumed phase
    /// continues from its checkpoint. For an export, returns the learner of the checkpoint.
    ///
    /// # Errors
    /// [`Error::Diverged`] when no attempt is left; [`Error::Cancelled`]; [`Error::Interrupted`] with
    /// any other cause.
    pub fn drive<L: Learner>(
        &mut self,
        phase: &str,
        total: u64,
        resumed: Option<(PathBuf, State)>,
        watch: &Watch,
        make: &mut dyn FnMut(&Correction) -> Result<L>,
    ) -> Result<L> {
        watch.guard.check()?;
        watch.health.check()?;
        if self.request.intent == Intent::Export {
            return self.as_saved(resumed, make);
        }
        self.begin_phase(phase, resumed.is_some())?;
        let mut learner = make(&self.state.correction)?;
        if let Some((path, state)) = resumed {
            learner = learner.load(&path, state.iteration)?;
            self.state.iteration = state.iteration;
        }
        self.accept_config()?;
        let began = self.session_seconds();
        loop {
            let end = self.iterate(&mut learner, total, watch);
            match end.map_err(|e| self.interrupted(e, learner.iteration()))? {
                End::Done => {
                    let (waited, all) = (learner.waited(), self.session_seconds() - began);
                    let share = 100.0 * waited / all.max(f64::MIN_POSITIVE);
                    self.note(format!(
                        "{phase}: waited {waited:.1} s of {all:.0} s for data ({share:.2} %)"
                    ))?;
                    return Ok(learner);
                }
                End::Incident(at, sign) => {
                    let recovered = self.recover(at, sign, &watch.guard, make);
                    learner = recovered.map_err(|e| self.interrupted(e, at))?;
                }
            }
        }
    }

    /// The learner of the last checkpoint, which a running training may replace meanwhile.
    fn as_saved<L: Learner>(
        &mut self,
        resumed: Option<(PathBuf, State)>,
        make: &mut dyn FnMut(&Correction) -> Result<L>,
    ) -> Result<L> {
        let mut found = resumed;
        for _ in 0..20 {
            let Some((path, state)) = found else { break };
            let loaded = make(&state.correction).and_then(|l| l.load(&path, state.iteration));
            let after: Option<State> = read_json(&path.join("state.json")).ok();
            let same = after.is_some_and(|s| {
                (s.phase, s.iteration, s.seconds)
                    == (state.phase.clone(), state.iteration, state.seconds)
            });
            if same {
                self.state = state;
                return loaded;
            }
            found = self.folder.checkpoint().and_then(|path| {
                let state = read_json(&path.join("state.json")).ok()?;
                Some((path, state))
            });
        }
        Err(Error::invalid(
            "run",
            "a checkpoint that is not replaced while it is read",
            "one that is replaced faster",
            "set a longer checkpoint_seconds for the run",
        ))
    }

    /// Iterates until the phase ends or a sign of divergence appears.
    fn iterate<L: Learner>(&mut self, learner: &mut L, total: u64, watch: &Watch) -> Result<End> {
        let mut saved = learner.iteration();
        while learner.iteration() < total
            && !learner.finished()
            && !(watch.seconds > 0.0 && self.seconds() >= watch.seconds)
        {
            let values = match learner.step() {
                Ok(values) => values,
                Err(Error::Diverged { problem, .. }) => {
                    let at = learner.iteration() + 1;
                    return Ok(End::Incident(at, Sign::of(problem)));
                }
                Err(e) => return Err(e),
            };
            let iteration = learner.iteration();
            let sign = self.state.guard.judge(&watch.guard, &L::SIGNS, &values);
            if let Some(sign) = sign {
                return Ok(End::Incident(iteration, sign));
            }
            self.tick(iteration, total, &values)?;
            // `every` = 0 disables the checks: only 0 is a multiple of 0.
            let looked = match iteration.is_multiple_of(watch.health.every) {
                true => self.look_at_chains(learner, watch),
                false => Ok(()),
            };
            match looked.and_then(|()| learner.look(self)) {
                Err(Error::Diverged { problem, .. }) => {
                    return Ok(End::Incident(iteration, Sign::of(problem)));
                }
                looked => looked?,
            }
            if self.checkpoint_due(total) {
                self.checkpoint(watch.guard.window as u64, |to| learner.save(to))?;
                saved = iteration;
            }
        }
        if saved != learner.iteration() {
            self.checkpoint(watch.guard.window as u64, |to| learner.save(to))?;
        }
        Ok(End::Done)
    }

    /// Runs a health check, logs its metrics as a separate line, and writes a grid of the last states.
    fn look_at_chains<L: Learner>(&mut self, learner: &L, watch: &Watch) -> Result<()> {
        let Some(negatives) = learner.negatives()? else {
            return Ok(());
        };
        let rng = Rng::new(watch.seed).derived(Purpose::Health, learner.iteration());
        let look = negatives.look(&watch.health, rng)?;
        self.state.health = Some((learner.iteration(), look.values.clone()));
        self.metrics(look.values)?;
        if let Some(images) = negatives.target.to_image(look.ends) {
            let [n, c, h, w] = images.dims();
            self.grid("long-run", images.reshape([n, c * h * w]), [c, h, w])?;
        }
        Ok(())
    }

    /// Recovers from a divergence: returns to an earlier checkpoint, applies the correction, and saves.
    fn recover<L: Learner>(
        &mut self,
        at: u64,
        sign: Sign,
        config: &GuardConfig,
        make: &mut dyn FnMut(&Correction) -> Result<L>,
    ) -> Result<L> {
        if self.state.correction.incidents >= config.attempts {
            return Err(Error::Diverged {
                problem: format!(
                    "at iteration {at} of {}: {}; {} attempts to recover failed",
                    self.state.phase, sign.seen, config.attempts
                ),
                fix: "read incidents.jsonl, then start again with a lower learning rate, or resume with \
                      --set guard.attempts=N for more attempts"
                    .into(),
            });
        }
        let correction = self.state.correction.after(&sign, config);
        let tried = |iteration: u64| {
            let same = |i: &&Incident| i.phase == self.state.phase && i.back_to == iteration;
            self.state.incidents.iter().filter(same).count()
        };
        let mut candidates = self.folder.kept();
        if let Some(path) = self.folder.checkpoint()
            && let Ok(state) = read_json::<State>(&path.join("state.json"))
            && state.phase == self.state.phase
        {
            let iteration = state.iteration;
            candidates.push(Kept { iteration, path });
        }
        // Old enough to predate the divergence, and not failed twice already.
        let latest = at.saturating_sub(config.window as u64);
        let chosen = candidates
            .into_iter()
            .filter(|k| k.iteration <= latest && tried(k.iteration) < 2)
            .max_by_key(|k| k.iteration);
        let old: Option<State> = match &chosen {
            Some(kept) => Some(read_json(&kept.path.join("state.json"))?),
            None => None,
        };
        let steps = correction.step_size / old.as_ref().map_or(1.0, |s| s.correction.step_size);
        let incident = Incident {
            phase: self.state.phase.clone(),
            iteration: at,
            sign,
            back_to: chosen.as_ref().map_or(0, |k| k.iteration),
            correction: correction.clone(),
        };
        self.emit(&Event::Incident {
            incident: incident.clone(),
        })?;
        let logged = self.return_to(old);
        self.state.correction = correction;
        self.state.incidents.push(incident);
        let mut learner = make(&self.state.correction)?;
        if let Some(kept) = &chosen {
            learner = learner.load(&kept.path, kept.iteration)?;
            learner.scale_steps(steps);
        }
        self.checkpoint_after_incident(logged, |to| learner.save(to))?;
        Ok(learner)
    }

    /// Wraps an error that ended the training early, and writes it to the log.
    fn interrupted(&self, source: Error, iteration: u64) -> Error {
        let error = match source {
            Error::Cancelled { .. } | Error::Diverged { .. } => source,
            source => Error::Interrupted {
                resume: match self.folder.checkpoint() {
                    Some(path) => format!(
                        "the checkpoint in {} is intact: fix the cause, then continue with --resume",
                        path.display()
                    ),
                    None => "no checkpoint was written yet: fix the cause, then start again with --resume"
                        .into(),
                },
                source: Box::new(source),
                phase: self.state.phase.clone(),
                iteration,
            },
        };
        // Ignore a failure: on a full disk, the log cannot be written either.
        let _ = log(self.folder.path(), &format!("ended: {error}"));
        error
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, fs, rc::Rc, sync::atomic::AtomicBool};

    use super::*;
    use crate::{
        data::{DataRef, DatasetName, Source},
        train::{Intent, Request, RunFolder, write_json},
    };

    static CANCEL: AtomicBool = AtomicBool::new(false);

    /// Noisy gradient descent on a quadratic: it contracts for a rate below 2 and diverges above.
    struct Toy {
        weight: f64,
        rate: f64,
        seed: u64,
        iteration: u64,
        /// The chains' step size: part of the state, as a sampler's is.
        step: f64,
        /// Iteration at which the state was spoilt, if it was; from 15 iterations later it is not finite.
        spoilt: Option<u64>,
        /// Iteration at which the state is spoilt unless the recipe was corrected.
        spoil: u64,
        /// If set, saving fails once.
        full: Rc<Cell<bool>>,
        /// Iteration at which the device is lost, once.
        lost: Rc<Cell<u64>>,
    }

    impl Learner for Toy {
        const SIGNS: Signs = Signs {
            energies: Some(["data", "samples"]),
            gradient: Some("norm"),
            saturated: None,
        };

        fn iteration(&self) -> u64 {
            self.iteration
        }

        fn step(&mut self) -> Result<Vec<(&'static str, f64)>> {
            if self.iteration > 0 && self.lost.get() == self.iteration {
                self.lost.set(0);
                panic!("device lost");
            }
            let noise = Rng::new(self.seed).normals(Purpose::Data, self.iteration as u32, 1, 1)[0];
            // A planted cliff: from iteration 150 on, the rate is multiplied by 100.
            let cliff = if self.iteration >= 150 { 100.0 } else { 1.0 };
            self.weight -= self.rate * cliff * self.weight - 0.1 * f64::from(noise);
            self.iteration += 1;
            if self.iteration == self.spoil && self.rate == 0.1 {
                self.spoilt = Some(self.iteration);
            }
            if self.spoilt.is_some_and(|at| self.iteration >= at + 15) {
                let fix = String::new();
                let problem = "the state is spoilt".into();
                return Err(Error::Diverged { problem, fix });
            }
            Ok(vec![
                ("data", self.weight.powi(2)),
                ("samples", 0.0),
                ("norm", self.weight.abs()),
            ])
        }

        fn save(&self, to: &Path) -> Result<()> {
            if self.full.replace(false) {
                let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
                return Err(Error::io("write", to)(full));
            }
            write_json(&to.join("weight"), &(self.weight, self.step, self.spoilt))
        }

        fn scale_steps(&mut self, factor: f64) {
            self.step *= factor;
        }

        fn load(self, from: &Path, iteration: u64) -> Result<Self> {
            let (weight, step, spoilt) = read_json(&from.join("weight"))?;
            Ok(Self {
                weight,
                step,
                spoilt,
                iteration,
                ..self
            })
        }
    }

    struct Bench {
        request: Request,
        full: Rc<Cell<bool>>,
        lost: Rc<Cell<u64>>,
        spoil: u64,
        watch: Watch,
    }

    impl Bench {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir();
            let runs = root.join(format!("mixwell-learner-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&runs);
            Self {
                request: Request {
                    preset: "p".into(),
                    data: DataRef::Known(DatasetName::Mnist),
                    source: Source::default(),
                    set: Vec::new(),
                    begun: Vec::new(),
                    models: runs.clone(),
                    runs,
                    name: None,
                    intent: Intent::Begin,
                    device: burn::tensor::Device::flex(),
                    others: Vec::new(),
                    device_name: "CPU".into(),
                    cancel: &CANCEL,
                },
                full: Rc::default(),
                lost: Rc::default(),
                spoil: 0,
                watch: Watch {
                    guard: GuardConfig {
                        settle: 60,
                        window: 10,
                        ..GuardConfig::default()
                    },
                    health: HealthConfig::default(),
                    seed: 1,
                    seconds: 0.0,
                },
            }
        }

        /// Runs to iteration `to`, with a checkpoint after every iteration.
        fn run(&self, to: u64) -> Result<Toy> {
            let intent = self.request.intent;
            let folder = RunFolder::open(&self.request.runs, "r", intent)?;
            let mut sink = |_: &Event| {};
            let recipe = std::collections::BTreeMap::from([("seed", 1)]);
            // 0 seconds between checkpoints; kept ones are a window apart all the same.
            let (mut session, resumed) =
                Session::open(&self.request, folder, &mut sink, "toy", &recipe, 0.0)?;
            let (full, lost) = (self.full.clone(), self.lost.clone());
            session.drive("toy", to, resumed, &self.watch, &mut |correction| {
                Ok(Toy {
                    weight: 1.0,
                    rate: 0.1 * correction.learning_rate,
                    seed: correction.seed(1),
                    iteration: 0,
                    step: correction.step_size,
                    spoilt: None,
                    spoil: self.spoil,
                    full: full.clone(),
                    lost: lost.clone(),
                })
            })
        }

        fn lines(&self, file: &str) -> Vec<serde_json::Value> {
            let text =
                fs::read_to_string(self.request.runs.join("r").join(file)).unwrap_or_default();
            text.lines()
                .map(|l| serde_json::from_str(l).unwrap())
                .collect()
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.request.runs);
        }
    }

    #[test]
    fn planted_divergence_is_recovered_by_the_rule() {
        let bench = Bench::new("heal");
        let toy = bench.run(400).unwrap();
        assert_eq!(toy.iteration, 400);
        assert!(toy.weight.abs() < 2.0);
        // 0.1 × 100 = 10 diverges, and so do 5 and 2.5; 1.25 contracts.
        let incidents = bench.lines("incidents.jsonl");
        let rates: Vec<f64> = incidents
            .iter()
            .map(|i| i["correction"]["learning_rate"].as_f64().unwrap())
            .collect();
        assert_eq!(rates, [0.5, 0.25, 0.125]);
        // The gap grew each time, so the chains' steps, restored with their checkpoint, shrank each time.
        let steps: Vec<f64> = incidents
            .iter()
            .map(|i| i["correction"]["step_size"].as_f64().unwrap())
            .collect();
        assert_eq!(steps.len(), 3);
        assert!((steps[2] - 0.7f64.powi(3)).abs() < 1e-12, "{steps:?}");
        assert!((toy.step - steps[2]).abs() < 1e-12, "{}", toy.step);
        for incident in &incidents {
            let at = incident["iteration"].as_u64().unwrap();
            let back = incident["back_to"].as_u64().unwrap();
            assert!((151..175).contains(&at), "{at}");
            assert!(back > 100 && back + 10 <= at, "{back} of {at}");
        }
        let logged: Vec<u64> = bench
            .lines("metrics.jsonl")
            .iter()
            .map(|l| l["iteration"].as_u64().unwrap())
            .collect();
        assert_eq!(logged, [50, 100, 150, 200, 250, 300, 350, 400]);
    }

    /// The checkpoint before the sign is spoilt already, so no correction helps it. After two vain
    /// attempts the run goes back further.
    #[test]
    fn checkpoint_that_failed_twice_is_not_tried_again() {
        let mut bench = Bench::new("spoilt");
        bench.spoil = 121;
        let toy = bench.run(149).unwrap();
        assert!(toy.iteration == 149 && toy.spoilt.is_none());
        let incidents = bench.lines("incidents.jsonl");
        let back: Vec<u64> = incidents
            .iter()
            .map(|i| i["back_to"].as_u64().unwrap())
            .collect();
        assert_eq!(back.len(), 3, "{back:?}");
        assert!(back[0] >= 121 && back[1] == back[0], "{back:?}");
        assert!((100..121).contains(&back[2]), "{back:?}");
    }

    #[test]
    fn run_stopped_between_incidents_recovers_like_an_uninterrupted_one() {
        let whole = Bench::new("whole");
        let expected = whole.run(400).unwrap();
        let mut parts = Bench::new("parts");
        for to in [140, 155, 160, 300, 400] {
            parts.run(to).unwrap();
            parts.request.intent = Intent::Resume;
        }
        let found = parts.run(400).unwrap();
        assert_eq!(found.weight.to_bits(), expected.weight.to_bits());
        assert_eq!(
            parts.lines("incidents.jsonl"),
            whole.lines("incidents.jsonl")
        );
    }

    #[test]
    fn exhausted_attempts_end_with_an_error_that_names_them() {
        let mut bench = Bench::new("hopeless");
        bench.watch.guard.learning_rate = 1.0;
        bench.watch.guard.attempts = 2;
        let error = bench.run(400).err().unwrap().to_string();
        assert!(
            error.contains("2 attempts") && error.contains("incidents.jsonl"),
            "{error}"
        );
        assert_eq!(bench.lines("incidents.jsonl").len(), 2);
    }

    #[test]
    fn run_ended_by_a_full_disk_can_be_resumed() {
        let mut bench = Bench::new("full");
        bench.run(50).unwrap();
        bench.request.intent = Intent::Resume;
        bench.full.set(true);
        let error = bench.run(120).err().unwrap().to_string();
        for word in ["cannot write", "iteration 51", "--resume", "is intact"] {
            assert!(error.contains(word), "{error:?} lacks {word:?}");
        }
        let resumed = bench.run(120).unwrap();
        let other = Bench::new("not-full");
        let expected = other.run(120).unwrap();
        assert_eq!(resumed.weight.to_bits(), expected.weight.to_bits());
    }

    /// Libraries panic when a device is lost during an iteration.
    #[test]
    fn run_ended_by_a_lost_device_can_be_resumed() {
        let mut bench = Bench::new("lost");
        bench.request.name = Some("r".into());
        bench.lost.set(100);
        let guarded = |bench: &Bench| bench.request.guarded("toy", || bench.run(120));
        let error = guarded(&bench).err().unwrap().to_string();
        for word in ["device lost", "mixwell doctor", "--resume"] {
            assert!(error.contains(word), "{error:?} lacks {word:?}");
        }
        let log = fs::read_to_string(bench.request.runs.join("r/log.txt")).unwrap();
        assert!(
            log.contains("ended: ") && log.contains("device lost"),
            "{log}"
        );
        bench.request.intent = Intent::Resume;
        let resumed = guarded(&bench).unwrap();
        let expected = Bench::new("not-lost").run(120).unwrap();
        assert_eq!(resumed.weight.to_bits(), expected.weight.to_bits());
    }

    /// The last checkpoint of an earlier phase is none to return to.
    #[test]
    fn recovery_stays_within_the_phase() {
        let mut bench = Bench::new("phases");
        bench.spoil = 2;
        let folder = RunFolder::open(&bench.request.runs, "r", Intent::Begin).unwrap();
        let mut sink = |_: &Event| {};
        let recipe = std::collections::BTreeMap::from([("seed", 1)]);
        let opened = Session::open(&bench.request, folder, &mut sink, "a", &recipe, 1e9);
        let (mut session, _) = opened.unwrap();
        let mut make = |correction: &Correction| {
            Ok(Toy {
                weight: 1.0,
                rate: 0.1 * correction.learning_rate,
                seed: correction.seed(1),
                iteration: 0,
                step: correction.step_size,
                spoilt: None,
                spoil: bench.spoil,
                full: bench.full.clone(),
                lost: bench.lost.clone(),
            })
        };
        session
            .drive("a", 3, None, &bench.watch, &mut make)
            .unwrap();
        let toy = session
            .drive("b", 40, None, &bench.watch, &mut make)
            .unwrap();
        assert_eq!(toy.iteration, 40);
        let incidents = bench.lines("incidents.jsonl");
        assert_eq!(incidents.len(), 1);
        assert_eq!(incidents[0]["back_to"], 0);
    }
}
