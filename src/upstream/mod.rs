//! What outlives a snapshot on the way to a service: endpoints, their health, and connections to them.
//!
//! An [`Upstream`] is shared by all workers and carried over a reload when its [`Spec`] is unchanged. Connections
//! are not shared: every worker has [`Pools`] of its own, so that no request ever waits for a lock.

mod body;
mod coalesce;
mod connect;
mod deadline;
mod endpoint;
mod fields;
pub(crate) mod http1;
mod http2;
mod pool;
mod proxy_header;
mod registry;
mod resolve;
mod stream;
mod tee;
mod tls;

pub use body::{BodyError, BodyWatch, ClientBody, RequestBody, is_forbidden_trailer};
pub use coalesce::Coalesced;
pub use deadline::Deadline;
pub use endpoint::{Balance, Endpoint, Protocol, Spec, Target, Upstream};
pub use fields::Fields;
pub use http1::{Interim, Sendable, TunnelParts};
pub use pool::{Answered, BrokenOff, ExchangeError, Lease, PickError, Pools, UpstreamBody, Wanted};
pub use proxy_header::{ProxyHeader, ProxyVersion, V2_SIGNATURE};
pub use registry::Upstreams;
pub use resolve::resolve_all;
pub use stream::Stream;
pub use tee::{Budget, Held, Lost, Tee};
pub use tls::{Alpn, ClientTls, ClientTlsParts, has_agreed_on_http2};
