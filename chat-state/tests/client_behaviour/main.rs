//! What a Client does beyond the scenarios that it shares with the page.
mod connection;
mod entries;
mod harness;
mod membership;
mod queries;
mod sends;
