//! The HTTP API for backends and operators, over real sockets.
mod document;
mod faulty;
mod figures;
mod followed;
mod inboxes;
mod kept;
mod moderation;
mod publishing;
mod requests;
mod support;
