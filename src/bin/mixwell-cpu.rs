//! The page's CPU build, loaded only where WebGPU is not to be had: `www/engine.js` drives the exports of `mixwell::web`.

fn main() {
    #[cfg(target_family = "wasm")]
    mixwell::web::boot();
}
