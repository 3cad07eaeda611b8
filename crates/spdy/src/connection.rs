//! A connection: what comes in is led to its stream, what goes out is put in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf, split},
    sync::mpsc,
};

use crate::{
    Error, Limits,
    frame::{self, Frame, FrameReader, Reset},
    headers::{Decoder, Encoder, Headers},
    stream::{Order, Stream, Table},
};

/// Orders that wait to be sent, each with at most 32 KiB.
const ORDERS: usize = 16;

/// Streams that wait to be looked at; while there are more, nothing else is read.
const WAITING: usize = 16;

/// How long the other side may go on talking after all is said: closing at once would make its kernel throw away what it has
/// not read yet.
const LINGER: Duration = Duration::from_secs(5);

/// The streams that the other side opens.
#[derive(Debug)]
pub struct Connection {
    incoming: mpsc::Receiver<Stream>,
    _orders: mpsc::Sender<Order>,
}

impl Connection {
    /// The next stream; `None` when the connection is gone.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.incoming.recv().await
    }
}

/// Opens streams; the client's end.
#[derive(Debug)]
pub struct Opener {
    orders: mpsc::Sender<Order>,
    table: Arc<Table>,
    next: u32,
}

impl Opener {
    /// Opens a stream.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection is gone.
    pub async fn open(&mut self, headers: Headers) -> Result<Stream, Error> {
        let id = self.next;
        self.next += 2;
        let stream = self.table.open(id, headers.clone(), self.orders.clone()).ok_or(Error::Closed)?;
        self.orders.send(Order::Open { id, headers }).await.map_err(|_| Error::Closed)?;
        Ok(stream)
    }
}

/// The server's end of a connection. The future carries it, and is to be polled as long as it is used: it ends, with everything
/// sent, when the connection and all its streams were dropped, or when the other side is gone.
///
/// # Errors
/// The future's: a socket that fails, or what is no SPDY.
pub fn accept<T>(socket: T, limits: Limits) -> (Connection, impl Future<Output = Result<(), Error>> + Send)
where
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let (orders, receiver) = mpsc::channel(ORDERS);
    let (sender, incoming) = mpsc::channel(WAITING);
    let driver = Driver { limits, table: Arc::default(), orders: orders.downgrade(), incoming: Some(sender) };
    (Connection { incoming, _orders: orders }, driver.run(socket, receiver))
}

/// The client's end of a connection, as [`accept`] is the server's.
///
/// # Errors
/// As [`accept`].
pub fn connect<T>(socket: T, limits: Limits) -> (Opener, impl Future<Output = Result<(), Error>> + Send)
where
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let (orders, receiver) = mpsc::channel(ORDERS);
    let table = Arc::default();
    let driver = Driver { limits, table: Arc::clone(&table), orders: orders.downgrade(), incoming: None };
    (Opener { orders, table, next: 1 }, driver.run(socket, receiver))
}

struct Driver {
    limits: Limits,
    table: Arc<Table>,
    /// Weak: the connection ends when nobody else can send any more.
    orders: mpsc::WeakSender<Order>,
    incoming: Option<mpsc::Sender<Stream>>,
}

impl Driver {
    async fn run<T: AsyncRead + AsyncWrite>(mut self, socket: T, orders: mpsc::Receiver<Order>) -> Result<(), Error> {
        let (read, write) = split(socket);
        let (beats, idle) = (AtomicU64::new(0), self.limits.idle);
        let mut frames = FrameReader::new(BufReader::with_capacity(frame::PIECE, read));
        let outcome = tokio::select! {
            ended = self.read(&mut frames, &beats) => ended,
            written = send(write, orders, &beats) => match written {
                Ok(()) => {
                    self.table.clear();
                    linger(&mut frames).await;
                    Ok(())
                }
                Err(error) => Err(error),
            },
            () = silence(&beats, idle) => Err(Error::Idle),
        };
        self.table.clear();
        outcome
    }

