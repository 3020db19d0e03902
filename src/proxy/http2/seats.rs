use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::stream::{self, Taken};
use crate::proxy::connection::Connection;
use crate::proxy::exchange::Exchange;

/// Tasks of a worker that answer requests of HTTP/2, one after the other.
///
/// A request costs a task of some kilobytes and a timer. A task that has answered one waits for the next instead of
/// ending, whichever connection that comes on.
#[derive(Default)]
pub(in crate::proxy) struct Seats {
    free: RefCell<Vec<Rc<Seat>>>,
    /// How many were free all the time since they were last trimmed.
    unused: Cell<usize>,
}

/// A request on its stream, with the way to answer it.
pub(super) struct Given {
    pub(super) connection: Rc<Connection>,
    pub(super) request: Request<RecvStream>,
    pub(super) respond: SendResponse<Bytes>,
}

#[derive(Default)]
struct Seat {
    given: RefCell<Option<Given>>,
    /// Of the task that waits for a request.
    task: RefCell<Option<Waker>>,
    /// It is not needed any more.
    is_over: Cell<bool>,
}

/// How many tasks wait for requests at most: those of ten busy connections.
const FREE_MAX: usize = 1024;

impl Seats {
    /// Has a request answered.
    pub(super) fn give(self: &Rc<Self>, given: Given) {
        let mut free = self.free.borrow_mut();
        let Some(seat) = free.pop() else {
            let seat = Rc::<Seat>::default();
            *seat.given.borrow_mut() = Some(given);
            // boxed: the runtime moves a future from place to place, and this one is large
            tokio::task::spawn_local(Box::pin(sit(self.clone(), seat)));
            return;
        };
        self.unused.set(self.unused.get().min(free.len()));
        *seat.given.borrow_mut() = Some(given);
        seat.wake();
    }

    /// Lets half of those go that had nothing to do since this was last called.
    pub(in crate::proxy) fn trim(&self) {
        let mut free = self.free.borrow_mut();
        let kept = free.len() - self.unused.get().min(free.len()).div_ceil(2);
        for seat in free.drain(kept..) {
            seat.is_over.set(true);
            seat.wake();
        }
        self.unused.set(free.len());
    }

    /// Takes back who has nothing to do. False when there are enough of them.
    fn take_back(&self, seat: &Rc<Seat>) -> bool {
        let mut free = self.free.borrow_mut();
        let has_room = free.len() < FREE_MAX;
        if has_room {
            free.push(seat.clone());
        }
        has_room
    }
}

impl Seat {
    fn wake(&self) {
        self.task.borrow().iter().for_each(Waker::wake_by_ref);
    }

    /// The next request; `None` when none will come.
    async fn next(&self) -> Option<Given> {
        std::future::poll_fn(|cx| {
            if let Some(given) = self.given.borrow_mut().take() {
                return Poll::Ready(Some(given));
            }
            if self.is_over.get() {
                return Poll::Ready(None);
            }
            let mut task = self.task.borrow_mut();
            if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
                *task = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

async fn sit(seats: Rc<Seats>, seat: Rc<Seat>) {
    let mut exchange = Rc::new(Exchange::new(Rc::default()));
    loop {
        let mut taken = match seat.next().await {
            Some(given) => Taken::of(given, &exchange),
            None => return,
        };
        stream::answer(&mut taken, &exchange).await;
        drop(taken);
        if Rc::strong_count(&exchange) > 1 || Rc::strong_count(&exchange.deadline) > 1 {
            // somebody still holds what is over
            exchange = Rc::new(Exchange::new(Rc::default()));
        }
        exchange.clear();
        if !seats.take_back(&seat) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tasks that wait, as if so many requests had been answered.
    fn waiting(seats: &Rc<Seats>, count: usize) {
        for _ in 0..count {
            let seat = Rc::<Seat>::default();
            assert!(seats.take_back(&seat));
            let (seats, seat) = (seats.clone(), seat);
            tokio::task::spawn_local(async move {
                let came = seat.next().await;
                assert!(came.is_none());
                drop(seats);
            });
        }
    }

    /// What hundreds of requests at a time keep in the processor's cache: see benches/README.md.
    #[test]
    fn a_request_is_answered_in_a_few_kilobytes() {
        let seat = sit(Rc::default(), Rc::default());
        let bytes = size_of_val(&seat);
        assert!(bytes <= 5 * 1024, "{bytes} bytes");
    }

    #[test]
    fn who_has_nothing_to_do_for_long_goes() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let seats = Rc::<Seats>::default();
            waiting(&seats, 100);
            tokio::task::yield_now().await;
            let mut left = Vec::new();
            for _ in 0..9 {
                seats.trim();
                tokio::task::yield_now().await;
                left.push(Rc::strong_count(&seats) - 1);
            }
            // none in the first second, as they may have been busy until now
            assert_eq!(left, [100, 50, 25, 12, 6, 3, 1, 0, 0]);
        });
    }
}
