//! The dashboard shows metrics that there are.
use std::collections::BTreeSet;
use std::fs;

use chat_tests::process::workspace_root;
use chat_tests::scrape::Scrape;
use chat_tokio::Server;
use serde_json::Value;

/// Metrics that are for no graph.
const NOT_SHOWN: [&str; 1] = ["chat_sessions"];

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().into_iter().flatten().filter(|panel| panel["type"] != "row")
}

fn queries(panel: &Value) -> Vec<&str> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    targets.filter_map(|target| target["expr"].as_str()).collect()
}

/// The names of metrics in a query.
fn names(query: &str) -> impl Iterator<Item = &str> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    query.split(move |c| !part(c)).filter(|word| word.starts_with("chat_"))
}

/// What is wrong with a dashboard, and which metrics it shows.
fn look<'a>(dashboard: &'a Value, there: &BTreeSet<&str>) -> (Vec<String>, BTreeSet<&'a str>) {
    let (mut wrong, mut shown) = (Vec::new(), BTreeSet::new());
    for panel in panels(dashboard) {
        let title = panel["title"].as_str().unwrap_or_default();
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
        if title.is_empty() || unit.is_empty() || queries(panel).is_empty() {
            wrong.push(format!("panel {} has no title, unit or query", panel["id"]));
        }
        for name in queries(panel).into_iter().flat_map(names) {
            // Of a histogram the buckets are asked for.
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            shown.insert(name);
            if !there.contains(name) {
                wrong.push(format!("`{title}` asks for {name}"));
            }
        }
    }
    (wrong, shown)
}

#[tokio::test]
async fn the_dashboard_shows_all_metrics_and_no_others() {
    let server = Server::builder().start().expect("it starts");
    let text = server.metrics().snapshot().await.encode();
    let scrape = Scrape::parse(&text).expect("well formed");
    let there = scrape.names();
    let path = workspace_root().join("chat-tokio/deploy/grafana.json");
    let text = fs::read_to_string(path).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let (wrong, mut shown) = look(&dashboard, &there);
    assert_eq!(wrong, [""; 0]);
    let variables = dashboard["templating"].to_string();
    shown.extend(names(&variables).filter(|name| there.contains(name)));
    let missing: Vec<_> = there.difference(&shown).copied().collect();
    assert_eq!(missing, NOT_SHOWN);
    // It would be noticed.
    let broken = text.replace("chat_outbox_bytes", "chat_outbox_byte").replace("\"Bps\"", "\"\"");
    let broken: Value = serde_json::from_str(&broken).expect("JSON");
    let (wrong, _) = look(&broken, &there);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    // A query is of known functions and has its brackets.
    for query in panels(&dashboard).flat_map(queries) {
        let count = |c| query.matches(c).count();
        assert!(count('(') == count(')') && count('{') == count('}'), "{query}");
        assert!(!query.contains("_total") || query.contains("rate("), "{query}");
    }
}
