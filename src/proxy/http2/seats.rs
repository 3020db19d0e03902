use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::stream;
use crate::proxy::connection::Connection;
use crate::proxy::exchange::Exchange;

/// Tasks of a worker that answer requests of HTTP/2, one after the other.
///
/// A request costs a task of some kilobytes and a timer. A task that has answered one waits for the next instead of
/// ending, whichever connection that comes on.
#[derive(Default)]
pub(in crate::proxy) struct Seats {
    free: RefCell<Vec<Rc<Seat>>>,
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
}

/// How many tasks wait for requests at most: those of a few busy connections.
const FREE_MAX: usize = 64;

impl Seats {
    /// Has a request answered.
    pub(super) fn give(self: &Rc<Self>, given: Given) {
        let free = self.free.borrow_mut().pop();
        let is_new = free.is_none();
        let seat = free.unwrap_or_default();
        *seat.given.borrow_mut() = Some(given);
        if is_new {
            tokio::task::spawn_local(sit(self.clone(), seat));
        } else {
            seat.task.borrow().iter().for_each(Waker::wake_by_ref);
        }
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
    async fn next(&self) -> Given {
        std::future::poll_fn(|cx| {
            if let Some(given) = self.given.borrow_mut().take() {
                return Poll::Ready(given);
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
        stream::answer(seat.next().await, &exchange).await;
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
