//! Shapes of convolutions.

/// Kernel, stride and zero padding, each of rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Size of the kernel.
    pub kernel: [usize; 2],
    /// Distance between two windows.
    pub stride: [usize; 2],
    /// Zeros on either side of the image.
    pub padding: [usize; 2],
}

impl Window {
    /// The same for rows and columns.
    pub const fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
        }
    }

    /// Height and width of a convolution's result; 0 for an image smaller than the kernel.
    pub fn output(&self, image: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|a| {
            let room = (image[a] + 2 * self.padding[a]).checked_sub(self.kernel[a]);
            room.map_or(0, |room| room / self.stride[a] + 1)
        })
    }

    /// Height and width of a transposed convolution's result.
    pub fn transposed_output(&self, image: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|a| {
            let size = self.stride[a] * image[a].saturating_sub(1) + self.kernel[a];
            size.saturating_sub(2 * self.padding[a])
        })
    }
}

/// Order of an image's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[B, C, H, W]`.
    ChannelsFirst,
    /// `[B, H, W, C]`.
    ChannelsLast,
}

/// Which of the two a convolution is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// y = W∗x.
    Plain,
    /// Its adjoint.
    Transposed,
}

/// Shape of a convolution of stride 1 that keeps height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// C_in.
    pub inputs: usize,
    /// C_out.
    pub outputs: usize,
    /// k, odd.
    pub kernel: usize,
    /// Whether it has a bias.
    pub bias: bool,
}
