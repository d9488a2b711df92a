//! Tools, installed on first use.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Result, run};

/// Tools are installed beside the build; nothing outside the repository changes.
const TOOLS: &str = "target/tools";
const DENY: &str = "0.20.2";

/// `PATH` with our tools first.
pub fn path() -> OsString {
    let here = env::current_dir().unwrap_or_default();
    let ours = [
        here.join(TOOLS).join("bin"),
        here.join("www/node_modules/.bin"),
    ];
    let rest = env::var_os("PATH").unwrap_or_default();
    let all: Vec<PathBuf> = ours.into_iter().chain(env::split_paths(&rest)).collect();
    env::join_paths(all).unwrap_or(rest)
}

/// Node, with our tools on its PATH.
pub fn node() -> Command {
    let mut command = Command::new("node");
    command.env("PATH", path());
    command
}

/// npm in `www/`.
pub fn npm() -> Command {
    let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    command.current_dir("www").env("PATH", path());
    command
}

/// Installs the page's locked packages, if they are not up to date.
pub fn npm_ci() -> Result {
    let newer = |a: &str, b: &str| {
        let time = |p: &str| fs::metadata(p).and_then(|m| m.modified()).ok();
        time(a) >= time(b) && time(a).is_some()
    };
    if newer(
        "www/node_modules/.package-lock.json",
        "www/package-lock.json",
    ) {
        return Ok(());
    }
    run(npm().args(["ci", "--no-audit", "--no-fund"]))
}

/// A program in our Python virtual environment.
pub fn venv_program(name: &str) -> PathBuf {
    let folder = Path::new(TOOLS).join("venv");
    if cfg!(windows) {
        folder.join("Scripts").join(format!("{name}.exe"))
    } else {
        folder.join("bin").join(name)
    }
}

/// Installs packages into our virtual environment, unless `installed` is true. Returns false on a
/// machine without Python; in CI, where no check may be skipped, that is an error.
fn python_packages(installed: impl Fn() -> bool, packages: &[&str]) -> Result<bool> {
    if installed() {
        return Ok(true);
    }
    let folder = Path::new(TOOLS).join("venv");
    let python = venv_program("python");
    if !python.exists() {
        if !succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
            return match env::var_os("CI") {
                Some(_) => Err(format!("CI needs python3 with venv, for {packages:?}")),
                None => Ok(false),
            };
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet"])
        .args(packages))?;
    Ok(true)
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|o| o.status.success())
}

/// Python with ArviZ; `None` on a machine without Python.
pub fn python_with_arviz() -> Result<Option<PathBuf>> {
    let python = venv_program("python");
    let installed = || succeeds(Command::new(&python).args(["-c", "import arviz_stats"]));
    let packages = ["arviz-stats==0.8.0", "numpy", "scipy"];
    Ok(python_packages(installed, &packages)?.then_some(python.clone()))
}

/// The spell checker; `None` on a machine without Python.
pub fn typos() -> Result<Option<PathBuf>> {
    let program = venv_program("typos");
    let installed = || succeeds(Command::new(&program).arg("--version"));
    Ok(python_packages(installed, &["typos==1.52.0"])?.then_some(program.clone()))
}

/// cargo-deny.
pub fn ensure_deny() -> Result {
    install("cargo-deny", "cargo-deny", DENY)
}

/// The wasm target, and the page's packages.
pub fn ensure_web() -> Result {
    let targets = Command::new("rustup")
        .args(["target", "list", "--installed"])
        .output()
        .map_err(|e| format!("rustup is needed (https://rustup.rs): {e}"))?;
    if !String::from_utf8_lossy(&targets.stdout).contains("wasm32-unknown-unknown") {
        run(Command::new("rustup").args(["target", "add", "wasm32-unknown-unknown"]))?;
    }
    npm_ci()
}

fn install(program: &str, package: &str, version: &str) -> Result {
    let found = Command::new(program)
        .arg("--version")
        .env("PATH", path())
        .output()
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
        .unwrap_or_default();
    if found.split_whitespace().any(|word| word == version) {
        return Ok(());
    }
    println!("{program} {version} is not installed yet: building it once");
    // It runs for seconds only, while link-time optimisation takes minutes.
    run(Command::new(env!("CARGO"))
        .args(["install", package, "--version", version, "--root", TOOLS])
        .arg("--force")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"))
}
