//! `windlass demo`: one application, rolled out, rolled out wrongly, and rolled back, under load.

mod load;
mod manifests;
mod pods;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Pod, Service},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use tokio::time::{Instant, timeout};
use windlass_api::names::{ANNOTATION_CHANGE_CAUSE, ANNOTATION_REVISION, LABEL_POD_TEMPLATE_HASH};

use self::{load::Load, manifests::APP, pods::Lives};

/// Longest wait for one step of the story: a healthy step takes about a second, and a stuck one must end with an explanation.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the load goes on before, between and after the steps, so that the figures are not only about the steps themselves.
const BREATH: Duration = Duration::from_millis(500);

/// What the story is told with.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Image of the first version.
    pub image_v1: String,
    /// Image of the second version.
    pub image_v2: String,
    /// An image that its registry does not have.
    pub image_missing: String,
    /// The host's address on which NodePorts are published.
    pub publish_address: std::net::IpAddr,
    /// When the machine was started: the timeline counts from here.
    pub started: Instant,
}

/// Tells the story; fails when a request was lost.
///
/// # Errors
/// When a step did not come to its end in time, or a request was lost.
pub async fn run(client: &Client, stage: &Stage) -> Result<()> {
    let story = Story { client: client.clone(), started: stage.started };
    let lives = Lives::follow(client.clone(), stage.started);
    story.say("creating Service and Deployment, 3 replicas of version 1");
    let address = story.create(stage).await?;
    story.rolled_out().await.context("version 1 did not start")?;
    story.say(&format!("version 1 serves on http://{address}/"));

    let load = Load::start(address);
    tokio::time::sleep(BREATH).await;
    story.say("rolling out version 2");
    let began = Instant::now();
    story.set_image(&stage.image_v2, "version 2").await?;
    story.rolled_out().await.context("version 2 was not rolled out")?;
    story.say(&format!("version 2 serves everywhere, after {:.2} s", began.elapsed().as_secs_f64()));
    tokio::time::sleep(BREATH).await;

    story.say(&format!("rolling out {}, which its registry does not have", stage.image_missing));
    story.set_image(&stage.image_missing, "version 3, a tag nobody pushed").await?;
    let why = story.stuck().await?;
    story.say(&format!("the rollout is stuck: {why}"));
    story.say(&format!("{} of 3 replicas of version 2 go on serving", story.ready().await?));
    tokio::time::sleep(BREATH).await;

    story.say("rolling back");
    let began = Instant::now();
    let revision = story.undo().await?;
    story.rolled_out().await.context("the rollback did not end")?;
    story.say(&format!("back to the template of revision {revision}, after {:.2} s", began.elapsed().as_secs_f64()));
    tokio::time::sleep(BREATH).await;

    let report = load.stop().await;
    println!("\n{}", lives.table().trim_fmt());
    println!("{report}");
    if report.lost() > 0 {
        bail!("{} requests were lost", report.lost());
    }
    Ok(())
}

struct Story {
    client: Client,
    started: Instant,
}

impl Story {
    fn say(&self, text: &str) {
        println!("{:7.2} s  {text}", self.started.elapsed().as_secs_f64());
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::default_namespaced(self.client.clone())
    }

    async fn create(&self, stage: &Stage) -> Result<SocketAddr> {
        let services: Api<Service> = Api::default_namespaced(self.client.clone());
        let service =
            services.create(&PostParams::default(), &manifests::service()?).await.context("cannot create the Service")?;
        let deployment = manifests::deployment(&stage.image_v1)?;
        self.deployments().create(&PostParams::default(), &deployment).await.context("cannot create the Deployment")?;
        let port = service
            .spec
            .and_then(|spec| spec.ports)
            .and_then(|ports| ports.first().and_then(|port| port.node_port))
            .context("the Service got no node port")?;
        Ok(SocketAddr::new(stage.publish_address, u16::try_from(port).context("the node port is out of range")?))
    }

