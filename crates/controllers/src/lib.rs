//! Observe, plan, apply: one file a loop. Every decision is made in `windlass-planner`.
//!
//! All loops share one watch a kind. Each waits until its view holds its own last writes before it decides again, so that
//! nothing is made or deleted twice.

mod api;
mod autoscaler;
mod cache;
mod context;
mod daemon_set;
mod deployment;
mod disruption;
mod disruption_target;
mod doubt;
mod endpoints;
mod ephemeral;
mod event;
mod eviction;
mod garbage;
mod history;
mod list;
mod marks;
mod namespace;
mod node_lifecycle;
mod options;
mod owned;
mod pod_garbage;
mod queue;
mod quota;
mod replica_set;
mod scheduler;
mod service_account;
mod stateful_set;
mod volume;

use std::sync::Arc;

use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::options::{Chance, Clock, Options};
use self::{context::Context, event::Recorder};

/// Runs every controller until `stop`.
///
/// Passes under way are cut off when it stops: each write is one request, and what is left undone is done after the next start.
pub async fn run(client: Client, options: Options, stop: CancellationToken) {
    let (recorder, writer) = Recorder::new(client.clone(), options.clock.clone());
    let context = Context::new(client, options, recorder);
    let mut tasks = JoinSet::new();
    tasks.spawn(writer);
    deployment::start(&context, &mut tasks, &stop);
    replica_set::start(&context, &mut tasks, &stop);
    stateful_set::start(&context, &mut tasks, &stop);
    daemon_set::start(&context, &mut tasks, &stop);
    disruption::start(&context, &mut tasks, &stop);
    disruption_target::start(&context, &mut tasks, &stop);
    volume::start(&context, &mut tasks, &stop);
    ephemeral::start(&context, &mut tasks, &stop);
    endpoints::start(&context, &mut tasks, &stop);
    service_account::start(&context, &mut tasks, &stop);
    let recount = quota::Recount::new(&context);
    quota::start(&context, &recount, &mut tasks, &stop);
    garbage::start(&context, &recount, &mut tasks, &stop);
    namespace::start(&context, &mut tasks, &stop);
    node_lifecycle::start(&context, &mut tasks, &stop);
    eviction::start(&context, &mut tasks, &stop);
    pod_garbage::start(&context, &mut tasks, &stop);
    autoscaler::start(&context, &mut tasks, &stop);
    let scheduling = context.options.scheduler.clone().map_or_else(|| Arc::clone(&context), |client| context.with_client(client));
    scheduler::start(&scheduling, &mut tasks, &stop);
    context.watch(&mut tasks, &stop);
    stop.cancelled().await;
    tasks.shutdown().await;
}
