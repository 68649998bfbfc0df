//! What clients see: REST, signalling and the web client.

pub mod auth;
pub mod port;
mod server;
pub mod signal;

pub use server::{Server, Services, Settings};
