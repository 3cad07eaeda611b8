//! Commands in containers, terminals, standard input.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    time::Duration,
};

use windlass_oci::container::{ExecRequest, RuntimeError, Security};

use crate::{
    Test,
    fixture::{Machine, log_text, run},
};

pub(crate) const TESTS: &[Test] = &[
    ("exec_in_a_container", exec_in_a_container),
    ("terminal_and_standard_input", terminal_and_standard_input),
    ("sessions", sessions),
];

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
