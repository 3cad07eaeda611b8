//! The namespaces that a machine stands on: found, or made; within a user namespace when the user is an ordinary one.

use std::path::Path;

use anyhow::{Context as _, Result};
use windlass_network::Holder;
use windlass_oci::{
    container::end_orphans,
    user_namespace::{self, Ids},
};

/// Enters the namespaces of the machine in that directory; the second is true when they were there. To be called while the process
/// has a single thread.
pub(crate) fn prepare(data_dir: &Path) -> Result<(Holder, bool)> {
    if let Some(holder) = Holder::find(data_dir).context("cannot use the machine that is there")? {
        holder.enter_user_namespace().context("cannot enter the machine's user namespace")?;
        warn_of_ids(user_namespace::current().as_ref());
        holder.enter_mount_namespace().context("cannot enter the machine's mount namespace")?;
        tracing::info!(pid = holder.pid(), "found a machine that goes on; taking it over");
        return Ok((holder, true));
    }
    clear_up(data_dir)?;
    if user_namespace::is_needed().context("cannot tell what this process may do")? {
        warn_of_proc();
        let ids = user_namespace::enter().context("cannot run containers without root (`--runtime hollow` runs none)")?;
        warn_of_ids(Some(&ids));
    }
    let holder = Holder::spawn(data_dir).with_context(|| {
        let hint = user_namespace::forbidding().map(|setting| format!("; {setting}")).unwrap_or_default();
        format!("cannot make the machine's namespaces (`--runtime hollow` needs none{hint})")
    })?;
    if let Err(error) = holder.enter_mount_namespace() {
        let _ = holder.stop();
        return Err(error).context("cannot enter the machine's mount namespace");
    }
    Ok((holder, false))
}

/// Ends what a machine without a holder left running. Before there is a user namespace: what is left is in another one, which its user
/// has power over from outside only.
pub(crate) fn clear_up(data_dir: &Path) -> Result<()> {
    match end_orphans(&data_dir.join("containers")).context("cannot end what is left of the machine before")? {
        0 => {}
        containers => {
            tracing::warn!(containers, "the holder of the machine had been killed; ended the containers that it left behind")
        }
    }
    Ok(())
}

fn warn_of_proc() {
    let covered = user_namespace::covered_proc();
    if !covered.is_empty() {
        tracing::warn!(
            covered = covered.join(" "),
            "parts of /proc are covered on this host, so an ordinary user's containers cannot have a /proc of their own, and do not start"
        );
    }
}

fn warn_of_ids(ids: Option<&Ids>) {
    if let Some(Ids::One(reason)) = ids {
        tracing::warn!(
            reason,
            "without subordinate ids all files of containers belong to this user, and a container runs as root or not at all"
        );
    }
}
