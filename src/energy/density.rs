//! Densities with known exact distributions: the Playground's targets and the reference for sampler
//! tests.
//!
//! A density gives its energy and hand-written gradient for a batch on the device, and the log density
//! of its first two coordinates in f64 on the host. Quadrature of the latter gives the picture of the
//! plane, exact marginals, exact draws and Kullback–Leibler divergences.

use std::sync::OnceLock;

use burn::tensor::{Device, Tensor, TensorData};

use super::{Conditionals, Energy, Evaluation, Point, Space};
use crate::rng::{Purpose, Rng};

/// A target with a known exact distribution.
pub trait Density: Energy {
    /// Names of all coordinates; the first two span the plotted plane.
    fn coordinates(&self) -> Vec<String>;

    /// x0, x1, y0, y1 of the plotting window. It holds nearly all the mass, unless the density overrides
    /// [`marginals`](Self::marginals).
    fn bounds(&self) -> [f64; 4];

    /// log density of the first two coordinates (marginal where there are more), in nats up to a
    /// constant.
    fn log_plane(&self, x: f64, y: f64) -> f64;

    /// A state in one of the modes, for chains that start in a single mode.
    fn mode(&self) -> Vec<f64>;

    /// Start states for points of the plane; all other coordinates are 0. `[B·D]`, row-major.
    fn lift(&self, plane: &[[f32; 2]]) -> Vec<f32> {
        let dim = self.space().dim;
        plane
            .iter()
            .flat_map(|p| p.iter().copied().chain(std::iter::repeat_n(0.0, dim - 2)))
            .collect()
    }

    /// x0, x1, y0, y1 of the rectangle of over-dispersed starts: the middle 80 % of the plotting window,
    /// unless a target overrides it.
    fn start_bounds(&self) -> [f64; 4] {
        most_of(self.bounds())
    }

    /// `chains` over-dispersed points of the plane, uniform over [`start_bounds`](Self::start_bounds)
    /// stretched by `scale` about their centre.
    fn dispersed(&self, rng: &Rng, chains: usize, scale: f64) -> Vec<[f32; 2]> {
        spread(self.start_bounds(), rng, chains, scale)
    }

    /// Exact marginals of the coordinates for which they are known: those of the plane, by quadrature.
    fn marginals(&self) -> Vec<Marginal> {
        marginals_by_quadrature(self)
    }

    /// `n` exact draws of the plane, batch `step` of a seed: by inverting the cumulative distribution on
    /// a grid, uniform within its cells.
    fn draws(&self, rng: &Rng, step: u32, n: usize) -> Vec<[f32; 2]> {
        grid_sampler(self).draws(rng, step, n)
    }
}

/// The middle 80 % of a rectangle's sides.
fn most_of([x0, x1, y0, y1]: [f64; 4]) -> [f64; 4] {
    let (x, y) = (0.1 * (x1 - x0), 0.1 * (y1 - y0));
    [x0 + x, x1 - x, y0 + y, y1 - y]
}

/// The marginals of the plane's two coordinates, from its density on a grid.
fn marginals_by_quadrature(density: &(impl Density + ?Sized)) -> Vec<Marginal> {
    let grid = Grid::over(density.bounds(), 400, |x, y| density.log_plane(x, y));
    let names = density.coordinates().into_iter().take(2);
    names
        .enumerate()
        .map(|(i, n)| grid.marginal(i, n))
        .collect()
}

/// A sampler of the plane, from its density on a grid.
fn grid_sampler(density: &(impl Density + ?Sized)) -> GridSampler {
    Grid::over(density.bounds(), 512, |x, y| density.log_plane(x, y)).sampler()
}

/// `n` points, uniform over a rectangle stretched by `scale` about its centre.
pub(crate) fn spread([x0, x1, y0, y1]: [f64; 4], rng: &Rng, n: usize, scale: f64) -> Vec<[f32; 2]> {
    let place = |low: f64, high: f64, u: f32| {
        (0.5 * (low + high) + scale * (high - low) * (f64::from(u) - 0.5)) as f32
    };
    rng.uniforms(Purpose::Start, 0, n, 2)
        .chunks(2)
        .map(|u| [place(x0, x1, u[0]), place(y0, y1, u[1])])
        .collect()
}

/// The exact marginal of one coordinate.
#[derive(Debug, Clone)]
pub struct Marginal {
    /// Name of the coordinate.
    pub name: String,
    /// Values of the coordinate, evenly spaced.
    pub grid: Vec<f64>,
    /// Density there; integrates to 1.
    pub density: Vec<f64>,
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub sd: f64,
}

