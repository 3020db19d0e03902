//! Panics of workers. Each is a bug: it costs the task that it is in, a connection or a stream, and nothing else; so
//! nobody would hear of it, were it not counted.

use super::Shard;
use std::cell::RefCell;
use std::panic;
use std::sync::{Arc, Once};

thread_local! {
    static COUNTED_IN: RefCell<Option<Arc<Shard>>> = const { RefCell::new(None) };
}

/// From now on counts each panic of this thread in a shard, besides what is done about panics so far.
///
/// A hook rather than a guard in each task: tasks are also begun by libraries, which know nothing of shards.
pub fn count_in(shard: Arc<Shard>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let _ = COUNTED_IN.try_with(|shard| {
                if let Ok(Some(shard)) = shard.try_borrow().as_deref() {
                    shard.panicked();
                }
            });
            before(info);
        }));
    });
    COUNTED_IN.set(Some(shard));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Registry;
    use std::thread;

    #[test]
    fn panics_are_counted_where_they_are_contained() {
        let registry = Registry::new(1, 100);
        let shard = registry.shard(0);
        let worker = thread::spawn(move || {
            count_in(shard);
            for _ in 0..2 {
                assert!(panic::catch_unwind(|| panic!("a task breaks off, as this test wants")).is_err());
            }
        });
        assert!(thread::spawn(|| panic!("another thread breaks off, as this test wants")).join().is_err());
        worker.join().unwrap();
        assert_eq!(registry.totals().panics, 2);
    }
}