    async fn set_image(&self, image: &str, cause: &str) -> Result<()> {
        let patch = json!({
            "metadata": { "annotations": { ANNOTATION_CHANGE_CAUSE: cause } },
            "spec": { "template": { "spec": { "containers": [{ "name": APP, "image": image }] } } },
        });
        let patched = self.deployments().patch(APP, &PatchParams::default(), &Patch::Strategic(patch)).await;
        patched.map(drop).with_context(|| format!("cannot set the image of deployment {APP}"))
    }

    /// Waits until every replica is of the newest template and available.
    async fn rolled_out(&self) -> Result<()> {
        self.until(|deployment| {
            let (spec, status) = (deployment.spec.as_ref()?, deployment.status.as_ref()?);
            let wanted = spec.replicas;
            let seen = status.observed_generation >= deployment.metadata.generation;
            let done = [status.updated_replicas, status.replicas, status.available_replicas].iter().all(|count| *count == wanted);
            (seen && done).then_some(())
        })
        .await
    }

    /// Waits for the Deployment to look as wanted.
    async fn until<T>(&self, wanted: impl Fn(&Deployment) -> Option<T>) -> Result<T> {
        let config = watcher::Config::default().fields(&format!("metadata.name={APP}"));
        let mut deployments = watcher(self.deployments(), config).applied_objects().boxed();
        let found = timeout(PATIENCE, async {
            while let Some(deployment) = deployments.try_next().await? {
                if let Some(found) = wanted(&deployment) {
                    return anyhow::Ok(found);
                }
            }
            bail!("the watch on deployment {APP} ended")
        });
        found.await.with_context(|| format!("deployment {APP} is not there after {} s", PATIENCE.as_secs()))?
    }

    /// Waits for a container that cannot start, and says why.
    async fn stuck(&self) -> Result<String> {
        let pods: Api<Pod> = Api::default_namespaced(self.client.clone());
        let config = watcher::Config::default().labels(&format!("app={APP}"));
        let mut pods = watcher(pods, config).applied_objects().boxed();
        let why = timeout(PATIENCE, async {
            while let Some(pod) = pods.try_next().await? {
                if let Some(why) = pods::cannot_start(&pod) {
                    return anyhow::Ok(format!("pod {} waits with {why}", pod.name_any()));
                }
            }
            bail!("the watch on pods ended")
        });
        why.await.context("the missing image was never noticed")?
    }

    async fn ready(&self) -> Result<i32> {
        let deployment = self.deployments().get(APP).await?;
        Ok(deployment.status.and_then(|status| status.ready_replicas).unwrap_or(0))
    }

    /// What `kubectl rollout undo` does: the template of the revision before becomes a new revision.
    async fn undo(&self) -> Result<i64> {
        let deployment = self.deployments().get(APP).await?;
        let replica_sets: Api<ReplicaSet> = Api::default_namespaced(self.client.clone());
        let all = replica_sets.list(&ListParams::default().labels(&format!("app={APP}"))).await?;
        let mut revisions: Vec<(i64, ReplicaSet)> =
            all.into_iter().filter_map(|set| Some((revision_of(set.annotations())?, set))).collect();
        revisions.sort_by_key(|(revision, _)| std::cmp::Reverse(*revision));
        let (revision, replica_set) = revisions.into_iter().nth(1).context("there is no revision to go back to")?;
        let mut template = replica_set.spec.and_then(|spec| spec.template).context("a ReplicaSet without a template")?;
        if let Some(labels) = template.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut()) {
            labels.remove(LABEL_POD_TEMPLATE_HASH);
        }
        let cause = format!("back to revision {revision}");
        let patch = json!([
            { "op": "test", "path": "/metadata/resourceVersion", "value": deployment.resource_version() },
            { "op": "replace", "path": "/spec/template", "value": template },
            { "op": "add", "path": format!("/metadata/annotations/{}", ANNOTATION_CHANGE_CAUSE.replace('/', "~1")), "value": cause },
        ]);
        let patch = serde_json::from_value(patch).context("the patch is no JSON patch")?;
        self.deployments().patch(APP, &PatchParams::default(), &Patch::<()>::Json(patch)).await.context("cannot roll back")?;
        Ok(revision)
    }
}

fn revision_of(annotations: &std::collections::BTreeMap<String, String>) -> Option<i64> {
    annotations.get(ANNOTATION_REVISION)?.parse().ok()
}
