//! The only place with system calls and `unsafe`.

pub mod dial;
pub mod terminal;
