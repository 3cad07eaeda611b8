//! Names, answered here so that they are resolved while the main process is away.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::task::JoinHandle;

use super::host::HostThread;
use crate::dns::{self, NameChange, NameChanges, SharedZone, Zone};

/// Answers once it has been told names.
pub(super) struct Names {
    host: HostThread,
    served: Option<(SharedZone, JoinHandle<()>)>,
    /// A whole of which the end has not come.
    coming: Option<Zone>,
}

impl Names {
    pub(super) fn new(host: HostThread) -> Self {
        Self { host, served: None, coming: None }
    }

    /// Takes changes in. The names of an earlier main process are answered until those of the next are complete.
    pub(super) fn take_in(&mut self, NameChanges { begin, changes, end }: NameChanges) {
        if let Some(addresses) = begin {
            let zone = Zone::new(addresses.clone());
            if self.served.is_none() {
                let zone: SharedZone = Arc::new(RwLock::new(Zone::new(addresses.clone())));
                let serve = dns::serve(addresses, zone.clone(), self.host.clone());
                self.served = Some((zone, tokio::task::spawn_local(serve)));
            }
            self.coming = Some(zone);
        }
        let Some((served, _)) = &self.served else { return };
        // A lookup that panicked leaves the names as they were.
        match &mut self.coming {
            Some(coming) => apply(coming, changes),
            None => apply(&mut served.write().unwrap_or_else(PoisonError::into_inner), changes),
        }
        if end && let Some(mut whole) = self.coming.take() {
            whole.complete();
            *served.write().unwrap_or_else(PoisonError::into_inner) = whole;
        }
    }
}

fn apply(zone: &mut Zone, changes: Vec<NameChange>) {
    for change in changes {
        match change {
            NameChange::Service(service) => zone.service(Arc::from(service)),
            NameChange::Slice(slice) => zone.slice(Arc::from(slice)),
            NameChange::ServiceGone { namespace, name } => zone.service_deleted(&namespace, &name),
            NameChange::SliceGone { namespace, name } => zone.slice_deleted(&namespace, &name),
        }
    }
}
