//! What a scrape shows, and that the catalogue, the documentation and the alert rules agree.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::catalogue::FAMILIES;
use super::*;

const PIN_REASONS: &[&str] = &["temporary_table", "user_lock"];
const ROUTE_REASONS: &[&str] = &["plain_read", "not_a_read"];
const COMMANDS: &[&str] = &["query", "ping"];

fn metrics() -> Metrics {
    let backends = ["primary".to_owned(), "replica1".to_owned()];
    let lanes = ["interactive".to_owned(), "batch".to_owned()];
    Metrics::new(&Labels {
        version: "0.1.0",
        backends: &backends,
        lanes: &lanes,
        pin_reasons: PIN_REASONS,
        route_reasons: ROUTE_REASONS,
        commands: COMMANDS,
    })
    .expect("labels are valid")
}

fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs promtool, which comes with Debian's package `prometheus`; its absence is a failure.
fn promtool(arguments: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs (install the package prometheus)");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(input.as_bytes()).expect("promtool reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "promtool {arguments:?} complains:\n{said}");
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let metrics = metrics();
    metrics.error_sent(Origin::Server, 1213);
    metrics.lane(1, 0).wait_seconds.observe(0.003);
    promtool(&["check", "metrics"], &metrics.encode());
}

/// Every word of `text` that looks like one of our samples, as the family it belongs to.
fn families_named_in(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let samples = words.filter(|word| word.starts_with("fairlane_"));
    let family = |sample: &'_ str| {
        let stems = ["_bucket", "_sum", "_count"].map(|suffix| sample.strip_suffix(suffix));
        stems
            .into_iter()
            .flatten()
            .find(|stem| FAMILIES.iter().any(|f| f.name == *stem))
            .map(str::len)
    };
    samples.map(|sample| family(sample).map_or(sample, |length| &sample[..length])).collect()
}

#[test]
fn alert_rules_are_valid_and_name_only_what_exists() {
    let rules = in_tree("config/alerts.yml");
    promtool(&["check", "rules", rules.to_str().expect("a path in UTF-8")], "");
    let text = std::fs::read_to_string(rules).expect("it is there");
    for name in families_named_in(&text) {
        assert!(FAMILIES.iter().any(|family| family.name == name), "no family {name}");
    }
}

#[test]
fn the_documentation_has_each_family_and_no_other() {
    let text = std::fs::read_to_string(in_tree("docs/metrics.md")).expect("it is there");
    for family in FAMILIES {
        let kind = format!("{:?}", family.kind).to_lowercase();
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let row =
            format!("| `{}` | {kind} | {} | {} |", family.name, labels.join(", "), family.help);
        assert!(text.contains(&row), "docs/metrics.md has no row:\n{row}");
    }
    for name in families_named_in(&text).into_iter().filter(|&name| name != "fairlane_") {
        assert!(FAMILIES.iter().any(|family| family.name == name), "no family {name}");
    }
}

#[test]
fn every_family_is_there_from_the_first_scrape() {
    let text = metrics().encode();
    for family in FAMILIES {
        assert!(text.contains(&format!("# HELP {} {}\n", family.name, family.help)));
        let sample = |line: &str| line.starts_with(family.name) && !line.starts_with('#');
        assert!(text.lines().any(sample), "{} has no sample", family.name);
    }
    let zero =
        "fairlane_lane_rejected_total{backend=\"replica1\",lane=\"batch\",reason=\"full\"} 0";
    assert!(text.contains(zero), "{text}");
}

#[test]
fn handles_count_where_their_indexes_say() {
    let metrics = metrics();
    metrics.lane(1, 0).admitted.inc();
    metrics.routed(Target::Replica, 0).inc_by(2);
    metrics.routed(Target::Local, 1).inc();
    metrics.backend(1).closed_total(Closed::ResetFailed).inc();
    metrics.sessions.logins_failed_total(LoginFailure::Backend).inc();
    let text = metrics.encode();
    for line in [
        "fairlane_lane_admitted_total{backend=\"replica1\",lane=\"interactive\"} 1",
        "fairlane_statements_routed_total{reason=\"plain_read\",target=\"replica\"} 2",
        "fairlane_backend_connections_closed_total{backend=\"replica1\",reason=\"reset_failed\"} 1",
        "fairlane_logins_failed_total{reason=\"backend\"} 1",
        "fairlane_backend_replication_lag_seconds{backend=\"primary\"} NaN",
    ] {
        assert!(text.contains(line), "{line} not in\n{text}");
    }
    assert_eq!(metrics.routed_sum(), 3);
}

#[test]
fn enum_numbers_are_their_places() {
    assert!(Closed::ALL.iter().enumerate().all(|(place, &it)| it as usize == place));
    assert!(Target::ALL.iter().enumerate().all(|(place, &it)| it as usize == place));
    assert!(LoginFailure::ALL.iter().enumerate().all(|(place, &it)| it as usize == place));
    assert!(Origin::ALL.iter().enumerate().all(|(place, &it)| it as usize == place));
}

#[test]
fn error_codes_beyond_the_bound_count_as_other() {
    let metrics = metrics();
    for code in 0..300 {
        metrics.error_sent(Origin::Server, 1000 + code);
    }
    metrics.error_sent(Origin::Fairlane, 1000);
    let text = metrics.encode();
    let family = "fairlane_errors_sent_total{code=";
    let codes = text.lines().filter(|line| line.starts_with(family)).count();
    assert_eq!(codes, (CODES_MAX + 1) * Origin::ALL.len());
    assert!(text.contains("fairlane_errors_sent_total{code=\"other\",origin=\"server\"} 44"));
    assert!(text.contains("fairlane_errors_sent_total{code=\"1000\",origin=\"fairlane\"} 1"));
}
