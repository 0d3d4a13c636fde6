//! Moments of a server on which a click waits for batch work, and what the guard makes of them.

use super::*;

const PATIENCE: Duration = ms(50);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Session 1 clicks and waits since `since`; 7 and 8 are batch in their transactions.
fn held(since: u64) -> Vec<Holder> {
    let holder = |session: u32, lane, since| Holder {
        session,
        lane,
        native: lane,
        is_judged: false,
        thread: 100 + u64::from(session),
        is_running: true,
        since: ms(since),
        in_transaction: lane == 1,
    };
    vec![holder(1, 0, since), holder(7, 1, 10), holder(8, 1, 20)]
}

fn row(waiting: u32, blocking: u32) -> LockWait {
    LockWait {
        waiting: 100 + u64::from(waiting),
        blocking: Some(100 + u64::from(blocking)),
        kind: LockKind::Row,
        statement: "UPDATE".to_owned(),
    }
}

/// A guard that has just learned of `answer` at `at`, and what was new in it.
fn learned(policy: LockPolicy, at: u64, answer: &[LockWait]) -> (LockGuard, Vec<Wait>) {
    let mut guard = LockGuard::new(policy, ms(300));
    assert!(!guard.look(ms(at), PATIENCE, &held(0)).ask.is_empty());
    let new = guard.learn(ms(at), &held(0), answer);
    (guard, new)
}

#[test]
fn the_server_is_asked_only_about_long_statements_beside_later_lanes() {
    let mut guard = LockGuard::new(LockPolicy::Observe, ms(300));
    let asks = |guard: &mut LockGuard, at, held: &[Holder]| guard.look(ms(at), PATIENCE, held).ask;
    assert!(asks(&mut guard, 49, &held(0)).is_empty(), "not long enough");
    let clicks = |lane| {
        let mut all = held(0);
        all.iter_mut().for_each(|holder| holder.lane = lane);
        all
    };
    assert!(asks(&mut guard, 90, &clicks(0)).is_empty(), "nobody is in a later lane");
    assert!(asks(&mut guard, 90, &clicks(1)).is_empty(), "nobody is in an earlier lane");
    let mut idle = held(0);
    for holder in &mut idle[1..] {
        (holder.is_running, holder.in_transaction) = (false, false);
    }
    assert!(asks(&mut guard, 90, &idle).is_empty(), "nobody can hold a lock");
    assert_eq!(asks(&mut guard, 100, &held(0)), [101]);
    // Another program may, for whose sake nobody is to be taken for batch.
    idle[0].is_judged = true;
    assert!(asks(&mut guard, 299, &idle).is_empty());
    assert_eq!(asks(&mut guard, 300, &idle), [101]);
}

#[test]
fn questions_become_rarer_while_there_is_nothing_to_find() {
    let mut guard = LockGuard::new(LockPolicy::Observe, ms(300));
    let mut asked = Vec::new();
    for at in (0..20_000).step_by(10) {
        if !guard.look(ms(at), PATIENCE, &held(0)).ask.is_empty() {
            asked.push(at);
            guard.learn(ms(at), &held(0), &[]);
        }
    }
    assert_eq!(asked, [50, 250, 650, 1450, 3050, 6250, 11_250, 16_250]);
    // A new statement each time: the spacing still holds.
    let count = (20_000..30_000)
        .step_by(10)
        .filter(|at| !guard.look(ms(*at), PATIENCE, &held(at - 50)).ask.is_empty())
        .count();
    assert_eq!(count, 50);
}

#[test]
fn a_wait_is_told_once_and_ends_with_its_statement() {
    let (mut guard, new) = learned(LockPolicy::Observe, 60, &[row(1, 7)]);
    assert_eq!(new.len(), 1);
    assert_eq!(new[0].blockers, [Blocker { thread: 107, session: Some((7, 1)) }]);
    assert_eq!((new[0].kind, new[0].blocker_lane()), (LockKind::Row, Some(1)));
    assert!(guard.learn(ms(300), &held(0), &[row(1, 7)]).is_empty(), "known already");
    assert!(guard.look(ms(310), PATIENCE, &held(0)).ended.is_empty());
    assert_eq!(guard.waits().len(), 1);
    let ended = guard.look(ms(320), PATIENCE, &held(315)).ended;
    assert_eq!(ended.len(), 1);
    assert!(guard.waits().is_empty() && guard.pace(ms(320), &held(315)).is_none());
    assert!(guard.aborts(ms(900), &[row(1, 7)]).is_empty(), "it only observes");
}

#[test]
fn who_is_not_a_session_here_is_a_blocker_without_a_name() {
    let mut answer = vec![row(1, 50)];
    let (_, new) = learned(LockPolicy::Observe, 60, &answer);
    assert_eq!(new[0].blockers, [Blocker { thread: 150, session: None }]);
    answer[0].blocking = None;
    let (_, new) = learned(LockPolicy::Observe, 60, &answer);
    assert_eq!(new[0].blocker_lane(), None);
}

