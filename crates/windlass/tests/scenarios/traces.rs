//! Nothing of a machine is seen on the host while it runs, and nothing is left of it however it ends.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::machine::{Kubectl, Machine};

/// What a host shows of its own, and no machine may touch.
const HOST: &str = "ip -d -o link; ip route show table all; ip -6 route show table all | sed 's/ expires [^ ]*//'; ip rule; \
                    nft list ruleset; ip netns; cut -d' ' -f3- /proc/self/mountinfo | sort; ls /run | grep -i windlass; \
                    cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/ip_local_port_range \
                    /proc/sys/net/ipv4/tcp_tw_reuse /proc/sys/user/max_user_namespaces";

fn text(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What there is of the machine on the host: processes, control groups, temporary files. Others may have machines beside it.
fn traces(machine: &Machine) -> String {
    let dir = machine.dir().display();
    text(&format!(
        "ps -eo pid,args | grep -v grep | grep '{dir}/'; ls {dir}/tmp; \
         group=windlass-$(printf %s {dir}/data/containers | sha256sum | cut -c1-8); find /sys/fs/cgroup -type d -name $group"
    ))
    .lines()
    .filter(|line| !line.contains("registry.yml"))
    .collect::<Vec<_>>()
    .join("\n")
}

fn run(machine: &Machine, line: &str) -> String {
    let output = machine.shell(&Kubectl::all().remove(0), line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const ROLL: &str = "kubectl apply -f deployment.yaml -f service.yaml";
const ROLLED: &str = "kubectl rollout status deployment/nginx-deployment --timeout=60s";

/// Waits, for a bounded time, until something is there or the machine's process is not.
fn wait_for(path: &Path, machine: &mut Machine) {
    for _ in 0..4000 {
        if path.exists() || machine.has_ended() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("{} does not appear", path.display());
}

fn kill_holder(machine: &Machine) {
    let pid = text(&format!("pgrep -f 'internal-holder {}/data$'", machine.dir().display()));
    kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn nothing_is_seen_while_it_runs_and_nothing_left_when_it_is_stopped() {
    let host = text(HOST);
    let mut machine = Machine::start(&[]);
    run(&machine, &format!("{ROLL} && {ROLLED}"));
    assert_eq!(text(HOST), host, "seen while it runs");
    assert!(traces(&machine).lines().count() >= 5, "main process, holder, three shims: {}", traces(&machine));
    // In the middle of a rollout.
    run(&machine, "kubectl set image deployment/nginx-deployment nginx=nginx:1.16.1");
    machine.down();
    assert_eq!((text(HOST), traces(&machine)), (host.clone(), String::new()));

    machine.up();
    run(&machine, ROLLED);
    machine.kill();
    assert_ne!(traces(&machine), "", "containers go on");
    machine.up();
    machine.down();
    assert_eq!((text(HOST), traces(&machine)), (host, String::new()));
}

#[test]
fn nothing_is_left_when_it_is_interrupted_while_it_starts() {
    let host = text(HOST);
    let mut machine = Machine::idle(&[]);
    // From the first moment to the last.
    for moment in ["lock", "holder.lock", "holder.sock", "pki", "store", "network", "containers", "kubeconfig"] {
        drop(machine.begin());
        let path = machine.dir().join("data").join(moment);
        wait_for(&path, &mut machine);
        machine.signal(Signal::SIGINT);
        let status = machine.ended();
        assert!(status.success(), "interrupted at {moment}: {status}\n{}", machine.log_text());
        assert_eq!((text(HOST), traces(&machine)), (host.clone(), String::new()), "interrupted at {moment}");
        std::fs::remove_dir_all(machine.dir().join("data")).unwrap();
    }
    machine.up();
    machine.stop();
}

#[test]
fn a_killed_holder_is_told_and_cleared_up() {
    let host = text(HOST);
    let mut machine = Machine::start(&[]);
    run(&machine, &format!("{ROLL} && {ROLLED}"));
    kill_holder(&machine);
    let status = machine.ended();
    assert!(!status.success());
    let log = machine.log_text();
    assert!(
        log.lines().last().unwrap().starts_with("error: the process that holds the machine's namespaces was killed"),
        "{log}"
    );
    assert_eq!((text(HOST), traces(&machine)), (host.clone(), String::new()));

    // Both killed: containers go on without a network, until the next start.
    machine.up();
    run(&machine, &format!("{ROLLED} && kubectl wait --for=condition=Ready pod -l app=nginx --timeout=60s"));
    machine.kill();
    kill_holder(&machine);
    assert_ne!(traces(&machine), "");
    machine.up();
    let told = machine.log_text().lines().filter(|line| line.contains("holder of the machine had been killed")).count();
    assert_eq!(told, 1, "{}", machine.log_text());
    run(&machine, &format!("{ROLLED} && kubectl wait --for=condition=Ready pod -l app=nginx --timeout=60s"));
    machine.down();
    assert_eq!((text(HOST), traces(&machine)), (host, String::new()));
}

#[test]
fn nothing_is_left_of_an_interrupted_demo() {
    let host = text(HOST);
    let dir = tempfile::Builder::new().prefix("windlass-test-").tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_windlass"))
        .arg("demo")
        .env("TMPDIR", dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("rolling out version 2")));
    kill(Pid::from_raw(demo.id().cast_signed()), Signal::SIGINT).unwrap();
    for line in lines {
        drop(line.unwrap());
    }
    assert!(!demo.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(text(&format!("ps -eo args | grep -v grep | grep {}", dir.path().display())), "");
    assert_eq!(text(HOST), host);
}
