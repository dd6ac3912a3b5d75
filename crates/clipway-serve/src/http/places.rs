//! Counts open connections, in total and for each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::Limits;
use crate::metrics::Metrics;

/// Open connections.
#[derive(Default)]
pub(super) struct Places {
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of an open connection, freed when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    metrics: Arc<Metrics>,
    address: IpAddr,
}

impl Places {
    /// Takes a place for a connection of an address.
    ///
    /// # Errors
    /// The name of the limit that is reached.
    pub fn take(
        self: &Arc<Self>,
        address: IpAddr,
        limits: &Limits,
        metrics: &Arc<Metrics>,
    ) -> Result<Place, &'static str> {
        let address = address.to_canonical();
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if by_address.values().sum::<usize>() >= limits.connections {
            return Err("connections");
        }
        let of_address = by_address.entry(address).or_default();
        if *of_address >= limits.connections_per_address {
            return Err("connections_per_address");
        }
        *of_address += 1;
        metrics.connection(true);
        Ok(Place { places: Arc::clone(self), metrics: Arc::clone(metrics), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = self.places.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
        self.metrics.connection(false);
    }
}
