//! Containers from start to end.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::{fd::OwnedFd, unix::fs::FileTypeExt as _},
    process::{Command, Stdio},
    time::Duration,
};

use oci_spec::image::ConfigBuilder;
use windlass_oci::{
    container::{
        ContainerSpec, ExecRequest, Mount, Phase, Resources, Runtime, RuntimeConfig, RuntimeError, SandboxSpec, Security,
    },
    error::chain,
    image::{BuildEntry, BuildSource},
};

use crate::{
    Test,
    fixture::{Machine, log_text, run},
};

pub(crate) const TESTS: &[Test] = &[
    ("output_and_exit_code", output_and_exit_code),
    ("isolation", isolation),
    ("image_defaults", image_defaults),
    ("mounts_and_working_dir", mounts_and_working_dir),
    ("start_errors", start_errors),
    ("stop_with_grace_and_without", stop_with_grace_and_without),
    ("out_of_memory", out_of_memory),
    ("exec_in_a_container", exec_in_a_container),
    ("adoption", adoption),
    ("containers_outlive_a_killed_machine", containers_outlive_a_killed_machine),
    ("killed_at_any_moment", killed_at_any_moment),
    ("security", security),
    ("terminal_and_standard_input", terminal_and_standard_input),
    ("shared_process_namespace", shared_process_namespace),
    ("shut_down_leaves_nothing", shut_down_leaves_nothing),
    ("nginx_serves_and_stops", nginx_serves_and_stops),
    ("many_at_once", many_at_once),
    ("sessions", sessions),
];

fn output_and_exit_code() {
    let machine = Machine::new();
    run(async {
        let (code, log) = machine.run_script("echo out; echo err >&2; printf unfinished; exit 7").await;
        assert_eq!(code, 7);
        let mut lines: Vec<_> = log.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["stderr F err", "stdout F out", "stdout P unfinished"]);
        let line = fs::read_to_string(machine.log_path()).unwrap();
        let time = line.split(' ').next().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok() && time.len() == "2026-01-01T00:00:00.000000000Z".len(), "{time}");
    });
}

fn isolation() {
    let machine = Machine::new();
    run(async {
        let script = "hostname; echo $$; ls /sys/class/net; cat /proc/1/oom_score_adj; echo $PATH:$HOME:$HOSTNAME; \
                      echo x > /proc/sys/kernel/hostname || echo read-only; cat /proc/kcore | head -c 1; kill -9 1; yes | head -n 1";
        let mut spec = machine.script(script).await;
        spec.resources.oom_score_adj = 1000;
        let (code, log) = machine.run_spec(spec).await;
        let out: Vec<_> = log.lines().filter_map(|l| l.strip_prefix("stdout F ")).collect();
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/root:pod-0";
        assert_eq!((code, out), (0, vec!["pod-0", "1", "lo", "1000", path, "read-only", "y"]), "{log}");
    });
}

fn image_defaults() {
    let machine = Machine::new();
    run(async {
        let config = ConfigBuilder::default()
            .entrypoint(vec!["sh".to_owned(), "-c".to_owned()])
            .cmd(vec!["id > /dev/stdout; echo $A $B; pwd".to_owned()])
            .env(vec!["A=image".to_owned(), "B=image".to_owned()])
            .user("web")
            .working_dir("/srv/new")
            .build();
        let image = machine.busybox(config.unwrap()).await;
        let spec = ContainerSpec {
            image_id: image.id,
            env: vec![("B".into(), "pod".into())],
            log_path: machine.log_path(),
            ..ContainerSpec::default()
        };
        let (_, log) = machine.run_spec(spec.clone()).await;
        assert_eq!(log, "stdout F uid=7(web) gid=8(web) groups=8(web),9(extra)\nstdout F image pod\nstdout F /srv/new\n");
        let args = ContainerSpec { args: vec!["echo only $0".into(), "args".into()], ..spec };
        assert_eq!(machine.run_spec(args).await.1, "stdout F only args\n");
    });
}

