//! Convolutions and transposed convolutions, differentiable in images, weights and bias.
//!
//! On the CPU they run through kernels of our own, which are several times faster than the
//! tensor library's there; on a GPU through the tensor library.

use burn::tensor::{
    Tensor,
    module::{conv_transpose2d, conv2d},
    ops::{ConvOptions, ConvTransposeOptions},
};

use super::window::Direction;
pub use super::window::{Layout, Window};

/// y = W∗x + b with W `[C_out, C_in, k_y, k_x]` and b `[C_out]`, both images in `layout`.
pub fn convolve(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: Window,
    layout: Layout,
) -> Tensor<4> {
    run(x, weight, bias, window, layout, Direction::Plain)
}

/// The transposed convolution with W `[C_in, C_out, k_y, k_x]`: the adjoint of a convolution with these
/// weights, plus b `[C_out]`.
pub fn convolve_transposed(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: Window,
    layout: Layout,
) -> Tensor<4> {
    run(x, weight, bias, window, layout, Direction::Transposed)
}

fn run(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: Window,
    layout: Layout,
    direction: Direction,
) -> Tensor<4> {
    #[cfg(any(feature = "native", feature = "web-cpu"))]
    if let Some(y) =
        super::cpu::op::convolve(&x, &weight, bias.as_ref(), (window, layout, direction))
    {
        return y;
    }
    // Views: the tensor library computes convolutions channels-last anyway.
    let x = match layout {
        Layout::ChannelsFirst => x,
        Layout::ChannelsLast => x.permute([0, 3, 1, 2]),
    };
    let Window {
        stride, padding, ..
    } = window;
    let y = match direction {
        Direction::Plain => {
            let options = ConvOptions::new(stride, padding, [1, 1], 1);
            conv2d(x, weight, bias, options)
        }
        Direction::Transposed => {
            let options = ConvTransposeOptions::new(stride, padding, [0, 0], [1, 1], 1);
            conv_transpose2d(x, weight, bias, options)
        }
    };
    match layout {
        Layout::ChannelsFirst => y,
        Layout::ChannelsLast => y.permute([0, 2, 3, 1]),
    }
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn wave<const D: usize>(shape: [usize; D], a: f32, device: &Device) -> Tensor<D> {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * a + 0.3).sin()).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
        tensor.into_data().iter::<f64>().collect()
    }

    /// One case: channels of image and result, window, size of the image.
    type Case = ([usize; 2], Window, [usize; 2]);

    fn cases() -> Vec<Case> {
        let window = |kernel, stride, padding| Window {
            kernel,
            stride,
            padding,
        };
        vec![
            ([1, 32], Window::square(3, 1, 1), [28, 28]),
            ([5, 17], Window::square(3, 1, 1), [7, 5]),
            ([8, 3], Window::square(3, 2, 1), [9, 8]),
            ([3, 20], Window::square(4, 2, 1), [14, 14]),
            ([33, 2], Window::square(4, 2, 1), [7, 7]),
            ([4, 6], Window::square(1, 2, 0), [5, 6]),
            ([2, 9], Window::square(7, 1, 0), [7, 7]),
            ([6, 5], window([1, 7], [1, 1], [0, 3]), [4, 9]),
            ([6, 5], window([7, 1], [1, 1], [3, 0]), [9, 4]),
            ([2, 4], window([3, 2], [2, 1], [0, 1]), [6, 5]),
            ([2, 18], Window::square(5, 3, 2), [10, 11]),
        ]
    }

    /// y and the gradients of Σ y·c by the definition, with images channels first:
    /// [y, ∂x, ∂W, ∂b] of a convolution W∗x + b.
    fn slowly(
        ([inputs, outputs], window, [height, width]): Case,
        batch: usize,
        [x, w, b, c]: [&[f64]; 4],
    ) -> [Vec<f64>; 4] {
        let [h, v] = window.output([height, width]);
        let ([ky, kx], [sy, sx], [py, px]) = (window.kernel, window.stride, window.padding);
        let mut y = vec![0.0; batch * outputs * h * v];
        let (mut gx, mut gw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
        let mut gb = vec![0.0; outputs];
        for at in 0..y.len() {
            let (column, row) = (at % v, at / v % h);
            let (o, n) = (at / v / h % outputs, at / v / h / outputs);
            y[at] += b[o];
            gb[o] += c[at];
            for tap in 0..ky * kx * inputs {
                let (dx, dy, i) = (tap % kx, tap / kx % ky, tap / kx / ky);
                let (r, s) = (row * sy + dy, column * sx + dx);
                let (r, s) = (r.wrapping_sub(py), s.wrapping_sub(px));
                if r < height && s < width {
                    let from = ((n * inputs + i) * height + r) * width + s;
                    let weight = ((o * inputs + i) * ky + dy) * kx + dx;
                    y[at] += w[weight] * x[from];
                    gx[from] += w[weight] * c[at];
                    gw[weight] += x[from] * c[at];
                }
            }
        }
        [y, gx, gw, gb]
    }

    fn close(found: &[f64], expected: &[f64], what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        let scale = expected.iter().fold(1.0f64, |m, v| m.max(v.abs()));
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 2e-5 * scale, "{what}: {f} for {e}");
        }
    }

    /// Result and all gradients of both operations in both layouts, on a batch that does not divide into
    /// equal parts.
    #[test]
    fn convolutions_and_gradients_match_their_definitions() {
        let device = Device::flex();
        let batch = 11;
        for case in cases() {
            let ([inputs, outputs], window, [height, width]) = case;
            let [ky, kx] = window.kernel;
            let [h, v] = window.output([height, width]);
            let x = wave([batch, inputs, height, width], 0.37, &device);
            let w = wave([outputs, inputs, ky, kx], 0.71, &device);
            let b = wave([outputs], 1.1, &device);
            let c = wave([batch, outputs, h, v], 0.53, &device);
            let values = [
                host(x.clone()),
                host(w.clone()),
                host(b.clone()),
                host(c.clone()),
            ];
            let expected = slowly(case, batch, values.each_ref().map(Vec::as_slice));
            for layout in [Layout::ChannelsFirst, Layout::ChannelsLast] {
                let turn = |t: Tensor<4>| match layout {
                    Layout::ChannelsFirst => t,
                    Layout::ChannelsLast => t.permute([0, 2, 3, 1]),
                };
                let back = |t: Tensor<4>| match layout {
                    Layout::ChannelsFirst => t,
                    Layout::ChannelsLast => t.permute([0, 3, 1, 2]),
                };
                let what = format!("{case:?} {layout:?}");
                let plain = convolve(turn(x.clone()), w.clone(), Some(b.clone()), window, layout);
                close(&host(back(plain)), &expected[0], &what);
                let leaf = |t: Tensor<4>| t.autodiff().require_grad();
                let (lx, lw) = (leaf(turn(x.clone())), leaf(w.clone()));
                let lb = b.clone().autodiff().require_grad();
                let y = convolve(lx.clone(), lw.clone(), Some(lb.clone()), window, layout);
                close(&host(back(y.clone().inner())), &expected[0], &what);
                let grads = (y * turn(c.clone()).autodiff()).sum().backward();
                close(&host(back(lx.grad(&grads).unwrap())), &expected[1], &what);
                close(&host(lw.grad(&grads).unwrap()), &expected[2], &what);
                close(&host(lb.grad(&grads).unwrap()), &expected[3], &what);

                // The transposed convolution maps c to ∂x, as far as the windows reach.
                let size = window.transposed_output([h, v]);
                if size != [height, width] {
                    continue;
                }
                let lc = leaf(turn(c.clone()));
                let y = convolve_transposed(lc.clone(), lw.clone(), None, window, layout);
                close(&host(back(y.clone().inner())), &expected[1], &what);
                // ⟨Wᵀc, x⟩ = ⟨c, W∗x⟩: its gradients are W∗x and the same ∂W.
                let grads = (y * turn(x.clone()).autodiff()).sum().backward();
                let linear = convolve(turn(x.clone()), w.clone(), None, window, layout);
                let gradient = back(lc.grad(&grads).unwrap());
                close(&host(gradient), &host(back(linear)), &what);
                close(&host(lw.grad(&grads).unwrap()), &expected[2], &what);
                let shift = wave([inputs], 0.9, &device);
                let moved = convolve_transposed(
                    turn(c.clone()),
                    w.clone(),
                    Some(shift.clone()),
                    window,
                    layout,
                );
                let still = convolve_transposed(turn(c.clone()), w.clone(), None, window, layout);
                let difference = host(back(moved - still));
                let by: Vec<f64> = host(shift);
                for (at, d) in difference.iter().enumerate() {
                    let channel = at / (height * width) % inputs;
                    assert!((d - by[channel]).abs() < 1e-4, "{what}");
                }
            }
        }
    }

    /// Fixed weights, a tracked image: as in a frozen network.
    #[test]
    fn image_alone_may_be_tracked() {
        let device = Device::flex();
        let x = wave([2, 3, 5, 5], 0.4, &device);
        let w = wave([4, 3, 3, 3], 0.7, &device);
        let window = Window::square(3, 1, 1);
        let leaf = x.autodiff().require_grad();
        let y = convolve(leaf.clone(), w.clone(), None, window, Layout::ChannelsFirst);
        let grads = y.sum().backward();
        let ones = Tensor::ones([2, 4, 5, 5], &device);
        let expected = convolve_transposed(ones, w, None, window, Layout::ChannelsFirst);
        close(&host(leaf.grad(&grads).unwrap()), &host(expected), "∂x");
    }
}
