//! One batch on several devices (synchronous data parallelism): each device processes its rows, and the
//! results are combined on the first, so that training on several devices matches training on one.
//!
//! Built from burn's `fork`, `GradientsParams::to_device` and `GradientsAccumulator`. burn's all-reduce
//! is not used: in 0.22 only its CUDA backend implements it.

#[cfg(feature = "native")]
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

#[cfg(feature = "native")]
use burn::optim::GradientsAccumulator;
use burn::{
    module::Module,
    optim::GradientsParams,
    tensor::{Device, Tensor},
};

#[cfg(feature = "native")]
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{device::read, error::Result};

/// Applies `work` to the rows of a batch, split over devices; returns the results in row order. `rows`
/// are tensors `[B, …]` with the same B, on the first device. `work` receives the index of its first
/// row, and its rows on its own device. `others` are the additional devices; all devices get equally
/// many rows, and the first also gets the remainder. A batch with fewer rows than devices stays on the
/// first.
pub async fn map<R: Send>(
    rows: Vec<Tensor<2>>,
    others: &[Device],
    work: impl AsyncFn(usize, Vec<Tensor<2>>) -> R + Sync,
) -> Vec<R> {
    // The page has one device and no threads for others.
    #[cfg(feature = "native")]
    if !others.is_empty()
        && rows[0].dims()[0] > others.len()
        && let Some(crew) = crew(others)
    {
        return spread(&rows, others, &crew, work);
    }
    let _ = others;
    vec![work(0, rows).await]
}

#[cfg(feature = "native")]
fn spread<R: Send>(
    rows: &[Tensor<2>],
    others: &[Device],
    crew: &ThreadPool,
    work: impl AsyncFn(usize, Vec<Tensor<2>>) -> R + Sync,
) -> Vec<R> {
    let batch = rows[0].dims()[0];
    let share = batch / (others.len() + 1);
    let left = batch - share * others.len();
    let part = |first: usize, count: usize| -> Vec<Tensor<2>> {
        rows.iter()
            .map(|t| t.clone().narrow(0, first, count))
            .collect()
    };
    let shares: Vec<(usize, Vec<Tensor<2>>)> = others
        .iter()
        .enumerate()
        .map(|(k, device)| {
            let first = left + k * share;
            let moved = part(first, share).into_iter();
            (first, moved.map(|t| t.to_device(device)).collect())
        })
        .collect();
    let mut away: Vec<Option<R>> = others.iter().map(|_| None).collect();
    let work = &work;
    let mut all = vec![crew.in_place_scope(|scope| {
        for ((first, moved), done) in shares.into_iter().zip(&mut away) {
            scope.spawn(move |_| *done = Some(pollster::block_on(work(first, moved))));
        }
        pollster::block_on(work(0, part(0, left)))
    })];
    // A panic in any of them has propagated above.
    all.extend(away.into_iter().flatten());
    all
}

/// The threads for the additional devices. They live as long as the process, because cubecl keeps a
/// stream with its own memory for every thread that ever used a device. One thread per GPU; a CPU
/// device gets its share of the cores, since its computation is parallelised within this pool. `None`
/// if no threads can be started: the first device then does all the work.
#[cfg(feature = "native")]
fn crew(others: &[Device]) -> Option<Arc<ThreadPool>> {
    static CREWS: Mutex<BTreeMap<usize, Arc<ThreadPool>>> = Mutex::new(BTreeMap::new());
    let cpu = Device::flex();
    let processors = others.iter().filter(|device| **device == cpu).count();
    let cores = rayon::current_num_threads() / (others.len() + 1);
    let threads = others.len() + processors * cores.saturating_sub(1);
    let mut crews = CREWS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(crew) = crews.get(&threads) {
        return Some(crew.clone());
    }
    let crew = ThreadPoolBuilder::new().num_threads(threads);
    let crew = crew.thread_name(|k| format!("device-{}", k + 1));
    let crew = Arc::new(crew.build().ok()?);
    crews.insert(threads, crew.clone());
    Some(crew)
}

/// Concatenates the parts of a batch, in order, to `[B, …]`.
pub fn together(mut parts: Vec<Tensor<2>>) -> Tensor<2> {
    match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::cat(parts, 0),
    }
}

