//! SIGHUP: the main process becomes the binary that is on the disk now, and nothing else changes.

use std::{
    fs, io,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    load::{Connections, Load, Way},
    machine::{Kubectl, Machine},
};

fn run(machine: &Machine, line: &str) -> String {
    let output = machine.shell(&Kubectl::all().pop().unwrap(), line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Lines of the log with these words.
fn said(machine: &Machine, words: &str) -> usize {
    machine.log_text().lines().filter(|line| line.contains(words)).count()
}

/// Sends SIGHUP and waits until these words have been said once more.
fn hang_up(machine: &mut Machine, words: &str) {
    let before = said(machine, words);
    machine.signal(Signal::SIGHUP);
    for _ in 0..3000 {
        if said(machine, words) > before {
            return;
        }
        assert!(!machine.has_ended(), "{}", machine.log_text());
        thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing about {words:?}:\n{}", machine.log_text());
}

const UPGRADED: &str = "upgraded in";
const PODS: &str = "kubectl get pods -l app=nginx -o \
                    jsonpath='{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID}{\"\\n\"}{end}'";

/// Connects to the API without pause; the number of connections, none of which was refused.
fn connect_on(address: SocketAddr, running: &Arc<AtomicBool>) -> thread::JoinHandle<io::Result<usize>> {
    let running = running.clone();
    thread::spawn(move || {
        let mut count = 0;
        while running.load(Ordering::Relaxed) {
            TcpStream::connect(address)?;
            count += 1;
            thread::sleep(Duration::from_millis(5));
        }
        Ok(count)
    })
}

#[test]
fn requests_and_clients_notice_nothing_of_an_upgrade() {
    let mut machine = Machine::start_replaceable(None, &[]);
    run(
        &machine,
        "kubectl apply -f deployment.yaml -f service.yaml && kubectl rollout status deployment/nginx-deployment --timeout=60s",
    );
    let port: u16 = run(&machine, "kubectl get service nginx -o jsonpath='{.spec.ports[0].nodePort}'").parse().unwrap();
    let api = run(&machine, "kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}'");
    let api: SocketAddr = api.trim_start_matches("https://").parse().unwrap();
    let (before, process) = (run(&machine, PODS), machine.pid());
    let way = |connections| Way { name: "NodePort", address: ([127, 0, 0, 1], port).into(), connections, netns: None };
    let load = Load::start(vec![way(Connections::New), way(Connections::Kept)], &Arc::default());
    let running = Arc::new(AtomicBool::new(true));
    let connections = connect_on(api, &running);

    // It takes five seconds at least.
    run(&machine, "kubectl apply -f slow.yaml");
    let mut status = Command::new(Kubectl::all().pop().unwrap().path)
        .args(["rollout", "status", "deployment/slow", "--timeout=60s"])
        .env("KUBECONFIG", machine.kubeconfig())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..5 {
        load.go_on(50);
        let binary = machine.dir().join("windlass");
        fs::copy(&binary, machine.dir().join("windlass.new")).unwrap();
        fs::rename(machine.dir().join("windlass.new"), &binary).unwrap();
        hang_up(&mut machine, UPGRADED);
        // It waited, or it was the new process that answered at once.
        run(&machine, "kubectl create configmap made --dry-run=server");
    }
    assert!(status.wait().unwrap().success(), "kubectl rollout status did not survive");
    load.go_on(50);
    running.store(false, Ordering::Relaxed);
    println!("{} requests, {} connections to the API", load.finish(), connections.join().unwrap().unwrap());
    assert_eq!((run(&machine, PODS), machine.pid()), (before, process));
    // The machine is whole.
    run(&machine, "kubectl set image deployment/nginx-deployment nginx=nginx:1.16.1");
    run(&machine, "kubectl rollout status deployment/nginx-deployment --timeout=60s");
    machine.stop();
}

#[test]
fn a_binary_that_cannot_take_over_changes_nothing() {
    let mut machine = Machine::start_replaceable(Some("windlass-test"), &[]);
    let binary = machine.dir().join("windlass");
    let kept = machine.dir().join("kept");
    fs::rename(&binary, &kept).unwrap();
    let goes_on = "no upgrade; this windlass goes on";
    hang_up(&mut machine, goes_on);
    fs::write(&binary, "no program").unwrap();
    hang_up(&mut machine, goes_on);
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    hang_up(&mut machine, goes_on);
    run(&machine, "kubectl apply -f one-id.yaml && kubectl wait --for=condition=Ready pod/web --timeout=60s");
    fs::rename(&kept, &binary).unwrap();
    hang_up(&mut machine, UPGRADED);
    run(&machine, "kubectl wait --for=condition=Ready pod/web --timeout=60s");
    machine.stop();
}
