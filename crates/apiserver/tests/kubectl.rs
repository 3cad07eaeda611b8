//! What a person sees: the stock kubectl over TLS on loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use support::{TOKEN, server};
use tokio_util::sync::CancellationToken;

/// A server on a socket, and kubectl pointed at it. kubectl blocks, so the server has a thread of its own.
struct World {
    home: tempfile::TempDir,
    stop: CancellationToken,
    serving: Option<std::thread::JoinHandle<()>>,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (stopped, kubeconfig) = (stop.clone(), home.path().join("config"));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let server = server().await;
                let ca = kubeconfig.with_file_name("ca.crt");
                std::fs::write(&ca, &server.pki().ca_certificate).unwrap();
                let text = format!(
                    "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
                     clusters: [{{name: c, cluster: {{server: 'https://{address}', certificate-authority: '{}'}}}}]\n\
                     users: [{{name: u, user: {{token: {TOKEN}}}}}]\n\
                     contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n",
                    ca.display()
                );
                std::fs::write(&kubeconfig, text).unwrap();
                ready.send(()).unwrap();
                server.serve(listener, stopped).await.unwrap();
            });
        });
        is_ready.recv().unwrap();
        Self { home, stop, serving: Some(serving) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.args(arguments).env("HOME", self.home.path()).env("KUBECONFIG", self.home.path().join("config"));
        command.current_dir(self.home.path());
        command
    }

    fn run(&self, line: &str) -> Output {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let output = self.command(&arguments).output();
        output.expect("these tests drive the stock kubectl: put one on PATH")
    }

    /// What kubectl prints when it succeeds.
    fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "kubectl {line}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What kubectl complains about when it fails.
    fn fails(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(!output.status.success(), "kubectl {line} should fail");
        String::from_utf8(output.stderr).unwrap()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'nginx:1.14.2', ports: [{containerPort: 80}]}]}
";

#[test]
fn a_deployment_from_a_file() {
    let world = World::new();
    world.file("d.yaml", DEPLOYMENT);
    assert_eq!(world.ok("apply -f d.yaml"), "deployment.apps/web created\n");
    assert_eq!(world.ok("apply -f d.yaml"), "deployment.apps/web unchanged\n");
    world.file("d.yaml", &DEPLOYMENT.replace("1.14.2", "1.16.1"));
    assert_eq!(world.ok("apply -f d.yaml"), "deployment.apps/web configured\n");
    let table = world.ok("get deployments");
    let columns: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(columns, ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]);
    assert!(table.contains("web    0/3     0            0"), "{table}");
    assert_eq!(world.ok("set image deployment/web web=nginx:1.17"), "deployment.apps/web image updated\n");
    assert_eq!(world.ok("scale deployment web --replicas=5"), "deployment.apps/web scaled\n");
    assert_eq!(world.ok("get deploy web -o jsonpath={.metadata.generation}/{.spec.replicas}"), "4/5");
    assert_eq!(world.ok("label deploy web tier=front"), "deployment.apps/web labeled\n");
    assert_eq!(world.ok("annotate deploy web note=x"), "deployment.apps/web annotated\n");
    assert!(world.ok("describe deploy web").contains("StrategyType:           RollingUpdate"));
    let conflict = world.fails("apply --server-side -f d.yaml");
    assert!(conflict.contains(".spec.replicas"), "{conflict}");
    assert_eq!(world.ok("apply --server-side --force-conflicts -f d.yaml"), "deployment.apps/web serverside-applied\n");
    assert_eq!(world.ok("delete -f d.yaml"), "deployment.apps \"web\" deleted\n");
}

#[test]
fn objects_from_the_command_line() {
    let world = World::new();
    assert_eq!(world.ok("create namespace one"), "namespace/one created\n");
    assert_eq!(world.ok("create configmap settings --from-literal=a=1"), "configmap/settings created\n");
    assert_eq!(world.ok("create secret generic keys --from-literal=a=1"), "secret/keys created\n");
    assert_eq!(world.ok("get secret keys -o jsonpath={.data.a}"), "MQ==");
    assert_eq!(world.ok(r#"patch configmap settings -p {"data":{"b":"2"}}"#), "configmap/settings patched\n");
    assert_eq!(world.ok("create deployment web --image=nginx --replicas=2"), "deployment.apps/web created\n");
    assert_eq!(world.ok("expose deployment web --port=80 --type=NodePort"), "service/web exposed\n");
    let ports = world.ok("get service web -o jsonpath={.spec.ports[0].nodePort}");
    assert!((30000..=32767).contains(&ports.parse::<u16>().unwrap()), "{ports}");
    assert_eq!(world.ok("run once --image=busybox --restart=Never"), "pod/once created\n");
    assert!(world.ok("get pods").contains("once   0/1     Pending   0"));
    assert_eq!(world.ok("delete pod once"), "pod \"once\" deleted\n");
    assert_eq!(world.fails("get pod once"), "Error from server (NotFound): pods \"once\" not found\n");
    assert_eq!(world.fails("create namespace one"), "Error from server (AlreadyExists): namespaces \"one\" already exists\n");
    assert_eq!(world.ok("auth can-i create pods"), "yes\n");
    assert_eq!(world.ok("create token default").split('.').count(), 3);
    assert!(world.ok("api-resources").contains("deployments"));
    assert!(world.run("version").status.success());
}

#[test]
fn a_watch_prints_what_happens() {
    use std::io::{BufRead, BufReader};

    let world = World::new();
    let mut watch = world.command(&["get", "configmaps", "--watch", "--no-headers"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    world.ok("create configmap first --from-literal=a=1");
    assert!(lines.next().unwrap().unwrap().starts_with("first   1"));
    world.ok(r#"patch configmap first -p {"data":{"b":"2"}}"#);
    assert!(lines.next().unwrap().unwrap().starts_with("first   2"));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn a_namespace_that_asks_for_secure_pods() {
    const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
    const FAULTS: &str = "allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile";
    let world = World::new();
    let said = |line: &str| {
        let output = world.run(line);
        assert!(output.status.success(), "kubectl {line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(said("run plain --image=nginx"), "");
    let expected = format!(
        "Warning: existing pods in namespace \"default\" violate the new PodSecurity enforce level \"restricted:latest\"\n\
         Warning: plain: {FAULTS}\n"
    );
    assert_eq!(said(&format!("label --dry-run=server ns default {ENFORCE}=restricted")), expected);
    assert_eq!(said(&format!("label ns default {ENFORCE}=baseline pod-security.kubernetes.io/warn=restricted")), "");
    let warning = "Warning: would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"web\" must set ";
    world.file("d.yaml", DEPLOYMENT);
    for line in ["apply -f d.yaml", "set image deployment/web web=nginx:1.17", "run web --image=nginx"] {
        let said = said(line);
        assert!(said.starts_with(warning) && said.lines().count() == 1, "{line}: {said}");
    }
    let refused = world.fails(r#"run host --image=nginx --overrides={"spec":{"hostNetwork":true}}"#);
    let expected = "Error from server (Forbidden): pods \"host\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces \
         (hostNetwork)\n";
    assert_eq!(refused, expected);
    let refused = world.fails(&format!("label --overwrite ns default {ENFORCE}=strict"));
    let expected = format!(
        "The Namespace \"default\" is invalid: metadata.labels[{ENFORCE}]: Invalid value: \"strict\": must be one of privileged, baseline, \
         restricted\n"
    );
    assert_eq!(refused, expected);
}
