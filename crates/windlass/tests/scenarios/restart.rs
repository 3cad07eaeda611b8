//! What happens when the main process is killed, stopped and started again.

use std::process::Command;

use crate::machine::{Kubectl, Machine};

fn text(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stdout(machine: &Machine, kubectl: &Kubectl, line: &str) -> String {
    let output = machine.shell(kubectl, line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn containers_and_traffic_go_on_when_the_main_process_is_killed() {
    let kubectl = Kubectl::all().remove(0);
    let mut machine = Machine::start(&[]);
    let out = |machine: &Machine, line: &str| stdout(machine, &kubectl, line);
    out(
        &machine,
        "kubectl apply -f deployment.yaml -f service.yaml && kubectl rollout status deployment/nginx-deployment --timeout=60s",
    );
    let port = out(&machine, "kubectl get service nginx -o jsonpath='{.spec.ports[0].nodePort}'");
    let pods = "kubectl get pods -l app=nginx -o jsonpath='{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID} \
                {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}'";
    let before = out(&machine, pods);
    let ask = format!("curl -sf --max-time 5 http://127.0.0.1:{port}/");
    assert_eq!(text(&ask), "nginx 1.14.2\n");

    machine.kill();
    for _ in 0..20 {
        assert_eq!(text(&ask), "nginx 1.14.2\n", "a request was lost while windlass was away");
    }
    machine.up();
    assert_eq!(text(&ask), "nginx 1.14.2\n");
    out(&machine, "kubectl wait --for=condition=Ready pod -l app=nginx --timeout=30s");
    assert_eq!(out(&machine, pods), before, "containers were not adopted as they were");
    // The machine is whole again: it can roll.
    out(
        &machine,
        "kubectl set image deployment/nginx-deployment nginx=nginx:1.16.1 && kubectl rollout status deployment/nginx-deployment --timeout=60s",
    );
    assert_eq!(text(&ask), "nginx 1.16.1\n");
    machine.stop();
}

#[test]
fn objects_and_pods_come_back_after_a_stop() {
    let kubectl = Kubectl::all().remove(0);
    let mut machine = Machine::start(&[]);
    stdout(
        &machine,
        &kubectl,
        "kubectl apply -f deployment.yaml && kubectl rollout status deployment/nginx-deployment --timeout=60s",
    );
    machine.down();
    machine.up();
    stdout(&machine, &kubectl, "kubectl rollout status deployment/nginx-deployment --timeout=60s");
    stdout(&machine, &kubectl, "kubectl wait --for=condition=Ready pod -l app=nginx --timeout=60s");
    machine.stop();
}

#[test]
fn mistakes_are_one_clear_line() {
    let binary = env!("CARGO_BIN_EXE_windlass");
    let machine = Machine::start(&["--runtime", "hollow"]);
    let data = machine.dir().join("data");
    let run = |args: &str| {
        let output = Command::new("sh").args(["-c", &format!("timeout 20 {binary} up {args}")]).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()
    };
    let second = run(&format!("--listen 127.0.0.1:0 --data-dir {}", data.display()));
    assert!(second.starts_with("error: another windlass (process "), "{second}");
    let port = std::fs::read_to_string(machine.kubeconfig()).unwrap();
    let port = port.split("https://127.0.0.1:").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let taken = run(&format!("--listen 127.0.0.1:{port} --data-dir {}", machine.dir().join("other").display()));
    assert!(taken.starts_with(&format!("error: cannot listen on 127.0.0.1:{port}")), "{taken}");
    let unwritable = run("--listen 127.0.0.1:0 --data-dir /proc/windlass");
    assert!(unwritable.starts_with("error: cannot make the data directory /proc/windlass"), "{unwritable}");
    let mirror = run(&format!(
        "--registry-mirror docker.io=http://192.0.2.1:5000 --listen 127.0.0.1:0 --data-dir {}",
        machine.dir().join("third").display()
    ));
    assert!(mirror.starts_with("error: ") && mirror.contains("insecure"), "{mirror}");
    machine.stop();
}
