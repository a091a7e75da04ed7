//! The only place with system calls and `unsafe`: thin, checked wrappers that say what the kernel said.
//!
//! Nothing here decides. Every descriptor is owned and close-on-exec from birth; every error keeps its
//! errno.

pub mod account;
pub mod bell;
pub mod block;
pub mod capability;
pub mod cgroup;
pub mod clock;
pub mod clone;
pub mod credentials;
pub mod dial;
pub mod directory;
pub mod execute;
pub mod file;
pub mod folder;
pub mod hands;
pub mod inspect;
pub mod intake;
pub mod limits;
pub mod named_socket;
pub mod notify_socket;
pub mod place;
pub mod poll;
pub mod process;
pub mod pty;
pub mod restrict;
pub mod rotated;
pub mod sandbox;
pub mod schedule;
pub mod signals;
pub mod socket;
pub mod stdio;
pub mod terminal;
pub mod way;
