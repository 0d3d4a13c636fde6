//! `fairlane explain "SQL"`

use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::check::{describe_rule, fresh_words};
use crate::config::{self, Overrides, Settings, settings::Consistency};
use crate::lanes::{ClientFacts, LaneChoice, Rules};
use crate::route::freshness::Position;
use crate::route::token::Token;
use crate::route::view::{BackendId, ReplicaView, Rotation, View};
use crate::route::{self, Isolation, Reason, SessionView, Target};
use crate::sql::{self, Class, Effects, Mode, Needs, Verdict};
use crate::state::{Pin, Pins};

/// The statement, and who would run it.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The statement text.
    sql: String,
    /// Configuration file; without one, the defaults with one replica.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// User name of the client.
    #[arg(long, default_value = "app")]
    user: String,
    /// Address of the client.
    #[arg(long, default_value = "127.0.0.1")]
    network: IpAddr,
    /// Connection attribute program_name of the client.
    #[arg(long, default_value = "")]
    program: String,
    /// Current schema of the session.
    #[arg(long, default_value = "")]
    schema: String,
    /// sql_mode of the session.
    #[arg(long, default_value = "")]
    sql_mode: String,
    /// What SELECT VERSION() says at the primary: servers have other functions, and other comments.
    #[arg(long, default_value = "10.11.0-MariaDB")]
    server_version: String,
}

/// Prints the explanation.
pub(super) fn run(args: &ExplainArgs) -> anyhow::Result<()> {
    let settings = match &args.config {
        Some(path) => config::load(path)?,
        None => config::from_urls(
            "mysql://service@primary",
            &["mysql://replica".to_owned()],
            &Overrides::default(),
        )?,
    };
    std::io::stdout().write_all(explain(args, &settings).as_bytes()).context("writing the answer")
}

