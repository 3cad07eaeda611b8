//! Commands in containers, terminals, standard input.

use std::time::Duration;

use windlass_oci::container::{AttachRequest, ExecRequest, Output, RuntimeError, Security};

use crate::{
    Test,
    fixture::{Machine, log_text, run},
};

pub(crate) const TESTS: &[Test] = &[
    ("exec_in_a_container", exec_in_a_container),
    ("terminal_and_standard_input", terminal_and_standard_input),
    ("sessions", sessions),
    ("attached_to_pipes", attached_to_pipes),
    ("attached_to_a_terminal", attached_to_a_terminal),
    ("attached_and_slow", attached_and_slow),
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

/// What an output gives until its end.
async fn read(mut output: Output) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 1000]);
    loop {
        match output.read(&mut buffer).await.unwrap() {
            0 => return String::from_utf8(text).unwrap(),
            read => text.extend_from_slice(&buffer[..read]),
        }
    }
}

fn sessions() {
    let machine = Machine::new();
    run(async {
        let id = machine.start(machine.script("sleep 1000").await).await;
        let request =
            |script: &str, stdin, tty| ExecRequest { command: ["sh", "-c", script].map(str::to_owned).to_vec(), stdin, tty };
        // What a command leaves running does not hold the session open.
        let request_1 = request("sleep 1000 & cat; echo err >&2; exit 3", true, false);
        let mut session = machine.runtime.exec_session(&id, &request_1).await.unwrap();
        session.stdin.take().unwrap().write_all(b"typed").await.unwrap();
        let (stdout, stderr) = (session.stdout.take().unwrap(), session.stderr.take().unwrap());
        let (stdout, stderr, code) = tokio::join!(read(stdout), read(stderr), session.end.wait());
        assert_eq!((stdout.as_str(), stderr.as_str(), code.unwrap()), ("typed", "err\n", 3));

        let request_2 = request("read line; stty size; echo got $line; kill -9 $$", true, true);
        let mut session = machine.runtime.exec_session(&id, &request_2).await.unwrap();
        session.terminal.take().unwrap().resize(100, 40).unwrap();
        session.stdin.as_mut().unwrap().write_all(b"it\n").await.unwrap();
        let (text, code) = tokio::join!(read(session.stdout.unwrap()), session.end.wait());
        assert_eq!((text.as_str(), code.unwrap()), ("it\r\n40 100\r\ngot it\r\n", 137));

        let missing = ExecRequest { command: vec!["nope".into()], ..ExecRequest::default() };
        let error = machine.runtime.exec_session(&id, &missing).await.unwrap().end.wait().await.unwrap_err();
        assert!(error.to_string().ends_with("exec: \"nope\": executable file not found in $PATH"), "{error}");
        // A session that is dropped takes its command along.
        let mut dropped = machine.runtime.exec_session(&id, &request("echo up; sleep 4321", false, false)).await.unwrap();
        assert_eq!(dropped.stdout.as_mut().unwrap().read(&mut [0; 3]).await.unwrap(), 3);
        drop(dropped);
        let gone = ["sh", "-c", "while grep -q '[s]leep.4321' /proc/[0-9]*/cmdline; do sleep 0.01; done"].map(str::to_owned);
        assert_eq!(machine.runtime.exec(&id, &gone, Duration::from_secs(20)).await.unwrap().exit_code, 0);
    });
}

const ALL: AttachRequest = AttachRequest { stdin: true, stdout: true, stderr: true };

fn attached_to_pipes() {
    let machine = Machine::new();
    run(async {
        let mut spec = machine.script("while read line; do echo got $line; echo err $line >&2; done; echo end; exit 7").await;
        (spec.stdin, spec.stdin_once) = (true, true);
        let id = machine.start(spec.clone()).await;
        let only_out = AttachRequest { stdout: true, ..AttachRequest::default() };
        let watching = machine.runtime.attach(&id, only_out).await.unwrap();
        assert!(watching.stdin.is_none() && watching.stderr.is_none() && watching.terminal.is_none());
        // Gone before the container says anything, which is nobody else's loss.
        drop(machine.runtime.attach(&id, only_out).await.unwrap());
        let mut session = machine.runtime.attach(&id, ALL).await.unwrap();
        session.stdin.as_mut().unwrap().write_all(b"a\nb\n").await.unwrap();
        // Once its input ends, that of the container does.
        session.stdin = None;
        let (stdout, stderr) = (session.stdout.take().unwrap(), session.stderr.take().unwrap());
        let watched = async { tokio::join!(read(watching.stdout.unwrap()), watching.end.wait()).0 };
        let (stdout, stderr, watched, end) = tokio::join!(read(stdout), read(stderr), watched, session.end.wait());
        assert_eq!((stdout.as_str(), stderr.as_str()), ("got a\ngot b\nend\n", "err a\nerr b\n"));
        assert_eq!((watched, end.unwrap()), (stdout, 0));
        assert_eq!(machine.exited(&id).await.0, 7);
        let log = log_text(&spec.log_path);
        assert!(log.contains("stdout F got b\n") && log.contains("stderr F err a\n"), "{log}");
        let error = machine.runtime.attach(&id, ALL).await.unwrap_err().to_string();
        assert_eq!(error, "container not running");
    });
}

fn attached_to_a_terminal() {
    let machine = Machine::new();
    run(async {
        let mut spec = machine.script("while read line; do stty size; echo got $line; done").await;
        (spec.stdin, spec.tty) = (true, true);
        let id = machine.start(spec).await;
        for round in ["first", "second"] {
            let mut session = machine.runtime.attach(&id, ALL).await.unwrap();
            assert!(session.stderr.is_none());
            session.terminal.as_ref().unwrap().resize(90, 30).unwrap();
            let mut stdin = session.stdin.take().unwrap();
            stdin.write_all(format!("{round}\n").as_bytes()).await.unwrap();
            let mut stdout = session.stdout.take().unwrap();
            let (mut text, mut buffer) = (String::new(), [0; 100]);
            while !text.contains(&format!("got {round}\r\n")) {
                let read = stdout.read(&mut buffer).await.unwrap();
                assert_ne!(read, 0, "{text}");
                text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            }
            assert!(text.contains("30 90\r\n"), "{text}");
            // Who has no more to say is let go; the container keeps its input.
            drop(stdin);
            assert_eq!(session.end.wait().await.unwrap(), 0);
        }
    });
}

fn attached_and_slow() {
    let machine = Machine::new();
    run(async {
        let mut spec = machine.script("read line; yes | head -c 3000000; echo; echo done").await;
        spec.stdin = true;
        let id = machine.start(spec).await;
        let mut session = machine.runtime.attach(&id, ALL).await.unwrap();
        let mut stdin = session.stdin.take().unwrap();
        stdin.write_all(b"go\n").await.unwrap();
        let (text, end) = tokio::join!(read(session.stdout.unwrap()), session.end.wait());
        assert_eq!((text.len(), end.unwrap()), (3_000_006, 0), "nothing is lost on a client that is slower than the container");
        assert!(text.ends_with("\ndone\n"));
    });
}
