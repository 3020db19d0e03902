//! Copies of requests to another variant, whose answers are compared with those that users got and thrown away.
//!
//! ```text
//! forward: copy (lot, head)  →  send: Tee of the body  →  answer: Tee of the answer
//!     → lane (queue, once the user's answer is complete) → exchange → compare, here or on the comparer's thread
//! ```
//!
//! Whatever becomes of a copy, the request that it is a copy of does not wait for it and does not fail with it. What is
//! kept for copies has a budget of bytes for each worker, and what does not fit is not copied, and counted.

mod compare;
mod comparer;
mod copied;
mod exchange;
mod json;
mod lane;
mod outgoing;
mod runner;

pub use comparer::Comparer;
pub(super) use copied::{Copied, copy};
pub(super) use lane::Lanes;
