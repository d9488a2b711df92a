//! Conversion between image bytes and model inputs.

use burn::tensor::{Device, Tensor, TensorData};

/// Images of `dim` bytes each as model inputs, `[n, dim]`.
pub fn tensor(bytes: &[u8], dim: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = bytes.iter().map(|&v| centre(v)).collect();
    let n = values.len() / dim;
    Tensor::from_data(TensorData::new(values, [n, dim]), device)
}

/// Flattened images `[B, D]` → `[B, C, H, W]`.
pub fn as_images(x: Tensor<2>, [c, h, w]: [usize; 3]) -> Tensor<4> {
    let [batch, _] = x.dims();
    x.reshape([batch, c, h, w])
}

/// (v + ½)/256: the centre of byte v's bin, which is the mean of its dequantised values.
pub fn centre(v: u8) -> f32 {
    (f32::from(v) + 0.5) / 256.0
}

/// A value in [0, 1] as a byte; values outside are clamped, NaN is black. The inverse of [`centre`].
pub fn byte(v: f32) -> u8 {
    (v.clamp(0.0, 1.0) * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip() {
        assert!((0..=255).all(|v| byte(centre(v)) == v));
        assert_eq!([byte(-1.0), byte(2.0), byte(f32::NAN)], [0, 255, 0]);
    }
}
