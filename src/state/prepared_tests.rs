//! Executions as they are sent to connections.

use super::*;

#[test]
fn a_name_in_a_parameter_is_put_in_its_place() {
    let statement = |sql: &[u8], types: &[u8]| Statement {
        key: Arc::new(StatementKey::new(sql.into(), "".into(), 0)),
        types: Some(types.into()),
        ..statement(u16::try_from(types.len() / 2).expect("it fits"))
    };
    let text = |it: &Statement, payload: &[u8]| {
        it.with_values(payload).map(|text| String::from_utf8(text).expect("it is text"))
    };
    let lock = statement(b"SELECT GET_LOCK(?, ?)", &[253, 0, 8, 0]);
    let head = [0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0];
    let number = [9, 0, 0, 0, 0, 0, 0, 0];
    let first = [&head[..], &[0, 1, 253, 0, 8, 0, 3], b"job", &number].concat();
    assert_eq!(text(&lock, &first).as_deref(), Some("SELECT GET_LOCK('job', 1)"));
    let later = [&head[..], &[0, 0, 3], b"job", &number].concat();
    assert_eq!(text(&lock, &later).as_deref(), Some("SELECT GET_LOCK('job', 1)"));
    let null = [&head[..], &[1, 0], &number].concat();
    let quote = [&head[..], &[0, 0, 3], b"j'b", &number].concat();
    let short = [&head[..], &[0, 0, 30], b"job"].concat();
    for bad in [null, quote, short, Vec::new()] {
        assert_eq!(text(&lock, &bad), None);
    }
    let other = statement(b"SELECT GET_LOCK('?', ?)", &[8, 0]);
    assert_eq!(text(&other, &first), None);
}

fn statement(parameters: u16) -> Statement {
    let verdict = Verdict {
        class: crate::sql::Class::Read,
        reason: crate::sql::Reason::PlainRead,
        leading: crate::sql::Leading::Select,
        effects: crate::sql::Effects::empty(),
        needs: crate::sql::Needs::empty(),
        hint: crate::sql::Hint::default(),
        statements: 1,
        uses_table: false,
        digest: 0,
    };
    let key = StatementKey::new((*b"SELECT ?").into(), "".into(), 0);
    let image = Image::default();
    Statement {
        key: Arc::new(key),
        image,
        mode: Mode::default(),
        verdict,
        parameters,
        types: None,
        numbers: 0,
        older_types: None,
        metadata: None,
        wanted: Box::default(),
        kinds: Kinds::default(),
    }
}

#[test]
fn types_sent_once_are_sent_again_on_every_connection() {
    let mut statement = statement(1);
    let first = [&[0x17, 5, 0, 0, 0, 0, 1, 0, 0, 0][..], &[0, 1, 8, 0, 42]].concat();
    let again = [&[0x17, 5, 0, 0, 0, 0, 1, 0, 0, 0][..], &[0, 0, 43]].concat();
    let sent =
        execute(&first, 9, &mut statement, ExecuteForm::Plain, Family::MariaDb).expect("whole");
    assert_eq!(sent[1..5], [9, 0, 0, 0]);
    let sent =
        execute(&again, 7, &mut statement, ExecuteForm::Plain, Family::MariaDb).expect("whole");
    assert_eq!(sent, [&[0x17, 7, 0, 0, 0, 0, 1, 0, 0, 0][..], &[0, 1, 8, 0, 43]].concat());
    assert!(execute(&again[..10], 7, &mut statement, ExecuteForm::Plain, Family::MariaDb).is_err());
}

#[test]
fn mysql_takes_any_number_but_0_for_types_that_follow() {
    for flag in [1, 2, 255] {
        let payload = [&[0x17, 5, 0, 0, 0, 0, 1, 0, 0, 0][..], &[0, flag, 8, 0, 42]].concat();
        let run = |family| execute(&payload, 7, &mut statement(1), ExecuteForm::Plain, family);
        let sent = run(Family::MySql).expect("it is whole");
        assert_eq!(sent[EXECUTE_HEADER..], [0, 1, 8, 0, 42], "{flag}");
        assert_eq!(run(Family::MariaDb).is_ok(), flag == 1, "{flag}");
    }
}

