//! The decision: first words to class, reason and effects.

use super::digest::{Hash, Normaliser};
use super::lexer::{Kind, Lexer};
use super::mode::Mode;
use super::scan::Scan;
use super::verdict::{Class, Effects, Hint, Needs, Reason, Verdict};

/// Classifies a text. Linear in its length; never fails.
pub fn classify(sql: &[u8], mode: Mode) -> Verdict {
    let mut lexer = Lexer::new(sql, mode);
    let mut digest = Normaliser::<Hash>::default();
    let mut verdict = Verdict {
        class: Class::Write,
        reason: Reason::Empty,
        effects: Effects::empty(),
        needs: Needs::empty(),
        hint: Hint::default(),
        digest: 0,
        statements: 0,
        uses_table: false,
    };
    loop {
        let scan = Scan::run(&mut lexer, &mut digest);
        if !scan.is_empty() {
            add(&mut verdict, &scan);
        }
        if scan.end != Kind::Punct(b';') {
            break;
        }
    }
    verdict.hint = std::mem::take(&mut lexer.hint);
    verdict.digest = digest.finish().finish();
    verdict
}

/// Adds one more statement to the verdict on a text.
fn add(verdict: &mut Verdict, scan: &Scan<'_>) {
    let (class, reason, effects) = judge(scan);
    let effects = effects | scan.effects;
    verdict.statements = verdict.statements.saturating_add(1);
    if effects.contains(Effects::TABLE_LOCK) {
        verdict.effects -= Effects::UNLOCK_TABLES;
    }
    if effects.contains(Effects::UNLOCK_TABLES) {
        verdict.effects -= Effects::TABLE_LOCK;
    }
    verdict.effects |= effects;
    verdict.uses_table |= uses_table(class, scan);
    verdict.needs |= scan.needs;
    let is_kill =
        matches!(class, Class::Kill { .. }) || matches!(verdict.class, Class::Kill { .. });
    if is_kill && verdict.statements > 1 {
        verdict.effects |= Effects::KILL;
    }
    (verdict.class, verdict.reason) = match verdict.statements {
        1 => (class, reason),
        _ => (Class::Write, Reason::MultiStatement),
    };
}

fn uses_table(class: Class, scan: &Scan<'_>) -> bool {
    match class {
        Class::Read | Class::Write => {
            let is_expression = ["select", "do", "values"].iter().any(|word| scan.is(0, word));
            scan.has_from || !is_expression
        }
        Class::Begin { .. }
        | Class::Commit
        | Class::Rollback
        | Class::Session
        | Class::Diagnostics
        | Class::Kill { .. } => false,
    }
}

type Judgement = (Class, Reason, Effects);

const NONE: Effects = Effects::empty();

fn write(effects: Effects) -> Judgement {
    (Class::Write, Reason::NotARead, effects)
}

fn judge(scan: &Scan<'_>) -> Judgement {
    if scan.end == Kind::Broken {
        return (Class::Write, Reason::NotUnderstood, Effects::OPAQUE);
    }
    let mut buffer = [0; 16];
    let word = scan.first[0];
    let Some(lower) = buffer.get_mut(..word.text.len()) else {
        return (Class::Write, Reason::NotUnderstood, Effects::OPAQUE);
    };
    if word.kind != Kind::Word {
        return (Class::Write, Reason::NotUnderstood, Effects::OPAQUE);
    }
    lower.copy_from_slice(word.text);
    lower.make_ascii_lowercase();
    match &*lower {
        b"select" | b"values" | b"table" => read(scan),
        b"with" if scan.has_write_word => (Class::Write, Reason::WrapsWrite, NONE),
        b"with" => read(scan),
        b"insert" | b"replace" | b"update" | b"delete" => dml(),
        b"set" => set(scan),
        b"use" => (Class::Session, Reason::SessionControl, NONE),
        b"begin" | b"start" | b"commit" | b"rollback" | b"savepoint" | b"release" | b"xa" => {
            transaction(&*lower, scan)
        }
        b"show" => show(scan),
        b"describe" | b"desc" | b"explain" => explain(scan),
        b"get" => (Class::Diagnostics, Reason::Diagnostics, Effects::USER_VARIABLE),
        b"kill" => kill(scan),
        b"do" => (Class::Write, scan.doubt.unwrap_or(Reason::NotARead), NONE),
        b"lock" | b"backup" => write(Effects::TABLE_LOCK),
        b"unlock" => write(Effects::UNLOCK_TABLES),
        b"flush" if scan.has_lock_words => write(Effects::TABLE_LOCK),
        b"handler" => write(Effects::HANDLER),
        b"prepare" => write(Effects::SQL_PREPARE),
        b"execute" => write(Effects::OPAQUE | Effects::SQL_PREPARE),
        b"deallocate" | b"drop" if scan.is(1, "prepare") => write(NONE),
        b"call" => write(Effects::OPAQUE),
        b"load" if scan.is(1, "data") || scan.is(1, "xml") => write(Effects::LOCAL_INFILE),
        b"create" | b"alter" | b"drop" | b"rename" | b"truncate" | b"grant" | b"revoke"
        | b"analyze" | b"optimize" | b"repair" | b"check" | b"install" | b"uninstall" | b"load"
        | b"cache" => write(Effects::IMPLICIT_COMMIT),
        b"checksum" | b"flush" | b"reset" | b"purge" | b"change" | b"stop" | b"binlog"
        | b"help" | b"shutdown" | b"signal" | b"resignal" | b"import" | b"clone" | b"restart" => {
            write(NONE)
        }
        _ => (Class::Write, Reason::NotUnderstood, Effects::OPAQUE),
    }
}

