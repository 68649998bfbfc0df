//! What clients see: REST, signalling and the web client.

pub mod auth;
pub mod port;