impl Marginal {
    /// From an unnormalised density on an evenly spaced grid.
    pub fn from_grid(name: String, grid: Vec<f64>, mut density: Vec<f64>) -> Self {
        let step = grid[1] - grid[0];
        let mass: f64 = density.iter().sum::<f64>() * step;
        density.iter_mut().for_each(|d| *d /= mass);
        let moment = |f: &dyn Fn(f64) -> f64| -> f64 {
            grid.iter()
                .zip(&density)
                .map(|(&x, d)| f(x) * d * step)
                .sum()
        };
        let mean = moment(&|x| x);
        let sd = moment(&|x| (x - mean).powi(2)).sqrt();
        Self {
            name,
            grid,
            density,
            mean,
            sd,
        }
    }
}

/// A log density on the midpoints of a grid, row by row from y0 up.
pub struct Grid {
    bounds: [f64; 4],
    side: usize,
    /// Log density minus its maximum.
    log: Vec<f64>,
}

impl Grid {
    /// `side` × `side` cells over `bounds`.
    pub fn over(bounds: [f64; 4], side: usize, log: impl Fn(f64, f64) -> f64) -> Self {
        let mut this = Self {
            bounds,
            side,
            log: Vec::with_capacity(side * side),
        };
        for j in 0..side {
            for i in 0..side {
                this.log.push(log(this.x(i), this.y(j)));
            }
        }
        this.shift();
        this
    }

    /// From log densities at [`points`](Self::points).
    pub fn from_values(bounds: [f64; 4], side: usize, log: Vec<f64>) -> Self {
        let mut this = Self { bounds, side, log };
        this.shift();
        this
    }

    fn shift(&mut self) {
        let top = self.log.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.log.iter_mut().for_each(|l| *l -= top);
    }

    fn at(low: f64, high: f64, i: usize, side: usize) -> f64 {
        low + (high - low) * (i as f64 + 0.5) / side as f64
    }

    fn x(&self, i: usize) -> f64 {
        Self::at(self.bounds[0], self.bounds[1], i, self.side)
    }

    fn y(&self, j: usize) -> f64 {
        Self::at(self.bounds[2], self.bounds[3], j, self.side)
    }

    /// The midpoints of all cells, `[side², 2]`, on a device.
    pub fn points(bounds: [f64; 4], side: usize, device: &Device) -> Tensor<2> {
        let values: Vec<f32> = (0..side * side)
            .flat_map(|k| {
                [
                    Self::at(bounds[0], bounds[1], k % side, side) as f32,
                    Self::at(bounds[2], bounds[3], k / side, side) as f32,
                ]
            })
            .collect();
        Tensor::from_data(TensorData::new(values, [side * side, 2]), device)
    }

    /// Energies minus their minimum, for plotting.
    pub fn energies(&self) -> Vec<f32> {
        self.log.iter().map(|l| -l as f32).collect()
    }

    /// Probability of each cell.
    fn masses(&self) -> Vec<f64> {
        let total: f64 = self.log.iter().map(|l| l.exp()).sum();
        self.log.iter().map(|l| l.exp() / total).collect()
    }

    /// KL(self ‖ other) in nats, of the two distributions restricted to the grid.
    pub fn kl(&self, other: &Self) -> f64 {
        let normaliser = |g: &Self| g.log.iter().map(|l| l.exp()).sum::<f64>().ln();
        let (p, q) = (normaliser(self), normaliser(other));
        self.log
            .iter()
            .zip(&other.log)
            .map(|(a, b)| (a - p).exp() * ((a - p) - (b - q)))
            .sum()
    }

    /// The marginal of x (0) or y (1).
    pub fn marginal(&self, axis: usize, name: String) -> Marginal {
        let n = self.side;
        let mut density = vec![0.0; n];
        for (k, l) in self.log.iter().enumerate() {
            density[if axis == 0 { k % n } else { k / n }] += l.exp();
        }
        let grid = (0..n)
            .map(|i| if axis == 0 { self.x(i) } else { self.y(i) })
            .collect();
        Marginal::from_grid(name, grid, density)
    }

    /// A sampler of the grid's distribution.
    pub fn sampler(&self) -> GridSampler {
        let mut total = 0.0;
        let cumulated = self
            .masses()
            .into_iter()
            .map(|m| {
                total += m;
                total
            })
            .collect();
        GridSampler {
            bounds: self.bounds,
            side: self.side,
            cumulated,
        }
    }
}

/// Draws from a distribution on a grid: a cell by its probability, then a uniform point in the cell.
pub struct GridSampler {
    bounds: [f64; 4],
    side: usize,
    cumulated: Vec<f64>,
}

