//! Panics in a world: whoever catches them and goes on, they are violations.

use std::{
    cell::RefCell,
    panic::{set_hook, take_hook},
    sync::Once,
};

thread_local! {
    /// A world lives on one thread.
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Hears of every panic from now on, and forgets what another world on this thread has left.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            FIRST.with_borrow_mut(|first| {
                first.get_or_insert_with(|| panic.to_string().replace('\n', ": "));
            });
            before(panic);
        }));
    });
    FIRST.take();
}

/// The first panic since the last look.
pub(crate) fn first() -> Option<String> {
    FIRST.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_that_is_caught_is_heard() {
        listen();
        assert_eq!(first(), None);
        assert!(std::panic::catch_unwind(|| panic!("a defect")).is_err());
        assert!(first().is_some_and(|panic| panic.contains("a defect")));
        assert_eq!(first(), None);
    }
}
