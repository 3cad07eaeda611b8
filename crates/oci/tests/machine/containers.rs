//! Containers from start to end.

use std::{env, fs, os::unix::fs::FileTypeExt as _, process::Command, time::Duration};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use oci_spec::image::ConfigBuilder;
use windlass_oci::{
    container::{ContainerSpec, Mount, Propagation, Resources, RuntimeError, SandboxSpec, Security},
    error::chain,
    image::{BuildEntry, BuildSource},
};

use crate::{
    Test,
    fixture::{Machine, log_text, run},
};

/// Set where the test program was started with signals ignored.
const IGNORING: &str = "WINDLASS_TEST_IGNORING";

pub(crate) const TESTS: &[Test] = &[
    ("output_and_exit_code", output_and_exit_code),
    ("isolation", isolation),
    ("image_defaults", image_defaults),
    ("mounts_and_working_dir", mounts_and_working_dir),
    ("mounts_cross_the_border_where_that_is_asked_for", mounts_cross_the_border_where_that_is_asked_for),
    ("start_errors", start_errors),
    ("signals_as_default", signals_as_default),
    ("stop_with_grace_and_without", stop_with_grace_and_without),
    ("out_of_memory", out_of_memory),
    ("out_of_memory_together", out_of_memory_together),
    ("security", security),
    ("shared_process_namespace", shared_process_namespace),
    ("nginx_serves_and_stops", nginx_serves_and_stops),
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
            propagation: Propagation::Private,
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

/// One container mounts something into a volume; who sees it?
fn mounts_cross_the_border_where_that_is_asked_for() {
    let machine = Machine::new();
    run(async {
        let volume = machine.dir.path().join("volume");
        fs::create_dir_all(volume.join("below")).unwrap();
        let none = None::<&str>;
        mount(Some("volume"), &volume, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        mount(none, &volume, none, MsFlags::MS_SHARED, none).unwrap();
        fs::create_dir(volume.join("below")).unwrap();
        let start = async |script: &str, propagation| {
            let mut spec = machine.script(script).await;
            spec.mounts = vec![Mount { host_path: volume.clone(), container_path: "/v".into(), read_only: false, propagation }];
            spec.security.privileged = true;
            machine.start(spec).await
        };
        let look = "for try in $(/bin/busybox seq 100); do test -e /v/go && break; sleep 0.1; done; test -e /v/below/here";
        let (follows, private) = (start(look, Propagation::HostToContainer).await, start(look, Propagation::Private).await);
        let mounts = "/bin/busybox mount -t tmpfs x /v/below && touch /v/below/here";
        let giver = start(mounts, Propagation::Bidirectional).await;
        assert_eq!(machine.exited(&giver).await.0, 0, "{}", log_text(&machine.log_path()));
        assert!(volume.join("below/here").exists(), "the machine sees it");
        fs::write(volume.join("go"), "").unwrap();
        assert_eq!((machine.exited(&follows).await.0, machine.exited(&private).await.0), (0, 1));
        for mounted in [volume.join("below"), volume] {
            umount2(&mounted, MntFlags::MNT_DETACH).unwrap();
        }
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

/// A machine that a script put into the background ignores SIGINT and SIGQUIT (nginx's signal to stop); its containers do not.
fn signals_as_default() {
    if env::var_os(IGNORING).is_none() {
        let again = "trap '' HUP INT QUIT USR1 TSTP; exec \"$0\" --exact signals_as_default";
        let status = Command::new("sh").arg("-c").arg(again).arg(env::current_exe().unwrap()).env(IGNORING, "").status();
        assert!(status.unwrap().success());
        return;
    }
    let machine = Machine::new();
    run(async {
        let mut spec = machine.script("").await;
        // No shell between: busybox's own ignores SIGQUIT.
        spec.command = ["grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"].map(Into::into).into();
        let (code, log) = machine.run_spec(spec).await;
        assert_eq!(code, 0);
        assert_eq!(log.matches("0000000000000000").count(), 2, "{log}");
    });
}

fn stop_with_grace_and_without() {
    let machine = Machine::new();
    run(async {
        let polite = machine.start(machine.script("trap 'echo bye; exit 3' TERM; while :; do sleep 0.02; done").await).await;
        let obstinate = machine.start(machine.script("trap '' TERM; echo up; while :; do sleep 0.02; done").await).await;
        machine.says("up").await;
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

fn out_of_memory_together() {
    let machine = Machine::new();
    run(async {
        let limits = Resources { memory_limit: 16 << 20, cpu_quota: 50_000, cpu_period: 100_000, ..Resources::default() };
        let parent = SandboxSpec { hostname: "pod".into(), cgroup_parent: "kubepods/pod2".into(), limits, ..Default::default() };
        let sandbox = machine.runtime.create_sandbox(parent).await.unwrap();
        let spec = machine.script("x=$(yes); echo $x").await;
        let container = machine.runtime.create_container(&sandbox.id, spec).await.unwrap();
        machine.runtime.start_container(&container.id).await.unwrap();
        let (code, oom_killed, _) = machine.exited(&container.id).await;
        assert_eq!((code, oom_killed), (137, true));
    });
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
