//! Our kernels as operations of the tensor library, under autodiff too.

use std::{
    fmt::{self, Debug, Formatter},
    marker::PhantomData,
    sync::Arc,
};

use burn::{
    backend::{
        Autodiff, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        flex::FlexTensor,
    },
    tensor::{Tensor, TensorData},
};
#[cfg(feature = "native")]
use rayon::prelude::*;

use super::{
    super::window::{Direction, Layout, Window},
    conv::{Adjoint, PackedConv, Place, WeightGradient, framed, framed_planes, planes},
    values,
};

/// Parts of a batch whose weight gradients are summed one after the other. A constant, so that the order of
/// the sums does not depend on the number of threads.
const PARTS: usize = 8;

/// A convolution, or a transposed one; `None` where our kernels do not apply: on another device, in
/// another precision, or for empty tensors.
pub(in crate::nn) fn convolve(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    how: (Window, Layout, Direction),
) -> Option<Tensor<4>> {
    let plan = Plan::new(x.dims(), weight.dims(), how)?;
    let tracked = x.is_autodiff() || weight.is_autodiff() || bias.is_some_and(Tensor::is_autodiff);
    if !tracked {
        let bias = bias.map(values).map_or(Some(None), |b| b.map(Some))?;
        let y = plan.forward(&values(x)?, &values(weight)?, bias.as_ref());
        return Some(Tensor::from_primitive::<Flex>(y));
    }
    // An operation has as many parents as its type says: without a bias one of zeros is added.
    let bias = match bias {
        Some(bias) => bias.clone(),
        None => Tensor::zeros([plan.result_channels()], &x.device().inner()),
    };
    let plain = |t: &Tensor<4>| values(&t.clone().inner());
    let (images, weights) = (plain(x)?, plain(weight)?);
    let biases = values(&bias.clone().inner())?;
    let y = plan.forward(&images, &weights, Some(&biases));
    let x = taped(x).try_into_primitive::<Autodiff<Flex>>().ok()?;
    let weight = taped(weight).try_into_primitive::<Autodiff<Flex>>().ok()?;
    let bias = taped(&bias).try_into_primitive::<Autodiff<Flex>>().ok()?;
    let nodes = [x.node(), weight.node(), bias.node()];
    let prepared = Convolve.prepare::<NoCheckpointing>(nodes).compute_bound();
    let y = match prepared.stateful() {
        OpsKind::Tracked(prepared) => {
            let saved = Saved {
                plan,
                x: images,
                weight: weights,
            };
            prepared.finish(saved, y)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
}

/// A function of rows with fixed parameters, and its vector-Jacobian product.
pub(in crate::nn) trait Function: Send + Sync + 'static {
    /// What the backward pass needs.
    type Tape: Send + Sync + 'static;

    /// Values of a row of the result.
    fn outputs(&self) -> usize;

    /// Rows of the result, `[B, outputs]`, without a tape.
    fn values(&self, x: &[f32]) -> Vec<f32>;

    /// The same, and the tape.
    fn forward(&self, x: &[f32]) -> (Vec<f32>, Self::Tape);

    /// From ∂E/∂y, `[B, outputs]`, to ∂E/∂x.
    fn pull_back(&self, gradient: &[f32], tape: &Self::Tape) -> Vec<f32>;
}

/// f(x) of rows `[B, D]`; `None` where our kernels do not apply.
pub(in crate::nn) fn apply<F: Function>(f: F, x: &Tensor<2>) -> Option<Tensor<2>> {
    let [batch, dim] = x.dims();
    if batch * dim == 0 {
        return None;
    }
    let shape = [batch, f.outputs()];
    if !x.is_autodiff() {
        let y = f.values(values(x)?.storage());
        return Some(Tensor::from_primitive::<Flex>(tensor(y, shape)));
    }
    let rows = values(&x.clone().inner())?;
    let x = x.clone().try_into_primitive::<Autodiff<Flex>>().ok()?;
    let prepared = Applied::<F>(PhantomData)
        .prepare::<NoCheckpointing>([x.node()])
        .compute_bound();
    let y = match prepared.stateful() {
        OpsKind::Tracked(prepared) => {
            let (y, tape) = f.forward(rows.storage());
            let kept = Kept(Arc::new((f, tape, [batch, dim])));
            prepared.finish(kept, tensor(y, shape))
        }
        OpsKind::UnTracked(prepared) => prepared.finish(tensor(f.values(rows.storage()), shape)),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
}

/// The operation of [`apply`].
struct Applied<F>(PhantomData<F>);

/// The function, its tape and the shape of x.
struct Kept<F: Function>(Arc<(F, F::Tape, [usize; 2])>);

impl<F: Function> Clone for Kept<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F: Function> Debug for Kept<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

impl<F> Debug for Applied<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Applied")
    }
}

