//! Conversion between Rust and JavaScript values.

use js_sys::Reflect;
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::error::{Error, Result};

/// An error in the form of the contract's `MixwellError`.
#[derive(Serialize)]
struct Problem {
    kind: &'static str,
    message: String,
    detail: String,
}

pub(super) fn problem(error: &Error) -> JsValue {
    let kind = match error {
        Error::Device { .. } => "device-lost",
        Error::Model { .. } | Error::Data { .. } => "bad-model",
        Error::Network { .. } | Error::Io { .. } => "network",
        Error::Cancelled { .. } => "aborted",
        _ => "bad-config",
    };
    let problem = Problem {
        kind,
        message: error.to_string(),
        detail: format!("{error:?}"),
    };
    to_js(&problem).unwrap_or_else(|_| JsValue::from_str(&problem.message))
}

pub(super) fn to_js(value: &impl Serialize) -> Result<JsValue, JsValue> {
    value
        .serialize(&serde_wasm_bindgen::Serializer::json_compatible())
        .map_err(Into::into)
}

pub(super) fn from_js<T: serde::de::DeserializeOwned>(
    what: &str,
    value: JsValue,
) -> Result<T, JsValue> {
    serde_wasm_bindgen::from_value(value).map_err(|e| {
        problem(&Error::invalid(
            what,
            "the settings of this version",
            e,
            "reset the page's settings",
        ))
    })
}

/// Adds `elapsed_ms` to an answer.
pub(super) fn timed(answer: &impl Serialize, began: f64) -> Result<JsValue, JsValue> {
    let object = to_js(answer)?;
    let elapsed = js_sys::Date::now() - began;
    Reflect::set(&object, &"elapsed_ms".into(), &elapsed.into())?;
    Ok(object)
}
