//! What clients see: REST, signalling and the web client.

mod app;
mod assets;
pub mod auth;
mod fields;
pub mod port;
mod rest;
mod server;
pub mod signal;

pub use app::{Services, Settings};
pub use server::Server;
