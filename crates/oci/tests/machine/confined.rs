//! System calls that containers may make.

use std::{error::Error as _, fs, time::Duration};

use windlass_oci::container::{ContainerSpec, RuntimeError, Seccomp, SeccompError, Security};

use crate::{
    Test,
    fixture::{Machine, run},
};

pub(crate) const TESTS: &[Test] =
    &[("system_calls_by_default", system_calls_by_default), ("system_calls_by_a_profile", system_calls_by_a_profile)];

/// Of a program's own: filters, capabilities, and whether it may make a user namespace.
const LOOK: &str = "grep -E '^(Seccomp|Cap...):' /proc/self/status; unshare -U true 2>/dev/null && echo free || echo bound";

fn confined(spec: &ContainerSpec, seccomp: Seccomp) -> ContainerSpec {
    let security = Security { seccomp, ..spec.security.clone() };
    ContainerSpec { security, ..spec.clone() }
}

fn system_calls_by_default() {
    let machine = Machine::new();
    run(async {
        let plain = machine.script(LOOK).await;
        let user = Security { run_as_user: Some(1000), ..Security::default() };
        let strict = Security { no_new_privileges: true, drop_capabilities: vec!["ALL".into()], ..Security::default() };
        let dropped = Security { drop_capabilities: vec!["ALL".into()], ..Security::default() };
        for security in [Security::default(), user, strict, dropped] {
            let spec = ContainerSpec { security, ..plain.clone() };
            let (_, free) = machine.run_spec(spec.clone()).await;
            assert!(free.contains("Seccomp:\t0\n") && free.ends_with("free\n"), "{free}");
            let (_, bound) = machine.run_spec(confined(&spec, Seccomp::RuntimeDefault)).await;
            // Nothing else is taken from it, and nothing is left of what installing the filters took.
            let expected = free.replace("Seccomp:\t0\n", "Seccomp:\t2\n").replace("free\n", "bound\n");
            assert_eq!(bound, expected, "{:?}", spec.security);

            let mut long = confined(&spec, Seccomp::RuntimeDefault);
            long.command = ["sleep", "1000"].map(str::to_owned).to_vec();
            let id = machine.start(long).await;
            let command = ["sh", "-c", LOOK].map(str::to_owned);
            let entered = machine.runtime.exec(&id, &command, Duration::from_secs(20)).await.unwrap();
            let expected = expected.replace("stdout F ", "");
            assert_eq!(String::from_utf8(entered.output).unwrap(), expected, "a command in it, {:?}", spec.security);
        }
        let privileged = Security { privileged: true, ..Security::default() };
        let spec = ContainerSpec { security: privileged, ..plain };
        let (_, free) = machine.run_spec(confined(&spec, Seccomp::RuntimeDefault)).await;
        assert!(free.contains("Seccomp:\t0\n"), "{free}");
    });
}

fn system_calls_by_a_profile() {
    let machine = Machine::new();
    run(async {
        let path = machine.dir.path().join("profile.json");
        let profile = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 } ] }"#;
        fs::write(&path, profile).unwrap();
        let spec = machine.script("mkdir /x 2>&1; echo $?; touch /y && echo made").await;
        let (_, log) = machine.run_spec(confined(&spec, Seccomp::Localhost(path.clone()))).await;
        assert_eq!(log, "stdout F mkdir: can't create directory '/x': Function not implemented\nstdout F 1\nstdout F made\n");
        fs::remove_file(&path).unwrap();
        let sandbox = machine.sandbox().await;
        let refused = machine.runtime.create_container(&sandbox.id, confined(&spec, Seccomp::Localhost(path.clone()))).await;
        let Err(error @ RuntimeError::Seccomp(SeccompError::Read { .. })) = refused else { panic!("{refused:?}") };
        assert_eq!(error.source().unwrap().to_string(), format!("cannot load seccomp profile {path:?}"));
    });
}
