//! The decision table.

use super::token::Stamp;
use super::view::ReplicaView;
use super::*;
use crate::sql::{Effects, Hint, Leading, Needs};

fn verdict(class: Class, route: Option<RouteHint>) -> Verdict {
    Verdict {
        class,
        reason: sql::Reason::PlainRead,
        leading: Leading::Select,
        effects: Effects::empty(),
        needs: Needs::empty(),
        hint: Hint { lane: None, route },
        statements: 1,
        uses_table: false,
        digest: 0,
    }
}

fn view(rotation: Rotation, applied: &str) -> View {
    let applied = Position::parse(applied).expect("a position");
    View {
        primary_up: true,
        is_primary_silent: false,
        replicas: vec![ReplicaView {
            backend: REPLICA,
            rotation,
            lag: None,
            applied,
            generation: 5,
            silent: None,
        }],
    }
}

const REPLICA: BackendId = BackendId::new(1);

/// The id of the session that decides.
const OWN: u32 = 7;

fn written_by(session: u32, position: &str) -> Token {
    let mut token = Token::default();
    let position = Position::parse(position).expect("a position");
    token.add(&position, Stamp { session, readings: 0 });
    token
}

fn session(token: &Token) -> SessionView<'_> {
    let isolation = Isolation::of("REPEATABLE-READ");
    SessionView {
        autocommit: true,
        isolation,
        id: OWN,
        token,
        is_unlogged: false,
        has_seen_more: false,
        last: None,
    }
}

fn route(verdict: &Verdict, session: SessionView<'_>, view: &View) -> (Target, Reason) {
    let decision = decide(verdict, session, Consistency::Session, view, |_| 0);
    (decision.target, decision.reason)
}

#[test]
fn a_read_leaves_the_primary_only_when_a_replica_has_what_the_session_wrote() {
    let read = verdict(Class::Read, None);
    let (wrote_9, wrote_10) = (written_by(OWN, "0-1-9"), written_by(OWN, "0-1-10"));
    let applied_9 = view(Rotation::In, "0-1-9");
    let decision = decide(&read, session(&wrote_9), Consistency::Session, &applied_9, |_| 0);
    assert_eq!((decision.target, decision.generation), (Target::Replica(REPLICA), 5));
    let decision = decide(&read, session(&wrote_10), Consistency::Session, &applied_9, |_| 0);
    assert_eq!(decision.reason, Reason::NotFresh);
    assert_eq!((decision.target, decision.awaited), (Target::Primary, Some(REPLICA)));
    let eventual = decide(&read, session(&wrote_10), Consistency::Eventual, &applied_9, |_| 0);
    assert_eq!(eventual.target, Target::Replica(REPLICA));
    let hinted = verdict(Class::Read, Some(RouteHint::Replica));
    assert_eq!(route(&hinted, session(&wrote_10), &applied_9).0, Target::Replica(REPLICA));
    let mut unknown = written_by(OWN, "0-1-1");
    unknown.add_unknown(Stamp { session: OWN, readings: 0 });
    assert_eq!(route(&read, session(&unknown), &applied_9).1, Reason::UnknownPosition);
    let unlogged = SessionView { is_unlogged: true, ..session(&wrote_9) };
    assert_eq!(route(&read, unlogged, &applied_9).1, Reason::UnknownPosition);
    let mut left_out = written_by(OWN + 1, "0-1-1");
    left_out.add_unlogged(OWN + 1);
    assert_eq!(route(&read, session(&left_out), &applied_9).1, Reason::UnknownPosition);
    let seen = SessionView { has_seen_more: true, ..session(&wrote_9) };
    assert_eq!(route(&read, seen, &applied_9).1, Reason::UnknownPosition);
    assert_eq!(route(&hinted, seen, &applied_9).0, Target::Replica(REPLICA));
    let others = written_by(OWN + 1, "0-1-10");
    assert_eq!(route(&read, session(&others), &applied_9).1, Reason::OthersNotFresh);
}

#[test]
fn every_doubt_means_primary() {
    let fresh = Token::default();
    let good = view(Rotation::In, "0-1-9");
    let read = verdict(Class::Read, None);
    for rotation in [
        Rotation::Down,
        Rotation::Broken,
        Rotation::Lagging,
        Rotation::Recovering,
        Rotation::NotAReplica,
        Rotation::Writable,
        Rotation::Differs,
    ] {
        let out = view(rotation, "0-1-9");
        assert_eq!(route(&read, session(&fresh), &out), (Target::Primary, Reason::NoReplica));
    }
    for class in [
        Class::Write,
        Class::Begin { read_only: false },
        Class::Commit,
        Class::Rollback,
        Class::Session,
        Class::Diagnostics,
        Class::Kill { query: true, id: Some(1) },
    ] {
        assert_eq!(route(&verdict(class, None), session(&fresh), &good).0, Target::Primary);
        let hinted = verdict(class, Some(RouteHint::Replica));
        assert_eq!(route(&hinted, session(&fresh), &good).0, Target::Primary);
    }
    let off = SessionView { autocommit: false, ..session(&fresh) };
    assert_eq!(route(&read, off, &good), (Target::Primary, Reason::AutocommitOff));
    let begin = verdict(Class::Begin { read_only: true }, None);
    for (level, reason) in [
        ("SERIALIZABLE", Reason::Serializable),
        ("READ-UNCOMMITTED", Reason::ReadUncommitted),
        ("read-uncommitted", Reason::ReadUncommitted),
    ] {
        let isolated = SessionView { isolation: Isolation::of(level), ..session(&fresh) };
        assert_eq!(route(&read, isolated, &good), (Target::Primary, reason));
        assert_eq!(route(&begin, isolated, &good), (Target::Primary, reason));
    }
    let hinted = verdict(Class::Read, Some(RouteHint::Primary));
    assert_eq!(route(&hinted, session(&fresh), &good), (Target::Primary, Reason::Hint));
    let strong = decide(&read, session(&fresh), Consistency::Strong, &good, |_| 0);
    assert_eq!(strong.target, Target::Primary);
    assert_eq!(route(&begin, session(&fresh), &good).0, Target::Replica(REPLICA));
}

#[test]
fn labels_are_dense_and_distinct() {
    let labels = Reason::labels();
    let distinct: std::collections::HashSet<_> = labels.iter().collect();
    assert_eq!(distinct.len(), labels.len());
    assert_eq!(labels[Reason::Local.index()], "local");
    assert_eq!(
        labels[Reason::Statement(sql::Reason::Kill).index()],
        Reason::Statement(sql::Reason::Kill).label()
    );
}
