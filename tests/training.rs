//! Training through the command line: runs that are killed, resumed, recovered, watched and exported.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

fn scratch(name: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("mixwell-training-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A data set of 60 small pictures in two classes.
fn pictures(root: &Path) -> PathBuf {
    let folder = root.join("shapes");
    for k in 0..60u32 {
        let class = if k % 2 == 0 { "bars" } else { "dots" };
        let path = folder.join(class).join(format!("{k:02}.png"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::GrayImage::from_fn(28, 28, |x, y| {
            let on = match class {
                "bars" => (x + k) % 7 < 3,
                _ => (x as i32 - 14).pow(2) + (y as i32 - 14).pow(2) < 20 + k as i32,
            };
            image::Luma([if on { 230 } else { 10 }])
        })
        .save(path)
        .unwrap();
    }
    folder
}

fn command(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mixwell"));
    command
        .args(args)
        .current_dir(root)
        .env("RAYON_NUM_THREADS", "1");
    command
}

fn mixwell(root: &Path, args: &[&str]) -> Output {
    command(root, args).output().unwrap()
}

fn succeeds(root: &Path, args: &[&str]) -> String {
    let out = mixwell(root, args);
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{args:?}: {stderr}");
    String::from_utf8_lossy(&out.stdout).into_owned() + &stderr
}

fn fails(root: &Path, args: &[&str], words: &[&str]) {
    let out = mixwell(root, args);
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{args:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{args:?}: {stderr:?} lacks {word:?}");
    }
}

/// Arguments of a CLEL smoke run named "r" in this folder.
fn smoke(data: &str) -> [&str; 12] {
    [
        "train", "clel", "--data", data, "--preset", "smoke", "--name", "r", "--runs", ".",
        "--models", "m",
    ]
}

/// Metrics without the seconds, which differ between runs.
fn metrics(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let mut event: serde_json::Value = serde_json::from_str(line).unwrap();
            event.as_object_mut().unwrap().remove("seconds").unwrap();
            event
        })
        .collect()
}

/// The systems under test, each with its last phase and settings that shorten its phases.
const SYSTEMS: [(&str, &str, &[&str]); 4] = [
    (
        "flow-ebm",
        "tilt",
        &[
            "--set",
            "flow.iterations=60",
            "--set",
            "tilt.iterations=60",
            "--set",
            "health.every=20",
            "--set",
            "health.transitions=8",
        ],
    ),
    (
        "clel",
        "clel",
        &[
            "--set",
            "clel.iterations=60",
            "--set",
            "health.every=20",
            "--set",
            "health.transitions=8",
        ],
    ),
    (
        "latent-prior",
        "latent",
        &[
            "--set",
            "latent.iterations=120",
            "--set",
            "latent.prior.rule.stages=20",
            "--set",
            "latent.held_out=5",
            "--set",
            "health.every=20",
            "--set",
            "health.transitions=8",
        ],
    ),
    ("classifier", "classifier", &["--set", "iterations=60"]),
];

#[test]
fn every_system_is_tested() {
    let here: Vec<_> = SYSTEMS.iter().map(|s| s.0).collect();
    let registered: Vec<_> = mixwell::system::REGISTRY.iter().map(|r| r.name).collect();
    assert_eq!(
        here, registered,
        "a new system wants a line in SYSTEMS, and a test that kills its runs"
    );
}

// A test for each system of `SYSTEMS`, so that they run beside one another.

#[test]
fn a_killed_flow_ebm_run_equals_an_uninterrupted_one() {
    killed_run_equals_an_uninterrupted_one("flow-ebm");
}

#[test]
fn a_killed_clel_run_equals_an_uninterrupted_one() {
    killed_run_equals_an_uninterrupted_one("clel");
}

#[test]
fn a_killed_latent_prior_run_equals_an_uninterrupted_one() {
    killed_run_equals_an_uninterrupted_one("latent-prior");
}

#[test]
fn a_killed_classifier_run_equals_an_uninterrupted_one() {
    killed_run_equals_an_uninterrupted_one("classifier");
}

/// Killed at random times.
fn killed_run_equals_an_uninterrupted_one(of: &str) {
    let root = scratch(&format!("kill-{of}"));
    let data = pictures(&root);
    let data = data.to_str().unwrap();
    for (system, phase, extra) in SYSTEMS.into_iter().filter(|(system, ..)| *system == of) {
        let args = |runs: &'static str, resume: bool| -> Vec<&str> {
            let mut args = vec![
                "train", system, "--data", data, "--preset", "smoke", "--name", "r",
            ];
            args.extend(["--runs", runs, "--models", runs]);
            match resume {
                // The settings are in the run's config by now.
                true => args.push("--resume"),
                false => args.extend(extra),
            }
            args
        };
        let began = std::time::Instant::now();
        succeeds(&root, &args("whole", false));
        let whole = began.elapsed();
        // Seeded from the clock: every run of this test kills at other times.
        let mut state = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
        let mut kills = 0;
        for attempt in 0.. {
            assert!(attempt < 100, "{system} makes no progress between kills");
            let resume = root.join("killed/r/config.toml").is_file();
            let mut child: Child = command(&root, &args("killed", resume))
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // xorshift64: a time within three fifths of the uninterrupted run's. After four kills the
            // run is left to finish.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if kills < 4 {
                let share = match kills {
                    // The first kill in the last phase, for any earlier ones.
                    0 => {
                        let last = format!("\"phase\":\"{}\"", phase);
                        let path = root.join("killed/r/checkpoint/state.json");
                        while !std::fs::read_to_string(&path).is_ok_and(|s| s.contains(&last))
                            && child.try_wait().unwrap().is_none()
                        {
                            std::thread::sleep(Duration::from_millis(2));
                        }
                        0.05
                    }
                    _ => 0.05 + 0.55 * (state % 1000) as f64 / 1000.0,
                };
                std::thread::sleep(whole.mul_f64(share * (state % 997) as f64 / 997.0));
                if child.try_wait().unwrap().is_none() {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    kills += 1;
                    continue;
                }
            }
            let out = child.wait_with_output().unwrap();
            assert!(
                out.status.success(),
                "{}",
                String::from_utf8_lossy(&out.stderr)
            );
            break;
        }
        assert!(kills > 0, "{system}: nothing was killed");
        assert_eq!(
            metrics(&root.join("killed/r")),
            metrics(&root.join("whole/r")),
            "{system} after {kills} kills"
        );
        let name = format!("{system}-shapes");
        let weights =
            |runs: &str| std::fs::read(root.join(runs).join(&name).join("weights.safetensors"));
        assert_eq!(
            weights("killed").unwrap(),
            weights("whole").unwrap(),
            "{system}"
        );
        for runs in ["whole", "killed"] {
            std::fs::remove_dir_all(root.join(runs)).unwrap();
        }
    }
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_diverging_run_recovers_and_reports_it() {
    let root = scratch("recovery");
    let data = pictures(&root);
    let data = data.to_str().unwrap();
    // A learning rate at which the energies diverge; the rule's halvings correct it.
    let args = [
        "train",
        "clel",
        "--data",
        data,
        "--preset",
        "smoke",
        "--name",
        "r",
        "--runs",
        ".",
        "--models",
        ".",
        "--set",
        "clel.iterations=80",
        "--set",
        "clel.learning_rate=1.0",
        "--set",
        "clel.warmup=1",
        "--set",
        "clel.guided=false",
        "--set",
        "guard.settle=12",
        "--set",
        "guard.window=4",
        "--set",
        "guard.learning_rate=0.01",
        "--set",
        "guard.gap=2.0",
    ];
    succeeds(&root, &args);
    let text = std::fs::read_to_string(root.join("r/incidents.jsonl")).unwrap();
    let incidents: Vec<serde_json::Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert!(!incidents.is_empty());
    let first = &incidents[0];
    let (back, at) = (first["back_to"].as_u64(), first["iteration"].as_u64());
    assert!(back.unwrap() < at.unwrap(), "{first}");
    assert_eq!(first["correction"]["incidents"], 1);
    assert_eq!(first["correction"]["learning_rate"], 0.01);
    // Undone iterations are removed from the metrics; the rest are finite and in order.
    let lines = metrics(&root.join("r"));
    let iterations: Vec<u64> = lines
        .iter()
        .map(|l| l["iteration"].as_u64().unwrap())
        .collect();
    assert!(iterations.is_sorted());
    assert_eq!(iterations.last(), Some(&80));
    for line in &lines {
        for (name, value) in line["values"].as_object().unwrap() {
            assert!(
                value.as_f64().is_some_and(f64::is_finite),
                "{name}: {value}"
            );
        }
    }
    // The card reports it, and so do log, list and dashboard.
    let card = std::fs::read(root.join("clel-shapes-unguided/card.json")).unwrap();
    let card: serde_json::Value = serde_json::from_slice(&card).unwrap();
    assert_eq!(
        card["training"]["incidents"].as_array().unwrap().len(),
        incidents.len()
    );
    let log = std::fs::read_to_string(root.join("r/log.txt")).unwrap();
    assert!(log.contains("incident 1 at iteration"), "{log}");
    let listed = succeeds(&root, &["runs", "--runs", "."]);
    assert!(
        listed.contains(&format!("{} divergence(s)", incidents.len())),
        "{listed}"
    );
    assert!(succeeds(&root, &["watch", "r", "--once", "--runs", "."]).contains("incident 1"));
    // Without attempts left, the run ends with the reason.
    let mut hopeless: Vec<&str> = args
        .iter()
        .map(|a| if *a == "r" { "h" } else { a })
        .collect();
    hopeless.extend(["--set", "guard.attempts=0"]);
    fails(&root, &hopeless, &["diverged", "incidents.jsonl"]);
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn an_unfinished_run_can_be_exported_but_not_trained_twice() {
    let root = scratch("export");
    let data = pictures(&root);
    let data = data.to_str().unwrap();
    let base = smoke(data);
    let mut long = base.to_vec();
    long.extend(["--set", "clel.iterations=100000"]);
    // Long enough to read one checkpoint before the next.
    long.extend(["--set", "checkpoint_seconds=1"]);
    let mut child = command(&root, &long)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let state = root.join("r/checkpoint/state.json");
    for _ in 0..1200 {
        if state.is_file() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    // A second process may export the run but not train it.
    let mut second = base.to_vec();
    second.push("--resume");
    fails(&root, &second, &["one process at a time"]);
    let before = std::fs::read(root.join("r/config.toml")).unwrap();
    let export = succeeds(&root, &["export", "r", "--runs", ".", "--models", "m"]);
    assert!(export.contains("done: m/clel-shapes"), "{export}");
    assert_eq!(std::fs::read(root.join("r/config.toml")).unwrap(), before);
    assert!(
        child.try_wait().unwrap().is_none(),
        "the export ended the training"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let export = succeeds(&root, &["export", "r", "--runs", ".", "--models", "m"]);
    assert!(export.contains("done: m/clel-shapes"), "{export}");
    let info = succeeds(&root, &["info", "m/clel-shapes", "--json"]);
    let info: serde_json::Value = serde_json::from_str(info.trim()).unwrap();
    assert_eq!(info["self_test"]["passed"], true);
    assert_eq!(
        info["card"]["data"]["classes"],
        serde_json::json!(["bars", "dots"])
    );
    let text = info["card"]["data"]["preprocessing"].as_str().unwrap();
    assert!(text.contains("28 × 28") && text.contains("grey"), "{text}");
    // A run is not resumed by another system's recipe; a missing run is reported.
    fails(
        &root,
        &[
            "train", "flow-ebm", "--data", data, "--name", "r", "--runs", ".", "--resume",
        ],
        &["clel on", "as it was started"],
    );
    fails(&root, &["export", "none", "--runs", "."], &["run.json"]);
    // Each session wrote a TensorBoard file.
    assert!(
        std::fs::read_dir(root.join("r/tensorboard"))
            .unwrap()
            .count()
            >= 1
    );
    std::fs::remove_dir_all(root).unwrap();
}

#[cfg(unix)]
#[test]
fn ctrl_c_writes_a_checkpoint_and_resume_continues_from_it() {
    let root = scratch("interrupt");
    let data = pictures(&root);
    let data = data.to_str().unwrap();
    let base = smoke(data);
    let mut long = base.to_vec();
    // No periodic checkpoint: the one found is Ctrl-C's.
    long.extend([
        "--set",
        "clel.iterations=100000",
        "--set",
        "checkpoint_seconds=1e6",
    ]);
    let child = command(&root, &long)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..1200 {
        if root.join("r/metrics.jsonl").is_file() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!root.join("r/checkpoint").exists());
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let out = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("stopped on request") && stderr.contains("--resume"),
        "{stderr}"
    );
    let state = std::fs::read(root.join("r/checkpoint/state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    let stopped = state["iteration"].as_u64().unwrap();
    assert!(stopped >= 50);
    let end = format!("clel.iterations={}", stopped + 3);
    let mut resume = base.to_vec();
    resume.extend(["--resume", "--set", &end]);
    let output = succeeds(&root, &resume);
    assert!(
        output.contains(&format!("resuming clel at iteration {stopped}")),
        "{output}"
    );
    let log = std::fs::read_to_string(root.join("r/log.txt")).unwrap();
    assert!(
        log.contains("ended: stopped on request") && log.contains("resumed clel"),
        "{log}"
    );
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn systems_train_alike_on_one_and_two_devices() {
    let root = scratch("devices");
    let data = pictures(&root);
    let data = data.to_str().unwrap();
    let train = |system, name: &str, devices| {
        let mut args = vec![
            "train", system, "--data", data, "--preset", "smoke", "--name", name,
        ];
        args.extend(["--runs", ".", "--models", name, "--device", devices]);
        // Steps large enough to distinguish a gradient from half of it.
        if system == "clel" {
            args.extend([
                "--set",
                "clel.warmup=1",
                "--set",
                "clel.learning_rate=0.001",
            ]);
        }
        mixwell(&root, &args)
    };
    // The systems' metrics at the end of each phase.
    type Phase = (&'static str, u64, &'static [&'static str]);
    let flow: Phase = ("flow", 8, &["bits_per_dimension", "gradient_norm"]);
    let tilt: Phase = ("tilt", 6, &["tilt_data", "acceptance", "gradient_norm"]);
    let losses = &["energy_data", "gradient_norm", "contrastive_loss"];
    let held_out = &["held_out_loss", "held_out_accuracy"];
    for (system, phases) in [
        ("flow-ebm", vec![flow, tilt]),
        ("clel", vec![("clel", 6, losses)]),
        ("latent-prior", vec![("latent", 10, held_out)]),
    ] {
        let numbers = |devices| {
            let name = format!("{system}-{devices}").replace(',', "-");
            let out = train(system, &name, devices);
            let stderr = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success(), "{stderr}");
            let log = std::fs::read_to_string(root.join(&name).join("log.txt")).unwrap();
            assert_eq!(log.contains("(flex), CPU"), devices == "cpu,cpu", "{log}");
            let lines = metrics(&root.join(name));
            let mut numbers = Vec::new();
            for (phase, iteration, keys) in &phases {
                let wanted =
                    |l: &&serde_json::Value| l["phase"] == *phase && l["iteration"] == *iteration;
                let line = lines.iter().find(wanted).unwrap();
                numbers.extend(
                    keys.iter()
                        .map(|k| (*k, line["values"][k].as_f64().unwrap())),
                );
            }
            numbers
        };
        for ((key, one), (_, two)) in numbers("cpu").into_iter().zip(numbers("cpu,cpu")) {
            assert!(
                (one - two).abs() < 1e-3 * one.abs(),
                "{system}'s {key}: {one} on one device, {two} on two"
            );
        }
    }
    for (system, devices, word) in [
        ("classifier", "cpu,cpu", "one device for classifier"),
        ("clel", "gpu:3,gpu:3", "one device twice"),
    ] {
        let out = train(system, "no", devices);
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(
            out.status.code() == Some(1) && stderr.contains(word),
            "{stderr}"
        );
    }
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn completions_know_every_command() {
    let root = std::env::temp_dir();
    for shell in ["bash", "zsh", "fish"] {
        let script = succeeds(&root, &["completions", shell]);
        for word in ["train", "latent-prior", "export", "watch"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn settings_outside_their_domains_are_refused_before_training() {
    let root = scratch("domains");
    let data = pictures(&root);
    for setting in ["clel.batch", "guard.window"] {
        let mut args = smoke(data.to_str().unwrap()).to_vec();
        let set = format!("{setting}=0");
        args.extend(["--set", &set]);
        fails(&root, &args, &[setting]);
    }
    assert!(!root.join("r/metrics.jsonl").exists());
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn health_checks_are_logged_and_pictured() {
    let root = scratch("health");
    let data = pictures(&root);
    let mut args = smoke(data.to_str().unwrap()).to_vec();
    for set in [
        "clel.iterations=8",
        "health.every=4",
        "health.transitions=8",
    ] {
        args.extend(["--set", set]);
    }
    succeeds(&root, &args);
    for iteration in [4, 8] {
        let lines = metrics(&root.join("r"));
        let checked = lines.iter().any(|l| {
            l["iteration"] == iteration
                && l["values"]["chain_ess"].as_f64().is_some_and(|v| v > 0.0)
        });
        assert!(checked, "{lines:?}");
        let picture = root.join(format!("r/long-run-{iteration:06}.png"));
        assert!(picture.is_file(), "{picture:?}");
    }
    let card = std::fs::read(root.join("m/clel-shapes/card.json")).unwrap();
    let card: serde_json::Value = serde_json::from_slice(&card).unwrap();
    assert_eq!(card["training"]["chain_health"]["iteration"], 8);
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_trained_model_passes_its_self_test() {
    let root = scratch("trained");
    let data = pictures(&root);
    let data = data.to_str().unwrap();
    for (system, _, _) in SYSTEMS {
        // A classifier has no energy.
        if system == "classifier" {
            continue;
        }
        let mut args = vec!["train", system, "--data", data, "--preset", "smoke"];
        args.extend(["--runs", "runs", "--models", "m"]);
        succeeds(&root, &args);
        let model = format!("m/{system}-shapes");
        let out = mixwell(&root, &["info", &model, "--device", "cpu", "--json"]);
        let info: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(info["self_test"]["passed"], true, "{system}: {info}");
    }
    std::fs::remove_dir_all(root).unwrap();
}
