//! Pods that pass and pods that fail, at each level as of each version, retyped from upstream's `test/fixtures_*.go`.

use serde_json::{Value, json};

use super::{Level, at, latest};
use crate::pod_security::Pod;

/// The newest minor version that anything here asks for, and one more.
const NEWEST: u64 = 36;
const CONTAINER: &str = "/spec/containers/0";
const INIT: &str = "/spec/initContainers/0";

/// What a fixture changes of the least pod that passes: pointers and values.
type Tweak = Vec<(String, Value)>;

struct Fixture {
    level: Level,
    /// Minor versions, first and last.
    versions: (u64, u64),
    /// What is told of the pods that fail.
    told: &'static str,
    pass: Vec<Tweak>,
    fail: Vec<Tweak>,
}

/// The least pod that passes.
fn least(level: Level, minor: u64) -> Value {
    let mut pod = json!({ "metadata": {}, "spec": {
        "initContainers": [{ "name": "initcontainer1" }], "containers": [{ "name": "container1" }],
    } });
    let steps = [
        (0, vec![("/spec/securityContext/runAsNonRoot".to_owned(), json!(true))]),
        (8, both("securityContext/allowPrivilegeEscalation", &json!(false))),
        (19, vec![("/spec/securityContext/seccompProfile/type".to_owned(), json!("RuntimeDefault"))]),
        (22, both("securityContext/capabilities/drop", &json!(["ALL"]))),
    ];
    for (since, step) in steps {
        if level == Level::Restricted && minor >= since {
            set(&mut pod, &step);
        }
    }
    pod
}

fn set(pod: &mut Value, tweak: &Tweak) {
    for (pointer, value) in tweak {
        let mut place = &mut *pod;
        for key in pointer.split('/').skip(1) {
            let key = key.replace('|', "/");
            place = match key.parse::<usize>() {
                Ok(index) if place.is_array() => &mut place[index],
                _ => &mut place[&key],
            };
        }
        *place = value.clone();
    }
}

fn own(field: &str, value: &Value) -> Tweak {
    vec![(format!("/spec/{field}"), value.clone())]
}

fn in_container(field: &str, value: &Value) -> Tweak {
    vec![(format!("{CONTAINER}/{field}"), value.clone())]
}

fn in_init(field: &str, value: &Value) -> Tweak {
    vec![(format!("{INIT}/{field}"), value.clone())]
}

fn both(field: &str, value: &Value) -> Tweak {
    [in_container(field, value), in_init(field, value)].concat()
}

/// One pod with the value in its container, and one in its init container.
fn either(field: &str, value: &Value) -> Vec<Tweak> {
    vec![in_container(field, value), in_init(field, value)]
}

/// A fixture for both levels, as of these versions.
fn for_both(versions: (u64, u64), told: &'static str, pass: &[Tweak], fail: &[Tweak]) -> [Fixture; 2] {
    [Level::Baseline, Level::Restricted].map(|level| Fixture { level, versions, told, pass: pass.to_vec(), fail: fail.to_vec() })
}

fn annotated(key: &str, value: &str) -> Tweak {
    vec![(format!("/metadata/annotations/{}", key.replace('/', "|")), json!(value))]
}

fn of_baseline() -> Vec<Fixture> {
    let default =
        "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT";
    let default: Vec<&str> = default.split(' ').collect();
    let (add, proc) = ("securityContext/capabilities/add", "securityContext/procMount");
    let bad = ["NET_RAW", "chown", "CAP_CHOWN", "bogus"];
    let capabilities = |level, versions| Fixture {
        level,
        versions,
        told: "non-default capabilities",
        pass: vec![both(add, &json!(default))],
        fail: bad.iter().flat_map(|bad| either(add, &json!([bad]))).collect(),
    };
    let unmasked = |users: Option<bool>| -> Vec<Tweak> {
        let users = users.map(|users| own("hostUsers", &json!(users)));
        either(proc, &json!("Unmasked")).into_iter().map(|tweak| [tweak, users.clone().unwrap_or_default()].concat()).collect()
    };
    let mut fixtures = vec![
        capabilities(Level::Restricted, (0, 21)),
        capabilities(Level::Baseline, (0, NEWEST)),
        Fixture {
            level: Level::Baseline,
            versions: (35, NEWEST),
            told: "procMount",
            pass: unmasked(Some(false)),
            fail: [unmasked(None), unmasked(Some(true))].concat(),
        },
    ];
    let masked = [unmasked(None), unmasked(Some(false))].concat();
    fixtures.extend(for_both((0, 34), "procMount", &[both(proc, &json!("Default"))], &masked));
    fixtures
}