fn mounts_and_working_dir() {
    let machine = Machine::new();
    run(async {
        let volume = machine.dir.path().join("volume");
        fs::create_dir_all(&volume).unwrap();
        let file = machine.dir.path().join("hosts");
        fs::write(&file, "127.0.0.1 localhost\n").unwrap();
        let mount = |host_path: &std::path::Path, container_path: &str, read_only| Mount {
            host_path: host_path.to_owned(),
            container_path: container_path.to_owned(),
            read_only,
        };
        let mut spec = machine.script("pwd; echo kept > file; cat /etc/hosts; echo no > /ro/x || echo refused").await;
        spec.mounts = vec![mount(&volume, "/data", false), mount(&file, "/etc/hosts", true), mount(&volume, "/ro", true)];
        spec.working_dir = Some("/data/deep/er".into());
        let (_, log) = machine.run_spec(spec).await;
        let out: Vec<_> = log.lines().filter_map(|l| l.strip_prefix("stdout F ")).collect();
        assert_eq!(out, ["/data/deep/er", "127.0.0.1 localhost", "refused"], "{log}");
        assert_eq!(fs::read_to_string(volume.join("deep/er/file")).unwrap(), "kept\n");
    });
}

fn start_errors() {
    let machine = Machine::new();
    run(async {
        let sandbox = machine.sandbox().await;
        let base = machine.script("").await;
        for (command, cause) in [
            ("nope", "exec: \"nope\": executable file not found in $PATH"),
            ("/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory"),
            ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
        ] {
            let spec = ContainerSpec { command: vec![command.into()], ..base.clone() };
            let container = machine.runtime.create_container(&sandbox.id, spec).await.unwrap();
            let error = machine.runtime.start_container(&container.id).await.unwrap_err();
            assert!(chain(&error).ends_with(&format!("error during container init: {cause}")), "{}", chain(&error));
            assert!(matches!(error, RuntimeError::Start(_)));
            let (code, _, message) = machine.exited(&container.id).await;
            assert_eq!((code, message), (128, chain(&error)));
        }
        let unknown = ContainerSpec { image_id: "sha256:0".into(), ..base.clone() };
        let error = machine.runtime.create_container(&sandbox.id, unknown).await.unwrap_err();
        assert_eq!(chain(&error), "image \"sha256:0\": not found");
        let empty = ContainerSpec { command: vec![], ..base };
        let error = machine.runtime.create_container(&sandbox.id, empty).await.unwrap_err();
        assert_eq!(chain(&error), "failed to generate container spec: no command specified");
    });
}

