//! Who writes: has its objects live by the script, one step after the other.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    Phase, Round,
    witness::{self, Ledger, Object, Revision, State, Step, state},
};

pub(super) const OBJECTS_OF_EACH: usize = 4;

#[derive(Debug)]
pub(super) struct Writer {
    /// With the last step of each that took place.
    pub(super) objects: BTreeMap<Object, Step>,
    ledger: Arc<Ledger>,
}

impl Writer {
    pub(super) fn new(number: usize, ledger: &Arc<Ledger>) -> Self {
        let objects = (0..OBJECTS_OF_EACH).map(|object| (Object(number * OBJECTS_OF_EACH + object), 0)).collect();
        Self { objects, ledger: Arc::clone(ledger) }
    }

    pub(super) async fn run(mut self, round: Round) -> Result<Self> {
        let outcome = self.write(&round).await;
        round.excuse(outcome).context("a writer")?;
        Ok(self)
    }

    async fn write(&mut self, round: &Round) -> Result<()> {
        for (object, step) in &mut self.objects {
            // The write that a kill interrupted took place, or did not.
            let config_maps = Api::<ConfigMap>::namespaced(round.client.clone(), &object.namespace());
            let found = config_maps.get_opt(&object.name()).await?;
            *step = match &found {
                None if state(*step) == State::Gone => *step,
                None => *step + 1,
                Some(found) => {
                    let (_, found_step) = witness::read(found)?.context("an object without a step")?;
                    ensure!([*step, *step + 1].contains(&found_step), "{} is at step {found_step}, not {step}", object.name());
                    self.ledger.agree(*object, found_step, witness::revision(found)?)?;
                    found_step
                }
            };
            ensure!(found.is_some() == (state(*step) != State::Gone), "{} is lost at step {step}", object.name());
        }
        while matches!(round.phase(), Phase::Begun | Phase::Compacted) {
            for (object, step) in &mut self.objects {
                if let Some(written) = take_step(&round.client, &self.ledger, *object, *step + 1).await? {
                    self.ledger.agree(*object, *step + 1, written)?;
                }
                *step += 1;
            }
        }
        Ok(())
    }
}

/// Writes, and gives back the revision, which the answer to a deletion does not tell.
async fn take_step(client: &Client, ledger: &Ledger, object: Object, step: Step) -> Result<Option<Revision>> {
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), &object.namespace());
    let name = object.name();
    let colour = match state(step) {
        State::Gone => {
            config_maps.delete(&name, &DeleteParams::default()).await?;
            return Ok(None);
        }
        State::Red => "red",
        State::Blue => "blue",
    };
    let mut config_map = json!({
        "metadata": { "name": name, "labels": { "colour": colour } },
        "data": { "step": step.to_string() },
    });
    let written = if state(step - 1) == State::Gone {
        config_maps.create(&PostParams::default(), &serde_json::from_value(config_map)?).await?
    } else if step.is_multiple_of(2) {
        config_maps.patch(&name, &PatchParams::default(), &Patch::Merge(config_map)).await?
    } else {
        let before = ledger.revision(object, step - 1).context("a step that nobody knows of")?;
        config_map["metadata"]["resourceVersion"] = before.to_string().into();
        config_maps.replace(&name, &PostParams::default(), &serde_json::from_value(config_map)?).await?
    };
    Ok(Some(witness::revision(&written)?))
}
