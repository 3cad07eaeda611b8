//! One stream of a connection.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    Error,
    frame::{PIECE, Reset},
    headers::Headers,
};

/// Pieces that wait to be read of a stream, each at most 32 KiB: half a megabyte.
const QUEUE: usize = 16;

/// What is to be sent.
#[derive(Debug)]
pub(crate) enum Order {
    Open { id: u32, headers: Headers },
    Reply { id: u32 },
    Data { id: u32, fin: bool, bytes: Bytes },
    Reset { id: u32, reset: Reset },
    Pong { id: u32 },
}

/// The streams that are open.
#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<HashMap<u32, Entry>>);

#[derive(Debug)]
struct Entry {
    /// `None` once the other side has said all.
    queue: Option<mpsc::Sender<Bytes>>,
    reset: Arc<AtomicBool>,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Where what came for a stream goes.
    pub(crate) fn queue(&self, id: u32) -> Option<mpsc::Sender<Bytes>> {
        self.lock().get(&id).and_then(|entry| entry.queue.clone())
    }

    /// The other side has said all on that stream.
    pub(crate) fn finish(&self, id: u32) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.queue = None;
        }
    }

    /// The other side wants no more of that stream.
    pub(crate) fn reset(&self, id: u32) {
        if let Some(entry) = self.lock().remove(&id) {
            entry.reset.store(true, Ordering::Relaxed);
        }
    }

    /// The connection is gone.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// A new stream; `None` when there is one of that id.
    pub(crate) fn open(self: &Arc<Self>, id: u32, headers: Headers, orders: mpsc::Sender<Order>) -> Option<Stream> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let reset = Arc::new(AtomicBool::new(false));
        let mut table = self.lock();
        if table.contains_key(&id) {
            return None;
        }
        table.insert(id, Entry { queue: Some(sender), reset: Arc::clone(&reset) });
        let place = Arc::new(Place { id, table: Arc::clone(self) });
        let reader = Reader { queue, _place: Arc::clone(&place) };
        Some(Stream { headers, reader, writer: Writer { place, orders, reset, closed: false } })
    }
}

/// Gives the stream's place in the table back once neither half is there any more.
#[derive(Debug)]
struct Place {
    id: u32,
    table: Arc<Table>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.lock().remove(&self.id);
    }
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    /// What it was opened with.
    pub headers: Headers,
    /// What the other side says.
    pub reader: Reader,
    /// What is said to it.
    pub writer: Writer,
}

/// The half that is read.
#[derive(Debug)]
pub struct Reader {
    queue: mpsc::Receiver<Bytes>,
    _place: Arc<Place>,
}

impl Reader {
    /// The next bytes; `None` when the other side has closed the stream, or the connection is gone.
    pub async fn read(&mut self) -> Option<Bytes> {
        self.queue.recv().await
    }
}

/// The half that is written.
#[derive(Debug)]
pub struct Writer {
    place: Arc<Place>,
    orders: mpsc::Sender<Order>,
    reset: Arc<AtomicBool>,
    closed: bool,
}

impl Writer {
    /// Sends bytes; waits while the connection is busy.
    ///
    /// # Errors
    /// [`Error::Closed`] when this half is closed, or the other side wants no more.
    pub async fn write(&self, mut bytes: Bytes) -> Result<(), Error> {
        if self.closed || self.reset.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            self.send(Order::Data { id: self.place.id, fin: false, bytes: piece }).await?;
        }
        Ok(())
    }

    /// Says that all is said; a second time does nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection is gone.
    pub async fn close(&mut self) -> Result<(), Error> {
        if self.closed || self.reset.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.closed = true;
        self.send(Order::Data { id: self.place.id, fin: true, bytes: Bytes::new() }).await
    }

    /// Ends the stream both ways at once.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection is gone.
    pub async fn reset(&mut self) -> Result<(), Error> {
        self.closed = true;
        self.send(Order::Reset { id: self.place.id, reset: Reset::Cancel }).await
    }

    /// Tells later, when this half is gone, whether the other side has reset the stream.
    pub fn watch_reset(&self) -> ResetWatch {
        ResetWatch(Arc::clone(&self.reset))
    }

    async fn send(&self, order: Order) -> Result<(), Error> {
        self.orders.send(order).await.map_err(|_| Error::Closed)
    }
}

/// Tells whether the other side has reset a stream.
#[derive(Debug, Clone)]
pub struct ResetWatch(Arc<AtomicBool>);

impl ResetWatch {
    /// Whether it has.
    pub fn is_reset(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