impl<F: Function> Backward<Flex, 1> for Applied<F> {
    type State = Kept<F>;

    fn backward(self, ops: Ops<Kept<F>, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x] = ops.parents;
        let (f, tape, shape) = &*ops.state.0;
        let g = grads.consume::<Flex>(&ops.node).to_contiguous();
        if let Some(node) = x {
            let pulled = f.pull_back(g.storage(), tape);
            grads.register::<Flex>(node.id, tensor(pulled, *shape));
        }
    }
}

/// x where it is positive, else slope·x, of any shape; `None` where our kernels do not apply.
pub(in crate::nn) fn rectify<const D: usize>(x: &Tensor<D>, slope: f32) -> Option<Tensor<D>> {
    let before = match x.is_autodiff() {
        true => values(&x.clone().inner())?,
        false => values(x)?,
    };
    let y = map(&before, |v| if v < 0.0 { slope * v } else { v });
    if !x.is_autodiff() {
        return Some(Tensor::from_primitive::<Flex>(y));
    }
    let x = x.clone().try_into_primitive::<Autodiff<Flex>>().ok()?;
    let prepared = Rectify
        .prepare::<NoCheckpointing>([x.node()])
        .compute_bound();
    let y = match prepared.stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((before, slope), y),
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
}

/// From ∂E/∂y of y = [`rectify`]`(x, slope)` to ∂E/∂x.
pub(in crate::nn) fn rectify_back<const D: usize>(
    x: &Tensor<D>,
    gradient: &Tensor<D>,
    slope: f32,
) -> Option<Tensor<D>> {
    let gradient = slopes(&values(x)?, &values(gradient)?, slope);
    Some(Tensor::from_primitive::<Flex>(gradient))
}

/// As PyTorch: the slope counts at 0, too. A product without a branch, so that the compiler uses SIMD.
fn slopes(x: &FlexTensor, gradient: &FlexTensor, slope: f32) -> FlexTensor {
    let (x, g): (&[f32], &[f32]) = (x.storage(), gradient.storage());
    let values: Vec<f32> = g
        .iter()
        .zip(x)
        .map(|(g, &x)| g * if x > 0.0 { 1.0 } else { slope })
        .collect();
    FlexTensor::from_data(TensorData::new(values, gradient.layout().shape().clone()))
}

fn map(x: &FlexTensor, f: impl Fn(f32) -> f32) -> FlexTensor {
    let values: Vec<f32> = x.storage::<f32>().iter().map(|&v| f(v)).collect();
    FlexTensor::from_data(TensorData::new(values, x.layout().shape().clone()))
}

/// The operation of [`rectify`].
#[derive(Debug)]
struct Rectify;

impl Backward<Flex, 1> for Rectify {
    /// x and the slope.
    type State = (FlexTensor, f32);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x] = ops.parents;
        let (before, slope) = ops.state;
        let g = grads.consume::<Flex>(&ops.node).to_contiguous();
        if let Some(node) = x {
            grads.register::<Flex>(node.id, slopes(&before, &g, slope));
        }
    }
}

/// The tensor on the autodiff device.
fn taped<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    match tensor.is_autodiff() {
        true => tensor.clone(),
        false => tensor.clone().autodiff(),
    }
}

/// The operation of [`convolve`].
#[derive(Debug)]
struct Convolve;

/// What its backward pass needs.
#[derive(Debug, Clone)]
struct Saved {
    plan: Plan,
    x: FlexTensor,
    weight: FlexTensor,
}

impl Backward<Flex, 3> for Convolve {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x, weight, bias] = ops.parents;
        let Saved {
            plan,
            x: images,
            weight: weights,
        } = ops.state;
        let g = grads.consume::<Flex>(&ops.node).to_contiguous();
        if let Some(node) = x {
            grads.register::<Flex>(node.id, plan.image_gradient(&g, &weights));
        }
        if let Some(node) = weight {
            grads.register::<Flex>(node.id, plan.weight_gradient(&images, &g));
        }
        if let Some(node) = bias {
            grads.register::<Flex>(node.id, plan.bias_gradient(&g));
        }
    }
}

/// Sizes of a convolution W∗x = y, `[C_in, H, W]` → `[C_out, H′, W′]`, and whether it or its adjoint is
/// computed.
#[derive(Debug, Clone, Copy)]
struct Plan {
    window: Window,
    layout: Layout,
    direction: Direction,
    batch: usize,
    /// C_in, C_out.
    channels: [usize; 2],
    /// Height and width of x, and of y.
    image: [usize; 2],
    output: [usize; 2],
}

/// Buffers of a thread.
#[derive(Default)]
struct Scratch {
    framed: Vec<f32>,
    other: Vec<f32>,
}

