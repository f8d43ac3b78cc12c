//! Checks a finished image: learns what is not known of its layers yet, and judges it by every rule.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::{Environment, Progress, opened};
use crate::base::evidence::{EVIDENCE_FORMAT, Evidence};
use crate::base::facts::{FACTS_FORMAT, Facts};
use crate::base::scan::{self, ImageConfigFacts};
use crate::base::{BaseInventory, InventoryError};
use crate::check::{self, REPORT_FORMAT, Report, Subject};
use crate::cuda::Driver;
use crate::layer::records;
use crate::oci::Digest;
use crate::source::{self, Place};
use crate::store::Store;

const RECORD: &str = "check";

/// An image as a check sees it.
#[derive(Debug, Clone)]
pub(super) struct Checked<'a> {
    /// The digests of its layers, bottom first.
    pub layers: Vec<Digest>,
    pub architecture: &'a str,
    /// `config.Env`.
    pub env: Vec<String>,
    pub python: Option<&'a str>,
    pub driver: Option<&'a Driver>,
}

/// Checks the image at `place`: reads the layers that were never read before.
pub fn check(
    place: &Place,
    python: Option<&str>,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Report> {
    let image = source::open(place, None)?;
    opened::scan(&image, environment, progress)?;
    progress.stage("checking");
    let checked = Checked {
        layers: image.layers.iter().map(|layer| layer.descriptor.digest).collect(),
        architecture: &image.architecture,
        env: image.env.clone(),
        python,
        driver: None,
    };
    of_layers(&checked, &environment.store)
}

/// Checks an image whose layers were all read or written; the report of an image that was checked before is kept.
pub(super) fn of_layers(checked: &Checked<'_>, store: &Store) -> Result<Report> {
    let key = Digest::of(format!("{REPORT_FORMAT}.{FACTS_FORMAT}.{EVIDENCE_FORMAT} {checked:?}"));
    if let Some(report) = store.record(RECORD, &key) {
        return Ok(report);
    }
    let report = judge(checked, store)?;
    store.put_record(RECORD, &key, &report)?;
    Ok(report)
}

fn judge(checked: &Checked<'_>, store: &Store) -> Result<Report> {
    let (mut facts, mut evidence) = (Facts::default(), Vec::new());
    for digest in &checked.layers {
        let content = opened::content(digest, store)?;
        facts.stack(content.facts);
        evidence.push(
            records::evidence(store, digest).with_context(|| format!("the layer {digest} was not read"))?,
        );
    }
    let evidence = Evidence::stacked(evidence);
    let inventory = inventory(checked, &facts)?;
    let pairs = checked.env.iter().filter_map(|entry| entry.split_once('='));
    let env: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(check::check(&Subject {
        evidence: &evidence,
        inventory: inventory.as_ref(),
        architecture: checked.architecture,
        env: &env,
        driver: checked.driver,
    }))
}

/// What is installed; `None` for an image without Python, in which there is less to check.
fn inventory(checked: &Checked<'_>, facts: &Facts) -> Result<Option<BaseInventory>, InventoryError> {
    let config = ImageConfigFacts::new(checked.architecture, checked.env.iter().map(String::as_str));
    match scan::scan(facts, &config, checked.python) {
        Ok(inventory) => Ok(Some(inventory)),
        Err(InventoryError::NoPython) => Ok(None),
        Err(error) => Err(error),
    }
}
