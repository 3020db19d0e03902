//! The admin door from outside: who gets in and who does not, web pages that try, and rollbacks while everything else is
//! short. Rows D19 and D20 of the battery; the tests print their figures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

#[path = "admin/beyond.rs"]
mod beyond;
#[path = "admin/commands.rs"]
mod commands;
#[path = "admin/headers.rs"]
mod headers;
#[path = "admin/house.rs"]
mod house;
#[path = "admin/roles.rs"]
mod roles;
#[path = "admin/siege.rs"]
mod siege;
#[path = "admin/texts.rs"]
mod texts;
