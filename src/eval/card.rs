//! Writing the main numbers of a report onto the model's card.

use burn::tensor::Device;

use super::report::{Distance, Report};
use crate::{
    artifact::{self, Card},
    device::read,
    error::Result,
    system::{self, Model, clel::Clel},
};

/// Rewrites the card from an earlier report, with the main numbers of a baseline.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) or [`Error::Data`](crate::Error::Data) without a valid report,
/// [`Error::Invalid`](crate::Error::Invalid) if the baseline was evaluated with another plan; whatever
/// reading and writing report.
pub fn card_from_report(model: &str, against: Option<&str>, device: &Device) -> Result<()> {
    let folder = artifact::find_model(model)?;
    let (mut card, weights) = artifact::read_files(model)?;
    let loaded = system::load(&card, &weights, device)?;
    let report = Report::read(model)?;
    let baseline = against.map(Report::read).transpose()?;
    if let Some(baseline) = &baseline {
        baseline.check_plan(&report.plan)?;
    }
    write_card(&mut card, &report, baseline.as_ref(), &*loaded)?;
    artifact::write_model(&folder, &card, &weights)?;
    match folder.parent() {
        Some(models) => artifact::write_manifest(models),
        None => Ok(()),
    }
}

/// Prefix of a known failure found by an evaluation, so that the next evaluation replaces it.
const MEASURED: &str = "Measured: ";

/// AUROC below which a set counts as barely separated from the model's own.
const BARELY_SEPARATED: f64 = 0.8;
/// Cosine above which two class means count as the same condition.
const SAME_DIRECTION: f64 = 0.9;

pub(super) fn write_card(
    card: &mut Card,
    report: &Report,
    baseline: Option<&Report>,
    model: &dyn Model,
) -> Result<()> {
    // Remove the metrics of an earlier evaluation, which this one may not have.
    card.metrics.retain(|key, _| {
        let measured = [
            "fid",
            "classifier_feature_distance",
            "neighbours",
            "baseline",
        ];
        !measured.contains(&key.as_str()) && !key.starts_with("auroc_")
    });
    onto_card(card, report);
    if let Some(baseline) = baseline {
        let mut other = card.clone();
        other.metrics.clear();
        onto_card(&mut other, baseline);
        let value = serde_json::json!({ "model": baseline.model, "metrics": other.metrics });
        card.metrics.insert("baseline".into(), value);
    }
    card.known_failures.retain(|f| !f.starts_with(MEASURED));
    for (name, a) in &report.auroc {
        let best = a.ood.map_or(a.energy.value, |ood| ood.value);
        if name != "samples" && best < BARELY_SEPARATED {
            card.known_failures.push(format!(
                "{MEASURED}its score barely separates {name} from its own test images (AUROC {best:.2})."
            ));
        }
    }
    if let Some(clel) = model
        .downcast_ref::<Clel>()
        .filter(|clel| clel.has_latents())
    {
        let means = clel.class_latents()?;
        let [count, _] = means.dims();
        let cosines = means.clone().matmul(means.transpose());
        let cosines: Vec<f64> = pollster::block_on(read(cosines))?;
        for i in 0..count {
            for j in i + 1..count {
                let cos = cosines[i * count + j];
                if cos > SAME_DIRECTION {
                    let name = |k: usize| card.data.classes.get(k).cloned().unwrap_or_default();
                    card.known_failures.push(format!(
                        "{MEASURED}the mean latents of {} and {} have nearly the same direction (cosine {cos:.2}): either condition gives images of both classes.",
                        name(i), name(j)
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Writes the main numbers, and what they were measured on.
fn onto_card(card: &mut Card, report: &Report) {
    let mut put = |key: &str, value: serde_json::Value| {
        card.metrics.insert(key.into(), value);
    };
    let distance = |d: &Distance| {
        serde_json::json!({
            "value": d.value, "floor": d.floor, "samples": d.samples, "images": d.images,
            "network": d.network, "seed": report.plan.seed, "gradients": report.gradients,
        })
    };
    if let Some(d) = &report.fid {
        put("fid", distance(d));
    }
    if let Some(d) = &report.classifier_feature_distance {
        put("classifier_feature_distance", distance(d));
    }
    for (name, found) in &report.auroc {
        put(&format!("auroc_{name}"), serde_json::json!(found));
    }
    put("neighbours", serde_json::json!(report.neighbours));
}
