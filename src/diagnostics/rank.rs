//! Ranks, normal scores and quantiles, all from one sort.

use statrs::distribution::{ContinuousCDF, Normal};

use super::{Draws, MIN_SEQUENCE};

/// Replaces every draw by the normal score of its rank among all draws of all chains.
///
/// Takes chains × draws and returns the same shape, chain after chain in one buffer. The score of rank
/// `r` of `S` is Φ⁻¹((r − 3/8) / (S + 1/4)) (Blom 1958); tied draws share their average rank. The
/// chains are not split: pass [`Draws::split`] to get the input of [`rhat_bulk`](super::rhat_bulk) and
/// [`ess_bulk`](super::ess_bulk). All NaN when a draw is not finite, when there are fewer than
/// [`MIN_SEQUENCE`] draws per chain, or when all are equal.
///
/// Scores are invariant under increasing transformations of the draws and always have a finite variance,
/// so diagnostics based on them also work for heavy tails (Vehtari et al. 2021).
pub fn rank_normalise(draws: &Draws) -> Vec<f64> {
    if !draws.supports(MIN_SEQUENCE) {
        return vec![f64::NAN; draws.size()];
    }
    Order::new(draws).normal_scores(&NormalScores::new(draws.size()))
}

/// Histogram of the ranks of each chain's draws among all draws of all chains: chains × `bins` counts,
/// the data of a rank plot (Vehtari et al. 2021, §4.3). If the chains agree, every bin has about
/// draws/bins counts. Tied draws share their average rank. All zero when a draw is not finite.
pub fn rank_counts(draws: &Draws, bins: usize) -> Vec<Vec<u32>> {
    let mut counts = vec![vec![0; bins]; draws.chains()];
    if bins == 0 || draws.size() == 0 || draws.first_non_finite().is_some() {
        return counts;
    }
    let order = Order::new(draws).0;
    let mut ranked = 0;
    for tied in order.chunk_by(|(a, _), (b, _)| a == b) {
        // The middle of these ranks, as a share of all.
        let share = (ranked as f64 + 0.5 * tied.len() as f64) / order.len() as f64;
        let bin = ((share * bins as f64) as usize).min(bins - 1);
        for &(_, place) in tied {
            counts[place / draws.draws()][bin] += 1;
        }
        ranked += tied.len();
    }
    counts
}

/// Draws in increasing order, each with its place in the chain-major layout.
pub(super) struct Order(Vec<(f64, usize)>);

impl Order {
    /// Sorts all draws of all chains.
    pub(super) fn new(draws: &Draws) -> Self {
        let mut sorted: Vec<(f64, usize)> = draws.values().zip(0..).collect();
        sorted.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
        Self(sorted)
    }

    /// The order of the split chains, from the order of whole chains of `draws` draws.
    pub(super) fn into_split(self, draws: usize) -> Self {
        if draws.is_multiple_of(2) {
            // The halves of a chain keep its places.
            return self;
        }
        let half = draws / 2;
        let kept = self.0.into_iter().filter_map(|(x, place)| {
            let (chain, draw) = (place / draws, place % draws);
            (draw != half).then(|| (x, chain * 2 * half + draw - usize::from(draw > half)))
        });
        Self(kept.collect())
    }

    /// The order of the distances from the median.
    ///
    /// Below and above the median the distances are already sorted, so a merge replaces a second sort.
    pub(super) fn folded(&self) -> Self {
        let median = self.median();
        let (below, above) = self
            .0
            .split_at(self.0.partition_point(|&(x, _)| x < median));
        let mut below = below
            .iter()
            .rev()
            .map(|&(x, place)| (median - x, place))
            .peekable();
        let mut above = above
            .iter()
            .map(|&(x, place)| (x - median, place))
            .peekable();
        let merged = std::iter::from_fn(|| match (below.peek(), above.peek()) {
            (Some((b, _)), Some((a, _))) if b <= a => below.next(),
            (_, Some(_)) => above.next(),
            (_, None) => below.next(),
        });
        let mut folded = Vec::with_capacity(self.0.len());
        folded.extend(merged);
        Self(folded)
    }

    /// The normal scores of the ranks, in chain-major layout.
    pub(super) fn normal_scores(&self, scores: &NormalScores) -> Vec<f64> {
        let mut out = vec![0.0; self.0.len()];
        let mut ranked = 0;
        for tied in self.0.chunk_by(|(a, _), (b, _)| a == b) {
            // The ranks ranked + 1 ..= ranked + len have the average (2 ranked + len + 1) / 2.
            let score = scores.at_twice(2 * ranked + tied.len() + 1);
            for &(_, place) in tied {
                out[place] = score;
            }
            ranked += tied.len();
        }
        out
    }

    /// The draw of 0-based rank `index`.
    pub(super) fn value(&self, index: usize) -> f64 {
        self.0[index].0
    }

    /// The quantile at probability `p` in [0, 1], interpolated linearly between order statistics
    /// (type 7 of Hyndman and Fan, the default of NumPy and R).
    pub(super) fn quantile(&self, p: f64) -> f64 {
        let last = self.0.len() - 1;
        let position = p * last as f64;
        let index = (position.floor() as usize).min(last);
        let fraction = position - index as f64;
        let (low, high) = (self.value(index), self.value((index + 1).min(last)));
        low + (high - low) * fraction
    }

    fn median(&self) -> f64 {
        let size = self.0.len();
        if size.is_multiple_of(2) {
            // Halve first: the sum of the two may overflow.
            0.5 * self.value(size / 2 - 1) + 0.5 * self.value(size / 2)
        } else {
            self.value(size / 2)
        }
    }
}

/// The normal scores of the ranks of a sample, computed once for draws and folded draws.
pub(super) struct NormalScores {
    normal: Normal,
    /// Scores of the ranks 1, 2, …, size.
    at_rank: Vec<f64>,
}

impl NormalScores {
    pub(super) fn new(size: usize) -> Self {
        let mut scores = Self {
            normal: Normal::standard(),
            at_rank: vec![0.0; size],
        };
        for below in 0..size / 2 {
            // The scores are antisymmetric about the middle rank, whose own score is 0.
            let score = scores.quantile((below + 1) as f64);
            scores.at_rank[below] = score;
            scores.at_rank[size - 1 - below] = -score;
        }
        scores
    }

    /// The score of a rank, given as twice the rank, since an average rank may be a half-integer.
    fn at_twice(&self, rank: usize) -> f64 {
        if rank.is_multiple_of(2) {
            self.at_rank[rank / 2 - 1]
        } else {
            self.quantile(rank as f64 / 2.0)
        }
    }

    fn quantile(&self, rank: f64) -> f64 {
        self.normal
            .inverse_cdf((rank - 0.375) / (self.at_rank.len() as f64 + 0.25))
    }
}
