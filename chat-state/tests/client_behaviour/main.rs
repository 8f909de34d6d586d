//! The behaviour of a Client beyond the scenarios that it shares with the page.
mod connection;
mod entries;
mod expiry;
mod harness;
mod membership;
mod messages;
mod queries;
mod resume;