impl GridSampler {
    /// `n` draws, batch `step` of a seed.
    pub fn draws(&self, rng: &Rng, step: u32, n: usize) -> Vec<[f32; 2]> {
        let u = rng.uniforms(Purpose::Data, step, n, 4);
        u.chunks(4)
            .map(|u| {
                // One uniform has a resolution of 23 bits, and cells may hold less mass than that: a
                // second uniform adds the lower bits.
                let p = f64::from(u[0]) + (f64::from(u[3]) - 0.5) / 16_777_216.0;
                let cell = self
                    .cumulated
                    .partition_point(|&c| c < p)
                    .min(self.side * self.side - 1);
                let (i, j) = (cell % self.side, cell / self.side);
                let [x0, x1, y0, y1] = self.bounds;
                let place = |low: f64, high: f64, k: usize, u: f32| {
                    (low + (high - low) * (k as f64 + f64::from(u)) / self.side as f64) as f32
                };
                [place(x0, x1, i, u[1]), place(y0, y1, j, u[2])]
            })
            .collect()
    }
}

/// A density over two coordinates, given by formulas; `On` makes it a target.
pub trait Plane: Send + Sync {
    /// E, ∂E/∂x and ∂E/∂y for columns x and y (`[B, 1]` each).
    fn energy(&self, x: Tensor<2>, y: Tensor<2>) -> [Tensor<2>; 3];
    /// See [`Density::bounds`].
    fn bounds(&self) -> [f64; 4];
    /// See [`Density::start_bounds`]; `None`: the middle 80 % of the plotting window.
    fn start_bounds(&self) -> Option<[f64; 4]> {
        None
    }
    /// See [`Density::log_plane`].
    fn log_density(&self, x: f64, y: f64) -> f64;
    /// See [`Density::mode`].
    fn mode(&self) -> [f64; 2];
    /// Names of the coordinates.
    fn names(&self) -> [&'static str; 2] {
        ["x", "y"]
    }
    /// See [`Density::marginals`]; `None`: by quadrature.
    fn closed_marginals(&self) -> Option<Vec<Marginal>> {
        None
    }
    /// See [`Density::draws`]; `None`: from the grid.
    fn closed_draws(&self, rng: &Rng, step: u32, n: usize) -> Option<Vec<[f32; 2]>> {
        let _ = (rng, step, n);
        None
    }
    /// See [`Energy::conditionals`].
    fn conditionals(&self) -> Option<&dyn Conditionals> {
        None
    }
}

/// A [`Plane`] as a target.
pub(super) struct On<P> {
    plane: P,
    /// Grid sampler (512² cells, computed once) for planes without closed-form draws.
    sampler: OnceLock<GridSampler>,
}

impl<P: Plane> On<P> {
    pub(super) fn new(plane: P) -> Self {
        Self {
            plane,
            sampler: OnceLock::new(),
        }
    }
}

impl<P: Plane> On<P> {
    fn split(&self, x: &Tensor<2>) -> [Tensor<2>; 3] {
        let column = |i| x.clone().narrow(1, i, 1);
        self.plane.energy(column(0), column(1))
    }
}

impl<P: Plane> Energy for On<P> {
    fn space(&self) -> Space {
        Space {
            name: "plane",
            dim: 2,
            image: None,
        }
    }

    fn observables(&self) -> Vec<String> {
        self.plane.names().map(str::to_owned).to_vec()
    }

    fn evaluate(&self, x: Tensor<2>) -> Evaluation {
        let [batch, _] = x.dims();
        let [energy, _, _] = self.split(&x);
        Evaluation {
            energy: energy.reshape([batch]),
            observed: Some(x),
        }
    }

    fn point(&self, x: Tensor<2>) -> Point {
        let [batch, _] = x.dims();
        let [energy, dx, dy] = self.split(&x);
        Point {
            energy: energy.reshape([batch]),
            gradient: Tensor::cat(vec![dx, dy], 1),
            observed: Some(x.clone()),
            x,
        }
    }

    fn conditionals(&self) -> Option<&dyn Conditionals> {
        self.plane.conditionals()
    }
}

impl<P: Plane> Density for On<P> {
    fn coordinates(&self) -> Vec<String> {
        self.observables()
    }

    fn bounds(&self) -> [f64; 4] {
        self.plane.bounds()
    }

    fn start_bounds(&self) -> [f64; 4] {
        let own = self.plane.start_bounds();
        own.unwrap_or_else(|| most_of(self.bounds()))
    }

    fn log_plane(&self, x: f64, y: f64) -> f64 {
        self.plane.log_density(x, y)
    }

    fn mode(&self) -> Vec<f64> {
        self.plane.mode().to_vec()
    }

    fn marginals(&self) -> Vec<Marginal> {
        self.plane
            .closed_marginals()
            .unwrap_or_else(|| marginals_by_quadrature(self))
    }

    fn draws(&self, rng: &Rng, step: u32, n: usize) -> Vec<[f32; 2]> {
        self.plane.closed_draws(rng, step, n).unwrap_or_else(|| {
            let sampler = self.sampler.get_or_init(|| grid_sampler(self));
            sampler.draws(rng, step, n)
        })
    }
}