    async fn read<T: AsyncRead>(
        &mut self,
        frames: &mut FrameReader<BufReader<ReadHalf<T>>>,
        beats: &AtomicU64,
    ) -> Result<(), Error> {
        let mut decoder = Decoder::new();
        while let Some(frame) = frames.next().await? {
            beats.fetch_add(1, Ordering::Relaxed);
            match frame {
                Frame::SynStream { id, fin, block } => {
                    let headers = decoder.decode(&block)?;
                    self.opened(id, fin, headers).await?;
                }
                Frame::SynReply { id, fin, block } | Frame::Headers { id, fin, block } => {
                    // Nothing is made of them, but what follows is compressed with them.
                    decoder.decode(&block)?;
                    if fin {
                        self.table.finish(id);
                    }
                }
                Frame::Data { id, fin, bytes } => {
                    if let Some(queue) = self.table.queue(id).filter(|_| !bytes.is_empty()) {
                        // A stream that nobody reads any more takes nothing.
                        let _ = queue.send(bytes).await;
                    }
                    if fin {
                        self.table.finish(id);
                    }
                }
                Frame::Reset { id } => self.table.reset(id),
                // Odd ones are the client's; the answer to one of ours would be even.
                Frame::Ping { id } if (id % 2 == 1) == self.incoming.is_some() => self.order(Order::Pong { id }).await,
                Frame::Ping { .. } | Frame::GoAway | Frame::Other => {}
            }
        }
        Ok(())
    }

    async fn opened(&mut self, id: u32, fin: bool, headers: Headers) -> Result<(), Error> {
        let Some(incoming) = &self.incoming else { return Err(Error::Protocol("a server opened a stream")) };
        if self.table.len() >= self.limits.streams {
            self.order(Order::Reset { id, reset: Reset::Refused }).await;
            return Ok(());
        }
        let Some(orders) = self.orders.upgrade() else { return Ok(()) };
        let stream = self.table.open(id, headers, orders).ok_or(Error::Protocol("stream opened twice"))?;
        if fin {
            self.table.finish(id);
        }
        self.order(Order::Reply { id }).await;
        // When nobody waits for streams any more, this one is dropped.
        let _ = incoming.send(stream).await;
        Ok(())
    }

    async fn order(&self, order: Order) {
        if let Some(orders) = self.orders.upgrade() {
            let _ = orders.send(order).await;
        }
    }
}

/// Sends what is ordered until nobody can order any more.
async fn send<T: AsyncWrite>(
    mut socket: WriteHalf<T>,
    mut orders: mpsc::Receiver<Order>,
    beats: &AtomicU64,
) -> Result<(), Error> {
    let mut encoder = Encoder::new()?;
    let mut out = Vec::new();
    while let Some(order) = orders.recv().await {
        beats.fetch_add(1, Ordering::Relaxed);
        out.clear();
        match order {
            Order::Open { id, headers } => frame::syn_stream(id, &encoder.encode(&headers)?, &mut out),
            Order::Reply { id } => frame::syn_reply(id, &encoder.encode(&Headers::default())?, &mut out),
            Order::Reset { id, reset } => frame::reset(id, reset, &mut out),
            Order::Pong { id } => frame::ping(id, &mut out),
            Order::Data { id, fin, bytes } => {
                frame::data(id, fin, bytes.len(), &mut out);
                out.extend_from_slice(&bytes);
            }
        }
        socket.write_all(&out).await?;
        if orders.is_empty() {
            socket.flush().await?;
        }
    }
    Ok(socket.shutdown().await?)
}

/// Reads on, and throws away, until the other side closes or has had its time.
async fn linger<T: AsyncRead>(frames: &mut FrameReader<BufReader<ReadHalf<T>>>) {
    let _ = tokio::time::timeout(LINGER, frames.drain()).await;
}

/// Ends when the count stands still for that long.
async fn silence(beats: &AtomicU64, idle: Duration) {
    let mut before = None;
    loop {
        let now = Some(beats.load(Ordering::Relaxed));
        if now == before {
            return;
        }
        before = now;
        tokio::time::sleep(idle).await;
    }
}
