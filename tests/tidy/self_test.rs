//! Each rule finds what it is there for, and lets pass what only looks like it.

use super::rules::*;
use super::source::Source;

fn at(path: &str, text: &str) -> Source {
    Source::new(path, text)
}

#[test]
fn literals_and_comments_are_no_code() {
    let source = at(
        "src/sql/a.rs",
        "let a = \"x\\\"// y\"; // 'z\nlet b = r#\"\"k\"\"#; /* l /* m */ n */ let c = '\"'; o::<'p>('\\'')",
    );
    let code: Vec<_> = source.code.split_whitespace().collect();
    assert_eq!(code.join(" "), "let a = ; let b = ; let c = ; o::<'p>( )");
    assert_eq!(source.comments.split_whitespace().collect::<String>(), "//'z/*l/*m*/n*/");
    assert_eq!(source.code.lines().count(), source.text.lines().count());
    assert_eq!(source.code.len(), source.text.len());
}

#[test]
fn tests_are_not_shipped() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { x.unwrap() }\n}\nfn c() {}\n";
    let source = at("src/pool/a.rs", text);
    assert!(source.shipped.contains("fn a") && source.shipped.contains("fn c"));
    assert!(!source.shipped.contains("fn b"));
    assert!(unwraps(&source).is_empty());
    assert!(at("src/pool/tests.rs", "fn a() { x.unwrap() }").shipped.is_empty());
}

#[test]
fn imports_go_down_only() {
    assert!(layers(&at("src/pool/a.rs", "use crate::backend::Connection;")).is_empty());
    assert!(layers(&at("src/pool/a.rs", "use crate::pool::slot;")).is_empty());
    let findings = layers(&at("src/lanes/a.rs", "\nuse crate::pool::Pool;"));
    assert_eq!(findings, ["src/lanes/a.rs:2: lanes must not use pool"]);
    let group = "use crate::{config::{Lane, Rule}, client::Session, sql};";
    assert_eq!(layers(&at("src/lanes/mod.rs", group)).len(), 1);
    assert_eq!(layers(&at("src/lanes/mod.rs", "use super::client::Session;")).len(), 1);
    assert_eq!(layers(&at("src/lanes/a.rs", "use super::super::client::Session;")).len(), 1);
    assert!(layers(&at("src/client/pool.rs", "use super::cli::x;")).is_empty());
    assert_eq!(layers(&at("src/error.rs", "use crate::client::Session;")).len(), 1);
    assert!(layers(&at("src/lanes/a.rs", "/// See [`crate::pool::Pool`].\nfn a() {}")).is_empty());
    assert_eq!(layers(&at("src/gadget/mod.rs", "fn a() {}")).len(), 1);
    assert_eq!(layers(&at("src/main.rs", "use fairlane::pool::Pool;")).len(), 1);
}

#[test]
fn pure_folders_do_not_do_io() {
    for bad in [
        "use tokio::net::X;",
        "use tokio_util::X;",
        "async fn a() {}",
        "let now = Instant::now();",
        "use std::time::SystemTime;",
        "use std::net::TcpStream;",
        "let t = std::fs::read(p);",
    ] {
        assert_eq!(purity(&at("src/route/a.rs", bad)).len(), 1, "{bad}");
        assert!(purity(&at("src/net/a.rs", bad)).is_empty(), "{bad}");
    }
    assert!(purity(&at("src/config/a.rs", "let t = std::fs::read(p);")).is_empty());
    assert!(
        purity(&at("src/lanes/a.rs", "fn a(now: Instant, to: std::net::IpAddr) {}")).is_empty()
    );
}

#[test]
fn sessions_read_no_sql() {
    for bad in [
        "fn a() { first.eq_ignore_ascii_case(b\"use\") }",
        "fn a() { sql.trim_ascii_start() }",
        "fn a() { sql.windows(4) }",
    ] {
        assert_eq!(second_readings(&at("src/client/a.rs", bad)).len(), 1, "{bad}");
        assert!(second_readings(&at("src/sql/a.rs", bad)).is_empty());
    }
    let other = "fn a() { value.eq_ignore_ascii_case(\"off\"); name.eq_ignore_ascii_case(b) }";
    assert!(second_readings(&at("src/client/a.rs", other)).is_empty());
}

