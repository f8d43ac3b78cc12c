//! Holds what was resolved against the drivers of the hosts.

use std::collections::BTreeMap;

use super::ResolveError;
use crate::cuda::{DriverFit, HostDrivers};

/// Holds the toolkits against the drivers to serve.
pub fn driver_fits(
    drivers: &HostDrivers,
    toolkits: BTreeMap<(u32, u32), Option<DriverFit>>,
) -> Result<BTreeMap<(u32, u32), Option<DriverFit>>, ResolveError> {
    let newest = toolkits.keys().next_back();
    if let (Some(compat), Some(toolkit)) = (drivers.compat, newest)
        && compat.0 < toolkit.0
    {
        return Err(ResolveError::OldCompatibility { compat, toolkit: *toolkit });
    }
    let Some(driver) = &drivers.oldest else { return Ok(toolkits) };
    let fit = |toolkit: (u32, u32)| match drivers.fit(toolkit) {
        Some(DriverFit::TooOld { oldest }) => {
            Err(ResolveError::Driver { driver: driver.clone(), oldest, toolkit })
        }
        fit => Ok((toolkit, fit)),
    };
    toolkits.into_keys().map(fit).collect()
}