/// Value of an objective on some rows.
pub struct Part {
    /// The loss, a mean over the rows, `[1]`.
    pub loss: Tensor<1>,
    /// Additional means over the rows, `[1]` each, without autodiff.
    pub means: Vec<Tensor<1>>,
    /// Additional outputs per row, without autodiff.
    pub rows: Vec<Tensor<2>>,
}

impl From<Tensor<1>> for Part {
    fn from(loss: Tensor<1>) -> Self {
        Self {
            loss,
            means: Vec::new(),
            rows: Vec::new(),
        }
    }
}

/// Value and gradient of an objective on a whole batch.
pub struct Whole {
    /// Mean loss.
    pub loss: f64,
    /// The additional means.
    pub means: Vec<f64>,
    /// The additional outputs, on the first device.
    pub rows: Vec<Tensor<2>>,
    /// The loss's gradient, on the module's own device.
    pub gradients: GradientsParams,
}

/// The mean of an objective over the rows of a batch, and its gradient. `rows` and `others` as for
/// [`map`], on devices without autodiff.
///
/// # Errors
/// [`Error::Device`](crate::Error::Device) when a device cannot be read.
pub async fn gradient<M: Module + Send + Sync>(
    module: &M,
    rows: Vec<Tensor<2>>,
    others: &[Device],
    objective: impl Fn(&M, &[Tensor<2>]) -> Part + Sync,
) -> Result<Whole> {
    let (batch, home) = (rows[0].dims()[0], rows[0].device());
    let parts = map(
        rows,
        others,
        async |first, rows: Vec<Tensor<2>>| -> Result<_> {
            let (count, device) = (rows[0].dims()[0], rows[0].device());
            let copy = (first > 0).then(|| module.clone().fork(&device.autodiff()));
            let module = copy.as_ref().unwrap_or(module);
            let part = objective(module, &rows);
            // Weight by the part's size, so that parts of unequal size sum to the mean.
            let weight = count as f64 / batch as f64;
            let loss = part.loss * weight;
            let mut values = vec![loss.clone().inner()];
            values.extend(part.means.into_iter().map(|mean| mean * weight));
            let values: Vec<f32> = read(Tensor::cat(values, 0)).await?;
            let gradients = GradientsParams::from_grads(loss.backward(), module);
            let gradients = match &copy {
                Some(copy) => gradients.to_device(&home, copy),
                None => gradients,
            };
            let rows: Vec<_> = part.rows.into_iter().map(|t| t.to_device(&home)).collect();
            Ok((values, gradients, rows))
        },
    )
    .await;
    let mut parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
    #[cfg(feature = "native")]
    if parts.len() > 1 {
        return Ok(sum(module, parts));
    }
    let (values, gradients, rows) = parts.remove(0);
    let mut values = values.into_iter().map(f64::from);
    Ok(Whole {
        loss: values.next().unwrap_or(f64::NAN),
        means: values.collect(),
        rows,
        gradients,
    })
}

#[cfg(feature = "native")]
type Share = (Vec<f32>, GradientsParams, Vec<Tensor<2>>);

