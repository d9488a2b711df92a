//! The project's tasks: `cargo xtask demo`, `cargo xtask test` and others.

mod checks;
mod tools;
mod web;

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::Instant,
};

type Result<T = ()> = std::result::Result<T, String>;

const HELP: &str = "\
cargo xtask demo          build the page and serve it on http://localhost:8080
cargo xtask test          everything: formatting, lints, Rust tests on CPU and GPU, page, browser
cargo xtask test rust     only the Rust half
cargo xtask test web      only the page's half
cargo xtask web           build the page into dist/
cargo xtask texts         spelling, and links in Markdown
cargo xtask licences      licences and sources of dependencies
cargo xtask contract      write the page's contract (types, settings) from the crate
cargo xtask takeout FILE  recompute the Playground's exported diagnostics with ArviZ
cargo xtask bench         ratios of speeds, measured in one run
cargo xtask fixtures      rebuild the reference values in tests/fixtures (needs Python with torch, torchvision, mpmath, tensorboard, datasets)";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // Every task runs in the repository's root.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    if let Err(e) = env::set_current_dir(root.unwrap_or(Path::new("."))) {
        eprintln!("xtask: cannot enter the repository: {e}");
        return ExitCode::FAILURE;
    }
    let done = match args[..] {
        ["demo"] => demo(),
        ["test"] => everything(),
        ["test", "rust"] => lints_and_builds().and_then(|()| rust_tests()),
        ["test", "web"] => page_checks()
            .and_then(|()| web::build())
            .and_then(|()| browser_tests()),
        ["web"] => web::build(),
        ["texts"] => texts(),
        ["licences"] => checks::licences(),
        ["contract"] => cargo(&["run", "--release", "--quiet", "--", "contract"]),
        ["takeout", file] => check_takeout(Path::new(file)),
        ["bench"] => cargo(&["run", "--release", "--quiet", "--example", "bench"]),
        ["fixtures"] => fixtures(),
        _ => Err(HELP.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result {
    web::build()?;
    println!("\n  mixwell is served on http://localhost:8080 (Ctrl-C stops it)\n");
    run(tools::node()
        .arg("www/node_modules/sirv-cli/bin.js")
        .args(["dist", "--port", "8080", "--dev"]))
}

/// Runs all checks. Compiling fills all cores; running tests and linking wasm do not, so they run in
/// parallel.
fn everything() -> Result {
    page_checks()?;
    texts()?;
    lints_and_builds()?;
    let page = Background::start("web", "target/web-build.log")?;
    rust_tests()?;
    page.finish()?;
    browser_tests()?;
    checks::licences()
}

/// A task of this program in a background process, with its output in a file.
struct Background {
    task: &'static str,
    log: &'static str,
    process: Child,
}

impl Background {
    fn start(task: &'static str, log: &'static str) -> Result<Self> {
        println!("\n▸ cargo xtask {task}, in the background, output in {log}");
        let problem =
            |e: std::io::Error| format!("cannot start cargo xtask {task} into {log}: {e}");
        let file = File::create(log).map_err(problem)?;
        let process = Command::new(env::current_exe().map_err(problem)?)
            .arg(task)
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(problem)?)
            .stderr(file)
            .spawn()
            .map_err(problem)?;
        Ok(Self { task, log, process })
    }

    /// Waits for it to end, and prints its output.
    fn finish(mut self) -> Result {
        let began = Instant::now();
        let status = self.process.wait();
        println!("\n▸ cargo xtask {}", self.task);
        print!("{}", std::fs::read_to_string(self.log).unwrap_or_default());
        println!("  waited {:.0} s for it", began.elapsed().as_secs_f64());
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("failed ({status}): cargo xtask {}", self.task)),
            Err(e) => Err(format!("cargo xtask {}: {e}", self.task)),
        }
    }
}

impl Drop for Background {
    /// Waits for the process even if the tests failed: if killed, it would leave a compiler behind that
    /// holds the build's lock.
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            println!("\n  waiting for cargo xtask {} to end", self.task);
            let _ = self.process.wait();
        }
    }
}

