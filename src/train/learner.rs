//! The loop that every recipe's phases share: iterate, log, look, keep, and heal.

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

/// One phase of a recipe under way.
pub trait Learner: Sized {
    /// The metrics in which it shows that it diverges.
    const SIGNS: Signs;

    /// Iterations done.
    fn iteration(&self) -> u64;

    /// One iteration; what it measured, by name.
    ///
    /// # Errors
    /// [`Error::Diverged`] is healed; whatever else is told ends the run.
    fn step(&mut self) -> Result<Vec<(&'static str, f64)>>;

    /// Whether it is finished before its last iteration.
    fn finished(&self) -> bool {
        false
    }

    /// Called after an iteration was logged: checks and pictures of the system's own.
    ///
    /// # Errors
    /// Whatever it reports.
    fn look(&mut self, session: &mut Session<'_, '_, '_>) -> Result<()> {
        let _ = session;
        Ok(())
    }

    /// Scales the step sizes that a checkpoint holds, after an incident that the chains showed; those of
    /// the recipe are corrected when the learner is made.
    fn scale_steps(&mut self, factor: f64) {
        let _ = factor;
    }

    /// Seconds that it has waited for data.
    fn waited(&self) -> f64 {
        0.0
    }

    /// The chains that make its negatives, if there are any.
    ///
    /// # Errors
    /// Whatever it reports.
    fn negatives(&self) -> Result<Option<Negatives>> {
        Ok(None)
    }

    /// Writes everything that its future depends on, beside recipe and data.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Io`] or [`Error::Device`].
    fn save(&self, to: &Path) -> Result<()>;

    /// Goes on from what [`save`](Self::save) wrote after `iteration` iterations.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Io`] or [`Error::Data`].
    fn load(self, from: &Path, iteration: u64) -> Result<Self>;
}

/// How a phase is watched.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Signs and rule.
    pub guard: GuardConfig,
    /// The looks at the chains.
    pub health: HealthConfig,
    /// Seed of the looks' chains.
    pub seed: u64,
    /// Seconds of training after which the phase ends; 0: no bound.
    pub seconds: f64,
}

/// Why a stretch of iterations ended.
enum End {
    Done,
    Incident(u64, Sign),
}

