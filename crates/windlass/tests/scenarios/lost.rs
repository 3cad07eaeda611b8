//! No request is lost: whatever becomes of pods, of the Service that leads to them, and of windlass itself.
//!
//! `WINDLASS_TEST_REQUESTS` says how many requests there are to be, 10,000 if it says nothing, and `WINDLASS_TEST_ROUNDS` how often
//! the whole is to be done at least, once if it says nothing. The full figure (R4) is 10,000,000 requests over 1,000 rollouts and as
//! many undos.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, atomic::Ordering},
};

use windlass_network::Holder;

use crate::{
    load::{Connections, Load, Turns, Way, ask},
    machine::{Kubectl, Machine},
};

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn requests() -> usize {
    number("WINDLASS_TEST_REQUESTS", 10_000)
}

fn run(machine: &Machine, kubectl: &Kubectl, line: &str) -> String {
    let output = machine.shell(kubectl, line);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line}: {out}{err}");
    out.trim().to_owned()
}

fn field(machine: &Machine, kubectl: &Kubectl, service: &str, path: &str) -> String {
    run(machine, kubectl, &format!("kubectl get service {service} -o jsonpath='{{{path}}}'"))
}

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn netns(machine: &Machine) -> File {
    let holder = Holder::find(&machine.dir().join("data")).unwrap().expect("the machine has a holder");
    holder.netns().try_clone().unwrap()
}

/// The Services of `load.yaml` by every way that leads to them: of the host, and of the machine's own network, where pods are.
fn ways(machine: &Machine, kubectl: &Kubectl) -> Vec<Way> {
    let text = |service: &str, path: &str| field(machine, kubectl, service, path);
    let port = |service: &str, path: &str| text(service, path).parse::<u16>().unwrap();
    let host = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let cluster = |service: &str| {
        let address: Ipv4Addr = text(service, ".spec.clusterIP").parse().unwrap();
        SocketAddr::from((address, port(service, ".spec.ports[0].port")))
    };
    let (node, balancer) = (".spec.ports[0].nodePort", ".spec.ports[0].port");
    let way = |name, address, connections, inside: bool| {
        let netns = inside.then(|| netns(machine));
        Way { name, address, connections, netns }
    };
    vec![
        way("NodePort, new", host(port("web", node)), Connections::New, false),
        way("LoadBalancer, new", host(port("web", balancer)), Connections::New, false),
        way("NodePort, kept", host(port("web", node)), Connections::Kept, false),
        way("LoadBalancer, kept", host(port("web", balancer)), Connections::Kept, false),
        way("ClusterIP, new", cluster("web"), Connections::New, true),
        way("ClusterIP, kept", cluster("web"), Connections::Kept, true),
        way("HTTP NodePort, kept", host(port("web-http", node)), Connections::Kept, false),
        way("HTTP ClusterIP, kept", cluster("web-http"), Connections::Kept, true),
        way("HTTP ClusterIP, new", cluster("web-http"), Connections::New, true),
    ]
}

const DONE: &str = "kubectl rollout status deployment/web --timeout=120s";

/// kubectl refuses a second restart within a second.
const RESTART: &str = "for i in $(seq 20); do kubectl rollout restart deployment/web && exit; sleep 0.1; done; exit 1";

/// A machine that serves `load.yaml`.
fn start(kubectl: &Kubectl) -> Machine {
    let machine = Machine::start(&[]);
    let apply = format!("sed s/LOAD_BALANCER_PORT/{}/ load.yaml | kubectl apply -f - && {DONE}", free_port());
    run(&machine, kubectl, &apply);
    // Published a moment after it is routed.
    let ingress = "for i in $(seq 200); do kubectl get service web -o jsonpath='{.status.loadBalancer.ingress[0].ip}' | grep . && exit; \
                   sleep 0.05; done; exit 1";
    assert_eq!(run(&machine, kubectl, ingress), "127.0.0.1");
    machine
}

/// Does one thing after the other under load, again and again, until there were requests enough.
fn under_load(lines: &[&str]) {
    let kubectl = Kubectl::all().pop().unwrap();
    let machine = start(&kubectl);
    let load = Load::start(ways(&machine, &kubectl), &Arc::default());
    load.go_on(100);
    let mut rounds = 0;
    while rounds < number("WINDLASS_TEST_ROUNDS", 1) || load.answered() < requests() {
        for line in lines {
            run(&machine, &kubectl, &format!("{line} && {DONE}"));
            load.go_on(50);
        }
        rounds += 1;
    }
    println!("{} requests in {rounds} rounds of {lines:?}", load.finish());
    machine.stop();
}

#[test]
fn rollouts_and_undos() {
    under_load(&["kubectl set image deployment/web nginx=nginx:1.16.1", "kubectl rollout undo deployment/web"]);
}

#[test]
fn scaling_restarts_and_changed_configuration() {
    under_load(&[
        "kubectl scale deployment/web --replicas=6",
        "kubectl scale deployment/web --replicas=1",
        "kubectl rollout restart deployment/web",
        "kubectl scale deployment/web --replicas=3",
        "kubectl patch configmap web-config -p '{\"data\":{\"greeting\":\"'$(date +%N)'\"}}'",
    ]);
}

