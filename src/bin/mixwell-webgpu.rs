//! The page's WebGPU build. `www/engine/engine.js` calls the exports of `mixwell::web`.

fn main() {
    #[cfg(target_family = "wasm")]
    mixwell::web::boot();
}