impl Session<'_, '_, '_> {
    /// Runs a phase to its end: `make` makes its learner anew, as corrected by incidents, and a resumed
    /// one goes on from its checkpoint. Where the run is only exported, the learner is returned as the
    /// checkpoint has it.
    ///
    /// # Errors
    /// [`Error::Diverged`] when no attempt is left; [`Error::Cancelled`]; [`Error::Interrupted`] with
    /// anything else that ended it.
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
            let end = self.stretch(&mut learner, total, watch);
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
                    let healed = self.heal(at, sign, &watch.guard, make);
                    learner = healed.map_err(|e| self.interrupted(e, at))?;
                }
            }
        }
    }

    /// The learner as the last checkpoint has it, which a training may be replacing meanwhile.
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
            "a checkpoint that stays for as long as it is read",
            "one that is replaced faster",
            "give the run a longer checkpoint_seconds",
        ))
    }

    fn stretch<L: Learner>(&mut self, learner: &mut L, total: u64, watch: &Watch) -> Result<End> {
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
            // Of 0, which is never, only 0 is a multiple.
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

    /// Chain health, logged as a line of its own, with a grid of where the long chains ended.
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

    /// Goes back to where a sign of divergence calls for: the learner from there, corrected, and saved.
    fn heal<L: Learner>(
        &mut self,
        at: u64,
        sign: Sign,
        config: &GuardConfig,
        make: &mut dyn FnMut(&Correction) -> Result<L>,
    ) -> Result<L> {
        if self.state.correction.incidents >= config.attempts {
            return Err(Error::Diverged {
                problem: format!(
                    "at iteration {at} of {}: {}; {} attempts to heal were in vain",
                    self.state.phase, sign.seen, config.attempts
                ),
                fix: "look at incidents.jsonl, then begin anew with a lower learning rate, or resume with \
                      --set guard.attempts=N for more"
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
        // Old enough not to hold the beginning of it, and not yet found wanting twice.
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
        self.tell(&Event::Incident {
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
        self.checkpoint_anew(logged, |to| learner.save(to))?;
        Ok(learner)
    }

    /// What is told, and written to the log, when something ended the training before its time.
    fn interrupted(&self, source: Error, iteration: u64) -> Error {
        let told = match source {
            Error::Cancelled { .. } | Error::Diverged { .. } => source,
            source => Error::Interrupted {
                resume: match self.folder.checkpoint() {
                    Some(path) => format!(
                        "the checkpoint in {} is whole: mend the cause, then go on with --resume",
                        path.display()
                    ),
                    None => "no checkpoint was written yet: mend the cause, then give --resume to begin anew"
                        .into(),
                },
                source: Box::new(source),
                phase: self.state.phase.clone(),
                iteration,
            },
        };
        // Where the disk is full, there is no log either.
        let _ = log(self.folder.path(), &format!("ended: {told}"));
        told
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

    /// A quadratic energy's weight under gradient descent with noise: it contracts below a rate of 2, and
    /// runs away above.
    struct Toy {
        weight: f64,
        rate: f64,
        seed: u64,
        iteration: u64,
        /// Saving fails once, where this says so.
        full: Rc<Cell<bool>>,
        /// The device is lost at this iteration, once.
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
            // A cliff that is planted in the middle: from there on the rate counts a hundredfold.
            let cliff = if self.iteration >= 150 { 100.0 } else { 1.0 };
            self.weight -= self.rate * cliff * self.weight - 0.1 * f64::from(noise);
            self.iteration += 1;
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
            write_json(&to.join("weight"), &self.weight)
        }

        fn load(self, from: &Path, iteration: u64) -> Result<Self> {
            Ok(Self {
                weight: read_json(&from.join("weight"))?,
                iteration,
                ..self
            })
        }
    }

    struct Bench {
        request: Request,
        full: Rc<Cell<bool>>,
        lost: Rc<Cell<u64>>,
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

        /// Runs to an iteration, with a checkpoint at every `often`-th.
        fn run(&self, to: u64) -> Result<Toy> {
            let intent = self.request.intent;
            let folder = RunFolder::open(&self.request.runs, "r", intent)?;
            let mut sink = |_: &Event| {};
            let recipe = std::collections::BTreeMap::from([("seed", 1)]);
            // Every iteration: kept ones are a window apart all the same.
            let (mut session, resumed) =
                Session::open(&self.request, folder, &mut sink, "toy", &recipe, 0.0)?;
            let (full, lost) = (self.full.clone(), self.lost.clone());
            session.drive("toy", to, resumed, &self.watch, &mut |correction| {
                Ok(Toy {
                    weight: 1.0,
                    rate: 0.1 * correction.learning_rate,
                    seed: correction.seed(1),
                    iteration: 0,
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
    fn a_planted_divergence_is_healed_by_the_written_rule() {
        let bench = Bench::new("heal");
        let toy = bench.run(400).unwrap();
        assert_eq!(toy.iteration, 400);
        assert!(toy.weight.abs() < 2.0);
        // 0.1 × 100 runs away, and so do 5 and 2.5; 1.25 contracts.
        let incidents = bench.lines("incidents.jsonl");
        let rates: Vec<f64> = incidents
            .iter()
            .map(|i| i["correction"]["learning_rate"].as_f64().unwrap())
            .collect();
        assert_eq!(rates, [0.5, 0.25, 0.125]);
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

    #[test]
    fn a_run_stopped_between_incidents_heals_as_one_that_was_not() {
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
    fn attempts_end_with_a_word_on_what_was_tried() {
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
    fn a_full_disk_ends_a_run_that_can_be_resumed() {
        let mut bench = Bench::new("full");
        bench.run(50).unwrap();
        bench.request.intent = Intent::Resume;
        bench.full.set(true);
        let error = bench.run(120).err().unwrap().to_string();
        for word in ["cannot write", "iteration 51", "--resume", "is whole"] {
            assert!(error.contains(word), "{error:?} lacks {word:?}");
        }
        let resumed = bench.run(120).unwrap();
        let other = Bench::new("not-full");
        let expected = other.run(120).unwrap();
        assert_eq!(resumed.weight.to_bits(), expected.weight.to_bits());
    }

    /// Libraries panic when a device goes away in the middle of an iteration.
    #[test]
    fn a_lost_device_ends_a_run_that_can_be_resumed() {
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
}
