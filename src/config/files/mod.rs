//! The files that a configuration refers to: places, user lists, keys, secrets, certificates.
//!
//! Each is parsed by a pure function over its bytes and loaded by one that opens it once, bounded, and judges who
//! could have written it. What is wrong is a [`FileProblem`]; which field of the configuration named the file is
//! added by [`References`]. Nothing here watches files: a reload loads them all again.

mod authorities;
mod certificate;
mod claims;
mod country;
mod csv;
mod geo;
mod geo_mmdb;
mod geo_table;
mod jwk;
mod key_set;
pub mod override_token;
mod references;
mod secret;
mod source;
mod tls;
pub mod tokens;
mod user_list;
mod validity;

pub use authorities::{Authorities, CRL_BYTES_MAX, RevocationLists};
pub use certificate::{CHAIN_MAX, Certificate, PEM_BYTES_MAX, provider};
pub use claims::Claims;
pub use country::{Continent, Country};
pub use geo::{Geo, GeoFacts, Subdivision};
pub use geo_mmdb::{GEO_MMDB_BYTES_MAX, GeoMmdb};
pub use geo_table::{GEO_TABLE_BYTES_MAX, GEO_TABLE_ROWS_MAX, GeoTable};
pub use key_set::{Expected, KEY_SET_BYTES_MAX, KEYS_MAX, KeySet, TOKEN_BYTES_MAX, TokenProblem};
pub use override_token::Choice;
pub use references::References;
pub use secret::{SECRET_BYTES_MAX, Secret};
pub use source::FileProblem;
pub use tls::TlsFiles;
pub use tokens::Tokens;
pub use user_list::{USER_KEY_BYTES_MAX, USER_LIST_BYTES_MAX, USER_LIST_KEYS_MAX, UserList};
pub use validity::{Validity, now};
