//! The load tool against real servers: exact counts, and what it says when something is wrong.
mod counts;
mod faults;
mod refusals;
mod tool;
