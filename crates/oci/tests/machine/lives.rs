//! Machines that end, are killed, and come back; and what becomes of their containers.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use windlass_oci::container::{Mount, Phase, Propagation, Runtime, RuntimeConfig};

use crate::{
    Test,
    fixture::{Machine, log_text, run},
};

pub(crate) const TESTS: &[Test] = &[
    ("adoption", adoption),
    ("containers_outlive_a_killed_machine", containers_outlive_a_killed_machine),
    ("killed_at_any_moment", killed_at_any_moment),
    ("shut_down_leaves_nothing", shut_down_leaves_nothing),
    ("many_at_once", many_at_once),
];

fn adoption() {
    let mut machine = Machine::new();
    run(async {
        let running = machine.start(machine.script("while [ ! -e /tmp/stop ]; do sleep 0.02; done; exit 9").await).await;
        let ended = machine.start(machine.script("exit 4").await).await;
        assert_eq!(machine.exited(&ended).await.0, 4);
        let before = machine.runtime.containers(None);
        machine.reopen();
        assert_eq!(machine.runtime.containers(None), before);
        assert!(machine.runtime.sandboxes().iter().all(|sandbox| sandbox.is_ready()));
        let stop = ["touch".to_owned(), "/tmp/stop".to_owned()];
        machine.runtime.exec(&running, &stop, Duration::from_secs(20)).await.unwrap();
        assert_eq!(machine.exited(&running).await.0, 9);

        // One that the machine did not live to see started is not started again.
        let sandbox = machine.sandbox().await;
        let unseen = machine.runtime.create_container(&sandbox.id, machine.script("sleep 1000").await).await.unwrap().id;
        let second = Runtime::open(machine.config.clone()).unwrap();
        machine.runtime.start_container(&unseen).await.unwrap();
        second.start_container(&unseen).await.unwrap();
        assert_eq!(second.container(&unseen).unwrap(), machine.runtime.container(&unseen).unwrap());
        assert!(second.start_container(&unseen).await.is_ok());
        let removed = machine.runtime.create_container(&sandbox.id, machine.script("sleep 1000").await).await.unwrap().id;
        let third = Runtime::open(machine.config.clone()).unwrap();
        machine.runtime.start_container(&removed).await.unwrap();
        third.remove_container(&removed).await.unwrap();
        assert_eq!(machine.exited(&removed).await.0, 137);
        machine.reopen();

        // A container whose shim was killed is not left running unwatched.
        let orphan = machine.start(machine.script("sleep 1000").await).await;
        let state = fs::read(machine.config.data_dir.join("containers").join(&orphan).join("state.json")).unwrap();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        let pid = |name: &str| nix::unistd::Pid::from_raw(i32::try_from(state[name]["pid"].as_i64().unwrap()).unwrap());
        nix::sys::signal::kill(pid("shim"), nix::sys::signal::Signal::SIGKILL).unwrap();
        assert_eq!(machine.exited(&orphan).await.0, 137);
        machine.reopen();
        assert!(matches!(machine.runtime.container(&orphan).unwrap().phase, Phase::Exited { exit_code: 137, .. }));
    });
}

/// First argument of a process that starts containers and is killed.
pub(crate) const VICTIM: &str = "--victim";

/// Starts two containers, one of which ends when its machine is dead, says their ids, and waits to be killed.
pub(crate) fn be_killed(data_dir: &str) -> ! {
    let machine = Machine::of(RuntimeConfig::new(data_dir));
    run(async {
        let stays =
            machine.start(machine.script("echo begin; while [ ! -e /tmp/stop ]; do sleep 0.02; done; echo end").await).await;
        let mut spec = machine.script("while [ -e /flag/alive ]; do sleep 0.02; done; exit 6").await;
        let flag = Mount {
            host_path: data_dir.into(),
            container_path: "/flag".into(),
            read_only: true,
            propagation: Propagation::Private,
        };
        spec.mounts = vec![flag];
        spec.log_path = format!("{data_dir}/second.log").into();
        let ends = machine.start(spec).await;
        println!("{stays} {ends} {}", machine.log_path().display());
        loop {
            std::thread::park();
        }
    })
}