fn lints_and_builds() -> Result {
    cargo(&["fmt", "--all", "--check"])?;
    // One package at a time: with the whole workspace, Cargo would unite the features of both packages'
    // dependencies, and compile those that the crate shares with these tasks twice.
    let lints = ["--all-targets", "--", "-D", "warnings"];
    cargo(&[&["clippy", "--package", "xtask"][..], &lints].concat())?;
    cargo(&[&["clippy", "--release", "--package", "mixwell"][..], &lints].concat())?;
    cargo(&["test", "--release", "--package", "mixwell", "--no-run"])
}

fn rust_tests() -> Result {
    cargo(&["test", "--release", "--package", "mixwell"])?;
    for example in ["sample_model", "own_energy", "own_folder"] {
        cargo(&["run", "--release", "--quiet", "--example", example])?;
    }
    run(Command::new(env!("CARGO"))
        .args(["doc", "--release", "--no-deps", "--package", "mixwell"])
        .env("RUSTDOCFLAGS", "-D warnings"))?;
    web::check_features()
}

/// Checks spelling and links.
fn texts() -> Result {
    tools::npm_ci()?;
    checks::spelling()?;
    checks::links()
}

/// Checks of the page's sources that take seconds, before anything is compiled.
fn page_checks() -> Result {
    tools::npm_ci()?;
    run(tools::npm().args(["run", "check"]))?;
    run(tools::npm().args(["test"]))
}

fn browser_tests() -> Result {
    web::check_build()?;
    // The native numbers, with which the browser's are compared.
    cargo(&["build", "--release"])?;
    let native = PathBuf::from("target/native-race.json");
    let race = Command::new("target/release/mixwell")
        .args([
            "race",
            "flow-ebm-mnist",
            "--sampler",
            "ula",
            "--steps",
            "20",
            "--warmup",
            "0",
        ])
        .args([
            "--chains",
            "4",
            "--seed",
            "7",
            "--start-scale",
            "1.2",
            "--json",
        ])
        .output()
        .map_err(|e| format!("cannot run mixwell: {e}"))?;
    if !race.status.success() {
        return Err(String::from_utf8_lossy(&race.stderr).into_owned());
    }
    std::fs::write(&native, race.stdout).map_err(|e| format!("{}: {e}", native.display()))?;
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| e.to_string());
    let takeout = absolute(Path::new("target/takeout.json"))?;
    // Remove the output of an earlier run.
    let _ = std::fs::remove_file(&takeout);
    run(tools::npm()
        .args(["run", "test:browser"])
        .env("MIXWELL_NATIVE", absolute(&native)?)
        .env("MIXWELL_TAKEOUT", &takeout))?;
    check_takeout(&takeout)
}

/// Recomputes the draws exported from the Playground by a browser test with ArviZ, using the script
/// that the page offers with the export.
fn check_takeout(takeout: &Path) -> Result {
    if !takeout.exists() {
        return Err(format!(
            "{}: the browser tests exported no draws from the Playground",
            takeout.display()
        ));
    }
    let Some(python) = tools::python_with_arviz()? else {
        println!("\n▸ www/takeout/check.py: skipped, this machine has no python3 with venv");
        return Ok(());
    };
    run(Command::new(python)
        .arg("www/takeout/check.py")
        .arg(takeout))
}

fn fixtures() -> Result {
    for script in [
        "flow.py",
        "nested_stein.py",
        "augment.py",
        "clel_objective.py",
        "clel_nets.py",
        "latent_prior.py",
        "clel_step.py",
        "flow_ebm_step.py",
        "latent_prior_step.py",
        "event_file.py",
        "hub_set.py",
    ] {
        run(Command::new("python3").arg(format!("tests/fixtures/{script}")))?;
    }
    Ok(())
}

fn cargo(args: &[&str]) -> Result {
    run(Command::new(env!("CARGO")).args(args))
}

/// Runs a command, and prints it with its duration.
fn run(command: &mut Command) -> Result {
    let shown = format!("{command:?}").replace('"', "");
    println!("\n▸ {shown}");
    let began = Instant::now();
    let status = command
        .status()
        .map_err(|e| format!("cannot start {shown}: {e}"))?;
    println!("  {:.0} s", began.elapsed().as_secs_f64());
    if status.success() {
        Ok(())
    } else {
        Err(format!("failed ({status}): {shown}"))
    }
}
