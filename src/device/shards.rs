//! One batch on several devices (data parallelism, synchronous): every device takes its rows, and what
//! comes of them is brought together on the first, so that several devices learn what one does.
//!
//! Built from burn's own pieces (`fork`, `GradientsParams::to_device`, `GradientsAccumulator`). burn's
//! all-reduce is not used: in 0.22 only its CUDA backend implements it.

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

/// What `work` makes of the rows of a batch, device by device: `rows` are tensors `[B, …]` of the same B,
/// with one row each for every element of the batch, on the first device, and `work` gets the number of
/// its first row, and its rows on its own device. `others` are further devices, with as many rows each as
/// the first, which takes what is left over too. A batch with hardly a row for each stays on the first.
pub async fn map<R: Send>(
    rows: Vec<Tensor<2>>,
    others: &[Device],
    work: impl AsyncFn(usize, Vec<Tensor<2>>) -> R + Sync,
) -> Vec<R> {
    // A page has one device, and no threads to drive others.
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
    // A panic of any of them has gone on above.
    all.extend(away.into_iter().flatten());
    all
}

/// The threads that drive further devices. They live as long as the process: cubecl keeps a stream with
/// memory of its own for every thread that ever used a device. One a device, and for processors as many
/// as would be theirs of all cores, since what they compute is shared within this crew. `None` where the
/// system gives no threads: the first device then does it all.
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

/// Parts of a batch, in order, as one `[B, …]`.
pub fn together(mut parts: Vec<Tensor<2>>) -> Tensor<2> {
    match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::cat(parts, 0),
    }
}

/// What an objective makes of rows.
pub struct Part {
    /// What is minimised, a mean over the rows, `[1]`.
    pub loss: Tensor<1>,
    /// Further means over the rows, `[1]` each, without autodiff.
    pub means: Vec<Tensor<1>>,
    /// What else is wanted of every row, without autodiff.
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

/// What an objective made of a whole batch.
pub struct Whole {
    /// Mean of the loss.
    pub loss: f64,
    /// The further means.
    pub means: Vec<f64>,
    /// The rows, on the first device.
    pub rows: Vec<Tensor<2>>,
    /// The loss's gradient, on the module's own device.
    pub gradients: GradientsParams,
}

/// The mean of an objective over the rows of a batch (see [`map`]; on a device without autodiff), and
/// its gradient.
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
            // Its share of the mean, so that parts of unequal size add up.
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

    /// Of x and what is aimed at; the outputs are wanted too.
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

    /// Five steps on a batch of 22 rows, which three devices do not share evenly: losses, norms of the
    /// gradients, means of the outputs, and the last outputs.
    fn train(others: &[Device]) -> [Vec<f64>; 4] {
        let device = Device::flex();
        let (mut net, mut optimiser) = (net(), AdamConfig::new().init());
        let (mut losses, mut norms, mut means, mut outputs) = (vec![], vec![], vec![], vec![]);
        for step in 0..5 {
            let rng = Rng::new(1);
            let x = rng.normal_tensor(Purpose::Data, step, 22, 5, &device);
            let aim = rng.normal_tensor(Purpose::Choice, step, 22, 1, &device);
            let whole = pollster::block_on(gradient(&net, vec![x, aim], others, loss)).unwrap();
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
    fn several_devices_learn_what_one_does() {
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
    fn rows_come_back_in_order_and_know_their_number() {
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
        // Fewer rows than devices: not worth sharing.
        assert_eq!(run(11), (1, alone));
    }

    /// A GPU that is lost panics; its thread must not keep that to itself.
    #[test]
    #[should_panic(expected = "lost")]
    fn a_panic_on_any_device_is_told() {
        let device = Device::flex();
        let x = Tensor::<2>::zeros([6, 1], &device);
        let lost = async |first: usize, _: Vec<Tensor<2>>| assert!(first == 0, "lost");
        pollster::block_on(map(vec![x], std::slice::from_ref(&device), lost));
    }
}
