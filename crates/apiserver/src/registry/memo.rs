//! What was read out of the newest writes, kept so that it is decoded once. A revision belongs to one key, so it is the key.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use windlass_storage::Revision;

/// Values by revision, the oldest forgotten first.
#[derive(Debug)]
pub(crate) struct Memo<T> {
    capacity: usize,
    kept: Mutex<Kept<T>>,
}

#[derive(Debug)]
struct Kept<T> {
    values: HashMap<Revision, Arc<T>>,
    order: VecDeque<Revision>,
}

impl<T> Memo<T> {
    /// Keeps at most so many.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, kept: Mutex::new(Kept { values: HashMap::new(), order: VecDeque::new() }) }
    }

    /// The value of this revision; `make` is asked where it is not known, outside the lock.
    pub(crate) fn get_or<E>(&self, revision: Revision, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        if let Some(value) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).values.get(&revision) {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(make()?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.values.insert(revision, Arc::clone(&value)).is_none() {
            kept.order.push_back(revision);
            if kept.order.len() > self.capacity
                && let Some(oldest) = kept.order.pop_front()
            {
                kept.values.remove(&oldest);
            }
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let memo = Memo::new(2);
        let read = |revision: Revision, value: &'static str| *memo.get_or(revision, || Ok::<_, Infallible>(value)).unwrap();
        assert_eq!((read(1, "a"), read(1, "b")), ("a", "a"));
        assert_eq!((read(2, "c"), read(3, "d"), read(1, "e")), ("c", "d", "e"));
    }
}
