//! Kernels of our own for the CPU, native and wasm: what a transition is made of, without a tensor library
//! between its parts.
//!
//! An image is worked on from its first layer to its last while it is in the cache, and images are spread
//! over the threads. The result of an image does not depend on the others of its batch.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use burn::{
    backend::{Flex, flex::FlexTensor},
    tensor::{DType, Tensor},
};

pub(super) mod conv;
pub(super) mod flow;
pub(super) mod generator;
mod math;
pub(super) mod op;
pub(super) mod trunk;

static USED: AtomicBool = AtomicBool::new(true);

/// Whether our own kernels are used on the CPU, as by default, or the tensor library's: for comparisons of
/// the two. Not to be changed while something is computed.
pub fn use_kernels(yes: bool) {
    USED.store(yes, Ordering::Relaxed);
}

/// The values of a tensor that lies on the CPU, in f32 and outside autodiff; `None` for any other.
pub(super) fn values<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    if tensor.dtype() != DType::F32 || !USED.load(Ordering::Relaxed) {
        return None;
    }
    let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
    Some(tensor.to_contiguous())
}

/// Something made of a network's weights, kept as long as these are the same.
pub(super) struct Cache<T>(Arc<Mutex<Option<Made<T>>>>);

struct Made<T> {
    /// The weights. They are kept, so that their addresses are not used for others.
    from: Vec<FlexTensor>,
    made: Arc<T>,
}

impl<T> Cache<T> {
    /// What was made of these weights, or is made now.
    pub(super) fn of(
        &self,
        weights: Vec<FlexTensor>,
        make: impl FnOnce(&[FlexTensor]) -> T,
    ) -> Arc<T> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = &*cached
            && cached.from.len() == weights.len()
            && cached
                .from
                .iter()
                .zip(&weights)
                .all(|(a, b)| Arc::ptr_eq(&a.data_arc(), &b.data_arc()))
        {
            return cached.made.clone();
        }
        let made = Arc::new(make(&weights));
        *cached = Some(Made {
            from: weights,
            made: made.clone(),
        });
        made
    }
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> std::fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cache")
    }
}
