//! Steady requests, a new connection each, counted by the version that answered.

use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// Clients that ask side by side.
const CLIENTS: usize = 4;

/// Pause between two requests of one client: 4 clients make about 400 requests a second, enough for a gap of 10 ms to show.
const PERIOD: Duration = Duration::from_millis(10);

/// A request that takes longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer larger than this is not the demo's.
const ANSWER_LIMIT: u64 = 16 << 10;

/// Requests so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    answers: BTreeMap<String, usize>,
    failures: Vec<String>,
    latencies: Vec<Duration>,
}

impl Report {
    pub(super) fn lost(&self) -> usize {
        self.failures.len()
    }

    fn add(&mut self, other: Self) {
        for (version, count) in other.answers {
            *self.answers.entry(version).or_default() += count;
        }
        self.failures.extend(other.failures);
        self.latencies.extend(other.latencies);
    }

    fn percentile(&self, percent: usize) -> Duration {
        let mut latencies = self.latencies.clone();
        latencies.sort();
        latencies.get(latencies.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered: usize = self.answers.values().sum();
        write!(f, "requests  {}", answered + self.failures.len())?;
        for (version, count) in &self.answers {
            write!(f, "   {version}: {count}")?;
        }
        let ms = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        writeln!(f, "\nlatency   p50 {:.1} ms   p99 {:.1} ms   max {:.1} ms", ms(50), ms(99), ms(100))?;
        write!(f, "lost      {}", self.failures.len())?;
        self.failures.iter().take(5).try_for_each(|failure| write!(f, "\n          {failure}"))
    }
}

/// Requests that are being made.
#[derive(Debug)]
pub(super) struct Load {
    clients: Vec<JoinHandle<Report>>,
    stop: CancellationToken,
}

impl Load {
    pub(super) fn start(address: SocketAddr) -> Self {
        let stop = CancellationToken::new();
        let clients = (0..CLIENTS).map(|_| tokio::spawn(client(address, stop.clone()))).collect();
        Self { clients, stop }
    }

    pub(super) async fn stop(self) -> Report {
        self.stop.cancel();
        let mut report = Report::default();
        for client in self.clients {
            match client.await {
                Ok(part) => report.add(part),
                Err(error) => report.failures.push(format!("a client of the load ended early: {error}")),
            }
        }
        report
    }
}

async fn client(address: SocketAddr, stop: CancellationToken) -> Report {
    let mut report = Report::default();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        ticks.tick().await;
        let began = Instant::now();
        match timeout(PATIENCE, ask(address)).await {
            Ok(Ok(version)) => {
                *report.answers.entry(version).or_default() += 1;
                report.latencies.push(began.elapsed());
            }
            Ok(Err(error)) => report.failures.push(format!("{error:#}")),
            Err(_) => report.failures.push(format!("no answer in {} s", PATIENCE.as_secs())),
        }
    }
    report
}

/// One request over a connection of its own; returns the first word of the body, the version.
async fn ask(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address).await.context("cannot connect")?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.context("cannot send")?;
    let mut answer = String::new();
    stream.take(ANSWER_LIMIT).read_to_string(&mut answer).await.context("the answer broke off")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer broke off")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{}", head.lines().next().unwrap_or_default());
    Ok(body.split_whitespace().next().unwrap_or("?").to_owned())
}
