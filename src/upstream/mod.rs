//! What outlives a snapshot on the way to a service: endpoints, their health, and connections to them.
//!
//! An [`Upstream`] is shared by all workers and carried over a reload when its [`Spec`] is unchanged. Connections
//! are not shared: every worker has [`Pools`] of its own, so that no request ever waits for a lock.

mod balance;
mod body;
mod budget;
mod coalesce;
mod connect;
mod deadline;
mod descriptors;
mod drained;
mod endpoint;
mod endpoints;
mod fields;
mod hold;
pub(crate) mod http1;
mod http2;
mod lease;
mod limiter;
mod load;
mod maglev;
mod outliers;
mod pace;
mod pool;
mod proxy_header;
mod registry;
mod replay;
mod resolve;
mod spec;
mod stream;
mod tee;
mod tls;

pub use balance::Standard;
pub use body::{BodyError, BodyWatch, ClientBody, RequestBody, is_forbidden_trailer};
pub use budget::{RetryBudget, RetryShare};
pub use coalesce::Coalesced;
pub use connect::{Connect, ConnectError, connect};
pub use deadline::Deadline;
pub use descriptors::is_of_reserve;
pub use endpoint::{Checked, Endpoint, EndpointState};
pub use endpoints::{Members, Upstream};
pub use fields::Fields;
pub use hold::Hold;
pub use http1::{Interim, Sendable, TunnelEnd, TunnelParts};
pub use lease::{Answered, BrokenOff, ExchangeError, Lease, UpstreamBody, Witness};
pub use limiter::{LimitSpec, Limiter, Taken};
pub use load::{ConnectionPermit, HealthCounts, Load, Overflow};
pub use maglev::{Maglev, mix};
pub use pace::Pace;
pub use pool::{PickError, Pools, Want, Wanted};
pub use proxy_header::{ProxyHeader, ProxyVersion, V2_SIGNATURE};
pub use registry::Upstreams;
pub use resolve::resolve_all;
pub use spec::{Balance, Check, Limits, Outliers, Probe, Protocol, Resilience, Spec, SuccessRate, Target};
pub use stream::Stream;
pub use tee::{Budget, Held, Lost, Tee};
pub use tls::{Alpn, ClientTls, ClientTlsParts, has_agreed_on_http2};

/// A number that nothing else in this process has.
fn next_id() -> u32 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
