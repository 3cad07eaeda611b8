//! Golden scripts: commands in, output compared.
//!
//! A line that opens with a sign is a command, and the lines below it are what it must print (standard output and error together):
//!
//! - `$ command` runs once and must succeed, `! command` runs once and must fail;
//! - `~ command` runs until it succeeds and prints what is expected, for at most a minute;
//! - `= old` or `= current` opens lines for one kubectl only, `= all` ends that; `# …` is a comment.
//!
//! In what is expected, `[..]` stands for anything within a line and a line `...` for any number of lines. Runs of blanks are equal,
//! since the width of a column depends on the longest name in it.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::machine::{Kubectl, Machine};

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Step<'a> {
    number: usize,
    sign: char,
    command: &'a str,
    expected: Vec<&'a str>,
}

pub(crate) fn run(name: &str, machine: &Machine, kubectl: &Kubectl) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/scenarios/scripts/{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap();
    for step in parse(&text, kubectl.age) {
        take(name, &step, machine, kubectl);
    }
}

fn parse<'a>(text: &'a str, age: &str) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = Vec::new();
    let mut for_us = true;
    for (index, line) in text.lines().enumerate() {
        if let Some(section) = line.strip_prefix("= ") {
            for_us = section == "all" || section == age;
        } else if !for_us || line.starts_with("# ") || line.is_empty() {
        } else if let Some((sign, command)) =
            ['$', '!', '~'].iter().find_map(|sign| Some((*sign, line.strip_prefix(*sign)?.strip_prefix(' ')?)))
        {
            steps.push(Step { number: index + 1, sign, command, expected: Vec::new() });
        } else {
            steps.last_mut().expect("a script opens with a command").expected.push(line);
        }
    }
    steps
}

fn take(name: &str, step: &Step<'_>, machine: &Machine, kubectl: &Kubectl) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = machine.shell(kubectl, step.command);
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let as_wanted = output.status.success() == (step.sign != '!') && matches(&step.expected, &lines);
        if as_wanted {
            return;
        }
        if step.sign != '~' || Instant::now() > deadline {
            panic!(
                "{name}.txt:{} with the {} kubectl\n{} {}\nexpected:\n{}\nfound ({}):\n{text}",
                step.number,
                kubectl.age,
                step.sign,
                step.command,
                step.expected.join("\n"),
                output.status
            );
        }
        thread::sleep(PAUSE);
    }
}

fn matches(expected: &[&str], found: &[&str]) -> bool {
    match expected {
        [] => found.is_empty(),
        ["...", rest @ ..] => (0..=found.len()).any(|skipped| matches(rest, &found[skipped..])),
        [line, rest @ ..] => found.first().is_some_and(|first| line_matches(line, first)) && matches(rest, &found[1..]),
    }
}

fn line_matches(expected: &str, found: &str) -> bool {
    let even = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let (expected, found) = (even(expected), even(found));
    let mut parts = expected.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = found.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        let at =
            if parts.peek().is_none() { rest.rfind(part).filter(|at| at + part.len() == rest.len()) } else { rest.find(part) };
        let Some(at) = at else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[test]
fn patterns_match_what_they_stand_for() {
    assert!(line_matches("pod/[..] created", "pod/web-1   created"));
    assert!(!line_matches("pod/[..] created", "pod/web-1 created twice"));
    assert!(!line_matches("pod/web created", "pod/web-1 created"));
    assert!(matches(&["a", "...", "c"], &["a", "b", "b", "c"]));
    assert!(!matches(&["a", "..."], &["b"]));
    assert!(!matches(&[], &["b"]));
}