#[test]
fn deletions_and_evictions() {
    under_load(&[
        "kubectl delete $(kubectl get pods -l app=web -o name | head -1)",
        "pod=$(kubectl get pods -l app=web -o jsonpath='{.items[0].metadata.name}') && \
         echo '{ \"apiVersion\": \"policy/v1\", \"kind\": \"Eviction\", \"metadata\": { \"name\": \"'$pod'\" } }' | \
         kubectl create --raw /api/v1/namespaces/default/pods/$pod/eviction -f - && \
         kubectl wait --for=delete pod/$pod --timeout=60s",
    ]);
}

#[test]
fn windlass_killed_and_started_again() {
    let kubectl = Kubectl::all().pop().unwrap();
    let mut machine = start(&kubectl);
    let load = Load::start(ways(&machine, &kubectl), &Arc::default());
    let mut rounds = 0;
    while rounds == 0 || load.answered() < requests() {
        load.go_on(100);
        machine.kill();
        load.go_on(300);
        machine.up();
        load.go_on(100);
        // Whole again, and it can roll; and it is killed in the middle of that.
        run(&machine, &kubectl, RESTART);
        load.go_on(200);
        machine.kill();
        load.go_on(300);
        machine.up();
        run(&machine, &kubectl, DONE);
        rounds += 1;
    }
    println!("{} requests in {rounds} rounds of kills", load.finish());
    machine.stop();
}

#[test]
fn stateful_pods_restarted_by_their_liveness_probe_and_updated() {
    let kubectl = Kubectl::all().pop().unwrap();
    let machine = start(&kubectl);
    // Each pod's probe fails once, never two at the same time.
    run(
        &machine,
        &kubectl,
        "kubectl delete deployment web && kubectl apply -f dying.yaml && kubectl rollout status statefulset/web --timeout=60s",
    );
    let load = Load::start(ways(&machine, &kubectl), &Arc::default());
    let restarted = "for i in $(seq 600); do \
                     counts=$(kubectl get pods -l app=web -o jsonpath='{.items[*].status.containerStatuses[0].restartCount}'); \
                     case \" $counts \" in *' 0 '*) sleep 0.2;; *) exit;; esac; done; echo $counts; exit 1";
    run(&machine, &kubectl, restarted);
    load.go_on(requests().saturating_sub(load.answered()));
    // The same pods, one after the other, by a rolling update.
    run(&machine, &kubectl, "kubectl rollout restart statefulset/web && kubectl rollout status statefulset/web --timeout=180s");
    println!("{} requests", load.finish());
    machine.stop();
}

/// S2: two Deployments, one Service, a hundred switches. Once a switch is acknowledged, every request goes to the other colour.
#[test]
fn s2_blue_and_green() {
    const SWITCHES: usize = 100;
    let kubectl = Kubectl::all().pop().unwrap();
    let machine = start(&kubectl);
    run(
        &machine,
        &kubectl,
        "sed 's/name: web$/name: green/; s/app: web$/app: green/; s/nginx:1.14.2/nginx:1.16.1/; /^---/,$d' load.yaml | \
         kubectl apply -f - && kubectl rollout status deployment/green --timeout=60s",
    );
    let colours = vec!["nginx 1.14.2".to_owned(), "nginx 1.16.1".to_owned()];
    let turns = Arc::new(Turns { colours, ..Turns::default() });
    // A connection that is kept stays with its colour, unless it is routed by request.
    let by_turns = |way: &Way| way.connections == Connections::New || way.name.starts_with("HTTP");
    let load = Load::start(ways(&machine, &kubectl).into_iter().filter(by_turns).collect(), &turns);
    let node_port = field(&machine, &kubectl, "web", ".spec.ports[0].nodePort");
    let published = SocketAddr::from((Ipv4Addr::LOCALHOST, node_port.parse().unwrap()));
    machine.block_on(|client| async move {
        let services: kube::Api<k8s_openapi::api::core::v1::Service> = kube::Api::default_namespaced(client);
        for turn in 1..=SWITCHES {
            load.go_on(20);
            turns.asked.store(turn, Ordering::SeqCst);
            for service in ["web", "web-http"] {
                let app = ["web", "green"][turn % 2];
                let patch = kube::api::Patch::Merge(serde_json::json!({ "spec": { "selector": { "app": app } } }));
                services.patch(service, &kube::api::PatchParams::default(), &patch).await.unwrap();
            }
            turns.acknowledged.store(turn, Ordering::SeqCst);
            let answer = ask(published, Connections::New, &mut None).unwrap();
            assert_eq!(answer, turns.colours[turn % 2], "right after switch {turn}");
        }
        load.go_on(requests().saturating_sub(load.answered()));
        println!("{} requests over {SWITCHES} switches", load.finish());
    });
    machine.stop();
}
