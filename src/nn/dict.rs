//! Named tensors in a safetensors file: storage of finished models.
//!
//! Reading needs only bytes and uploads, so the page can load what the command line wrote. Matrices and
//! kernels are stored in f16 (the card's metrics show no loss from the rounding), vectors in f32.

use std::collections::BTreeMap;

use burn::{
    module::Param,
    tensor::{Device, Tensor, TensorData},
};
use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::error::{Error, Result};

/// Tensors of an open safetensors file, by name.
pub struct Dict<'a> {
    file: SafeTensors<'a>,
    device: Device,
    model: String,
}

impl<'a> Dict<'a> {
    /// Reads the header of `bytes`. `model` is used in errors only.
    ///
    /// # Errors
    /// [`Error::Model`] when the bytes are not a complete safetensors file.
    pub fn open(bytes: &'a [u8], model: &str, device: &Device) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| {
            Error::model(
                model,
                format!(
                    "weights of {} bytes are not a complete safetensors file ({e})",
                    bytes.len()
                ),
                "fetch or export the model again",
            )
        })?;
        Ok(Self {
            file,
            device: device.clone(),
            model: model.into(),
        })
    }

    /// The device on which tensors are created.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the file has this tensor.
    pub fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_ok()
    }

    /// The values of one tensor on the host, as f32.
    ///
    /// # Errors
    /// [`Error::Model`] when the tensor is missing, of another shape, or of an unknown type.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let problem = |found: String| {
            Error::model(
                &self.model,
                format!("expected tensor {name} of shape {shape:?}, found {found}"),
                "the weights do not match the card's architecture: export the model again",
            )
        };
        let view = self
            .file
            .tensor(name)
            .map_err(|_| problem("no such tensor".into()))?;
        if view.shape() != shape {
            return Err(problem(format!("shape {:?}", view.shape())));
        }
        match view.dtype() {
            Dtype::F32 => Ok(view
                .data()
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect()),
            Dtype::F16 => Ok(view
                .data()
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| f16::from_le_bytes(*b).to_f32())
                .collect()),
            other => Err(problem(format!("type {other:?}"))),
        }
    }

    /// One tensor on the device.
    ///
    /// # Errors
    /// As [`values`](Self::values).
    pub fn tensor<const D: usize>(&self, name: &str, shape: [usize; D]) -> Result<Tensor<D>> {
        let values = self.values(name, &shape)?;
        Ok(Tensor::from_data(
            TensorData::new(values, shape),
            &self.device,
        ))
    }

    /// One tensor as a module parameter.
    ///
    /// # Errors
    /// As [`values`](Self::values).
    pub fn param<const D: usize>(&self, name: &str, shape: [usize; D]) -> Result<Param<Tensor<D>>> {
        let values = self.values(name, &shape)?;
        Ok(Param::from_data(
            TensorData::new(values, shape),
            &self.device,
        ))
    }
}

struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Collects named tensors and writes them as safetensors bytes. Reads from the device: native only.
#[derive(Default)]
pub struct DictBuilder {
    entries: BTreeMap<String, Entry>,
}

impl DictBuilder {
    fn put<const D: usize>(&mut self, name: &str, tensor: Tensor<D>, dtype: Dtype) {
        let shape = tensor.dims().to_vec();
        let values: Vec<f32> = tensor.into_data().iter::<f32>().collect();
        self.put_values(name, &values, shape, dtype);
    }

    fn put_values(&mut self, name: &str, values: &[f32], shape: Vec<usize>, dtype: Dtype) {
        let bytes = match dtype {
            Dtype::F16 => values
                .iter()
                .flat_map(|&v| f16::from_f32(v).to_le_bytes())
                .collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        self.entries.insert(
            name.into(),
            Entry {
                dtype,
                shape,
                bytes,
            },
        );
    }

    /// Adds a tensor in f16.
    pub fn half<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) {
        self.put(name, tensor, Dtype::F16);
    }

    /// Adds a tensor in f32.
    pub fn full<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) {
        self.put(name, tensor, Dtype::F32);
    }

    /// Adds host values in f32.
    pub fn full_values(&mut self, name: &str, values: &[f32], shape: &[usize]) {
        self.put_values(name, values, shape.to_vec(), Dtype::F32);
    }

    /// The safetensors bytes.
    ///
    /// # Errors
    /// [`Error::Model`] when a tensor cannot be serialised.
    pub fn finish(self) -> Result<Vec<u8>> {
        let problem = |e: safetensors::SafeTensorError| {
            Error::model(
                "export",
                format!("cannot serialise the weights ({e})"),
                "report this as a bug",
            )
        };
        let views = self
            .entries
            .iter()
            .map(|(name, e)| {
                TensorView::new(e.dtype, e.shape.clone(), &e.bytes)
                    .map(|view| (name.as_str(), view))
                    .map_err(problem)
            })
            .collect::<Result<Vec<_>>>()?;
        safetensors::serialize(views, None).map_err(problem)
    }
}
