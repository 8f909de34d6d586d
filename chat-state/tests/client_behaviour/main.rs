//! What a Client does beyond the scenarios that it shares with the page.
mod asks;
mod connection;
mod entries;
mod harness;
mod rooms;
mod sends;