impl Plan {
    fn new(
        dims: [usize; 4],
        weight: [usize; 4],
        (window, layout, direction): (Window, Layout, Direction),
    ) -> Option<Self> {
        let (batch, size) = match layout {
            Layout::ChannelsFirst => (dims[0], [dims[2], dims[3]]),
            Layout::ChannelsLast => (dims[0], [dims[1], dims[2]]),
        };
        let (image, output) = match direction {
            Direction::Plain => (size, window.output(size)),
            Direction::Transposed => (window.transposed_output(size), size),
        };
        let some = [batch, weight[0], weight[1]]
            .into_iter()
            .chain(image)
            .chain(output);
        (some.min() > Some(0)).then_some(Self {
            window,
            layout,
            direction,
            batch,
            channels: [weight[1], weight[0]],
            image,
            output,
        })
    }

    fn result_channels(&self) -> usize {
        match self.direction {
            Direction::Plain => self.channels[1],
            Direction::Transposed => self.channels[0],
        }
    }

    fn forward(
        &self,
        x: &FlexTensor,
        weight: &FlexTensor,
        bias: Option<&FlexTensor>,
    ) -> FlexTensor {
        let bias = bias.map_or(&[][..], |b| b.storage::<f32>());
        let (x, weight) = (x.storage(), weight.storage());
        match self.direction {
            Direction::Plain => self.convolve(x, weight, bias),
            Direction::Transposed => self.adjoint(x, weight, bias),
        }
    }

    fn image_gradient(&self, g: &FlexTensor, weight: &FlexTensor) -> FlexTensor {
        let (g, weight) = (g.storage(), weight.storage());
        match self.direction {
            Direction::Plain => self.adjoint(g, weight, &[]),
            Direction::Transposed => self.convolve(g, weight, &[]),
        }
    }

    fn weight_gradient(&self, x: &FlexTensor, g: &FlexTensor) -> FlexTensor {
        let (x, g): (&[f32], &[f32]) = (x.storage(), g.storage());
        // The gradient of ⟨W∗x, g⟩ = ⟨x, Wᵀg⟩ is the same for both.
        let (x, g) = match self.direction {
            Direction::Plain => (x, g),
            Direction::Transposed => (g, x),
        };
        let ([inputs, outputs], [ky, kx]) = (self.channels, self.window.kernel);
        let part = self.batch.div_ceil(PARTS);
        let from = part * inputs * self.image[0] * self.image[1];
        let to = part * outputs * self.output[0] * self.output[1];
        #[cfg(feature = "native")]
        let parts = x.par_chunks(from).zip(g.par_chunks(to));
        #[cfg(not(feature = "native"))]
        let parts = x.chunks(from).zip(g.chunks(to));
        let sums: Vec<WeightGradient> = parts.map(|(x, g)| self.sum_of_part(x, g)).collect();
        let mut sums = sums.into_iter();
        let mut total = sums
            .next()
            .unwrap_or_else(|| WeightGradient::new(self.channels, self.window));
        sums.for_each(|part| total.merge(&part));
        tensor(total.finish(), [outputs, inputs, ky, kx])
    }

    fn sum_of_part(&self, x: &[f32], g: &[f32]) -> WeightGradient {
        let [py, px] = self.window.padding;
        let ([inputs, outputs], [height, width]) = (self.channels, self.image);
        let mut sum = WeightGradient::new(self.channels, self.window);
        let mut scratch = Scratch::default();
        let images = x.chunks_exact(inputs * height * width);
        for (x, g) in images.zip(g.chunks_exact(outputs * self.output[0] * self.output[1])) {
            let border = [py, px, py, px];
            self.frame(x, [height, width, inputs], border, &mut scratch.framed);
            let g = self.padded(g, sum.padded(), &mut scratch.other);
            sum.add(self.output, width + 2 * px, &scratch.framed, g);
        }
        sum
    }

    /// ∂E/∂y of an image, channels last, with zeros up to so many channels.
    fn padded<'a>(&self, g: &'a [f32], to: usize, buffer: &'a mut Vec<f32>) -> &'a [f32] {
        let (channels, [height, width]) = (self.channels[1], self.output);
        if self.layout == Layout::ChannelsLast && to == channels {
            return g;
        }
        buffer.clear();
        buffer.resize(height * width * to, 0.0);
        match self.layout {
            Layout::ChannelsLast => {
                for (to, from) in buffer.chunks_exact_mut(to).zip(g.chunks_exact(channels)) {
                    to[..channels].copy_from_slice(from);
                }
            }
            Layout::ChannelsFirst => {
                for (y, row) in buffer.chunks_exact_mut(width * to).enumerate() {
                    for c in 0..channels {
                        let from = &g[(c * height + y) * width..][..width];
                        let row = row[c..].iter_mut().step_by(to);
                        row.zip(from).for_each(|(to, &v)| *to = v);
                    }
                }
            }
        }
        buffer
    }