#[test]
fn an_answer_about_a_statement_that_is_over_counts_for_nobody() {
    let mut guard = LockGuard::new(LockPolicy::Abort, ms(50));
    assert!(!guard.look(ms(60), PATIENCE, &held(0)).ask.is_empty());
    // The same session runs another statement by now.
    assert!(guard.learn(ms(60), &held(59), &[row(1, 7)]).is_empty());
    assert!(guard.aborts(ms(60), &[row(1, 7)]).is_empty());
}

#[test]
fn the_holder_is_rolled_back_once_after_its_time_and_not_those_who_wait_with_it() {
    let answer = [row(1, 7), row(1, 8), row(8, 7)];
    let (mut guard, _) = learned(LockPolicy::Abort, 60, &answer);
    assert!(guard.aborts(ms(60), &answer).is_empty(), "too early");
    assert!(guard.look(ms(299), PATIENCE, &held(0)).ask.is_empty());
    assert_eq!(guard.look(ms(300), PATIENCE, &held(0)).ask, [101], "asked again for it");
    guard.learn(ms(301), &held(0), &answer);
    assert_eq!(guard.aborts(ms(301), &answer), [7]);
    guard.learn(ms(500), &held(0), &answer);
    assert!(guard.aborts(ms(500), &answer).is_empty(), "told once");
    // 7 is gone, 8 has the lock now.
    guard.learn(ms(700), &held(0), &[row(1, 8)]);
    assert_eq!(guard.aborts(ms(700), &[row(1, 8)]), [8]);
}

#[test]
fn who_is_waited_for_by_another_has_to_give_way_all_the_same() {
    let mut all = held(0);
    all.push(Holder { session: 2, thread: all[0].thread + 50, ..all[0] });
    let second = LockWait { waiting: all[3].thread, ..row(1, 8) };
    let answer = [row(1, 8), second.clone()];
    let mut guard = LockGuard::new(LockPolicy::Abort, ms(50));
    guard.look(ms(60), PATIENCE, &all);
    assert_eq!(guard.learn(ms(60), &all, &answer).len(), 2);
    assert_eq!(guard.aborts(ms(60), &answer), [8, 8], "for each");
    // One of them goes away.
    all.remove(0);
    guard.learn(ms(300), &all, &[second]);
    let ended = guard.look(ms(301), PATIENCE, &all).ended;
    assert_eq!((ended.len(), guard.excused(&ended[0]).count()), (1, 0));
    guard.learn(ms(600), &all, &[]);
    let ended = guard.look(ms(601), PATIENCE, &all).ended;
    assert_eq!(guard.excused(&ended[0]).collect::<Vec<_>>(), [8]);
}

#[test]
fn nobody_as_urgent_as_the_waiter_and_no_holder_of_metadata_is_rolled_back() {
    let mut both = held(0);
    both[1].lane = 0;
    let answer = [row(1, 7)];
    let mut guard = LockGuard::new(LockPolicy::Abort, ms(50));
    guard.look(ms(60), PATIENCE, &both);
    assert_eq!(guard.learn(ms(60), &both, &answer).len(), 1, "it is reported all the same");
    assert!(guard.aborts(ms(60), &answer).is_empty());
    let answer = [LockWait { kind: LockKind::Metadata, ..row(1, 8) }];
    guard.learn(ms(400), &both, &answer);
    assert!(guard.aborts(ms(400), &answer).is_empty());
}

#[test]
fn pacing_spares_whom_the_waiter_needs_and_is_bounded() {
    let mut all = held(0);
    all.push(Holder { session: 9, thread: 109, ..all[2] });
    let answer = [row(1, 7), row(7, 8)];
    let mut guard = LockGuard::new(LockPolicy::Pace, ms(300));
    guard.look(ms(60), PATIENCE, &all);
    guard.learn(ms(60), &all, &answer);
    let expected = Pace { behind: 0, exempt: [7, 8].into() };
    assert_eq!(guard.pace(ms(60), &all), Some(expected));
    let paced = (60..60_000).step_by(10).filter(|at| guard.pace(ms(*at), &all).is_some());
    let paced: Vec<u64> = paced.collect();
    let share = paced.len() as f64 / 5_994.0;
    assert!((0.45..=0.51).contains(&share), "{share}");
    let longest = paced.chunk_by(|a, b| b - a == 10).map(<[u64]>::len).max();
    assert_eq!(longest, Some(20), "200 ms");
}

#[test]
fn who_thinks_in_its_transaction_makes_nobody_wait_the_longer() {
    let (mut guard, _) = learned(LockPolicy::Pace, 60, &[row(1, 7)]);
    let mut all = held(0);
    (all[1].is_running, all[1].since) = (false, ms(55));
    assert!(guard.pace(ms(60), &all).is_some(), "it has just stopped");
    assert!(guard.pace(ms(80), &all).is_none());
}