fn explain(args: &ExplainArgs, settings: &Settings) -> String {
    let mode = Mode::new(&args.sql_mode, "utf8mb4", &args.server_version);
    let verdict = sql::classify(args.sql.as_bytes(), mode);
    let digest = sql::digest_text(args.sql.as_bytes(), mode);
    let digest_hash = sql::digest(args.sql.as_bytes(), mode);
    let rules = Rules::new(settings);
    let client = ClientFacts {
        user: args.user.clone(),
        address: args.network,
        program_name: args.program.clone(),
    };
    let choice = rules.choose(
        &rules.candidates(&client),
        verdict.hint.lane.as_deref().and_then(|name| rules.lane(name)),
        Some(&args.schema),
        || digest_hash,
        || digest.clone(),
    );
    let mut lines = vec![
        format!("statement   {digest}"),
        format!("digest      {digest_hash:016x}"),
        format!("read as     {} does (--server-version)", args.server_version),
        format!("class       {}", class_words(&verdict)),
        format!("because     {} ({})", verdict.reason.describe(), verdict.reason.label()),
        format!("goes to     {}", target_words(&verdict, settings)),
        format!("lane        {}", lane_words(&verdict, choice, settings)),
    ];
    let pins: Vec<&str> = Pins::of_effects(verdict.effects).reasons().map(Pin::label).collect();
    if !pins.is_empty() {
        lines.push(format!("pins        the session to its connection: {}", pins.join(", ")));
    }
    if verdict.effects.contains(Effects::OPAQUE) {
        lines.push(
            "may pin     the session, if the server reports a change of its state".to_owned(),
        );
    }
    let needs = needs_words(verdict.needs);
    if !needs.is_empty() {
        lines.push(format!("needs       the session's own {}", needs.join(", ")));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn class_words(verdict: &Verdict) -> String {
    let class = match verdict.class {
        Class::Read => "read",
        Class::Write => "write, or unsure",
        Class::Begin { read_only: true } => "begin of a read-only transaction",
        Class::Begin { read_only: false } => "begin of a transaction",
        Class::Commit => "commit",
        Class::Rollback => "rollback",
        Class::Session => "change of the session",
        Class::Diagnostics => "question about the previous statement",
        Class::Kill { query: true, .. } => "end of another session's statement",
        Class::Kill { query: false, .. } => "end of another session",
    };
    match verdict.statements {
        0 | 1 => class.to_owned(),
        many => format!("{class} ({many} statements)"),
    }
}

/// Decides as for a session that has written nothing and holds nothing, with all replicas well.
fn target_words(verdict: &Verdict, settings: &Settings) -> String {
    let replica = |index| ReplicaView {
        backend: BackendId::new(index),
        rotation: Rotation::In,
        lag: None,
        applied: Position::default(),
        generation: 0,
        silent: None,
    };
    let view = View {
        primary_up: true,
        is_primary_silent: false,
        replicas: (1..settings.backends.len()).map(replica).collect(),
    };
    let policy = match settings.routing.replica_reads {
        true => settings.routing.consistency,
        false => Consistency::Strong,
    };
    let token = Token::default();
    let session = SessionView {
        autocommit: true,
        isolation: Isolation::Committed,
        id: 0,
        token: &token,
        is_unlogged: false,
        has_seen_more: false,
        last: None,
    };
    let decision = route::decide(verdict, session, policy, &view, |_| 0);
    let target = match decision.target {
        Target::Primary => "the primary".to_owned(),
        Target::Replica(_) => format!(
            "a replica{} (outside transactions; else the primary)",
            fresh_words(&settings.routing)
        ),
    };
    match decision.reason {
        Reason::Statement(_) => target,
        other => format!("{target} ({})", other.label()),
    }
}

fn lane_words(verdict: &Verdict, choice: LaneChoice, settings: &Settings) -> String {
    let name = &settings.lanes[choice.lane].name;
    let unknown = verdict.hint.lane.as_deref().filter(|hint| *hint != name.as_str());
    let why = match choice.rule {
        Some(rule) => describe_rule(&settings.rules[rule], settings),
        None if verdict.hint.lane.is_some() && unknown.is_none() => "the hint says so".to_owned(),
        None => "no rule matches".to_owned(),
    };
    match unknown {
        Some(hint) => format!("{name}: {why} (there is no lane {hint})"),
        None => format!("{name}: {why}"),
    }
}

fn needs_words(needs: Needs) -> Vec<&'static str> {
    let table = [
        (Needs::LAST_INSERT_ID, "last insert id"),
        (Needs::ROW_COUNT, "row count"),
        (Needs::FOUND_ROWS, "found rows"),
        (Needs::DIAGNOSTICS, "warnings"),
        (Needs::CONNECTION_ID, "connection id"),
    ];
    table.into_iter().filter(|(need, _)| needs.contains(*need)).map(|(_, words)| words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(sql: &str) -> String {
        let args = ExplainArgs {
            sql: sql.to_owned(),
            config: None,
            user: "app".to_owned(),
            network: IpAddr::from([127, 0, 0, 1]),
            program: String::new(),
            schema: String::new(),
            sql_mode: String::new(),
            server_version: "10.11.0-MariaDB".to_owned(),
        };
        let settings = config::from_urls(
            "mysql://service@primary",
            &["mysql://replica".to_owned()],
            &Overrides::default(),
        )
        .expect("valid");
        explain(&args, &settings)
    }

    #[test]
    fn explanations_say_where_and_why() {
        let read = explained("SELECT * FROM items WHERE id = 5");
        assert!(read.contains("a replica") && read.contains("plain_read"), "{read}");
        assert!(read.contains("interactive: no rule matches"), "{read}");
        let lock = explained("SELECT GET_LOCK('a', 1) /* fairlane: lane=batch */");
        assert!(lock.contains("the primary") && lock.contains("user_lock"), "{lock}");
        assert!(lock.contains("batch: the hint says so"), "{lock}");
    }
}