fn of_hosts() -> Vec<Fixture> {
    let (profile, privileged) = ("securityContext/appArmorProfile/type", "securityContext/privileged");
    let annotation = |name: &str, value| annotated(&format!("container.apparmor.security.beta.kubernetes.io/{name}"), value);
    let good =
        [annotation("container1", "localhost/foo"), both(profile, &json!("RuntimeDefault")), own(profile, &json!("Localhost"))];
    let bad = [annotation("initcontainer1", "unconfined"), own(profile, &json!("Unconfined"))];
    let bad = [&bad[..], &either(profile, &json!("Unconfined"))].concat();
    let mut fixtures = Vec::from(for_both((0, NEWEST), "forbidden AppArmor profile", &good, &bad));
    let flags = ["hostNetwork", "hostPID", "hostIPC"].map(|field| own(field, &json!(true)));
    fixtures.extend(for_both((0, NEWEST), "host namespaces", &[own("hostNetwork", &json!(false))], &flags));
    let volume = |source: &str| own("volumes", &json!([{ "name": "volume-a", source: {} }]));
    fixtures.extend(for_both((0, NEWEST), "hostPath", &[volume("emptyDir")], &[volume("hostPath")]));
    let port = |port: u64| json!([{ "containerPort": 12345, "hostPort": port }]);
    fixtures.extend(for_both((0, NEWEST), "hostPort", &[both("ports", &port(0))], &either("ports", &port(12345))));
    fixtures.extend(for_both((0, NEWEST), "privileged", &[both(privileged, &json!(false))], &either(privileged, &json!(true))));
    fixtures
}

fn of_both() -> Vec<Fixture> {
    let options = |field: &str| format!("securityContext/seLinuxOptions/{field}");
    let kinds = |kinds: &[&str]| -> Vec<Tweak> { kinds.iter().map(|kind| both(&options("type"), &json!(kind))).collect() };
    let bad: Vec<Tweak> = ["type", "user", "role"]
        .iter()
        .flat_map(|field| {
            [either(&options(field), &json!("somevalue")), vec![own(&options(field), &json!("somevalue"))]].concat()
        })
        .collect();
    let mut fixtures = Vec::new();
    fixtures.extend(for_both(
        (0, 30),
        "seLinuxOptions",
        &kinds(&["container_t", "container_init_t", "container_kvm_t"]),
        &[bad.clone(), kinds(&["container_engine_t"])].concat(),
    ));
    fixtures.extend(for_both((31, NEWEST), "seLinuxOptions", &kinds(&["container_engine_t"]), &bad));
    let annotation = "seccomp.security.alpha.kubernetes.io/pod";
    let of_container = "container.seccomp.security.alpha.kubernetes.io/container1";
    fixtures.extend(for_both(
        (0, 18),
        "seccompProfile",
        &[annotated(annotation, "docker/default"), annotated(of_container, "localhost/testing")],
        &[annotated(annotation, "unconfined"), annotated(of_container, "unconfined")],
    ));
    let profile = "securityContext/seccompProfile/type";
    fixtures.extend(for_both(
        (19, NEWEST),
        "seccompProfile",
        &[own(profile, &json!("Localhost")), both(profile, &json!("RuntimeDefault"))],
        &[either(profile, &json!("Unconfined")), vec![own(profile, &json!("Unconfined"))]].concat(),
    ));
    let sysctl = |name: &str| own("securityContext/sysctls", &json!([{ "name": name, "value": "1" }]));
    let since = [
        (0, "net.ipv4.ip_unprivileged_port_start"),
        (27, "net.ipv4.ip_local_reserved_ports"),
        (29, "net.ipv4.tcp_keepalive_probes"),
        (32, "net.ipv4.tcp_wmem"),
    ];
    for (first, name) in since {
        fixtures.extend(for_both((first, NEWEST), "forbidden sysctl", &[sysctl(name)], &[sysctl("othersysctl")]));
        if first > 0 {
            fixtures.extend(for_both((0, first - 1), "forbidden sysctl", &[], &[sysctl(name)]));
        }
    }
    let process = "securityContext/windowsOptions/hostProcess";
    fixtures.extend(for_both(
        (0, NEWEST),
        "hostProcess",
        &[both(process, &json!(false))],
        &[either(process, &json!(true)), vec![own(process, &json!(true))]].concat(),
    ));
    let actions =
        ["livenessProbe/httpGet", "readinessProbe/tcpSocket", "lifecycle/postStart/httpGet", "lifecycle/preStop/tcpSocket"];
    let hosts: Vec<Tweak> = actions.iter().flat_map(|action| either(&format!("{action}/host"), &json!("8.8.8.8"))).collect();
    fixtures.extend(for_both((0, 33), "", &hosts, &[]));
    fixtures.extend(for_both((34, NEWEST), "probe or lifecycle host", &[both("livenessProbe/httpGet/port", &json!(80))], &hosts));
    fixtures
}

