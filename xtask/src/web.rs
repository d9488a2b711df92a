//! Building the page, and checks of the build.

use std::{fs, io::Write as _, path::Path, process::Command};

use flate2::{Compression, write::GzEncoder};

use crate::{Result, run, tools};

/// The two wasm builds and their size limits in gzip bytes, including their JavaScript. The WebGPU
/// build is nearly all GPU compiler: 2.48 MB before the Studio and the room Prior, which added 0.11.
/// The CPU build is loaded only where needed.
const BUILDS: [(&str, usize); 2] = [("mixwell-webgpu", 2_650_000), ("mixwell-cpu", 1_000_000)];

/// Exactly the features of rustc's wasm target, so that wasm-opt emits nothing that a browser lacks.
const WASM_FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// Builds the page into `dist/`: trunk for the wasm modules, with `www/build.js` as its hook for the
/// pages; then wasm-opt.
pub fn build() -> Result {
    tools::ensure_web()?;
    run(Command::new("trunk")
        .args(["--config", "trunk.toml", "build", "--offline"])
        .env("PATH", tools::path())
        // Some terminals set NO_COLOR=1, which trunk rejects as an invalid boolean.
        .env_remove("NO_COLOR"))?;
    for (name, _) in BUILDS {
        let wasm = format!("dist/{name}_bg.wasm");
        run(tools::node()
            .arg("www/node_modules/binaryen/bin/wasm-opt")
            .args(["-Oz", "--strip-debug", "--strip-producers"])
            .args(WASM_FEATURES)
            .args([&wasm, "-o", &wasm]))?;
    }
    sizes()
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

fn sizes() -> Result {
    for (name, most) in BUILDS {
        let mut total = 0;
        for file in [format!("{name}_bg.wasm"), format!("{name}.js")] {
            let (raw, packed) = gzip(&Path::new("dist").join(&file))?;
            println!("{file}: {raw} bytes, {packed} gzip");
            total += packed;
        }
        if total > most {
            return Err(format!("{name} is {total} bytes gzip, the limit is {most}"));
        }
    }
    Ok(())
}

/// Checks the generated JavaScript for unwanted constructor calls.
pub fn check_build() -> Result {
    for (name, _) in BUILDS {
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
    for feature in ["web-gpu", "web-cpu"] {
        let out = Command::new(env!("CARGO"))
            .args(["tree", "--quiet", "-e", "features", "--prefix", "none"])
            .args([
                "--target",
                "wasm32-unknown-unknown",
                "--no-default-features",
            ])
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
