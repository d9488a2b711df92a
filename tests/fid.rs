//! Fréchet distances of feature moments against numpy and scipy (tests/fixtures/fid.py) and closed
//! forms.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mixwell::{
    Error,
    eval::fid::{Moments, frechet},
};
use serde_json::Value;

use crate::common::{assert_close, pseudo};

fn fixture(name: &str) -> Value {
    let text = include_str!("fixtures/fid.json");
    serde_json::from_str::<Value>(text).unwrap()[name].clone()
}

fn numbers(name: &str) -> Vec<f64> {
    serde_json::from_value(fixture(name)).unwrap()
}

/// As fid.py, `[n, dim]`.
fn features(index: u64, n: usize, dim: usize, shift: f64) -> Vec<f32> {
    let p: Vec<f64> = pseudo(index, n * dim).into_iter().map(f64::from).collect();
    (0..n * dim)
        .map(|at| {
            let (i, j) = (at / dim, at % dim);
            let x = p[at] + p[i * dim + (j + 1) % dim] / 2.0 + shift;
            (x * ((1 + j) as f64 / dim as f64)) as f32
        })
        .collect()
}

fn moments(index: u64, n: usize, dim: usize, shift: f64) -> Moments {
    let mut m = Moments::new(dim);
    m.add(&features(index, n, dim, shift)).unwrap();
    assert_eq!((m.n(), m.dim()), (n, dim));
    m
}

#[test]
fn moments_match_numpy_for_any_batch_split() {
    let (rows, dim) = (features(1, 700, 6, 0.0), 6);
    for batch in [1, 7, 512, 699, 700] {
        let mut m = Moments::new(dim);
        for part in rows.chunks(batch * dim) {
            m.add(part).unwrap();
        }
        assert_eq!(m.n(), 700);
        assert_close(m.mean().as_slice(), &numbers("mean"), 1e-14);
        let covariance = m.covariance().unwrap();
        assert_close(covariance.as_slice(), &numbers("covariance"), 1e-14);
    }
}

#[test]
fn a_large_mean_loses_no_precision() {
    let values = [1e6f32, 1e6 + 1.0, 1e6 + 2.0, 1e6 + 3.0];
    let mut m = Moments::new(1);
    values.chunks(2).for_each(|v| m.add(v).unwrap());
    assert_close(m.covariance().unwrap().as_slice(), &[5.0 / 3.0], 1e-12);
}

#[test]
fn distances_match_scipy() {
    let near = |found: f64, name: &str, tolerance: f64| {
        let expected = fixture(name).as_f64().unwrap();
        println!("{name}: {found} against {expected}");
        assert!((found - expected).abs() <= tolerance, "{name}: {found}");
    };
    let (a, b) = (moments(1, 700, 6, 0.0), moments(2, 50, 6, 0.25));
    near(frechet(&a, &b).unwrap(), "regular", 1e-12);
    near(frechet(&b, &a).unwrap(), "regular", 1e-12);
    // Zero eigenvalues are computed as up to ±1e-16 of the largest, and enter by their roots.
    let (a, b) = (moments(3, 12, 40, 0.0), moments(4, 9, 40, 0.1));
    near(frechet(&a, &b).unwrap(), "singular", 1e-6);
    near(frechet(&b, &a).unwrap(), "singular", 1e-6);
    let b = moments(5, 300, 40, 0.1);
    near(frechet(&a, &b).unwrap(), "half", 1e-6);
    near(frechet(&b, &a).unwrap(), "half", 1e-6);
}

#[test]
fn distances_match_closed_forms() {
    // One dimension: (μ₁ − μ₂)² + (σ₁ − σ₂)².
    let (mut a, mut b) = (Moments::new(1), Moments::new(1));
    a.add(&[-1.0, 0.0, 1.0]).unwrap();
    b.add(&[0.0, 3.0, 6.0]).unwrap();
    assert_close(&[frechet(&a, &b).unwrap()], &[9.0 + 4.0], 1e-12);
    // A set against itself, regular and singular.
    for m in [moments(1, 700, 6, 0.0), moments(3, 12, 40, 0.0)] {
        assert!(frechet(&m, &m).unwrap() < 1e-6);
    }
    // Constant features have zero covariance.
    let (mut a, mut b) = (Moments::new(2), Moments::new(2));
    a.add(&[1.0; 6]).unwrap();
    b.add(&[3.0; 8]).unwrap();
    assert_close(&[frechet(&a, &b).unwrap()], &[8.0], 1e-12);
}

#[test]
fn undefined_distances_are_refused() {
    let invalid = |r: Result<f64, Error>| match r {
        Err(Error::Invalid { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let a = moments(1, 20, 6, 0.0);
    assert_eq!(
        invalid(frechet(&a, &moments(1, 1, 6, 0.0))),
        "covariance of features"
    );
    assert_eq!(
        invalid(frechet(&Moments::new(6), &a)),
        "covariance of features"
    );
    assert_eq!(invalid(frechet(&a, &moments(1, 20, 5, 0.0))), "features");
    let mut m = Moments::new(3);
    for bad in [&[1.0; 4][..], &[0.0, f32::NAN, 0.0], &[f32::INFINITY; 3]] {
        assert!(matches!(m.add(bad), Err(Error::Invalid { .. })));
        assert_eq!(m.n(), 0);
    }
    assert!(Moments::new(0).add(&[]).is_err());
}
