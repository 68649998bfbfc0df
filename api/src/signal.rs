//! Signalling: one [`session`] state machine for each connection, a thin [`websocket`] loop around it, and a [`hub`] that
//! follows the directory once for all of them.

pub mod hub;
pub mod session;
pub mod websocket;

mod admission;
mod frame;
mod wire;