#[test]
fn sizes_are_bounded() {
    assert!(file_length(&at("src/a.rs", &"\n".repeat(800))).is_empty());
    assert_eq!(file_length(&at("src/a.rs", &"\n".repeat(801))).len(), 1);
    let function =
        |lines| format!("fn short() {{}}\nfn long(a: [u8; 2]) {{{}}}\n", "\n".repeat(lines));
    assert!(function_lengths(&at("src/a.rs", &function(99))).is_empty());
    let findings = function_lengths(&at("src/a.rs", &function(100)));
    assert_eq!(findings, ["src/a.rs:2: fn long has 101 lines; the limit is 100"]);
}

#[test]
fn files_say_what_they_are_for() {
    assert!(module_doc(&at("src/a.rs", "//! Things.\n")).is_empty());
    assert_eq!(module_doc(&at("src/a.rs", "// Things.\nuse x;")).len(), 1);
    assert_eq!(module_doc(&at("src/a.rs", "")).len(), 1);
}

#[test]
fn unwrap_needs_a_reason() {
    assert_eq!(unwraps(&at("src/a.rs", "fn a() { x.unwrap() }")).len(), 1);
    assert!(unwraps(&at("src/a.rs", "fn a() { x.unwrap_or(1); s(\".unwrap()\") }")).is_empty());
}

#[test]
fn leftovers_are_found() {
    let mark = concat!("TO", "DO");
    assert_eq!(of_source(&at("src/units.rs", &format!("//! A.\n// {mark}: b\n"))).len(), 1);
    assert_eq!(of_prose("docs/a.md", &format!("{mark}\n")).len(), 1);
    assert!(of_prose("docs/a.md", "Todos os santos.\n").is_empty());
    assert_eq!(commented_out_modules(&at("src/a.rs", "// mod gone;\n// pub mod gone;")).len(), 2);
    assert!(commented_out_modules(&at("src/a.rs", "// mod is a word;")).is_empty());
}

#[test]
fn the_glossary_is_kept() {
    for bad in ["let master = 1;", "struct SlaveView;", "fn pick_hostgroup() {}"] {
        assert_eq!(banned_names(&at("src/a.rs", bad)).len(), 1, "{bad}");
    }
    for good in ["let a = \"STOP SLAVE\";", "row.gtid_slave_pos", "let webmaster = mastered;"] {
        assert!(banned_names(&at("src/a.rs", good)).is_empty(), "{good}");
    }
    for bad in ["the master is down", "// Slaves lag", "a `b` master `c`"] {
        assert_eq!(banned_prose("docs/a.md", bad).len(), 1, "{bad}");
    }
    for good in ["SHOW SLAVE STATUS", "Seconds_Behind_Master", "what others call `master`"] {
        assert!(banned_prose("docs/a.md", good).is_empty(), "{good}");
    }
    assert!(banned_prose("docs/a.md", "```sql\nchange master to x\n```").is_empty());
}

#[test]
fn paths_of_one_machine_are_found() {
    let path = concat!("see /wo", "rk/main");
    assert_eq!(machine_paths("docs/a.md", path).len(), 1);
    assert!(machine_paths("docs/a.md", concat!("target/wo", "rk/main")).is_empty());
}

#[test]
fn facts_are_shown_by_tests() {
    let fact = "// FACT(mariadb 10.11): it\n// sends two; test: it_sends_two\nfn a() {}";
    assert_eq!(facts(&[at("src/a.rs", fact)]).len(), 1);
    let test = at("tests/a.rs", "fn it_sends_two() {}");
    assert!(facts(&[at("src/a.rs", fact), test]).is_empty());
}

#[test]
fn metrics_are_documented() {
    let names = ["fairlane_a_total", "fairlane_b"];
    let findings = metrics(names.into_iter(), "| `fairlane_a_total` | counter |");
    assert_eq!(findings, ["docs/metrics.md:1: fairlane_b is missing"]);
}

#[test]
fn links_lead_somewhere() {
    let read = |path: &str| match path {
        "docs/a.md" => Some("# One\n## Who waits, and for what?\n".to_owned()),
        "docs" | "README.md" => Some(String::new()),
        _ => None,
    };
    let of = |text: &str| links("docs/a.md", text, &read);
    for good in [
        "[a](a.md) [b](../README.md) [c](#one) [d](a.md#who-waits-and-for-what) [e](../docs/)",
        "[a](https://b.example/c.md#d)",
    ] {
        assert_eq!(of(good), [""; 0], "{good}");
    }
    assert_eq!(of("\n[a](b.md)"), ["docs/a.md:2: b.md: no such file"]);
    assert_eq!(of("![a](README.md)").len(), 1);
    assert_eq!(of("[a](#two)"), ["docs/a.md:1: #two: no such heading"]);
}
