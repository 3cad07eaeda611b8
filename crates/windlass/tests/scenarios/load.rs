//! Clients that ask without pause, and count what they are not answered.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sched::{CloneFlags, setns};

/// A request that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two requests of one client: the machine under test has the same processors.
const PAUSE: Duration = Duration::from_millis(1);

/// Whether a client keeps its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    New,
    Kept,
}

/// Where one client asks.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) connections: Connections,
    /// The network namespace to ask from; none for the host's.
    pub(crate) netns: Option<File>,
}

/// What one client was answered.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answers: BTreeMap<String, usize>,
    pub(crate) lost: Vec<String>,
}

/// Which answer is the right one, as far as a client can know: colours take turns.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Switches that were asked for, and those that were acknowledged.
    pub(crate) asked: AtomicUsize,
    pub(crate) acknowledged: AtomicUsize,
    pub(crate) colours: Vec<String>,
}

impl Turns {
    fn colour(&self, turn: usize) -> Option<&String> {
        self.colours.get(turn % self.colours.len().max(1))
    }
}

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Load {
    running: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<(&'static str, JoinHandle<Tally>)>,
}

impl Load {
    pub(crate) fn start(ways: Vec<Way>, turns: &Arc<Turns>) -> Self {
        let (running, answered) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let start = |way: Way| {
            let (running, answered, turns) = (running.clone(), answered.clone(), turns.clone());
            (way.name, thread::spawn(move || ask_on(&way, &running, &answered, &turns)))
        };
        let clients = ways.into_iter().map(start).collect();
        Self { running, answered, clients }
    }

    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Lets the clients go on until they have been answered this often from now.
    pub(crate) fn go_on(&self, answers: usize) {
        let until = self.answered() + answers;
        while self.answered() < until {
            assert!(self.clients.iter().any(|(_, client)| !client.is_finished()), "no client is left");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops, and fails when anything was lost. How many were answered.
    pub(crate) fn finish(self) -> usize {
        self.running.store(false, Ordering::Relaxed);
        let mut lost = Vec::new();
        let mut sum = 0;
        for (name, client) in self.clients {
            let tally = client.join().unwrap();
            let answered: usize = tally.answers.values().sum();
            println!("{name}: {answered} answered, {} lost {:?}", tally.lost.len(), tally.answers);
            sum += answered;
            lost.extend(tally.lost.into_iter().map(|why| format!("{name}: {why}")));
        }
        assert!(lost.is_empty(), "{} of {sum} requests lost: {:#?}", lost.len(), &lost[..lost.len().min(20)]);
        sum
    }
}

fn ask_on(way: &Way, running: &AtomicBool, answered: &AtomicUsize, turns: &Turns) -> Tally {
    if let Some(netns) = &way.netns {
        setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
    }
    let began = std::time::Instant::now();
    let mut tally = Tally::default();
    let mut kept = None;
    while running.load(Ordering::Relaxed) {
        let turn = turns.acknowledged.load(Ordering::SeqCst);
        match ask(way.address, way.connections, &mut kept) {
            Ok(answer) => {
                let settled = turns.asked.load(Ordering::SeqCst) == turn;
                if settled && turns.colour(turn).is_some_and(|colour| !answer.starts_with(colour)) {
                    tally.lost.push(format!("answered {answer:?} in turn {turn}"));
                }
                *tally.answers.entry(answer).or_default() += 1;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                kept = None;
                let why = format!("after {:.2} s: {error}", began.elapsed().as_secs_f64());
                // At once: in hours of load, whoever watches can look at the machine while it is as it was.
                eprintln!("{}: lost {why}", way.name);
                tally.lost.push(why);
            }
        }
        thread::sleep(PAUSE);
    }
    tally
}

/// One request, on the kept connection or a new one.
pub(crate) fn ask(
    address: SocketAddr,
    connections: Connections,
    kept: &mut Option<BufReader<TcpStream>>,
) -> std::io::Result<String> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            BufReader::new(stream)
        }
    };
    let from = stream.get_ref().local_addr()?;
    let (answer, closes) =
        exchange(&mut stream, connections).map_err(|error| Error::new(error.kind(), format!("{error} (asked from {from})")))?;
    if !closes {
        *kept = Some(stream);
    }
    Ok(answer)
}

/// The answer, and whether the connection ends with it.
fn exchange(stream: &mut BufReader<TcpStream>, connections: Connections) -> std::io::Result<(String, bool)> {
    let connection = if connections == Connections::Kept { "keep-alive" } else { "close" };
    let request = format!("GET / HTTP/1.1\r\nHost: web\r\nConnection: {connection}\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes())?;
    let mut first = String::new();
    stream.read_line(&mut first)?;
    if !first.starts_with("HTTP/1.1 200 ") {
        return Err(Error::new(ErrorKind::InvalidData, format!("answered {first:?}")));
    }
    let (mut length, mut closes) = (0, connections == Connections::New);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        match line.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().map_err(Error::other)?,
            Some(("connection", "close")) => closes = true,
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((String::from_utf8_lossy(&body).trim().to_owned(), closes))
}
