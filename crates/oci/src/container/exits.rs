//! Notices the end of shims: one thread for all of them, asleep until something happens.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        eventfd::EventFd,
        wait::{Id, WaitPidFlag, waitid},
    },
};

/// Event of the descriptor that ends the thread.
const STOP: u64 = 0;

/// Watches processes.
#[derive(Debug)]
pub(super) struct Watcher {
    shared: Arc<Shared>,
    stop: Arc<EventFd>,
}

#[derive(Debug)]
struct Shared {
    epoll: Epoll,
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    last: u64,
    /// Container and process descriptor by event.
    by_event: HashMap<u64, (String, OwnedFd)>,
}

impl Watcher {
    /// `ended` is called in the watcher's own thread, once for each watched container.
    pub(super) fn start(ended: impl Fn(&str) + Send + 'static) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let stop = Arc::new(EventFd::new()?);
        epoll.add(&*stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        let shared = Arc::new(Shared { epoll, watched: Mutex::default() });
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name("container-exits".to_owned()).spawn(move || of_thread.run(ended))?;
        Ok(Self { shared, stop })
    }

    /// Calls `ended` once the process of the descriptor has ended (at once if it has already).
    pub(super) fn watch(&self, container: &str, pidfd: OwnedFd) -> io::Result<()> {
        let mut watched = self.shared.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.last += 1;
        let event = watched.last;
        self.shared.epoll.add(&pidfd, EpollEvent::new(EpollFlags::EPOLLIN, event))?;
        watched.by_event.insert(event, (container.to_owned(), pidfd));
        Ok(())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
    }
}

impl Shared {
    fn run(&self, ended: impl Fn(&str)) {
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                Err(error) => return tracing::error!(%error, "containers are no longer watched"),
                Ok(count) => count,
            };
            for event in &events[..count] {
                if event.data() == STOP {
                    return;
                }
                let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
                let Some((container, pidfd)) = watched.by_event.remove(&event.data()) else { continue };
                drop(watched);
                let _ = self.epoll.delete(&pidfd);
                // Our own child is a zombie until it is waited for; after a restart it is somebody else's.
                let _ = waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
                ended(&container);
            }
        }
    }
}
