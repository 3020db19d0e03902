//! The silent HTTP/1.1 connections of a worker, the one that has been so for longest first: where it makes room for a
//! new one.
//!
//! A connection that is silent is put at the end, with its turn; when it speaks its turn is over, and nothing is looked
//! for. Entries whose turn is over are left lying until they are met or are too many: each step costs the same
//! however many connections there are.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};

/// The silent connections of a worker.
#[derive(Default)]
pub(super) struct IdleQueue {
    entries: RefCell<VecDeque<(Weak<Silence>, u32)>>,
}

/// A connection's part of it.
#[derive(Default)]
pub(super) struct Silence {
    turn: Cell<u32>,
    is_silent: Cell<bool>,
    is_shed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Entries whose turn is over, beyond as many as there are connections, before they are removed.
const STALE_MAX: usize = 64;

impl IdleQueue {
    /// The connection is silent from now on. `open`: how many connections there are.
    pub(super) fn push(&self, silence: &Rc<Silence>, open: usize) {
        silence.is_silent.set(true);
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= 2 * open + STALE_MAX {
            entries.retain(|(silence, turn)| silence.upgrade().is_some_and(|silence| silence.has_turn(*turn)));
        }
        entries.push_back((Rc::downgrade(silence), silence.turn.get()));
    }

    /// Ends the connection that has been silent for longest. False when none is silent.
    pub(super) fn shed(&self) -> bool {
        let mut entries = self.entries.borrow_mut();
        while let Some((silence, turn)) = entries.pop_front() {
            if let Some(silence) = silence.upgrade().filter(|silence| silence.has_turn(turn)) {
                silence.is_shed.set(true);
                silence.over();
                if let Some(waker) = silence.waker.take() {
                    waker.wake();
                }
                return true;
            }
        }
        false
    }
}

impl Silence {
    /// The connection speaks, or is ending.
    pub(super) fn over(&self) {
        self.is_silent.set(false);
        self.turn.set(self.turn.get().wrapping_add(1));
    }

    /// True when the connection has to make room; else its task is woken when it does.
    pub(super) fn poll_shed(&self, cx: &Context<'_>) -> bool {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.is_shed.get()
    }

    fn has_turn(&self, turn: u32) -> bool {
        self.is_silent.get() && self.turn.get() == turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_goes_first_and_who_speaks_stays() {
        let queue = IdleQueue::default();
        let all: Vec<Rc<Silence>> = (0..5).map(|_| Rc::default()).collect();
        all.iter().for_each(|silence| queue.push(silence, 5));
        // 0 speaks and is silent again, 1 speaks, 2 is gone
        all[0].over();
        queue.push(&all[0], 5);
        all[1].over();
        let (zero, one) = (all[0].clone(), all[1].clone());
        let rest: Vec<_> = all.into_iter().skip(3).collect();
        assert!(queue.shed() && rest[0].is_shed.get());
        assert!(queue.shed() && rest[1].is_shed.get());
        assert!(queue.shed() && zero.is_shed.get());
        assert!(!queue.shed() && !one.is_shed.get());
    }

    #[test]
    fn stale_entries_are_bounded() {
        let queue = IdleQueue::default();
        let (busy, silent): (Rc<Silence>, Rc<Silence>) = Default::default();
        queue.push(&silent, 2);
        for _ in 0..100_000 {
            queue.push(&busy, 2);
            busy.over();
            assert!(queue.entries.borrow().len() <= 2 * 2 + STALE_MAX);
        }
        assert!(queue.shed() && silent.is_shed.get());
    }
}
