//! The settings that a container starts with.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::PlanRequest;
use super::environment::environment;
use crate::oci::image::RuntimeConfig;
use crate::recipe::ContainerPath;

/// The base's settings, then those that CUDA needs, then the recipe's. A new entrypoint comes without the base's
/// arguments, as docker has it.
pub(super) fn runtime(request: &PlanRequest<'_>, constrained: bool) -> RuntimeConfig {
    let of_base = &request.base.runtime;
    let changes = &request.inputs.recipe.config;
    let variables = of_base.env.iter().filter_map(|entry| entry.split_once('='));
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let compat = request.forward_compatibility();
    let mut env = environment(variables, &request.base.inventory, request.resolution, compat, constrained);
    env.extend(changes.env.clone());
    let cmd = if changes.entrypoint.is_some() { Vec::new() } else { of_base.cmd.clone() };
    RuntimeConfig {
        user: changes.user.clone().unwrap_or_else(|| of_base.user.clone()),
        env: env.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
        entrypoint: changes.entrypoint.clone().unwrap_or_else(|| of_base.entrypoint.clone()),
        cmd: changes.cmd.clone().unwrap_or(cmd),
        working_dir: match &changes.workdir {
            Some(path) => path.as_str().to_owned(),
            None => of_base.working_dir.clone(),
        },
        labels: of_base.labels.clone().into_iter().chain(changes.labels.clone()).collect(),
        exposed_ports: with_members(&of_base.exposed_ports, changes.ports.iter().map(String::as_str)),
        volumes: with_members(&of_base.volumes, changes.volumes.iter().map(ContainerPath::as_str)),
        stop_signal: changes.stop_signal.clone().unwrap_or_else(|| of_base.stop_signal.clone()),
        healthcheck: match &changes.healthcheck {
            Some(healthcheck) => Some(healthcheck.to_member()),
            None => of_base.healthcheck.clone(),
        },
        shell: changes.shell.clone().unwrap_or_else(|| of_base.shell.clone()),
    }
}

/// The members of the base's with `more`; each has an empty object, as Go writes a set.
fn with_members<'m>(
    of_base: &BTreeMap<String, Value>,
    more: impl Iterator<Item = &'m str>,
) -> BTreeMap<String, Value> {
    let more = more.map(|name| (name.to_owned(), Value::Object(Map::new())));
    more.chain(of_base.clone()).collect()
}
