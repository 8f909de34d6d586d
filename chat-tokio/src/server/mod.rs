//! What a server is put together from.

pub mod attach;
