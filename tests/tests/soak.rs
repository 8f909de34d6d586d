//! The long run, for some seconds: that it runs, and that what it looks at holds. How fast it is
//! says nothing on a machine that does other things as well.
use chat_tests::soak::{Plan, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_lose_nothing_beside_hostile_ones() {
    let report = run(&Plan { seconds: 8, connections: 60, hostile: 30 }).await;
    let mut faults = report.faults();
    faults.retain(|fault| !fault.starts_with("the p99 "));
    assert!(faults.is_empty(), "{report}");
}
