//! The commands that turn one image into another.

use super::TransactionNames;
use super::image::{
    BIG_SELECTS, Base, CHARSETS, Image, LEFT_BY_RESET, MAX_JOIN_SIZE, SCHEMA_VARIABLES,
    is_user_variable,
};
use super::transaction_names::READ_ONLY;

/// Commands to send in front of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// Schema to change to with COM_INIT_DB.
    pub schema: Option<Box<str>>,
    /// Text of a SET statement.
    pub set: Option<String>,
}

impl Diff {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.schema.is_none() && self.set.is_none()
    }
}

/// A difference behind a fuse: between the two commands, and where one of them fails, the session
/// is one that can only read, so that its server refuses to change any row of a table others can see
/// (error 1792).
///
/// FACT(mariadb 10.11, mysql 9.7): that hangs on the session's variable also outside of
/// transactions, whatever the table's engine; test:
/// `a_change_behind_a_fuse_runs_in_its_own_state_or_not_at_all`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fused {
    /// The first command.
    pub fuse: String,
    /// The last one, a SET; between them the schema is chosen.
    pub set: String,
}

impl Diff {
    /// This difference behind a fuse. Of a session that can write, on a connection that has begun
    /// as one.
    pub fn fused(&self, names: TransactionNames) -> Fused {
        let read_only = names.read_only();
        let is_there = match &self.schema {
            None => String::new(),
            Some(schema) => {
                let name: String = schema.bytes().map(|byte| format!("{byte:02X}")).collect();
                format!(" AND HEX(DATABASE())<=>'{name}'")
            }
        };
        let after = format!("IF(@@{read_only}{is_there},0,1)");
        let mut set = self.set.clone().unwrap_or_default();
        assign(&mut set, read_only, &after);
        Fused { fuse: format!("SET {read_only}=1"), set }
    }
}

/// Whether a connection with image `from` can be given image `to`: a schema can be changed, but
/// not left.
pub fn is_reachable(from: &Image, to: &Image) -> bool {
    from.schema.is_none() || to.schema.is_some()
}

/// How many things differ: to choose the cheapest of several connections.
pub fn distance(from: &Image, to: &Image) -> usize {
    let mut schema = usize::from(from.schema != to.schema);
    if to.has_servers_collation() && (schema > 0 || !from.has_servers_collation()) {
        schema += RESET;
    }
    if from.same_variables(to) {
        return schema;
    }
    let changed = to.variables().filter(|&(name, value)| from.get(name) != Some(value)).count();
    let extra = from.variables().filter(|&(name, _)| to.get(name).is_none()).count();
    let reset = if from.has_user_variables_beside(to) { RESET } else { 0 };
    schema + changed + extra + reset
}

/// A reset takes more than any number of variables.
const RESET: usize = 1000;

