//! Password hashing and session tokens.

mod argon2id;
mod buffers;
mod tokens;

pub use argon2id::{Argon2Passwords, HashingLimits};
pub use tokens::RandomTokens;
