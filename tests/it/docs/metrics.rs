//! `docs/metrics.md`, the alerts and the dashboard match the program.

use std::collections::BTreeSet;

use renderhook::{api, app};

use super::code;
use super::tables::first_column;

const DOCS: &str = include_str!("../../../docs/metrics.md");
const OPERATIONS: &str = include_str!("../../../docs/operations.md");
const ALERTS: &str = include_str!("../../../contrib/prometheus/alerts.yml");
const ALERTS_TEST: &str = include_str!("../../../contrib/prometheus/alerts_test.yml");
const DASHBOARD: &str = include_str!("../../../contrib/grafana/dashboard.json");

/// Each metric as the docs name it, with its type.
fn metrics() -> Vec<(String, &'static str, &'static str)> {
    let each = app::process_metrics().into_iter().chain(api::METRICS.iter().copied());
    each.map(|metric| {
        let labels = metric.labels();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        (format!("{}{labels}", metric.name()), metric.metric_type().as_str(), metric.name())
    })
    .collect()
}

#[test]
fn the_tables_of_metrics_are_complete() {
    let metrics = metrics();
    let names: BTreeSet<&str> = metrics.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names.len(), metrics.len());
    assert_eq!(first_column(DOCS, "| metric | type | is |"), names);
    for (name, metric_type, _) in &metrics {
        assert!(DOCS.contains(&format!("\n| `{name}` | {metric_type} | ")), "{name} is a {metric_type}");
    }
}

/// Where the values of labels are.
const LABELS: [&str; 5] = [
    include_str!("../../../src/api/metrics/gauges.rs"),
    include_str!("../../../src/archive/metrics.rs"),
    include_str!("../../../src/intake/metrics.rs"),
    include_str!("../../../src/notify/metrics.rs"),
    include_str!("../../../src/upstream/metrics.rs"),
];

#[test]
fn every_value_of_a_label_is_documented() {
    let values = LABELS.iter().flat_map(|text| text.split("=> \"").skip(1)).filter_map(|rest| rest.split('"').next());
    let values: BTreeSet<&str> = values.collect();
    assert!(values.len() > 15, "{values:?}");
    let documented: BTreeSet<&str> = code(DOCS).collect();
    let missing: Vec<_> = values.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|char: char| !char.is_ascii_lowercase() && char != '_');
    let prefixes = ["renderhook_", "http_server_", "process_"];
    let names = words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)));
    names
        .map(|name| ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name))
        .collect()
}

#[test]
fn every_metric_in_the_alerts_and_the_dashboard_exists() {
    let metrics = metrics();
    for (file, text) in [("alerts", ALERTS), ("tests of alerts", ALERTS_TEST), ("dashboard", DASHBOARD)] {
        let named = named(text);
        assert!(named.len() > 5, "{named:?}");
        for name in named {
            let exists = metrics.iter().any(|(.., it)| *it == name) || DOCS.contains(&format!("`{name}`"));
            assert!(exists, "{name} in the {file}");
        }
    }
    let in_dashboard = named(DASHBOARD);
    let missing: Vec<_> = metrics.iter().map(|(.., name)| *name).filter(|name| !in_dashboard.contains(name)).collect();
    assert!(missing.is_empty(), "not in the dashboard: {missing:?}");
}

#[test]
fn every_alert_has_a_test_and_names_a_section_that_exists() {
    let headings = OPERATIONS.lines().filter_map(|line| line.strip_prefix("## "));
    let anchors: BTreeSet<String> = headings
        .map(|heading| {
            let kept = heading.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect();
    let alerts: Vec<_> = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let links = |text| str::split(text, "docs/operations.md#").skip(1);
    let anchor = |rest: &str| rest.split(['"', '\n']).next().unwrap_or_default().to_owned();
    assert_eq!(links(ALERTS).count(), alerts.len(), "each alert names its runbook");
    for link in links(ALERTS).chain(links(DASHBOARD)).map(anchor) {
        assert!(anchors.contains(&link), "docs/operations.md has no section {link}");
    }
    for alert in alerts {
        assert!(ALERTS_TEST.contains(&format!("alertname=\"{alert}\"")), "no test makes {alert} fire");
        assert!(ALERTS_TEST.contains(&format!("alertname: {alert} ")) || alert == "RenderhookDatabaseDown", "{alert}");
    }
}
