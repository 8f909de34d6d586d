//! Makes a plan that fails short.
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::plan::Plan;
use super::run;

/// Runs that making a plan short may take.
const TRIES: usize = 400;

/// A plan that goes wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The indices of the steps that are needed for it, in the plan of the seed.
    pub keep: Vec<usize>,
    /// What went wrong.
    pub what: String,
}

/// Plays a plan; returns what went wrong, if anything did.
#[must_use]
pub fn failure(plan: &Plan) -> Option<String> {
    let played = catch_unwind(AssertUnwindSafe(|| run(plan)));
    let panic = played.err()?;
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    Some(text.unwrap_or("a panic without words").to_owned())
}

/// Removes as many steps as possible from a plan that fails, by delta debugging (Zeller,
/// Hildebrandt: Simplifying and Isolating Failure-Inducing Input, 2002). Any failure counts.
///
/// Returns `None` if the plan does not fail.
#[must_use]
pub fn shrink(plan: &Plan) -> Option<Failure> {
    shrink_with(plan, failure)
}

/// Shrinks a plan as [`shrink`] does, with a judge of the caller's own: it returns what goes wrong
/// with a plan, or `None` if nothing does.
#[must_use]
pub fn shrink_with(plan: &Plan, failure: impl Fn(&Plan) -> Option<String>) -> Option<Failure> {
    let mut best = Failure { keep: (0..plan.steps.len()).collect(), what: failure(plan)? };
    let mut tries = 0;
    let mut size = best.keep.len().div_ceil(2).max(1);
    while size > 0 && tries < TRIES {
        let mut at = 0;
        let before = best.keep.len();
        while at < best.keep.len() && tries < TRIES {
            let mut keep = best.keep.clone();
            keep.drain(at..(at + size).min(keep.len()));
            tries += 1;
            match failure(&plan.only(&keep)) {
                Some(what) => best = Failure { keep, what },
                None => at += size,
            }
        }
        if size == 1 && best.keep.len() == before {
            break;
        }
        size = if size == 1 { 1 } else { size / 2 };
    }
    Some(best)
}
