//! Ringway's executable.
fn main() {}