fn containers_outlive_a_killed_machine() {
    let mut machine = Machine::new();
    fs::write(machine.config.data_dir.join("alive"), "").unwrap();
    let mut victim =
        Command::new("/proc/self/exe").arg(VICTIM).arg(&machine.config.data_dir).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(victim.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let [stays, ends, log]: [String; 3] = line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
    victim.kill().unwrap();
    victim.wait().unwrap();
    // One ends while nobody is there to see it.
    fs::remove_file(machine.config.data_dir.join("alive")).unwrap();
    let state = machine.config.data_dir.join("containers").join(&ends).join("state.json");
    while !fs::read_to_string(&state).unwrap().contains("Exited") {
        std::thread::sleep(Duration::from_millis(5));
    }
    machine.reopen();
    run(async {
        assert_eq!(machine.exited(&ends).await.0, 6);
        assert!(matches!(machine.runtime.container(&stays).unwrap().phase, Phase::Running { .. }));
        let touch = ["touch".to_owned(), "/tmp/stop".to_owned()];
        machine.runtime.exec(&stays, &touch, Duration::from_secs(20)).await.unwrap();
        assert_eq!(machine.exited(&stays).await.0, 0);
        assert_eq!(log_text(log.as_ref()), "stdout F begin\nstdout F end\n");
    });
}

/// First argument of a process that makes and removes containers until it is killed.
pub(crate) const BUSY_VICTIM: &str = "--busy-victim";

pub(crate) fn be_killed_busy(data_dir: &str) -> ! {
    let machine = Machine::of(RuntimeConfig::new(data_dir));
    run(async {
        let spec = machine.script("sleep 1000").await;
        println!("ready");
        loop {
            let sandbox = machine.sandbox().await;
            let start = async || {
                let id = machine.runtime.create_container(&sandbox.id, spec.clone()).await.unwrap().id;
                machine.runtime.start_container(&id).await.unwrap();
            };
            tokio::join!(start(), start());
            machine.runtime.remove_sandbox(&sandbox.id).await.unwrap();
        }
    })
}

/// Whenever a machine is killed, the next one knows of everything that it left, and can remove it.
fn killed_at_any_moment() {
    let mut machine = Machine::new();
    let place = machine.config.data_dir.to_str().unwrap().to_owned();
    for round in 0..16_u64 {
        let mut command = Command::new("/proc/self/exe");
        let mut victim = command.arg(BUSY_VICTIM).arg(&place).stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(victim.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        // Over the whole of its cycle, which takes some hundred milliseconds.
        std::thread::sleep(Duration::from_millis(round * 13));
        victim.kill().unwrap();
        victim.wait().unwrap();
        machine.reopen();
        run(machine.runtime.shut_down()).unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&place), "round {round}: mounts left behind:\n{mounts}");
        // A shim may be on its very last steps.
        for _ in 0..1000 {
            if processes_of(&place).is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(processes_of(&place), [""; 0], "round {round}");
    }
}

/// Command lines that name a place.
fn processes_of(place: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(place)).collect()
}

fn shut_down_leaves_nothing() {
    let machine = Machine::new();
    run(async {
        machine.start(machine.script("sleep 1000").await).await;
        let groups = || {
            let trees = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
            trees.filter(|tree| tree.path().join(&machine.config.cgroup_root).exists()).count()
        };
        assert!(groups() > 0);
        machine.runtime.shut_down().await.unwrap();
        assert_eq!(groups(), 0);
        assert!(machine.runtime.containers(None).is_empty() && machine.runtime.sandboxes().is_empty());
        for dir in ["containers", "sandboxes"] {
            assert_eq!(fs::read_dir(machine.config.data_dir.join(dir)).unwrap().count(), 0);
        }
    });
}

fn many_at_once() {
    let machine = Machine::new();
    run(async {
        let open_files = || fs::read_dir("/proc/self/fd").unwrap().count();
        let spec = machine.script("exit 0").await;
        machine.run_spec(spec.clone()).await;
        let before = open_files();
        let one = async |index: usize| {
            let sandbox = machine.sandbox().await;
            let mut spec = spec.clone();
            spec.log_path.set_file_name(format!("{index}.log"));
            spec.command[2] = format!("echo {index}; sleep 1000");
            let id = machine.runtime.create_container(&sandbox.id, spec.clone()).await.unwrap().id;
            machine.runtime.start_container(&id).await.unwrap();
            let wait = "until grep -q sleep /proc/[0-9]*/comm; do sleep 0.01; done; echo exec";
            let wait = ["sh", "-c", wait].map(str::to_owned);
            let done = machine.runtime.exec(&id, &wait, Duration::from_secs(60)).await.unwrap();
            assert_eq!(done.output, b"exec\n");
            machine.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
            assert_eq!(log_text(&spec.log_path), format!("stdout F {index}\n"));
            machine.runtime.remove_sandbox(&sandbox.id).await.unwrap();
        };
        futures::future::join_all((0..24).map(one)).await;
        assert_eq!(machine.runtime.containers(None).len(), 1);
        assert!(open_files() <= before, "{} open files, {before} before", open_files());
    });
}
