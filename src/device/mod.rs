//! Reading tensors back from a device, and the few device properties that the rest of the crate needs.

pub mod shards;

use burn::tensor::{Bool, Device, Tensor};

use crate::error::{Error, Result};

/// All values of a tensor, read without blocking.
///
/// # Errors
/// [`Error::Device`] when the read fails.
pub(crate) async fn read<const D: usize, T: burn::tensor::Element>(
    tensor: Tensor<D>,
) -> Result<Vec<T>> {
    let data = tensor.into_data_async().await.map_err(|e| Error::Device {
        problem: format!("reading values back failed: {e}"),
        fix: "reload, or use fewer chains or the CPU".into(),
    })?;
    Ok(data.iter::<T>().collect())
}

/// All values of several tensors, in one reading back.
///
/// # Errors
/// As [`read`].
pub(crate) async fn read_all(parts: Vec<Tensor<1>>) -> Result<Vec<Vec<f32>>> {
    let lengths: Vec<usize> = parts.iter().map(|part| part.dims()[0]).collect();
    let mut values = read::<1, f32>(Tensor::cat(parts, 0)).await?.into_iter();
    Ok(lengths
        .into_iter()
        .map(|length| values.by_ref().take(length).collect())
        .collect())
}

/// All words of an integer tensor, read without blocking.
///
/// # Errors
/// As [`read`].
#[cfg(all(target_family = "wasm", feature = "kernels"))]
pub(crate) async fn read_int(tensor: Tensor<2, burn::tensor::Int>) -> Result<Vec<u32>> {
    let data = tensor.into_data_async().await.map_err(|e| Error::Device {
        problem: format!("reading values back failed: {e}"),
        fix: "reload, or use the CPU".into(),
    })?;
    Ok(data.iter::<u32>().collect())
}

/// The first value of a tensor; NaN if it is empty.
///
/// # Errors
/// As [`read`].
pub(crate) async fn scalar(tensor: Tensor<1>) -> Result<f64> {
    Ok(read::<1, f64>(tensor)
        .await?
        .first()
        .copied()
        .unwrap_or(f64::NAN))
}

/// Whether reading from the device costs nothing: tensors on the CPU (flex).
#[cfg(any(feature = "native", feature = "web-cpu"))]
fn reads_are_free(device: &Device) -> bool {
    *device == Device::flex()
}

#[cfg(not(any(feature = "native", feature = "web-cpu")))]
fn reads_are_free(_: &Device) -> bool {
    false
}

/// Whether no element is true, on devices where reading is free; elsewhere false. For loops that may end
/// early but must not stall a GPU.
pub(crate) fn all_false_if_free(mask: &Tensor<1, Bool>) -> bool {
    if !reads_are_free(&mask.device()) {
        return false;
    }
    // On the CPU the future is ready at the first poll. A synchronous read would panic on wasm.
    let mut read = std::pin::pin!(mask.clone().any().into_data_async());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match read.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Ok(data)) => !data.iter::<bool>().any(|v| v),
        _ => false,
    }
}
