//! Arrays that serialise to typed arrays in JavaScript and to lists elsewhere.

use serde::{Serialize, Serializer};

/// f32 values: a `Float32Array` in the page.
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(type = "Float32Array"))]
pub struct Floats(pub Vec<f32>);

/// Bytes: a `Uint8Array` in the page.
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(type = "Uint8Array"))]
pub struct Bytes(pub Vec<u8>);

impl From<Vec<f32>> for Floats {
    fn from(values: Vec<f32>) -> Self {
        Self(values)
    }
}

impl From<Vec<f64>> for Floats {
    fn from(values: Vec<f64>) -> Self {
        Self(values.into_iter().map(|v| v as f32).collect())
    }
}

impl Serialize for Floats {
    #[cfg(target_family = "wasm")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let array = js_sys::Float32Array::from(&self.0[..]);
        serde_wasm_bindgen::preserve::serialize(&array, serializer)
    }

    #[cfg(not(target_family = "wasm"))]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Serialize for Bytes {
    #[cfg(target_family = "wasm")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let array = js_sys::Uint8Array::from(&self.0[..]);
        serde_wasm_bindgen::preserve::serialize(&array, serializer)
    }

    #[cfg(not(target_family = "wasm"))]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
