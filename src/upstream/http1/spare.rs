use http::HeaderMap;
use std::cell::RefCell;

/// Header maps that are not needed any more, kept for the next message of this thread: a map of usual size costs two
/// allocations.
pub(crate) struct SpareMap;

/// How many are kept.
const SPARE_MAX: usize = 64;
/// A map for more fields than this is not kept.
const FIELDS_MAX: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

impl SpareMap {
    /// An empty map.
    pub(crate) fn take() -> HeaderMap {
        SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// The same as another one.
    pub(crate) fn copy_of(other: &HeaderMap) -> HeaderMap {
        let mut map = SpareMap::take();
        map.reserve(other.len());
        for (name, value) in other {
            map.append(name, value.clone());
        }
        map
    }

    /// Takes a map that nobody needs any more.
    pub(crate) fn give_back(mut map: HeaderMap) {
        if map.capacity() > 0 && map.capacity() <= FIELDS_MAX {
            map.clear();
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARE_MAX {
                    spare.push(map);
                }
            });
        }
    }
}
