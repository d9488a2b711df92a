//! The command line as scripts see it: output, exit codes, messages.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::PathBuf,
    process::{Command, Output},
};

fn mixwell(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mixwell"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("mixwell-cli-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[track_caller]
fn fails(args: &[&str], words: &[&str]) {
    let out = mixwell(args);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{args:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{args:?}: {word:?} is not in {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

const SHIPPED: [&str; 7] = [
    "flow-ebm-mnist",
    "flow-ebm-fashion-mnist",
    "clel-fashion-mnist",
    "clel-cifar-10",
    "clel-fashion-mnist-unguided",
    "latent-prior-mnist",
    "latent-prior-fashion-mnist",
];

/// In the manifest's order: systems as registered, baselines last.
const LISTED: [&str; 8] = [
    "flow-ebm-mnist",
    "flow-ebm-fashion-mnist",
    "clel-fashion-mnist",
    "clel-cifar-10",
    "latent-prior-mnist",
    "latent-prior-fashion-mnist",
    "classifier-fashion-mnist",
    "clel-fashion-mnist-unguided",
];

#[test]
fn every_shipped_model_passes_its_self_test_on_cpu_and_gpu() {
    let gpu = std::env::var_os("MIXWELL_NO_GPU").is_none();
    for model in SHIPPED {
        for device in ["cpu", "gpu"].into_iter().filter(|&d| d == "cpu" || gpu) {
            let out = mixwell(&["info", model, "--device", device, "--json"]);
            assert_eq!(
                out.status.code(),
                Some(0),
                "{}",
                String::from_utf8_lossy(&out.stderr)
            );
            let info: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
            assert_eq!(info["self_test"]["passed"], true, "{model} on {device}");
            assert_eq!(info["card"]["name"], model);
        }
    }
}

#[test]
fn manifest_matches_the_models_on_disk() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models");
    let before = std::fs::read(root.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&before).unwrap();
    let names: Vec<_> = manifest["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, LISTED);
    let copy = scratch("manifest");
    for name in names {
        std::fs::create_dir_all(copy.join(name)).unwrap();
        for file in ["card.json", "weights.safetensors", "scores.json"] {
            let from = root.join(name).join(file);
            if from.is_file() {
                std::fs::copy(from, copy.join(name).join(file)).unwrap();
            }
        }
    }
    assert!(
        mixwell(&["manifest", "--models", copy.to_str().unwrap()])
            .status
            .success()
    );
    let after = std::fs::read(copy.join("manifest.json")).unwrap();
    assert_eq!(
        before, after,
        "run `mixwell manifest` after changing a model"
    );
    std::fs::remove_dir_all(copy).unwrap();
}

#[test]
fn sampling_writes_a_picture_and_its_exit_code_reports_convergence() {
    let folder = scratch("sample");
    let png = folder.join("grid.png");
    let base = [
        "sample",
        "flow-ebm-mnist",
        "--chains",
        "4",
        "--steps",
        "12",
        "--no-adapt",
        "--warmup",
        "3",
        "--json",
        "--out",
        png.to_str().unwrap(),
    ];
    let strict = mixwell(&base);
    assert_eq!(
        strict.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&strict.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&strict.stdout).unwrap();
    assert_eq!(report["converged"], false);
    assert_eq!(report["summaries"].as_array().unwrap().len(), 6);
    assert_eq!(report["summaries"][0]["draws"], 12);
    assert_eq!(&std::fs::read(&png).unwrap()[1..4], b"PNG");

    let lax = mixwell(&[&base[..], &["--max-rhat", "100", "--min-ess", "0.001"]].concat());
    assert_eq!(lax.status.code(), Some(0));
    let again: serde_json::Value = serde_json::from_slice(&lax.stdout).unwrap();
    assert_eq!(
        again["summaries"][0]["mean"], report["summaries"][0]["mean"],
        "replayed"
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn bad_requests_state_what_was_expected() {
    fails(
        &["info", "no-such-model"],
        &["no-such-model", "card.json", "flow-ebm-mnist"],
    );
    fails(
        &["sample", "flow-ebm-mnist", "--space", "outer"],
        &["pixel or latent", "outer"],
    );
    fails(
        &["sample", "flow-ebm-mnist", "--chains", "0"],
        &["chains", "found 0"],
    );
    fails(
        &["sample", "flow-ebm-mnist", "--step-size", "0"],
        &["step size", "found 0"],
    );
    fails(
        &["sample", "flow-ebm-mnist", "--max-rhat", "0.5"],
        &["max_rhat"],
    );
    fails(
        &["race", "flow-ebm-mnist", "--chains", "1"],
        &["chains", "2 to 64"],
    );
    let runs = scratch("bad");
    let runs_arg = runs.to_str().unwrap();
    let train = |extra: &[&'static str]| {
        let mut args = vec!["train", "flow-ebm", "--data", "mnist", "--runs", runs_arg];
        args.extend(extra);
        args.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for (extra, words) in [
        (
            &["--preset", "huge"][..],
            &["preset", "cpu, gpu, smoke"][..],
        ),
        (&["--set", "nothing=1"], &["--set"]),
        (&["--resume"], &["to resume"]),
        (
            &["--data-dir", "/nonexistent"],
            &["train-images-idx3-ubyte"],
        ),
    ] {
        let args = train(extra);
        fails(&args.iter().map(String::as_str).collect::<Vec<_>>(), words);
    }
    std::fs::remove_dir_all(runs).unwrap();
}

#[test]
fn generating_takes_conditions_and_keeps_pixels() {
    let folder = scratch("generate");
    let (grid, picture) = (folder.join("grid.png"), folder.join("own.png"));
    image::RgbaImage::from_fn(40, 30, |x, y| {
        image::Rgba([x as u8 * 6, y as u8 * 8, 90, 255])
    })
    .save(&picture)
    .unwrap();
    let out = mixwell(&[
        "generate",
        "clel-fashion-mnist",
        "--count",
        "3",
        "--rounds",
        "1",
        "--steps",
        "3",
        "--all",
        "dress",
        "--none",
        picture.to_str().unwrap(),
        "--keep",
        picture.to_str().unwrap(),
        "--part",
        "left",
        "--out",
        grid.to_str().unwrap(),
        "--json",
    ]);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let frame: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&frame["step"], &frame["of"]), (&3.into(), &3.into()));
    let names: Vec<_> = frame["terms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["model", "class 3: dress", "image"]);
    assert_eq!(
        frame["verdict"].as_array().unwrap().len(),
        30,
        "the classifier scores all images"
    );
    assert_eq!(&std::fs::read(&grid).unwrap()[1..4], b"PNG");
    let base = [
        "generate",
        "clel-fashion-mnist",
        "--out",
        grid.to_str().unwrap(),
    ];
    let with = |extra: &[&'static str]| [&base[..], extra].concat();
    fails(&with(&["--all", "hat"]), &["dress", "hat"]);
    fails(&with(&["--count", "0"]), &["images", "found 0"]);
    fails(
        &["generate", "flow-ebm-mnist", "--out", "x.png", "--all", "3"],
        &["a model with latents"],
    );
    fails(
        &["sample", "classifier-fashion-mnist"],
        &["found a classifier"],
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn scoring_ranks_images_and_refuses_other_files() {
    let folder = scratch("score");
    let flat = folder.join("flat.png");
    image::GrayImage::from_pixel(64, 48, image::Luma([200]))
        .save(&flat)
        .unwrap();
    let out = mixwell(&[
        "score",
        "clel-fashion-mnist",
        flat.to_str().unwrap(),
        "--json",
    ]);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let scores: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let score = &scores[0]["score"];
    assert!(score["ood"].is_number() && score["energy"].as_f64().unwrap() >= 0.0);
    let below = score["percentiles"][0]["energy"]["below"].as_f64().unwrap();
    // A flat picture is no garment: nearly all test images have a lower energy.
    assert!(below > 0.95, "{below}");
    let text = folder.join("text.png");
    std::fs::write(&text, "no image").unwrap();
    fails(
        &["score", "clel-fashion-mnist", text.to_str().unwrap()],
        &["text.png", "PNG, JPEG"],
    );
    fails(
        &["score", "clel-fashion-mnist", "/nowhere.png"],
        &["/nowhere.png"],
    );
    fails(
        &[
            "eval",
            "clel-fashion-mnist",
            "--inception",
            "/nowhere.pth",
            "--data-dir",
            "/nowhere",
        ],
        &["/nowhere"],
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn stages_toys_and_anomalies() {
    let folder = scratch("stages");
    let out = folder.to_string_lossy().into_owned();
    let found = mixwell(&[
        "stages",
        "latent-prior-mnist",
        "--chains",
        "4",
        "--steps",
        "10",
        "--warmup",
        "5",
        "--out",
        &out,
    ]);
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    // So few draws do not converge, and the exit code reports it.
    assert_eq!(
        found.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
    let stages = text.lines().count() - 1;
    assert!(stages >= 2, "{text}");
    for k in 0..stages {
        assert!(folder.join(format!("stage-{k}.png")).is_file());
    }
    let sir = mixwell(&[
        "stages",
        "latent-prior-mnist",
        "--chains",
        "4",
        "--sampler",
        "sir",
        "--json",
    ]);
    assert_eq!(sir.status.code(), Some(0));
    let rows: serde_json::Value = serde_json::from_slice(&sir.stdout).unwrap();
    // At stage 0 all weights are equal; a ratio lowers the ESS.
    let ess = |k: usize| rows[k]["sir"]["ess"].as_f64().unwrap();
    assert!((ess(0) - 10_000.0).abs() < 1e-6 && ess(1) < ess(0));
    fails(&["stages", "flow-ebm-mnist"], &["latent-prior"]);
    fails(
        &["sample", "latent-prior-mnist", "--space", "stage-99"],
        &["stage-0 to stage-"],
    );

    let toys = [
        "toys",
        "--nats",
        "5",
        "--iterations",
        "40",
        "--batch",
        "64",
        "--seeds",
        "1",
        "--out",
        &out,
    ];
    // Killed after its first run, the command continues with the second.
    let unfinished = folder.join("unfinished.jsonl");
    let first = || -> Option<serde_json::Value> {
        let text = std::fs::read_to_string(&unfinished).ok()?;
        serde_json::from_str(text.lines().find(|l| !l.is_empty())?).ok()
    };
    let mut killed = Command::new(env!("CARGO_BIN_EXE_mixwell"))
        .args(toys)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..1200 {
        if first().is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let first = first().unwrap();
    let toys = mixwell(&toys);
    assert_eq!(
        toys.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&toys.stderr)
    );
    assert!(folder.join("toys.png").is_file());
    let text = std::fs::read_to_string(folder.join("toys.json")).unwrap();
    let toys: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(toys["runs"].as_array().unwrap().len(), 6);
    assert_eq!(toys["runs"][0], first["result"]);
    assert!(!unfinished.exists());
    fails(&["toys", "--arms", "gaussian"], &["--arms", "nce"]);
    fails(&["toys", "--nats", "0.01"], &["nats"]);
    fails(&["anomaly", "--seconds", "0"], &["positive"]);
    fails(&["anomaly", "--preset", "none"], &["cpu"]);
    fails(&["anomaly", "--set", "latent.widths=3"], &["latent.widths"]);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn runs_are_listed_compared_and_watched() {
    let folder = scratch("runs");
    let runs = folder.to_string_lossy().into_owned();
    for (name, rate) in [("a", 0.1), ("b", 0.2)] {
        let run = folder.join(name);
        std::fs::create_dir_all(run.join("checkpoint")).unwrap();
        let config = format!("seed = 1\n[net]\nrate = {rate}\n");
        std::fs::write(run.join("config.toml"), config).unwrap();
        let state = r#"{"phase":"net","iteration":40,"seconds":90.0,"commit":"c","device":"CPU","preset":"cpu"}"#;
        std::fs::write(run.join("checkpoint/state.json"), state).unwrap();
        // The last line was cut short by a kill.
        let line = |i: u64, v: f64| {
            format!(
                r#"{{"event":"metrics","phase":"net","iteration":{i},"seconds":1.0,"values":{{"loss":{v}}}}}"#
            )
        };
        let metrics = format!(
            "{}\n{}\n{{\"event\":\"met",
            line(20, 2.0 + rate),
            line(40, 1.0 + rate)
        );
        std::fs::write(run.join("metrics.jsonl"), metrics).unwrap();
    }
    let text = |args: &[&str]| {
        let out = mixwell(args);
        assert_eq!(
            out.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let listed = text(&["runs", "--runs", &runs]);
    assert!(
        listed.contains("loss 1.1000") && listed.contains("loss 1.2000"),
        "{listed}"
    );
    let compared = text(&["runs", "a", "b", "--runs", &runs]);
    assert!(
        compared.contains("net.rate") && !compared.contains("seed"),
        "{compared}"
    );
    let watched = text(&["watch", "a", "--once", "--runs", &runs]);
    assert!(
        watched.contains("iteration 40") && watched.contains("█▁"),
        "{watched}"
    );
    fails(&["watch", "c", "--once", "--runs", &runs], &["a, b"]);
    fails(
        &["watch", "a", "--every", "0", "--runs", &runs],
        &["positive"],
    );
    let doctor: serde_json::Value = serde_json::from_str(&text(&["doctor", "--json"])).unwrap();
    assert!(doctor["speeds"][0]["matrix_gflops"].as_f64().unwrap() > 0.0);
    std::fs::remove_dir_all(folder).unwrap();
}
