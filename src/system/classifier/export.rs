//! Export: store the network, evaluate the stored weights, and write the card.

use std::collections::BTreeMap;

use burn::tensor::Device;

use super::{Architecture, NAME, recipe::Recipe, verdict};
use crate::{
    artifact::Card,
    data::{self, Dataset},
    device::read,
    error::Result,
    nn::{
        dict::{Dict, DictBuilder},
        encoder::{Encoder, EncoderConfig, FrozenEncoder},
    },
    train::{Draft, Session},
};

/// Stores the network after `iterations`, evaluates it on the test split, and writes its card.
pub(super) fn export(
    name: &str,
    (net, iterations): (&Encoder, u64),
    (recipe, config): (&Recipe, &EncoderConfig),
    [data, test]: [&Dataset; 2],
    session: &Session<'_, '_, '_>,
) -> Result<(Card, Vec<u8>)> {
    let device = &session.request.device;
    let classes = data.classes.len();
    let frozen = net.frozen();
    let mut dict = DictBuilder::default();
    frozen.save(&mut dict, NAME);
    let weights = dict.finish()?;
    let stored = FrozenEncoder::load(&Dict::open(&weights, name, device)?, NAME, config)?;
    let accuracy = accuracy(&stored, test, classes, device)?;
    let draft = Draft {
        name: name.into(),
        title: format!("{} classifier", data.title),
        description: format!(
            "A small classifier of {}. It is independent of every energy and evaluates their samples.",
            data.title
        ),
        shape: data.shape(),
        preprocessing: data.preparation(8),
        architecture: Architecture {
            encoder: config.clone(),
        },
        iterations,
        metrics: vec![
            ("test_accuracy".to_owned(), serde_json::json!(accuracy)),
            ("test_images".to_owned(), serde_json::json!(test.count)),
            (
                "parameters".to_owned(),
                serde_json::json!(stored.parameters()),
            ),
            ("seed".to_owned(), serde_json::json!(recipe.seed)),
        ],
        step_sizes: BTreeMap::new(),
        energies: BTreeMap::new(),
        known_failures: vec![
            "It assigns every image to one of its classes, even noise: a prediction is no evidence of quality."
                .into(),
        ],
    };
    Ok((session.card(recipe, data, draft)?, weights))
}

/// Accuracy on a labelled set.
fn accuracy(net: &FrozenEncoder, data: &Dataset, classes: usize, device: &Device) -> Result<f64> {
    let order: Vec<usize> = (0..data.count).collect();
    let mut right = 0usize;
    for chunk in order.chunks(250) {
        let logits: Vec<f32> =
            pollster::block_on(read(net.forward(data::images(data, chunk, device))))?;
        right += chunk
            .iter()
            .zip(logits.chunks(classes))
            .filter(|&(&i, row)| verdict(row) == usize::from(data.labels[i]))
            .count();
    }
    Ok(right as f64 / data.count as f64)
}
