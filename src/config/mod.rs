//! The file as people write it, and everything that can be wrong with it.

pub mod files;
mod place;
pub mod schema;
pub mod values;

pub use place::{Place, Step};