fn stop_with_grace_and_without() {
    let machine = Machine::new();
    run(async {
        let polite = machine.start(machine.script("trap 'echo bye; exit 3' TERM; while :; do sleep 0.02; done").await).await;
        let obstinate = machine.start(machine.script("trap '' TERM; echo up; while :; do sleep 0.02; done").await).await;
        let mut tries = 0;
        while !log_text(&machine.log_path()).contains("up") && tries < 1000 {
            tries += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        machine.runtime.stop_container(&polite, Duration::from_secs(20)).await.unwrap();
        assert_eq!(machine.exited(&polite).await.0, 3);
        machine.runtime.stop_container(&obstinate, Duration::from_millis(50)).await.unwrap();
        assert_eq!(machine.exited(&obstinate).await.0, 137);
        machine.runtime.stop_container(&obstinate, Duration::ZERO).await.unwrap();
    });
}

fn out_of_memory() {
    let machine = Machine::new();
    run(async {
        let mut spec = machine.script("x=$(yes); echo $x").await;
        spec.resources = Resources { memory_limit: 16 << 20, ..Resources::default() };
        let id = machine.start(spec).await;
        let (code, oom_killed, _) = machine.exited(&id).await;
        assert_eq!((code, oom_killed), (137, true));
    });
}

fn exec_in_a_container() {
    let machine = Machine::new();
    run(async {
        let mut spec = machine.script("sleep 1000").await;
        spec.env = vec![("A".into(), "1".into())];
        spec.security = Security { run_as_user: Some(7), ..Security::default() };
        let id = machine.start(spec).await;
        let exec = async |command: &[&str], millis| {
            let command: Vec<String> = command.iter().map(|&c| c.to_owned()).collect();
            machine.runtime.exec(&id, &command, Duration::from_millis(millis)).await
        };
        let done = exec(&["sh", "-c", "id -u > /dev/stdout; echo $A; hostname; echo err >&2; exit 5"], 20_000).await.unwrap();
        assert_eq!((done.exit_code, String::from_utf8(done.output).unwrap()), (5, "7\n1\npod-0\nerr\n".to_owned()));
        let long = exec(&["sh", "-c", "yes | head -c 100000"], 20_000).await.unwrap();
        assert_eq!((long.exit_code, long.output.len()), (0, 10 << 10));
        let left = exec(&["sh", "-c", "sleep 1000 & echo left"], 20_000).await.unwrap();
        assert_eq!(left.output, b"left\n");
        assert!(matches!(exec(&["sleep", "1000"], 100).await, Err(RuntimeError::Timeout(_))));
        let error = exec(&["nope"], 20_000).await.unwrap_err().to_string();
        assert!(
            error.ends_with("unable to start container process: exec: \"nope\": executable file not found in $PATH"),
            "{error}"
        );
        machine.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
        let error = exec(&["id"], 20_000).await.unwrap_err().to_string();
        assert!(error.ends_with("container not running"), "{error}");
    });
}

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
        let flag = Mount { host_path: data_dir.into(), container_path: "/flag".into(), read_only: true };
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

fn security() {
    let machine = Machine::new();
    run(async {
        let script = "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; touch /file || echo read-only";
        let check = async |security: Security| {
            let mut spec = machine.script(script).await;
            spec.security = security;
            let (_, log) = machine.run_spec(spec).await;
            log.lines().filter_map(|l| l.strip_prefix("stdout F ")).map(|l| l.replace('\t', " ")).collect::<Vec<_>>()
        };
        let default = check(Security::default()).await;
        assert_eq!(default, ["CapEff: 00000000a80425fb", "CapBnd: 00000000a80425fb", "NoNewPrivs: 0"]);
        let hardened = Security {
            drop_capabilities: vec!["ALL".into()],
            add_capabilities: vec!["NET_BIND_SERVICE".into()],
            no_new_privileges: true,
            read_only_root: true,
            run_as_user: Some(1000),
            ..Security::default()
        };
        let hardened = check(hardened).await;
        assert_eq!(hardened, ["CapEff: 0000000000000000", "CapBnd: 0000000000000400", "NoNewPrivs: 1", "read-only"]);
        let own = fs::read_to_string("/proc/self/status").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap().trim().to_owned();
        let privileged = check(Security { privileged: true, ..Security::default() }).await;
        assert_eq!(privileged, [format!("CapEff: {own}"), format!("CapBnd: {own}"), "NoNewPrivs: 0".to_owned()]);
        let mut spec = machine.script("ls /dev; touch /sys/x 2>&1").await;
        spec.security.privileged = true;
        let (_, log) = machine.run_spec(spec).await;
        let disk = fs::read_dir("/dev").unwrap().flatten().find(|e| e.file_type().unwrap().is_block_device()).unwrap();
        let disk = format!("stdout F {}\n", disk.file_name().to_str().unwrap());
        assert!(log.contains(&disk) && !log.contains("Read-only"), "{log}");
    });
}

fn terminal_and_standard_input() {
    let machine = Machine::new();
    run(async {
        let mut spec = machine.script("[ -t 0 ] && [ -t 1 ] && echo terminal $TERM").await;
        spec.tty = true;
        assert_eq!(machine.run_spec(spec).await, (0, "stdout F terminal xterm\n".to_owned()));
        let mut spec = machine.script("echo up; cat; echo end of input").await;
        assert_eq!(machine.run_spec(spec.clone()).await.1, "stdout F up\nstdout F end of input\n");
        spec.stdin = true;
        spec.log_path.set_file_name("open.log");
        let id = machine.start(spec.clone()).await;
        let cat = ["sh".to_owned(), "-c".to_owned(), "while ! grep -q cat /proc/*/comm; do sleep 0.01; done".to_owned()];
        machine.runtime.exec(&id, &cat, Duration::from_secs(20)).await.unwrap();
        assert_eq!(log_text(&spec.log_path), "stdout F up\n");
    });
}

fn shared_process_namespace() {
    let machine = Machine::new();
    run(async {
        let spec =
            SandboxSpec { share_pid: true, hostname: "pod".into(), cgroup_parent: "kubepods/pod1".into(), ..Default::default() };
        let sandbox = machine.runtime.create_sandbox(spec).await.unwrap();
        assert!(sandbox.is_ready());
        let start = async |spec: ContainerSpec| {
            let id = machine.runtime.create_container(&sandbox.id, spec).await.unwrap().id;
            machine.runtime.start_container(&id).await.unwrap();
            id
        };
        let sleeper = start(machine.script("sleep 1000 & exec sleep 1001").await).await;
        let mut other =
            machine.script("cat /proc/1/comm; while ! grep -q 1001 /proc/*/cmdline; do sleep 0.01; done; echo seen").await;
        other.log_path.set_file_name("other.log");
        let path = other.log_path.clone();
        let other = start(other).await;
        assert_eq!(machine.exited(&other).await.0, 0);
        assert_eq!(log_text(&path), "stdout F pause\nstdout F seen\n");
        // Nothing of a container stays in the namespace, though its first process was not the first one there.
        machine.runtime.stop_container(&sleeper, Duration::ZERO).await.unwrap();
        let mut last = machine.script("grep -l sleep /proc/*/comm || echo alone").await;
        last.log_path.set_file_name("last.log");
        let path = last.log_path.clone();
        let last = start(last).await;
        machine.exited(&last).await;
        assert_eq!(log_text(&path), "stdout F alone\n");
    });
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

/// A real server: forks workers, changes users, writes its log to `/dev/stdout`, and has a stop signal of its own.
fn nginx_serves_and_stops() {
    let machine = Machine::new();
    run(async {
        let entry = |path: &str, mode, source| BuildEntry { path: path.into(), mode, source };
        let libraries = Command::new("ldd").arg("/usr/sbin/nginx").output().expect("Debian's nginx-light is installed").stdout;
        let libraries = String::from_utf8(libraries).unwrap();
        let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
        let mut entries: Vec<BuildEntry> =
            libraries.map(|path| entry(path, 0o755, BuildSource::File(fs::canonicalize(path).unwrap()))).collect();
        let conf = "user web; events {} http { access_log /dev/stdout; server { listen 80; return 200 hello; } }";
        entries.extend([
            entry("/usr/sbin/nginx", 0o755, BuildSource::File("/usr/sbin/nginx".into())),
            entry("/bin/busybox", 0o755, BuildSource::File("/bin/busybox".into())),
            entry("/etc/nginx/nginx.conf", 0o644, BuildSource::Bytes(conf.into())),
            entry("/etc/passwd", 0o644, BuildSource::Bytes(b"root:x:0:0::/:\nweb:x:7:7::/:\n".to_vec())),
            entry("/etc/group", 0o644, BuildSource::Bytes(b"root:x:0:\nweb:x:7:\n".to_vec())),
            entry("/var/log/nginx/error.log", 0o777, BuildSource::Symlink("/dev/stderr".into())),
            entry("/var/lib/nginx", 0o755, BuildSource::Directory),
            entry("/run", 0o755, BuildSource::Directory),
        ]);
        let command = ["/usr/sbin/nginx", "-g", "daemon off;"].map(str::to_owned).to_vec();
        let config = ConfigBuilder::default().cmd(command).stop_signal("SIGQUIT").build().unwrap();
        let image = machine.runtime.images().build(&"nginx:test".parse().unwrap(), entries, config).await.unwrap();
        let spec = ContainerSpec { image_id: image.id, log_path: machine.log_path(), ..ContainerSpec::default() };
        let id = machine.start(spec).await;
        let fetch = "until /bin/busybox wget -qO- http://127.0.0.1/; do /bin/busybox sleep 0.05; done";
        let fetch = ["/bin/busybox", "sh", "-c", fetch].map(str::to_owned);
        let fetched = machine.runtime.exec(&id, &fetch, Duration::from_secs(20)).await.unwrap();
        assert!(fetched.output.ends_with(b"hello"), "{fetched:?}");
        machine.runtime.stop_container(&id, Duration::from_secs(20)).await.unwrap();
        assert_eq!(machine.exited(&id).await.0, 0);
        let log = log_text(&machine.log_path());
        assert!(log.contains("stdout F 127.0.0.1 - - ") && log.contains("\"GET / HTTP/1.1\" 200 5"), "{log}");
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

fn sessions() {
    let machine = Machine::new();
    run(async {
        let id = machine.start(machine.script("sleep 1000").await).await;
        let request =
            |script: &str, stdin, tty| ExecRequest { command: ["sh", "-c", script].map(str::to_owned).to_vec(), stdin, tty };
        let read = |fd: OwnedFd| {
            let mut text = Vec::new();
            // A terminal whose programs are gone says EIO at its end.
            let _ = fs::File::from(fd).read_to_end(&mut text);
            String::from_utf8(text).unwrap()
        };
        let request_1 = request("cat; echo err >&2; exit 3", true, false);
        let mut session = machine.runtime.exec_session(&id, &request_1).await.unwrap();
        fs::File::from(session.stdin.take().unwrap()).write_all(b"typed").unwrap();
        let (stdout, stderr) = (session.stdout.try_clone().unwrap(), session.stderr.take().unwrap());
        assert_eq!(session.wait().await.unwrap(), 3);
        assert_eq!((read(stdout), read(stderr)), ("typed".to_owned(), "err\n".to_owned()));

        let request_2 = request("read line; stty size; echo got $line; kill -9 $$", true, true);
        let mut session = machine.runtime.exec_session(&id, &request_2).await.unwrap();
        session.resize(100, 40).unwrap();
        fs::File::from(session.stdin.take().unwrap()).write_all(b"it\n").unwrap();
        let stdout = session.stdout.try_clone().unwrap();
        let text = tokio::task::spawn_blocking(move || {
            use nix::fcntl::{FcntlArg, OFlag, fcntl};
            fcntl(&stdout, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
            read(stdout)
        });
        assert_eq!(session.wait().await.unwrap(), 137);
        assert_eq!(text.await.unwrap(), "it\r\n40 100\r\ngot it\r\n");

        let missing = ExecRequest { command: vec!["nope".into()], ..ExecRequest::default() };
        let error = machine.runtime.exec_session(&id, &missing).await.unwrap().wait().await.unwrap_err();
        assert!(error.to_string().ends_with("exec: \"nope\": executable file not found in $PATH"), "{error}");
        // A session that is dropped takes its command along.
        let dropped = machine.runtime.exec_session(&id, &request("echo up; sleep 4321", false, false)).await.unwrap();
        let mut up = [0; 3];
        fs::File::from(dropped.stdout.try_clone().unwrap()).read_exact(&mut up).unwrap();
        drop(dropped);
        let gone = ["sh", "-c", "while grep -q '[s]leep.4321' /proc/[0-9]*/cmdline; do sleep 0.01; done"].map(str::to_owned);
        assert_eq!(machine.runtime.exec(&id, &gone, Duration::from_secs(20)).await.unwrap().exit_code, 0);
    });
}