fn dml() -> Judgement {
    write(NONE)
}

fn read(scan: &Scan<'_>) -> Judgement {
    if scan.needs.contains(Needs::DIAGNOSTICS) && !scan.has_from {
        return (Class::Diagnostics, Reason::Diagnostics, NONE);
    }
    match scan.doubt {
        None => (Class::Read, Reason::PlainRead, NONE),
        Some(reason) => (Class::Write, reason, NONE),
    }
}

fn set(scan: &Scan<'_>) -> Judgement {
    let session = |effects| (Class::Session, Reason::SessionControl, effects);
    let is = |index, word| scan.is(index, word);
    if scan.sets_global {
        return write(NONE);
    }
    if is(1, "password") || is(1, "default") || is(1, "resource") {
        return write(NONE);
    }
    if is(1, "role") {
        return session(Effects::ROLE);
    }
    if is(1, "statement") {
        return write(Effects::SET_STATEMENT);
    }
    if is(1, "transaction") {
        return session(Effects::NEXT_TRANSACTION);
    }
    let unknown_call = scan.effects.contains(Effects::OPAQUE);
    session(if unknown_call { Effects::OPAQUE } else { NONE })
}

fn transaction(word: &[u8], scan: &Scan<'_>) -> Judgement {
    let control = |class, effects| (class, Reason::TransactionControl, effects);
    let has = |word: &str| scan.first.iter().skip(1).any(|token| token.is(word));
    match word {
        b"begin" if has("not") => (Class::Write, Reason::NotUnderstood, Effects::OPAQUE),
        b"begin" if scan.first[1].kind == Kind::End || scan.is(1, "work") => {
            control(Class::Begin { read_only: false }, NONE)
        }
        b"start" if scan.is(1, "transaction") => {
            control(Class::Begin { read_only: has("only") }, NONE)
        }
        b"start" => write(NONE),
        b"begin" => (Class::Write, Reason::NotUnderstood, Effects::OPAQUE),
        b"rollback" if has("to") => control(Class::Write, Effects::SAVEPOINT),
        b"savepoint" | b"release" => control(Class::Write, Effects::SAVEPOINT),
        b"xa" => {
            let is_open = ["start", "begin", "end", "prepare"].iter().any(|verb| scan.is(1, verb));
            control(Class::Write, if is_open { Effects::XA } else { NONE })
        }
        _ => {
            let mut releases = false;
            for pair in scan.first.windows(2) {
                releases |= pair[1].is("release") && !pair[0].is("no");
            }
            let effects = if releases { Effects::RELEASE } else { NONE };
            let class = if word == b"commit" { Class::Commit } else { Class::Rollback };
            control(class, effects)
        }
    }
}

fn show(scan: &Scan<'_>) -> Judgement {
    let mut index = 1;
    while ["full", "extended", "session", "local"].iter().any(|word| scan.is(index, word)) {
        index += 1;
    }
    let is = |word| scan.is(index, word);
    if is("warnings") || is("errors") || is("count") {
        return (Class::Diagnostics, Reason::Diagnostics, NONE);
    }
    let dictionary =
        ["tables", "columns", "fields", "index", "indexes", "keys", "databases", "schemas"];
    let creates = is("create")
        && ["table", "view", "database", "schema"].iter().any(|word| scan.is(index + 1, word));
    if (dictionary.iter().any(|word| is(word)) || creates) && scan.doubt.is_none() {
        return (Class::Read, Reason::DictionaryRead, NONE);
    }
    (Class::Write, scan.doubt.unwrap_or(Reason::ServerSpecific), NONE)
}

fn explain(scan: &Scan<'_>) -> Judgement {
    let analyzes = scan.first.iter().skip(1).any(|token| token.is("analyze"));
    let for_connection = scan.is(1, "for") || scan.is(3, "for") || scan.is(4, "for");
    let writes = scan.has_write_word || analyzes;
    if writes {
        return (Class::Write, Reason::WrapsWrite, NONE);
    }
    if for_connection {
        return (Class::Write, Reason::ServerSpecific, NONE);
    }
    match scan.doubt {
        Some(reason) => (Class::Write, reason, NONE),
        None if scan.is(1, "select") => (Class::Read, Reason::PlainRead, NONE),
        None => (Class::Read, Reason::DictionaryRead, NONE),
    }
}

fn kill(scan: &Scan<'_>) -> Judgement {
    let mut index = 1;
    if scan.is(index, "hard") || scan.is(index, "soft") {
        index += 1;
    }
    let query = scan.is(index, "query");
    if query || scan.is(index, "connection") {
        index += 1;
    }
    let number = std::str::from_utf8(scan.first[index].text).ok().and_then(|id| id.parse().ok());
    match number {
        Some(id) if scan.first[index + 1].kind == Kind::End => {
            (Class::Kill { query, id }, Reason::Kill, NONE)
        }
        _ if scan.is(index, "user") => (Class::Write, Reason::Kill, NONE),
        _ => (Class::Write, Reason::Kill, Effects::KILL),
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