#[test]
fn a_wait_begins_when_it_was_last_not_found() {
    let (mut guard, new) = learned(LockPolicy::Abort, 60, &[]);
    assert!(new.is_empty());
    assert!(!guard.look(ms(260), PATIENCE, &held(0)).ask.is_empty());
    let answer = [row(1, 7)];
    assert_eq!(guard.learn(ms(260), &held(0), &answer)[0].since, ms(60));
    guard.learn(ms(359), &held(0), &answer);
    assert!(guard.aborts(ms(359), &answer).is_empty(), "it may have waited for 299 ms");
    assert_eq!(guard.aborts(ms(360), &answer), [7]);
    // It has the lock and goes on.
    guard.learn(ms(600), &held(0), &[]);
    assert_eq!(guard.look(ms(601), PATIENCE, &held(0)).ended.len(), 1);
    assert!(guard.waits().is_empty());
}

#[test]
fn who_is_in_batch_by_behaviour_is_excused_for_waiting_for_it_and_nobody_gives_way() {
    let mut all = held(0);
    (all[0].lane, all[0].native) = (1, 0);
    let answer = [row(1, 7)];
    let mut guard = LockGuard::new(LockPolicy::Abort, ms(50));
    assert!(guard.look(ms(60), PATIENCE, &all).ask.is_empty(), "batch runs long");
    assert_eq!(guard.look(ms(100), PATIENCE, &all).ask, [101]);
    assert_eq!(guard.learn(ms(100), &all, &answer).len(), 1);
    assert!(guard.aborts(ms(100), &answer).is_empty() && guard.pace(ms(100), &all).is_none());
    let told = |guard: &mut LockGuard, at| -> Vec<(u32, Duration)> {
        guard.waited(ms(at)).map(|(waiter, time)| (waiter.session, time)).collect()
    };
    assert_eq!(told(&mut guard, 110), [(1, ms(110))], "since its beginning");
    guard.learn(ms(300), &all, &answer);
    assert_eq!(told(&mut guard, 310), [(1, ms(200))], "each moment once");
    guard.learn(ms(500), &all, &[]);
    assert!(told(&mut guard, 510).is_empty(), "it has the lock");
    // A session of batch for good is no victim of its like.
    all[0].native = 1;
    assert!(guard.look(ms(10_000), PATIENCE, &all).ask.is_empty());
}

#[test]
fn what_a_statement_did_before_it_waited_and_after_that_is_no_excuse() {
    let (mut all, answer) = (held(0), [row(1, 7)]);
    let mut guard = LockGuard::new(LockPolicy::Observe, ms(50));
    let told = |guard: &mut LockGuard, at| -> Duration {
        guard.waited(ms(at)).map(|(_, time)| time).sum()
    };
    // It works for five seconds, in which it is looked at less and less often.
    let mut found_at = 0;
    for at in (60..9_000).step_by(20) {
        if guard.look(ms(at), PATIENCE, &all).ask.is_empty() {
            continue;
        }
        guard.learn(ms(at), &all, if at < 5_000 { &[] } else { &answer });
        found_at = at;
        if at >= 5_000 {
            break;
        }
    }
    assert!(guard.waits()[0].since < ms(found_at - 1_000), "the one before is long ago");
    assert_eq!(told(&mut guard, found_at), FOUND_AFTER);
    assert_eq!(told(&mut guard, found_at + 10), ms(10));
    // The next question gets no answer.
    assert!(!guard.look(ms(found_at + 200), PATIENCE, &all).ask.is_empty());
    assert_eq!(told(&mut guard, found_at + 2_000), Duration::ZERO);
    // It has waited all the while.
    guard.learn(ms(found_at + 2_100), &all, &answer);
    assert_eq!(told(&mut guard, found_at + 2_110), ms(2_100));
    // Whoever may have had the lock is gone, and nobody is asked.
    all.truncate(1);
    assert!(guard.look(ms(found_at + 2_120), PATIENCE, &all).ask.is_empty());
    assert_eq!(told(&mut guard, found_at + 9_000), Duration::ZERO);
}

#[test]
fn waiting_for_another_programs_locks_is_an_excuse() {
    let unknown = LockWait { blocking: None, kind: LockKind::Metadata, ..row(1, 50) };
    for answer in [row(1, 50), unknown] {
        let (mut guard, _) = learned(LockPolicy::Observe, 60, &[answer]);
        let told: Vec<_> = guard.waited(ms(400)).collect();
        assert_eq!(told, [(held(0)[0], ms(400))]);
    }
}

#[test]
fn waiting_for_work_of_ones_own_lane_is_no_excuse() {
    let mut all = held(0);
    (all[1].lane, all[1].native) = (0, 0);
    let mut guard = LockGuard::new(LockPolicy::Observe, ms(50));
    guard.look(ms(60), PATIENCE, &all);
    assert_eq!(guard.learn(ms(60), &all, &[row(1, 7)]).len(), 1);
    assert_eq!(guard.waited(ms(60)).count(), 0);
}
