//! R1: whatever the API has acknowledged is there after `kill -9`, wherever it hits.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{sync::Notify, time::timeout};

use crate::machine::Machine;

/// Clients that write at the same time, so that a kill hits commits of several writes.
const WRITERS: usize = 8;
const REPLICAS: i32 = 20;
/// A machine that takes longer for anything here hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Name of a ConfigMap, and the resource version that its creation was acknowledged with.
type Acknowledged = BTreeMap<String, String>;

/// Writes until the machine is killed under it; `enough` is told when so many writes have been acknowledged.
async fn write(client: Client, label: String, enough: usize, killer: Arc<Notify>) -> Acknowledged {
    let count = AtomicUsize::new(0);
    let writers = (0..WRITERS).map(|writer| {
        let (config_maps, label, count, killer) = (Api::<ConfigMap>::default_namespaced(client.clone()), &label, &count, &killer);
        async move {
            let mut acknowledged = Acknowledged::new();
            for number in 0.. {
                let name = format!("{label}-{writer}-{number}");
                let config_map = json!({ "metadata": { "name": name }, "data": { "name": name } });
                let config_map = serde_json::from_value(config_map).unwrap();
                let Ok(written) = config_maps.create(&PostParams::default(), &config_map).await else { break };
                acknowledged.insert(name, written.resource_version().unwrap());
                if count.fetch_add(1, Ordering::Relaxed) + 1 == enough {
                    killer.notify_one();
                }
            }
            acknowledged
        }
    });
    join_all(writers).await.into_iter().flatten().collect()
}

async fn lost(client: Client, acknowledged: &Acknowledged) -> usize {
    let found = Api::<ConfigMap>::default_namespaced(client).list(&ListParams::default()).await.unwrap();
    let found: Acknowledged = found.into_iter().map(|entry| (entry.name_any(), entry.resource_version().unwrap())).collect();
    acknowledged.iter().filter(|(name, version)| found.get(*name) != Some(version)).count()
}

async fn set_image(client: Client, image: String) {
    let deployments: Api<Deployment> = Api::default_namespaced(client);
    let patch = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": {
            "replicas": REPLICAS,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": image }] },
            },
        },
    });
    deployments.patch("web", &PatchParams::apply("kills").force(), &Patch::Apply(patch)).await.unwrap();
}

/// Waits until the Deployment is what it should be: each replica once, all of the last image.
async fn settles(client: Client, image: &str) {
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let settled = timeout(PATIENCE, async {
        loop {
            let deployment = deployments.get("web").await.unwrap();
            let status = deployment.status.unwrap_or_default();
            let counts = [status.replicas, status.updated_replicas, status.available_replicas];
            if status.observed_generation == deployment.metadata.generation && counts == [Some(REPLICAS); 3] {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    settled.await.expect("the rollout that was hit by kills does not end");
    let pods = Api::<Pod>::default_namespaced(client).list(&ListParams::default()).await.unwrap();
    let staying: Vec<_> = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
    assert_eq!(i32::try_from(staying.len()), Ok(REPLICAS), "kills made a pod twice, or lost one");
    assert!(staying.iter().all(|pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some(image)));
}

/// `WINDLASS_KILLS` sets how often the machine is killed; 100 by default. A rollout is under way at each kill.
#[test]
fn no_acknowledged_write_is_lost() {
    let kills: usize = std::env::var("WINDLASS_KILLS").map_or(100, |text| text.parse().unwrap());
    let mut machine = Machine::start(&["--runtime", "hollow", "--nodes", "3"]);
    let mut all = Acknowledged::new();
    for kill in 0..kills {
        let killer = Arc::new(Notify::new());
        let enough = 1 + kill * 7 % 97;
        let (runtime, client) = machine.client();
        let writing = runtime.spawn({
            let (client, killer) = (client.clone(), Arc::clone(&killer));
            async move {
                set_image(client.clone(), format!("web:{kill}")).await;
                write(client, format!("kill-{kill}"), enough, killer).await
            }
        });
        runtime.block_on(async { timeout(PATIENCE, killer.notified()).await.expect("nothing is acknowledged") });
        machine.kill();
        let acknowledged = runtime.block_on(async { timeout(PATIENCE, writing).await.expect("a write hangs").unwrap() });
        assert!(acknowledged.len() >= enough);
        all.extend(acknowledged);
        machine.up();
    }
    let (runtime, client) = machine.client();
    let lost = runtime.block_on(lost(client.clone(), &all));
    println!("R1: {lost} of {} acknowledged writes lost over {kills} kills of the machine", all.len());
    assert_eq!(lost, 0);
    runtime.block_on(settles(client, &format!("web:{}", kills - 1)));
    machine.stop();
}