#[cfg(feature = "native")]
fn sum<M: Module>(module: &M, parts: Vec<Share>) -> Whole {
    let mut gradients = GradientsAccumulator::new();
    let (mut values, mut rows) = (Vec::<f64>::new(), Vec::<Vec<Tensor<2>>>::new());
    for (share, gradient, of_rows) in parts {
        values.resize(share.len(), 0.0);
        values
            .iter_mut()
            .zip(share)
            .for_each(|(sum, v)| *sum += f64::from(v));
        rows.resize(of_rows.len(), Vec::new());
        rows.iter_mut()
            .zip(of_rows)
            .for_each(|(all, r)| all.push(r));
        gradients.accumulate(module, gradient);
    }
    Whole {
        loss: values.remove(0),
        means: values,
        rows: rows.into_iter().map(together).collect(),
        gradients: gradients.grads(),
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::AdamConfig;

    use super::*;
    use crate::{
        nn::{
            gradient::gradient_norm,
            layers::Init,
            tilt::{Tilt, TiltConfig},
        },
        rng::{Purpose, Rng},
    };

    fn net() -> Tilt {
        let config = TiltConfig::Mlp {
            hidden: 24,
            layers: 2,
            bound: 0.0,
        };
        Tilt::new(
            &config,
            [5, 1, 1],
            &mut Init::new(3, &Device::flex().autodiff()),
        )
    }

    /// Squared error of x against its target, with the outputs.
    fn loss(net: &Tilt, rows: &[Tensor<2>]) -> Part {
        let [n, _] = rows[1].dims();
        let u = net.forward(rows[0].clone());
        Part {
            loss: (u.clone() - rows[1].clone().reshape([n]))
                .powi_scalar(2)
                .mean(),
            means: vec![u.clone().inner().mean()],
            rows: vec![u.inner().reshape([n, 1])],
        }
    }

    /// Five steps on a batch of 22 rows, which three devices cannot split evenly. Returns losses,
    /// gradient norms, means of the outputs, and the last outputs.
    fn train(others: &[Device]) -> [Vec<f64>; 4] {
        let device = Device::flex();
        let (mut net, mut optimiser) = (net(), AdamConfig::new().init());
        let (mut losses, mut norms, mut means, mut outputs) = (vec![], vec![], vec![], vec![]);
        for step in 0..5 {
            let rng = Rng::new(1);
            let x = rng.normal_tensor(Purpose::Data, step, 22, 5, &device);
            let y = rng.normal_tensor(Purpose::Choice, step, 22, 1, &device);
            let whole = pollster::block_on(gradient(&net, vec![x, y], others, loss)).unwrap();
            norms.push(pollster::block_on(gradient_norm(&net, &whole.gradients)).unwrap());
            losses.push(whole.loss);
            means.extend(whole.means);
            outputs = values(whole.rows[0].clone());
            net = optimiser.step(1e-2, net, whole.gradients);
        }
        [losses, norms, means, outputs]
    }

    fn values(x: Tensor<2>) -> Vec<f64> {
        let values: Vec<f32> = pollster::block_on(read(x)).unwrap();
        values.into_iter().map(f64::from).collect()
    }

    #[test]
    fn training_on_several_devices_matches_one() {
        let alone = train(&[]);
        assert!(alone[1].iter().all(|n| *n > 1e-3) && alone[3].len() == 22);
        for others in [1, 2].map(|n| vec![Device::flex(); n]) {
            for (a, b) in alone.iter().zip(train(&others)) {
                assert_eq!(a.len(), b.len());
                for (a, b) in a.iter().zip(b) {
                    assert!(
                        (a - b).abs() < 1e-5 * a.abs().max(1.0),
                        "{a} alone, {b} with {others:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn rows_keep_their_order_and_index() {
        let device = Device::flex();
        let x = Rng::new(2).normal_tensor(Purpose::Data, 0, 11, 2, &device);
        let numbered = async |first: usize, rows: Vec<Tensor<2>>| {
            let [n, _] = rows[0].dims();
            let number = Tensor::<1, burn::tensor::Int>::arange(
                first as i64..(first + n) as i64,
                &rows[0].device(),
            );
            rows[0].clone() + number.float().reshape([n, 1])
        };
        let run = |others: usize| {
            let others = vec![device.clone(); others];
            let parts = pollster::block_on(map(vec![x.clone()], &others, numbered));
            (parts.len(), values(together(parts)))
        };
        let (one, alone) = run(0);
        assert_eq!((one, run(3)), (1, (4, alone.clone())));
        // Fewer rows than devices: not split.
        assert_eq!(run(11), (1, alone));
    }

    /// A lost GPU panics; the panic must propagate from its thread.
    #[test]
    #[should_panic(expected = "lost")]
    fn panic_on_any_device_propagates() {
        let device = Device::flex();
        let x = Tensor::<2>::zeros([6, 1], &device);
        let lost = async |first: usize, _: Vec<Tensor<2>>| assert!(first == 0, "lost");
        pollster::block_on(map(vec![x], std::slice::from_ref(&device), lost));
    }
}
