//! Building the page, and checks of the build.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use flate2::{Compression, write::GzEncoder};
use wasm_bindgen_cli_support::Bindgen;

use crate::{Result, run, tools};

/// A wasm build of the page.
struct Build {
    /// Its program, and the stem of its files.
    name: &'static str,
    /// Its feature of the crate.
    feature: &'static str,
    /// Its Cargo profile.
    profile: &'static str,
    /// What wasm-opt optimises for. `-Oz` makes our kernels for the CPU ten times slower.
    optimise: &'static str,
    /// Largest size in gzip bytes, including its JavaScript.
    most: usize,
}

/// The WebGPU build is nearly all GPU compiler: 2.48 MB before the Studio and the room Prior, which added
/// 0.11. The CPU build is loaded only where needed, and there speed is worth more than 0.5 MB.
const BUILDS: [Build; 2] = [
    Build {
        name: "mixwell-webgpu",
        feature: "web-gpu",
        profile: "web",
        optimise: "-Oz",
        most: 2_650_000,
    },
    Build {
        name: "mixwell-cpu",
        feature: "web-cpu",
        profile: "web-cpu",
        optimise: "-O2",
        most: 1_400_000,
    },
];

const TARGET: &str = "wasm32-unknown-unknown";

/// Exactly the features of rustc's wasm target, so that wasm-opt emits nothing that a browser lacks.
const WASM_FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// Builds the page into `dist/`: what trunk.toml describes, without the minutes of building trunk.
pub fn build() -> Result {
    tools::ensure_web()?;
    let page = PathBuf::from("target/page");
    let problem = |e: std::io::Error| format!("{}: {e}", page.display());
    if page.exists() {
        fs::remove_dir_all(&page).map_err(problem)?;
    }
    copy(Path::new("models"), &page.join("models"))?;
    for build in &BUILDS {
        compile(build, &page)?;
    }
    run(tools::node().arg("www/build.js").arg(&page))?;
    sizes(&page)?;
    // The old page stays until the new one is whole.
    if Path::new("dist").exists() {
        fs::remove_dir_all("dist").map_err(|e| format!("dist: {e}"))?;
    }
    fs::rename(&page, "dist").map_err(problem)
}

/// Compiles one build, and writes its module and JavaScript into a folder.
fn compile(build: &Build, page: &Path) -> Result {
    let Build {
        name,
        feature,
        profile,
        optimise,
        ..
    } = build;
    run(Command::new(env!("CARGO"))
        .args(["build", "--target", TARGET, "--profile", profile])
        .args(["--no-default-features", "--features", feature])
        .args(["--bin", name]))?;
    println!("\n▸ wasm-bindgen {name}");
    let began = Instant::now();
    let built = Path::new("target").join(TARGET).join(profile);
    Bindgen::new()
        .input_path(built.join(format!("{name}.wasm")))
        .web(true)
        .map_err(|e| format!("wasm-bindgen: {e}"))?
        .typescript(false)
        .out_name(name)
        .generate(page)
        .map_err(|e| format!("wasm-bindgen, {name}: {e:#}"))?;
    println!("  {:.0} s", began.elapsed().as_secs_f64());
    let wasm = page.join(format!("{name}_bg.wasm"));
    run(tools::node()
        .arg("www/node_modules/binaryen/bin/wasm-opt")
        .args([optimise, "--strip-debug", "--strip-producers"])
        .args(WASM_FEATURES)
        .arg(&wasm)
        .arg("-o")
        .arg(&wasm))
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result {
    let problem = |e: std::io::Error| format!("cannot copy {}: {e}", from.display());
    fs::create_dir_all(to).map_err(problem)?;
    for entry in fs::read_dir(from).map_err(problem)? {
        let path = entry.map_err(problem)?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(problem)?;
        }
    }
    Ok(())
}

fn gzip(path: &Path) -> Result<(usize, usize)> {
    let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let packed = encoder
        .write_all(&bytes)
        .and_then(|()| encoder.finish())
        .map_err(|e| e.to_string())?;
    Ok((bytes.len(), packed.len()))
}

fn sizes(page: &Path) -> Result {
    for Build { name, most, .. } in &BUILDS {
        let mut total = 0;
        for file in [format!("{name}_bg.wasm"), format!("{name}.js")] {
            let (raw, packed) = gzip(&page.join(&file))?;
            println!("{file}: {raw} bytes, {packed} gzip");
            total += packed;
        }
        if total > *most {
            return Err(format!("{name} is {total} bytes gzip, the limit is {most}"));
        }
    }
    Ok(())
}

/// Checks the generated JavaScript for unwanted constructor calls.
pub fn check_build() -> Result {
    for Build { name, .. } in &BUILDS {
        let path = format!("dist/{name}.js");
        let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        if text.contains("command_export") {
            return Err(format!(
                "{path} wraps its exports in constructor calls: __wasm_call_ctors is not called"
            ));
        }
    }
    Ok(())
}

/// Checks that autotune and fusion, which compute wrong numbers in browsers, are not in the wasm builds.
pub fn check_features() -> Result {
    for Build { feature, .. } in &BUILDS {
        let out = Command::new(env!("CARGO"))
            .args(["tree", "--quiet", "-e", "features", "--prefix", "none"])
            .args(["--target", TARGET, "--no-default-features"])
            .args(["--features", feature])
            .output()
            .map_err(|e| format!("cargo tree: {e}"))?;
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).into_owned());
        }
        let text = String::from_utf8_lossy(&out.stdout);
        if let Some(line) = text
            .lines()
            .find(|l| ["\"autotune\"", "\"fusion\""].iter().any(|f| l.contains(f)))
        {
            return Err(format!("the wasm build with {feature} has {line}"));
        }
        println!("{feature}: no autotune, no fusion");
    }
    Ok(())
}
