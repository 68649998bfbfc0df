//! Who someone is (tokens) and what they may do (permissions).

mod password;
mod permissions;
mod token;

pub use password::{PasswordError, Passwords};
pub use permissions::{Action, allows};
pub use token::{Grant, TokenError, Tokens, User};