#[test]
fn whoever_names_the_statement_prepared_last_sends_types() {
    let mut statement = statement(1);
    let whole =
        |id: u32, rest: &[u8]| [&[0x17][..], &id.to_le_bytes(), &[0, 1, 0, 0, 0], rest].concat();
    let mut told = |payload: &[u8]| {
        execute(payload, 9, &mut statement, ExecuteForm::Plain, Family::MariaDb).map(drop)
    };
    assert_eq!(told(&whole(u32::MAX, b"\0\x01\xfd\0\x01x")), Ok(()));
    for rest in [&b""[..], b"\x01", b"\0\0\x01x"] {
        assert_eq!(told(&whole(u32::MAX, rest)), Err(BadExecute::Packet), "{rest:?}");
    }
    assert_eq!(told(&whole(5, b"\0\0\x01x")), Ok(()));
    assert_eq!(told(&whole(5, b"\x01")), Err(BadExecute::Types));
}

#[test]
fn attributes_travel_behind_the_parameters_and_are_not_kept() {
    use ExecuteForm::Attributes;
    let mut statement = statement(1);
    let header = [0x17, 5, 0, 0, 0, 8, 1, 0, 0, 0];
    let with = [&header[..], b"\x02\0\x01\x08\0\0\xfe\0\x02n1", b"*\x02v1"].concat();
    let sent = execute(&with, 5, &mut statement, Attributes, Family::MySql).expect("whole");
    assert_eq!(sent, with);
    let again = [&header[..], b"\x01\0\0+"].concat();
    let sent = execute(&again, 5, &mut statement, Attributes, Family::MySql).expect("whole");
    assert_eq!(sent, [&header[..], b"\x01\0\x01\x08\0\0+"].concat());
    let bad = [&header[..], b"\x02\0\0+"].concat();
    assert_eq!(
        execute(&bad, 5, &mut statement, Attributes, Family::MySql),
        Err(BadExecute::Packet)
    );
    let unflagged = [&[0x17, 5, 0, 0, 0, 0, 1, 0, 0, 0][..], b"\x01\0\x01\x08\0\0+"].concat();
    let sent = execute(&unflagged, 5, &mut statement, Attributes, Family::MySql).expect("whole");
    assert_eq!(sent, unflagged);
    let few = [&header[..], b"\0"].concat();
    assert_eq!(
        execute(&few, 5, &mut statement, Attributes, Family::MySql),
        Err(BadExecute::Arguments)
    );
}

#[test]
fn types_of_a_bulk_execution_are_sent_on_every_connection() {
    let mut statement = statement(1);
    let first = [0xfa, 5, 0, 0, 0, 0x80, 0, 3, 0, 0, 1, 0, 0, 0];
    let sent = execute_bulk(&first, 9, &mut statement).expect("whole");
    assert_eq!(sent, [&[0xfa, 9][..], &first[2..]].concat());
    let again = [0xfa, 5, 0, 0, 0, 0x40, 0, 1];
    let sent = execute_bulk(&again, 7, &mut statement).expect("whole");
    assert_eq!(sent, [0xfa, 7, 0, 0, 0, 0xc0, 0, 3, 0, 1]);
    let execution = [0x17, 5, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 42];
    let sent =
        execute(&execution, 9, &mut statement, ExecuteForm::Plain, Family::MariaDb).expect("whole");
    assert_eq!(sent[11..], [1, 3, 0, 42], "the types are the statement's");
    statement.types = None;
    let unknown = execute_bulk(&again, 7, &mut statement);
    assert_eq!(unknown, Err(BadExecute::Types));
    let cut = execute_bulk(&first[..6], 7, &mut statement);
    assert_eq!(cut, Err(BadExecute::Packet));
}