fn of_restricted() -> Vec<Fixture> {
    let restricted = |versions, told, pass: &[Tweak], fail: &[Tweak]| Fixture {
        level: Level::Restricted,
        versions,
        told,
        pass: pass.to_vec(),
        fail: fail.to_vec(),
    };
    let escalation = "securityContext/allowPrivilegeEscalation";
    let none = json!(null);
    let unset = |field: &str| either(field, &none);
    let windows = own("os/name", &json!("windows"));
    let bare = |field: &str| [windows.clone(), both(field, &none)].concat();
    let (add, drop) = ("securityContext/capabilities/add", "securityContext/capabilities/drop");
    let more: Vec<Tweak> =
        [either(drop, &json!([])), either(drop, &json!(["SYS_TIME", "NET_RAW"])), either(add, &json!(["CHOWN"]))].concat();
    let profile = "securityContext/seccompProfile";
    let (root, user) = ("securityContext/runAsNonRoot", "securityContext/runAsUser");
    let own_users = own("hostUsers", &json!(false));
    let with_users = |tweak: Tweak| [own_users.clone(), tweak].concat();
    let no_root: Vec<Tweak> = [vec![own(root, &none), own(root, &json!(false))], either(root, &json!(false))].concat();
    let as_root: Vec<Tweak> = [vec![own(user, &json!(0))], either(user, &json!(0))].concat();
    let unmasked = with_users(in_container("securityContext/procMount", &json!("Unmasked")));
    let nfs = own("volumes", &json!([{ "name": "v", "nfs": {} }]));
    let image = own("volumes", &json!([{ "name": "v", "image": {} }, { "name": "w", "csi": {} }]));
    vec![
        restricted((0, 7), "", &[both(escalation, &json!(true))], &[]),
        restricted((8, 24), "allowPrivilegeEscalation", &[], &[unset(escalation), vec![bare(escalation)]].concat()),
        restricted(
            (25, NEWEST),
            "allowPrivilegeEscalation",
            &[bare(escalation)],
            &[unset(escalation), either(escalation, &json!(true))].concat(),
        ),
        restricted(
            (22, 24),
            "unrestricted capabilities",
            &[both(add, &json!(["NET_BIND_SERVICE"]))],
            &[more.clone(), vec![bare(drop)]].concat(),
        ),
        restricted((25, NEWEST), "unrestricted capabilities", &[bare(drop)], &more),
        restricted((19, 24), "seccompProfile", &[], &[own(profile, &none), [windows.clone(), own(profile, &none)].concat()]),
        restricted((25, NEWEST), "seccompProfile", &[[windows.clone(), own(profile, &none)].concat()], &[own(profile, &none)]),
        restricted(
            (0, 34),
            "runAsNonRoot",
            &[both(root, &json!(true))],
            &[no_root.clone(), no_root.iter().cloned().map(with_users).collect()].concat(),
        ),
        restricted((35, NEWEST), "runAsNonRoot", &no_root.iter().cloned().map(with_users).collect::<Vec<_>>(), &no_root),
        restricted((0, 22), "", &as_root, &[]),
        restricted(
            (23, 34),
            "runAsUser=0",
            &[own(user, &json!(1000))],
            &[as_root.clone(), as_root.iter().cloned().map(with_users).collect()].concat(),
        ),
        restricted((35, NEWEST), "runAsUser=0", &as_root.iter().cloned().map(with_users).collect::<Vec<_>>(), &as_root),
        restricted((0, NEWEST), "procMount", &[], &[unmasked]),
        restricted((0, NEWEST), "restricted volume types", &[image], &[nfs]),
    ]
}

#[test]
fn pods_pass_and_fail() {
    for Fixture { level, versions: (first, last), told, pass, fail } in
        [of_baseline(), of_hosts(), of_both(), of_restricted()].into_iter().flatten()
    {
        for minor in first..=last {
            let judge = |tweak: &Tweak| {
                let mut pod = least(level, minor);
                assert_eq!(at(level, minor).violations(Pod::of(&pod)).to_string(), "", "the least pod of {level:?} v1.{minor}");
                set(&mut pod, tweak);
                let violations = at(level, minor).violations(Pod::of(&pod)).to_string();
                if minor == NEWEST {
                    assert_eq!(latest(level).violations(Pod::of(&pod)).to_string(), violations, "v1.{minor} is the latest");
                }
                violations
            };
            for tweak in &pass {
                assert_eq!(judge(tweak), "", "{level:?} v1.{minor}: {tweak:?}");
            }
            for tweak in &fail {
                let violations = judge(tweak);
                assert!(violations.contains(told) && !violations.is_empty(), "{level:?} v1.{minor}: {tweak:?}: {violations}");
            }
        }
    }
}
