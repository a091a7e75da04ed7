//! From events to what people read.
#![forbid(unsafe_code)]

pub mod line;
