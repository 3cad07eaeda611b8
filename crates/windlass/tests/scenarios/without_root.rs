//! A machine of an ordinary user: the whole of a rollout, a killed main process, and nothing left behind.

use std::process::Command;

use crate::machine::{Kubectl, Machine};

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

/// Stops the machine, and looks for what is left of it. Its user can remove its directory.
fn end(machine: Machine, user: &str) {
    let dir = machine.dir().display().to_string();
    let left = format!("grep {dir} /proc/self/mountinfo; ps -eo args | grep -v grep | grep {dir}/data");
    assert_ne!(host(&left), "", "there was nothing to see while the machine ran");
    let mut machine = machine;
    machine.down();
    assert_eq!(host(&left), "");
    let removed = host(&format!("setpriv --reuid={user} --clear-groups rm -rf {dir}/data 2>&1"));
    assert_eq!(removed, "");
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
    end(machine, USER);
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
    end(machine, USER_OF_ONE_ID);
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
