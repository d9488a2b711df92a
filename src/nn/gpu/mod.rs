//! Kernels of our own for the GPU, in CubeCL: what a transition is made of, in few dispatches over buffers
//! that are allocated once.
//!
//! Activations are stored as `[B, ⌈C/4⌉, H, W, 4]`: a load takes four channels of a pixel, and neighbouring
//! instances, which make neighbouring pixels, read neighbouring memory. The channels that fill up the last
//! four are zeros: their weights are.

use std::{
    fmt::{self, Debug, Formatter},
    sync::{Arc, Mutex, PoisonError},
};

use burn::tensor::Device;

mod conv;
pub(super) mod trunk;

/// Plans of a network with fixed weights, by device and by height and width of the images; `None` where
/// there is no kernel.
pub(super) struct Plans<T>(Entries<T>);

type Entries<T> = Arc<Mutex<Vec<(Device, [usize; 2], Option<Arc<T>>)>>>;

impl<T> Plans<T> {
    /// The plan for these images, which is made at first use.
    pub(super) fn of(
        &self,
        device: &Device,
        size: [usize; 2],
        make: impl FnOnce() -> Option<T>,
    ) -> Option<Arc<T>> {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = plans.iter().find(|(d, s, _)| d == device && *s == size);
        if let Some((_, _, plan)) = found {
            return plan.clone();
        }
        let plan = make().map(Arc::new);
        plans.push((device.clone(), size, plan.clone()));
        plan
    }
}

impl<T> Clone for Plans<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Plans<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Debug for Plans<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Plans")
    }
}