/// The commands that turn `from` into `to`; `insert_id` is the LAST_INSERT_ID() wanted on top.
pub fn diff(from: &Image, to: &Image, base: &Base, insert_id: Option<u64>) -> Diff {
    let mut diff = Diff::default();
    if from.schema != to.schema {
        diff.schema = to.schema.clone();
    }
    // The choice of a schema sets its variables anew.
    let is_reset = |name: &str| diff.schema.is_some() && SCHEMA_VARIABLES.contains(&name);
    let own_name = |name| base.transaction.own(name);
    // What only reads stays so.
    let is_carried = |name: &str| !base.only_reads || !READ_ONLY.contains(&name);
    let mut set = String::new();
    if !from.same_variables(to) || to.variables().any(|(name, _)| is_reset(name)) {
        put_charsets(&mut set, from, to, base);
        let is_other = |name: &str| !CHARSETS.contains(&name) && is_carried(name);
        for (name, _) in from.variables().filter(|&(name, _)| to.get(name).is_none()) {
            match name {
                "session_track_gtids" => assign(&mut set, name, "'OWN_GTID'"),
                _ if is_user_variable(name) => {}
                "sql_mode" => assign(&mut set, name, &quoted(&base.sql_mode)),
                _ if is_other(name) => {
                    // The global value may be another by now.
                    let begun = base.of_login(name).map(|value| &**value);
                    let begun = begun.or_else(|| base.kept.get(name));
                    let value = match begun.map(|value| literal(name, value)) {
                        Some(begun) => begun,
                        None if HAVE_WRONG_DEFAULT.contains(&name) => format!("@@global.{name}"),
                        None => "DEFAULT".to_owned(),
                    };
                    assign(&mut set, own_name(name), &value);
                }
                _ => {}
            }
        }
        // Setting the one sets the other, which comes behind it.
        let is_undone =
            |name: &str| name == BIG_SELECTS && from.get(MAX_JOIN_SIZE) != to.get(MAX_JOIN_SIZE);
        let is_new = |&(name, value): &(&str, &str)| {
            // That nothing but a reset gives.
            let is_left = name == LEFT_BY_RESET && value.is_empty();
            let is_news = from.get(name) != Some(value) || is_undone(name) || is_reset(name);
            is_other(name) && !is_left && is_news
        };
        for (name, value) in to.variables().filter(is_new) {
            match name.strip_prefix('@') {
                Some(name) => assign(&mut set, &format!("@`{name}`"), value),
                None => assign(&mut set, own_name(name), &literal(name, value)),
            }
        }
    }
    if let Some(insert_id) = insert_id {
        assign(&mut set, "last_insert_id", &insert_id.to_string());
    }
    diff.set = Some(set).filter(|set| !set.is_empty());
    diff
}

/// Character sets go back to those of a `SET NAMES` or of the login first: what was set one by one
/// comes after that, and setting one of the connection's two may undo the other.
fn put_charsets(set: &mut String, from: &Image, to: &Image, base: &Base) {
    if CHARSETS.iter().all(|name| from.get(name) == to.get(name)) {
        return;
    }
    match to.names().or_else(|| base.names()) {
        Some((charset, collation)) => {
            set.push_str(&format!("SET NAMES '{charset}' COLLATE '{collation}'"));
        }
        None => {
            assign(set, "character_set_client", &literal("", &base.client));
            assign(set, "character_set_results", &literal("character_set_results", &base.results));
            assign(set, "collation_connection", &literal("", &base.collation));
        }
    }
    for &name in &CHARSETS[..CHARSETS.len() - 1] {
        if let Some(value) = to.get(name) {
            assign(set, name, &literal(name, value));
        }
    }
}

fn assign(set: &mut String, name: &str, value: &str) {
    set.push_str(if set.is_empty() { "SET " } else { "," });
    set.push_str(name);
    set.push('=');
    set.push_str(value);
}

/// Variables for which MySQL (9.7) takes DEFAULT as OFF, whatever their global value is.
const HAVE_WRONG_DEFAULT: &[&str] = &["foreign_key_checks", "unique_checks"];

/// Variables that may be NULL, and never an empty text.
const MAY_BE_NULL: &[&str] =
    &["character_set_results", "default_tmp_storage_engine", "enforce_storage_engine"];

/// Variables whose value may be a text of digits, for which a bare number is refused (1232).
const ARE_TEXTS: &[&str] =
    &["default_master_connection", "external_table_secondary_storage_engine"];

/// A tracked value as SET takes it. Trackers write numbers, names and texts alike, and an empty
/// text for NULL; a quoted number is refused for a numeric variable.
fn literal(name: &str, value: &str) -> String {
    if value.is_empty() && MAY_BE_NULL.contains(&name) {
        return "NULL".to_owned();
    }
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_number = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().filter(|&byte| byte == b'.').count() <= 1
        && digits != ".";
    if is_number && !ARE_TEXTS.contains(&name) {
        return value.to_owned();
    }
    quoted(value)
}

