//! The load tool against real servers: exact counts, and what it says when something is wrong.
mod burst;
mod counts;
mod faults;
mod refusals;
mod secured;
mod tool;