#[test]
fn an_empty_mode_is_not_the_default() {
    let mut empty = Image::default();
    empty.set("sql_mode", "");
    assert_ne!(circumstances(&empty, false), circumstances(&Image::default(), false));
}

#[test]
fn what_is_not_known_to_be_harmless_is_a_circumstance() {
    let with = |name, value| {
        let mut image = Image::default();
        image.set(name, value);
        circumstances(&image, false)
    };
    let none = circumstances(&Image::default(), false);
    for name in ["old_mode", "character_set_collations", "windowing_use_high_precision"] {
        assert_ne!(with(name, "a"), none, "{name}");
        assert_ne!(with(name, "a"), with(name, "b"), "{name}");
    }
    for name in ["autocommit", "wait_timeout", "@a"] {
        assert_eq!(with(name, "a"), none, "{name}");
    }
}

#[test]
fn only_circumstances_of_the_text_come_back_when_it_is_prepared_again() {
    let (mut now, mut then) = (Image::default(), Image::default());
    now.schema = Some("now".into());
    now.set("autocommit", "OFF");
    now.set("sql_mode", "ANSI_QUOTES");
    now.set("collation_connection", "utf8mb4_bin");
    then.schema = Some("then".into());
    then.set("autocommit", "ON");
    then.set("time_zone", "+01:00");
    then.set("character_set_connection", "latin1");
    let image = image_to_prepare(&now, &then, false);
    assert_eq!(image.schema.as_deref(), Some("then"));
    let expected =
        [("autocommit", "OFF"), ("character_set_connection", "latin1"), ("time_zone", "+01:00")];
    assert_eq!(image.variables().collect::<Vec<_>>(), expected);
}

#[test]
fn statements_alike_have_keys_of_their_own() {
    let mut statements = Statements::default();
    statements.insert(1, statement(0));
    let second = statements.new_key(b"SELECT ?", "".into());
    assert_eq!(second.copy, 1);
    statements.insert(2, Statement { key: Arc::new(second), ..statement(0) });
    assert_eq!(statements.new_key(b"SELECT ?", "".into()).copy, 2);
    statements.remove(1);
    assert_eq!(statements.new_key(b"SELECT ?", "".into()).copy, 0);
    assert_eq!(statements.new_key(b"SELECT 2", "".into()).copy, 0);
    // One is closed between the choice of a key and its use.
    let third = statements.new_key(b"SELECT ?", "".into());
    statements.remove(2);
    statements.insert(3, Statement { key: Arc::new(third), ..statement(0) });
    assert_eq!(statements.new_key(b"SELECT ?", "".into()).copy, 1);
    statements.remove(3);
    assert!(statements.copies.is_empty());
}

#[test]
fn the_first_free_number_is_the_next_copys() {
    let mut copies = Copies::default();
    (0..4).for_each(|copy| copies.take(copy));
    for (freed, first) in [(1, 1), (0, 0), (3, 0)] {
        copies.give_back(freed);
        assert_eq!(copies.first_free(), first);
    }
    copies.take(0);
    assert_eq!((copies.first_free(), copies.next), (1, 3));
    copies.give_back(2);
    assert_eq!((copies.first_free(), copies.next, copies.free.len()), (1, 1, 0));
    // Those in front of it have been given back since it was chosen.
    copies.take(3);
    assert_eq!((copies.first_free(), copies.next), (1, 4));
}

#[test]
fn ids_are_never_the_reserved_ones() {
    let mut statements = Statements { last_id: u32::MAX - 2, ..Statements::default() };
    let id = statements.next_id();
    assert_eq!(id, u32::MAX - 1);
    statements.insert(id, statement(0));
    assert_eq!(statements.next_id(), 1);
    assert_eq!(statements.resolve(u32::MAX), id);
}
