//! The routing table: what each statement is, why, and what it leaves behind
//! (`tests/data/routing.tsv`).

use fairlane::sql::{Class, Effects, Mode, classify};

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Read => "read",
        Class::Write => "write",
        Class::Begin { read_only: false } => "begin",
        Class::Begin { read_only: true } => "begin_read_only",
        Class::Commit => "commit",
        Class::Rollback => "rollback",
        Class::Session => "session",
        Class::Diagnostics => "diagnostics",
        Class::Kill { .. } => "kill",
    }
}

#[test]
fn every_statement_has_its_class_reason_and_effects() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("data/routing.tsv").lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.splitn(4, '\t').collect();
        let [class, reason, effects, sql] = fields[..] else { panic!("bad line: {line}") };
        count += 1;
        let verdict = classify(sql.as_bytes(), Mode::default());
        let expected = effects
            .split('|')
            .filter(|name| *name != "-")
            .fold(Effects::empty(), |effects, name| {
                effects | Effects::from_name(name).unwrap_or_else(|| panic!("{name}"))
            });
        let found = (class_name(verdict.class), verdict.reason.label(), verdict.effects);
        if found != (class, reason, expected) {
            wrong.push(format!(
                "{sql}\n    expected {class} {reason} {expected:?}\n    found    {found:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 150, "{count} statements");
}
