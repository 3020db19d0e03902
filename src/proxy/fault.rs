//! Injected faults, on real requests: the variant is charged for them, as gates must see a drill.

use std::future::{Future, pending};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::connection::Connection;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::forward::Decision;
use super::record::Record;
use crate::model::{Failure, InjectedKind};
use crate::routing::fault::{Abort, draw};
use crate::upstream::Deadline;

/// Does to a request what the faults of its service say. To be called only where there are some.
pub(super) async fn inject(
    connection: &Connection,
    decision: &Decision<'_>,
    record: &mut Record,
    exchange: &Exchange,
) -> Result<(), ProxyError> {
    let service = decision.service;
    let injected = draw(&service.faults, decision.cohort, decision.variant, decision.user);
    let slot = service.cohorts[decision.cohort].slots[decision.variant];
    let shard = &connection.worker.shard;
    if !injected.delay.is_zero() {
        shard.fault_injected(slot, InjectedKind::Delay);
        record.flag("DI");
        wait(injected.delay, &exchange.deadline).await?;
    }
    match injected.abort {
        None => Ok(()),
        Some(Abort::Status(status)) => {
            shard.fault_injected(slot, InjectedKind::Abort);
            Err(ProxyError::Injected(status))
        }
        Some(Abort::Reset) => {
            shard.fault_injected(slot, InjectedKind::Reset);
            let flags = if injected.delay.is_zero() { "FI" } else { "DI,FI" };
            record.break_off(Failure::Reset, flags);
            // whoever drives this connection, or this stream, drops the record with it
            exchange.is_cut.set(true);
            pending().await
        }
    }
}

/// Holds a request back, but not beyond the time that its route gives to an answer.
async fn wait(delay: Duration, deadline: &Deadline) -> Result<(), ProxyError> {
    let mut delay = pin!(tokio::time::sleep(delay));
    std::future::poll_fn(|cx| {
        if delay.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        deadline.poll_passed(cx).map(|()| Err(ProxyError::AnswerTimeout))
    })
    .await
}
