//! The value behind a room's class, used by one call at a time.

use std::cell::RefCell;

use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::js::{problem, timed, to_js};
use crate::error::{Error, Result};

/// A value that is taken out while a call uses it, so that no borrow is held across an await.
pub(super) struct Slot<T> {
    /// Name for the error of a call during another call.
    name: &'static str,
    value: RefCell<Option<T>>,
}

impl<T> Slot<T> {
    pub(super) fn new(name: &'static str, value: T) -> Self {
        Self {
            name,
            value: RefCell::new(Some(value)),
        }
    }

    /// Lends the value to `work` and puts it back.
    ///
    /// # Errors
    /// A `MixwellError`: what `work` reports, or a call during another.
    async fn lend<R>(&self, work: impl AsyncFnOnce(&mut T) -> Result<R>) -> Result<R, JsValue> {
        let mut value = self.value.take().ok_or_else(|| {
            problem(&Error::invalid(
                self.name,
                "one call at a time",
                "a call during another",
                "wait for the answer",
            ))
        })?;
        let outcome = work(&mut value).await;
        self.value.replace(Some(value));
        outcome.map_err(|e| problem(&e))
    }

    /// The answer of `work`.
    ///
    /// # Errors
    /// A `MixwellError`: what `work` reports, or a call during another.
    pub(super) async fn answer<R: Serialize>(
        &self,
        work: impl AsyncFnOnce(&mut T) -> Result<R>,
    ) -> Result<JsValue, JsValue> {
        to_js(&self.lend(work).await?)
    }

    /// The answer of `work`, with its duration in milliseconds as `elapsed_ms`.
    ///
    /// # Errors
    /// A `MixwellError`: what `work` reports, or a call during another.
    pub(super) async fn timed<R: Serialize>(
        &self,
        work: impl AsyncFnOnce(&mut T) -> Result<R>,
    ) -> Result<JsValue, JsValue> {
        let began = js_sys::Date::now();
        timed(&self.lend(work).await?, began)
    }

    /// The answer of work that never awaits.
    ///
    /// # Errors
    /// A `MixwellError`: what `work` reports, or a call during another.
    pub(super) fn now<R: Serialize>(
        &self,
        work: impl FnOnce(&mut T) -> Result<R>,
    ) -> Result<JsValue, JsValue> {
        // Ready at the first poll: nothing in it awaits.
        let lent = std::pin::pin!(self.lend(async |value: &mut T| work(value)));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match lent.poll(&mut context) {
            std::task::Poll::Ready(outcome) => to_js(&outcome?),
            std::task::Poll::Pending => Err(JsValue::from_str("synchronous work returned Pending")),
        }
    }
}
