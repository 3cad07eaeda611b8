//! A machine of an ordinary user: the whole of a rollout, a killed main process, and nothing left behind.

use std::{path::Path, process::Command, sync::Arc};

use crate::{
    load::{Connections, Load, Way},
    machine::{Kubectl, Machine},
};

/// Users that `cargo xtask test` makes: one with subordinate ids, one without.
const USER: &str = "windlass-test";
const USER_OF_ONE_ID: &str = "windlass-test-one";

fn run(machine: &Machine, line: &str) -> String {
    let output = machine.shell(&Kubectl::all().remove(0), line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn host(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Stops the machine, and looks for what is left of it. Its user can remove its directory, whoever the files in it belong to.
fn end(mut machine: Machine) {
    let dir = machine.dir().display().to_string();
    let left = format!(
        "grep {dir} /proc/self/mountinfo; ps -eo args | grep -v grep | grep {dir}/data; \
         group=windlass-$(printf %s {dir}/data/containers | sha256sum | cut -c1-8); find /sys/fs/cgroup -type d -name \"$group*\""
    );
    assert_ne!(host(&left), "", "there was nothing to see while the machine ran");
    let early = machine.run(&["reset", "--data-dir", &format!("{dir}/data")]);
    assert!(String::from_utf8_lossy(&early.stderr).starts_with("error: another windlass (process "), "{early:?}");
    machine.down();
    assert_eq!(host(&left), "");
    let reset = machine.run(&["reset", "--data-dir", &format!("{dir}/data")]);
    assert!(reset.status.success() && reset.stderr.is_empty(), "{reset:?}");
    assert!(!machine.dir().join("data").exists(), "{}", host(&format!("find {dir}/data")));
}

#[test]
fn an_ordinary_user_rolls_out_and_back() {
    let mut machine = Machine::start_of(USER, &[]);
    let rolled = "kubectl rollout status deployment/nginx-deployment --timeout=60s";
    run(&machine, &format!("kubectl apply -f deployment.yaml -f service.yaml && {rolled}"));
    let port = run(&machine, "kubectl get service nginx -o jsonpath='{.spec.ports[0].nodePort}'");
    let ask = format!("curl -sf --max-time 5 http://127.0.0.1:{port}/");
    assert_eq!(host(&ask), "nginx 1.14.2\n");
    run(&machine, &format!("kubectl set image deployment/nginx-deployment nginx=nginx:1.16.1 && {rolled}"));
    assert_eq!(host(&ask), "nginx 1.16.1\n");
    run(&machine, &format!("kubectl rollout undo deployment/nginx-deployment && {rolled}"));
    assert_eq!(host(&ask), "nginx 1.14.2\n");

    let pods = "kubectl get pods -l app=nginx -o jsonpath='{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID}{\"\\n\"}{end}'";
    let three = "[ $(kubectl get pods -l app=nginx --no-headers | wc -l) = 3 ]";
    run(&machine, &format!("for i in $(seq 300); do {three} && exit 0; sleep 0.1; done; exit 1"));
    let before = run(&machine, pods);
    machine.kill();
    for _ in 0..20 {
        assert_eq!(host(&ask), "nginx 1.14.2\n", "a request was lost while windlass was away");
    }
    machine.up();
    run(&machine, "kubectl wait --for=condition=Ready pod -l app=nginx --timeout=30s");
    assert_eq!(run(&machine, pods), before, "containers were not adopted as they were");
    end(machine);
}

#[test]
fn a_user_of_one_id_runs_what_needs_no_other() {
    let machine = Machine::start_of(USER_OF_ONE_ID, &[]);
    run(&machine, "kubectl apply -f one-id.yaml && kubectl wait --for=condition=Ready pod/web --timeout=60s");
    let port = run(&machine, "kubectl get service web -o jsonpath='{.spec.ports[0].nodePort}'");
    assert_eq!(host(&format!("curl -sf --max-time 5 http://127.0.0.1:{port}/")), "from a volume\n");
    let log = run(&machine, "kubectl logs web -c first");
    assert_eq!(log, "0:0 writes to a volume\n");
    // What it costs is said once at the start, and where it shows.
    let warnings = machine.log_text().lines().filter(|line| line.contains("without subordinate ids")).count();
    assert_eq!(warnings, 1, "{}", machine.log_text());
    let told = "kubectl get pod other -o jsonpath='{.status.containerStatuses[0].state.waiting.message}'";
    run(&machine, &format!("for i in $(seq 300); do {told} | grep 'cannot run as user 7' && exit 0; sleep 0.1; done; exit 1"));
    end(machine);
}

/// A control group of the second version that belongs to the user; it has whichever controllers the first one leaves.
struct Delegated(std::path::PathBuf);

impl Delegated {
    fn to(user: &str) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let tree = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?.to_owned();
        let dir = Path::new(&tree).join(format!("windlass-test-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        assert_eq!(host(&format!("chown -R {user} {} 2>&1", dir.display())), "");
        Some(Self(dir))
    }

    fn below(&self) -> String {
        host(&format!("cd {} && find . -mindepth 1 -type d | sort", self.0.display()))
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        host(&format!("find {} -depth -type d -exec rmdir {{}} +", self.0.display()));
    }
}

#[test]
fn a_delegated_control_group_is_used_and_left_as_it_was() {
    let Some(group) = Delegated::to(USER) else {
        println!("there is no tree of the second version on this host");
        return;
    };
    let machine = Machine::start_within(&group.0, USER);
    run(&machine, "kubectl apply -f one-id.yaml && kubectl wait --for=condition=Ready pod/web pod/other --timeout=60s");
    let (groups, dir) = (group.below(), machine.dir().to_owned());
    assert!(groups.contains("-machine\n") && groups.contains("/kubepods/besteffort/pod"), "{groups}");
    let controllers = |file: &str| std::fs::read_to_string(group.0.join(file)).unwrap();
    assert_eq!(controllers("cgroup.subtree_control"), controllers("cgroup.controllers"));
    assert_eq!(controllers("cgroup.procs"), "", "the main process and the holder have moved aside");
    end(machine);
    assert_eq!(group.below(), "", "left by the machine of {}", dir.display());
    assert_eq!(controllers("cgroup.subtree_control").trim(), "");
}

/// A kernel that gives an ordinary user's sockets little room takes them all the same, and none is away while they are written anew.
#[test]
fn a_thousand_services_without_root() {
    let mut machine = Machine::start_of(USER, &[]);
    run(&machine, "kubectl apply -f one-id.yaml && kubectl wait --for=condition=Ready pod/web --timeout=60s");
    let port: u16 = run(&machine, "kubectl get service web -o jsonpath='{.spec.ports[0].nodePort}'").parse().unwrap();
    machine.block_on(|client| async move {
        let services: kube::Api<k8s_openapi::api::core::v1::Service> = kube::Api::default_namespaced(client);
        let mut made = tokio::task::JoinSet::new();
        for number in 0..1000 {
            let (services, service) = (
                services.clone(),
                serde_json::json!({
                    "metadata": { "name": format!("web-{number}") },
                    "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
                }),
            );
            made.spawn(async move {
                let service = serde_json::from_value(service).unwrap();
                services.create(&kube::api::PostParams::default(), &service).await.unwrap();
            });
        }
        made.join_all().await;
    });
    let way = Way { name: "NodePort", address: ([127, 0, 0, 1], port).into(), connections: Connections::New, netns: None };
    let load = Load::start(vec![way], &Arc::default());
    load.go_on(50);
    machine.kill();
    machine.up();
    load.go_on(50);
    // The last in order of names is in effect when its address answers; so are all.
    run(&machine, "kubectl patch service web-999 --type=merge -p '{\"spec\":{\"ports\":[{\"port\":81,\"targetPort\":80}]}}'");
    run(&machine, "kubectl wait --for=condition=Ready pod/web --timeout=30s");
    let asked = run(
        &machine,
        "kubectl exec web -- busybox wget -qO- http://web-999:81/ && kubectl exec web -- busybox wget -qO- http://web-500/",
    );
    assert_eq!(asked, "from a volume\nfrom a volume\n");
    load.finish();
    let refused = machine.log_text().lines().filter(|line| line.contains("could not be changed")).count();
    assert_eq!(refused, 0, "{}", machine.log_text());
    end(machine);
}

#[test]
fn a_host_without_user_namespaces_is_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let up = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces; \
         exec setpriv --bounding-set=-sys_admin timeout 20 {} up --listen 127.0.0.1:0 --data-dir {}",
        env!("CARGO_BIN_EXE_windlass"),
        dir.path().join("data").display()
    );
    let output = Command::new("unshare").args(["--user", "--map-root-user", "sh", "-c", &up]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("user.max_user_namespaces is 0") && said.contains("--runtime hollow"), "{said}");
}

#[test]
fn a_host_that_covers_parts_of_proc_is_one_warning() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    // It ends by itself, as it cannot write its kubeconfig; the ground has been looked at by then.
    let up = format!(
        "mount -t tmpfs none /proc/acpi || mount -t tmpfs none /proc/fs; chown {USER} {path}; cp {} {path}/windlass; \
         exec setpriv --reuid={USER} --regid={USER} --clear-groups timeout 60 {path}/windlass up --listen 127.0.0.1:0 --data-dir {path}/data \
         --write-kubeconfig /nowhere/kubeconfig",
        env!("CARGO_BIN_EXE_windlass"),
    );
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &up]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert_eq!(said.lines().filter(|line| line.contains("parts of /proc are covered")).count(), 1, "{said}");
}