    fn bias_gradient(&self, g: &FlexTensor) -> FlexTensor {
        const LANES: usize = 16;
        let channels = self.result_channels();
        let g: &[f32] = g.storage();
        let mut sums = vec![0.0; channels];
        match self.layout {
            Layout::ChannelsLast => {
                for pixel in g.chunks_exact(channels) {
                    sums.iter_mut().zip(pixel).for_each(|(s, &v)| *s += v);
                }
            }
            Layout::ChannelsFirst => {
                let plane = g.len() / self.batch / channels;
                for (at, plane) in g.chunks_exact(plane).enumerate() {
                    let mut parts = [0.0f32; LANES];
                    let chunks = plane.chunks_exact(LANES);
                    let rest: f32 = chunks.remainder().iter().sum();
                    for chunk in chunks {
                        parts.iter_mut().zip(chunk).for_each(|(s, &v)| *s += v);
                    }
                    sums[at % channels] += rest + parts.iter().sum::<f32>();
                }
            }
        }
        tensor(sums, [channels])
    }

    /// W∗x + b of every image.
    fn convolve(&self, x: &[f32], weight: &[f32], bias: &[f32]) -> FlexTensor {
        let conv = PackedConv::strided(weight, bias, self.channels, self.window);
        let [py, px] = self.window.padding;
        let ([inputs, outputs], [height, width]) = (self.channels, self.image);
        let place = Place::whole(self.output, width + 2 * px);
        let each = |scratch: &mut Scratch, (x, y): (&[f32], &mut [f32])| {
            let border = [py, px, py, px];
            self.frame(x, [height, width, inputs], border, &mut scratch.framed);
            let Scratch { framed, other } = scratch;
            self.write(y, [self.output[1], outputs], other, |y| {
                conv.apply_at(place, framed, y, false);
            });
        };
        self.every_image(x, self.output, outputs, each)
    }

    /// Wᵀg + b of every image.
    fn adjoint(&self, g: &[f32], weight: &[f32], bias: &[f32]) -> FlexTensor {
        let adjoint = Adjoint::new(weight, bias, self.channels, self.window);
        let border = adjoint.border(self.image, self.output);
        let ([inputs, outputs], [height, width]) = (self.channels, self.output);
        let each = |scratch: &mut Scratch, (g, x): (&[f32], &mut [f32])| {
            self.frame(g, [height, width, outputs], border, &mut scratch.framed);
            let Scratch { framed, other } = scratch;
            self.write(x, [self.image[1], inputs], other, |x| {
                adjoint.apply(self.image, border[1] + width + border[3], framed, x);
            });
        };
        self.every_image(g, self.image, inputs, each)
    }

    /// Copies an image into a buffer, channels last and with a border of zeros.
    fn frame(&self, x: &[f32], size: [usize; 3], border: [usize; 4], to: &mut Vec<f32>) {
        match self.layout {
            Layout::ChannelsFirst => framed_planes(x, size, border, to),
            Layout::ChannelsLast => framed(x, size, border, to, |v| v),
        }
    }

    /// Computes an image channels last and writes it in this layout.
    fn write(
        &self,
        image: &mut [f32],
        [width, channels]: [usize; 2],
        buffer: &mut Vec<f32>,
        compute: impl FnOnce(&mut [f32]),
    ) {
        match self.layout {
            Layout::ChannelsLast => compute(image),
            Layout::ChannelsFirst => {
                buffer.resize(image.len(), 0.0);
                compute(buffer);
                planes(buffer, width, channels, image);
            }
        }
    }

    /// A new batch of images of this size, each made from one of `x`.
    fn every_image(
        &self,
        x: &[f32],
        [height, width]: [usize; 2],
        channels: usize,
        each: impl Fn(&mut Scratch, (&[f32], &mut [f32])) + Sync,
    ) -> FlexTensor {
        let (from, to) = (x.len() / self.batch, height * width * channels);
        let mut y = vec![0.0; self.batch * to];
        #[cfg(feature = "native")]
        x.par_chunks_exact(from)
            .zip(y.par_chunks_exact_mut(to))
            .for_each_init(Scratch::default, &each);
        #[cfg(not(feature = "native"))]
        {
            let mut scratch = Scratch::default();
            x.chunks_exact(from)
                .zip(y.chunks_exact_mut(to))
                .for_each(|image| each(&mut scratch, image));
        }
        let shape = match self.layout {
            Layout::ChannelsFirst => [self.batch, channels, height, width],
            Layout::ChannelsLast => [self.batch, height, width, channels],
        };
        tensor(y, shape)
    }
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}