/// A text as SET takes it, whatever the sql_mode is.
pub(super) fn quoted(value: &str) -> String {
    // Doubling the quote is right in every sql_mode; a backslash is not, hence the hexadecimal.
    match value.contains('\\') {
        false => format!("'{}'", value.replace('\'', "''")),
        true => {
            let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
            format!("CONVERT(x'{hex}' USING utf8mb4)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::kept;

    fn base() -> Base {
        let utf8mb4 = String::from("utf8mb4");
        Base {
            client: utf8mb4.clone(),
            results: utf8mb4,
            collation: "utf8mb4_general_ci".to_owned(),
            sql_mode: "ANSI_QUOTES".into(),
            of_login: Default::default(),
            kept: Default::default(),
            transaction: TransactionNames::Short,
            only_reads: false,
        }
    }

    #[test]
    fn what_only_reads_stays_so() {
        let (mut writes, plain) = (Image::default(), Image::default());
        writes.set("tx_read_only", "OFF");
        let only_reads = Base { only_reads: true, ..base() };
        for (from, to) in [(&writes, &plain), (&plain, &writes)] {
            assert!(!diff(from, to, &base(), None).is_empty());
            assert!(diff(from, to, &only_reads, None).is_empty());
        }
    }

    #[test]
    fn what_a_variable_sets_unseen_is_set_behind_it() {
        let (mut from, mut to) = (Image::default(), Image::default());
        from.set("max_join_size", "50");
        from.set("sql_big_selects", "OFF");
        to.set("sql_big_selects", "OFF");
        let back = diff(&from, &to, &base(), None).set;
        assert_eq!(back.as_deref(), Some("SET max_join_size=DEFAULT,sql_big_selects='OFF'"));
        to.set("max_join_size", "60");
        let set = diff(&from, &to, &base(), None).set.unwrap_or_default();
        assert_eq!(set, "SET max_join_size=60,sql_big_selects='OFF'");
    }

    #[test]
    fn the_choice_of_a_schema_does_not_set_what_was_set_in_its_place() {
        let (mut from, mut to) = (Image::default(), Image::default());
        for image in [&mut from, &mut to] {
            image.schema = Some("shop".into());
            image.set("character_set_database", "latin1");
        }
        assert!(diff(&from, &to, &base(), None).is_empty());
        from.schema = Some("other".into());
        let set = diff(&from, &to, &base(), None).set;
        assert_eq!(set.as_deref(), Some("SET character_set_database='latin1'"));
    }

    #[test]
    fn a_difference_is_one_statement_and_equal_images_cost_nothing() {
        let (mut from, mut to) = (Image::default(), Image::default());
        assert!(diff(&from, &to, &base(), None).is_empty());
        from.set("collation_connection", "latin1_bin");
        from.set("wait_timeout", "100");
        to.set("sql_mode", "A'B");
        to.set("autocommit", "OFF");
        to.schema = Some("shop".into());
        let diff = diff(&from, &to, &base(), Some(7));
        assert_eq!(diff.schema.as_deref(), Some("shop"));
        assert_eq!(
            diff.set.as_deref(),
            Some(
                "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_general_ci',wait_timeout=DEFAULT,\
                 autocommit='OFF',sql_mode='A''B',last_insert_id=7"
            )
        );
        assert_eq!(distance(&from, &to), 5);
    }

    #[test]
    fn checks_go_back_to_what_they_are_globally() {
        let mut from = Image::default();
        from.set("foreign_key_checks", "OFF");
        from.set("sql_safe_updates", "ON");
        let set = diff(&from, &Image::default(), &base(), None).set;
        let text = "SET foreign_key_checks=@@global.foreign_key_checks,sql_safe_updates=DEFAULT";
        assert_eq!(set.as_deref(), Some(text));
    }

    #[test]
    fn what_a_connection_began_with_is_set_again() {
        let mut from = Image::default();
        from.set("foreign_key_checks", "OFF");
        from.set("max_join_size", "50");
        from.set("sql_big_selects", "OFF");
        from.set("tx_read_only", "ON");
        let kept = kept::Kept::told(&kept::NAMES.map(|_| "1").join("|"));
        let set = diff(&from, &Image::default(), &Base { kept, ..base() }, None).set;
        let text = "SET foreign_key_checks=1,max_join_size=1,sql_big_selects=1,tx_read_only=1";
        assert_eq!(set.as_deref(), Some(text));
    }

    #[test]
    fn limits_go_back_to_those_of_the_login() {
        let mut from = Image::default();
        from.set("max_statement_time", "100");
        from.set("wait_timeout", "100");
        from.set("autocommit", "ON");
        let of_login = ["5.000000".into(), "".into(), "0".into()];
        let base = Base { of_login, ..base() };
        let text = "SET autocommit=0,max_statement_time=5.000000,wait_timeout=DEFAULT";
        let set = diff(&from, &Image::default(), &base, None).set;
        assert_eq!(set.as_deref(), Some(text));
        let mut now = Image::default();
        now.set_of_login(&base, &base);
        assert!(diff(&now, &Image::default(), &base, None).is_empty());
        let of_login = ["0.000000".into(), "".into(), "0".into()];
        now.set_of_login(&Base { of_login, ..base.clone() }, &base);
        let set = diff(&now, &Image::default(), &base, None).set;
        assert_eq!(set.as_deref(), Some("SET max_statement_time=5.000000"));
    }

    #[test]
    fn what_was_set_after_names_follows_them() {
        let (from, mut to) = (Image::default(), Image::default());
        to.set_names(("latin1", "latin1_bin"), &base());
        to.set("character_set_results", "");
        let there = diff(&from, &to, &base(), None).set;
        let text = "SET NAMES 'latin1' COLLATE 'latin1_bin',character_set_results=NULL";
        assert_eq!(there.as_deref(), Some(text));
        let back = diff(&to, &from, &base(), None).set;
        assert_eq!(back.as_deref(), Some("SET NAMES 'utf8mb4' COLLATE 'utf8mb4_general_ci'"));
        let mixed = Base { results: String::new(), ..base() };
        let back = diff(&to, &from, &mixed, None).set;
        let text = "SET character_set_client='utf8mb4',character_set_results=NULL,\
                    collation_connection='utf8mb4_general_ci'";
        assert_eq!(back.as_deref(), Some(text));
    }

    #[test]
    fn numbers_are_bare_and_null_is_null() {
        assert_eq!(literal("max_statement_time", "5.000000"), "5.000000");
        assert_eq!(literal("character_set_results", ""), "NULL");
        assert_eq!(literal("default_tmp_storage_engine", ""), "NULL");
        assert_eq!(literal("default_master_connection", "5"), "'5'");
        assert_eq!(literal("sql_mode", ""), "''");
        assert_eq!(literal("time_zone", "+02:00"), "'+02:00'");
        assert_eq!(literal("x", "a\\b"), "CONVERT(x'615c62' USING utf8mb4)");
    }

    #[test]
    fn a_fuse_is_taken_out_last_and_only_in_the_right_schema() {
        let set = Some("SET time_zone='+01:00'".to_owned());
        let fused = Diff { schema: None, set }.fused(TransactionNames::Short);
        assert_eq!(fused.fuse, "SET tx_read_only=1");
        assert_eq!(fused.set, "SET time_zone='+01:00',tx_read_only=IF(@@tx_read_only,0,1)");
        let fused = Diff { schema: Some("sh".into()), set: None }.fused(TransactionNames::Long);
        let is_right = "@@transaction_read_only AND HEX(DATABASE())<=>'7368'";
        let text = format!("SET transaction_read_only=IF({is_right},0,1)");
        assert_eq!(fused.set, text);
    }

    #[test]
    fn variables_of_transactions_are_named_as_the_server_does() {
        let (mut from, mut to) = (Image::default(), Image::default());
        from.set("tx_read_only", "ON");
        to.set("tx_isolation", "READ-COMMITTED");
        let short = diff(&from, &to, &base(), None).set.unwrap_or_default();
        assert_eq!(short, "SET tx_read_only=DEFAULT,tx_isolation='READ-COMMITTED'");
        let base = Base { transaction: TransactionNames::Long, ..base() };
        let long = diff(&from, &to, &base, None).set.unwrap_or_default();
        let names = "SET transaction_read_only=DEFAULT,transaction_isolation='READ-COMMITTED'";
        assert_eq!(long, names);
    }

    #[test]
    fn a_schema_can_not_be_left() {
        let mut with = Image::default();
        with.schema = Some("shop".into());
        assert!(!is_reachable(&with, &Image::default()));
        assert!(is_reachable(&Image::default(), &with));
    }
}
