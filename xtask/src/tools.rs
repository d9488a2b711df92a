//! What a fresh machine lacks, installed on first use.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Result, run};

/// Tools live beside the build: nothing outside the repository is changed.
const TOOLS: &str = "target/tools";
const TRUNK: &str = "0.22.1";

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

/// Installs the page's locked packages, unless they already are.
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

/// Python with ArviZ in a virtual environment of its own; `None` on a machine without Python, except
/// in CI, where the check must not be left out.
pub fn python_with_arviz() -> Result<Option<PathBuf>> {
    const ARVIZ: &str = "arviz-stats==0.8.0";
    let folder = Path::new(TOOLS).join("venv");
    let python = folder.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    let works = |python: &Path, code: &str| {
        Command::new(python)
            .args(["-c", code])
            .output()
            .is_ok_and(|o| o.status.success())
    };
    if works(&python, "import arviz_stats") {
        return Ok(Some(python));
    }
    if !works(Path::new("python3"), "import venv, ensurepip") {
        return if env::var_os("CI").is_some() {
            Err("CI needs python3 with venv, to check our draws with ArviZ".into())
        } else {
            Ok(None)
        };
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", ARVIZ, "numpy", "scipy"]))?;
    Ok(Some(python))
}

/// The wasm target, trunk, and wasm-bindgen of the very version that Cargo.lock has.
pub fn ensure_web() -> Result {
    let targets = Command::new("rustup")
        .args(["target", "list", "--installed"])
        .output()
        .map_err(|e| format!("rustup is needed (https://rustup.rs): {e}"))?;
    if !String::from_utf8_lossy(&targets.stdout).contains("wasm32-unknown-unknown") {
        run(Command::new("rustup").args(["target", "add", "wasm32-unknown-unknown"]))?;
    }
    // trunk builds offline, so that it looks for tools on PATH only; the crates of the wasm build must
    // be here by then, and a native build has not fetched all of them.
    run(Command::new(env!("CARGO")).args(["fetch", "--target", "wasm32-unknown-unknown"]))?;
    npm_ci()?;
    let bindgen = locked_version("wasm-bindgen")?;
    install("wasm-bindgen", "wasm-bindgen-cli", &bindgen)?;
    install("trunk", "trunk", TRUNK)
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
    // trunk names a newer compiler than it needs: it builds with the one this project asks for. Both
    // tools run for seconds: optimising them at link time, as trunk's own profile does, takes minutes.
    run(Command::new(env!("CARGO"))
        .args(["install", package, "--version", version, "--root", TOOLS])
        .args(["--ignore-rust-version", "--force"])
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"))
}

/// The version of a package in Cargo.lock.
fn locked_version(package: &str) -> Result<String> {
    let lock =
        fs::read_to_string(Path::new("Cargo.lock")).map_err(|e| format!("Cargo.lock: {e}"))?;
    let name = format!("name = \"{package}\"");
    lock.lines()
        .skip_while(|line| *line != name)
        .nth(1)
        .and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .map(str::to_owned)
        .ok_or_else(|| format!("Cargo.lock has no package {package}"))
}
