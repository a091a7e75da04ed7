//! How the core and its workers talk, seen from both ends: typed messages over a channel of whole
//! packets, with descriptors beside them; and how a worker is confined before it does anything.

mod calls;
pub mod channel;
pub mod confine;
