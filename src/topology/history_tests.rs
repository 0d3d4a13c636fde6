//! What replicas have of what a primary had.

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

fn position(text: &str) -> Position {
    Position::parse(text).expect("a position")
}

fn first(text: &str) -> Arc<Position> {
    Arc::new(position(text))
}

fn reading(number: u64, text: &str) -> Reading {
    Reading { number, position: position(text), domain: Some(0), ..Reading::default() }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[test]
fn a_replica_has_it_once_it_has_applied_what_the_primary_had() {
    let (mut history, now) = (History::default(), now());
    let (met, early) = (first("0-1-9"), position("0-1-8"));
    assert!(!history.look_back(&position("0-1-99"), None, LIMIT, now));
    assert!(!history.has(None) && !history.has(Some(&met)), "nobody was asked yet");
    assert!(!history.look_back(&early, Some(&met), LIMIT, now + LIMIT * 9));
    assert!(!history.has(Some(&met)));
    assert!(!history.look_back(&met, Some(&met), LIMIT, now + LIMIT * 9));
    assert!(history.has(Some(&met)));
    assert!(!history.look_back(&early, Some(&met), LIMIT, now + LIMIT * 99));
    assert!(history.has(Some(&met)), "for good");
    // Of another primary it has nothing yet.
    let next = first("0-2-10");
    assert!(!history.has(Some(&next)) && !history.has(None));
    history.look_back(&position("0-2-10"), Some(&next), LIMIT, now);
    assert!(history.has(Some(&next)));
}

#[test]
fn a_primary_that_tells_nothing_is_not_waited_for() {
    let (mut history, met) = (History::default(), first(""));
    assert!(!history.look_back(&Position::default(), Some(&met), LIMIT, now()));
    assert!(history.has(Some(&met)));
}

#[test]
fn a_replica_that_will_never_have_it_is_not_left_out_for_ever() {
    let (mut history, now) = (History::default(), now());
    let (met, other) = (first("0-1-9,7-1-3"), position("0-1-9"));
    assert!(!history.look_back(&other, Some(&met), LIMIT, now));
    assert!(!history.look_back(&other, Some(&met), LIMIT, now + LIMIT * 99 / 100));
    assert!(!history.has(Some(&met)));
    assert!(history.look_back(&other, Some(&met), LIMIT, now + LIMIT), "told once");
    assert!(history.has(Some(&met)));
    assert!(!history.look_back(&other, Some(&met), LIMIT, now + LIMIT));
}

#[test]
fn a_replica_with_what_a_failover_has_lost_is_ahead_until_it_is_set_back() {
    let (mut history, met) = (History::default(), first("0-2-95"));
    let look = |history: &mut History, applied: &str, last: &Reading, begun| {
        history.compare((&position(applied), &Own::default()), (last, Some(&met)), begun);
        history.ahead().is_some()
    };
    // It is ahead of a reading that began before.
    let old = reading(5, "0-1-90");
    assert!(!look(&mut history, "0-1-120", &old, 5));
    // The primary has never had the last ones.
    assert!(look(&mut history, "0-1-120", &reading(7, "0-2-95"), 7));
    assert!(look(&mut history, "0-1-120", &reading(8, "0-2-200"), 8), "it differs all the same");
    assert!(!look(&mut history, "0-1-95", &reading(9, "0-2-201"), 9));
    assert!(!look(&mut history, "0-2-201", &reading(10, "0-2-201"), 10));
    // What comes by way of another server later.
    assert!(!look(&mut history, "0-3-202", &reading(11, "0-2-201"), 11));
    assert!(!look(&mut history, "0-3-202", &reading(12, "0-2-201"), 12));
}

#[test]
fn what_a_primary_has_applied_after_it_was_met_is_not_lost() {
    let (mut history, met) = (History::default(), first("0-1-32"));
    let mut look = |applied: &str, number: u64, state: &str| {
        let mut last = reading(number, state.rsplit(',').next().expect("one"));
        last.origins.add(state, 2);
        history.compare((&position(applied), &Own::default()), (&last, Some(&met)), number);
        (history.ahead().is_some(), history.is_compared(&last, Some(&met)))
    };
    assert_eq!(look("0-1-52", 1, "0-1-32"), (false, false));
    assert_eq!(look("0-1-52", 2, "0-1-32"), (true, true));
    assert_eq!(look("0-1-52", 3, "0-1-50"), (true, true));
    // It was promoted; first without the last two, then with all of them.
    assert_eq!(look("0-1-52", 4, "0-1-50,0-2-60"), (true, true));
    assert_eq!(look("0-2-62", 5, "0-1-52,0-2-60"), (false, true));
}

#[test]
fn what_was_lost_is_found_also_where_as_much_was_written_since() {
    let (mut history, met) = (History::default(), first("0-2-200"));
    for number in 1..=2 {
        let mut last = reading(number, "0-2-200");
        last.origins.add("0-1-95,0-2-200", 2);
        history.compare((&position("0-1-120"), &Own::default()), (&last, Some(&met)), number);
    }
    assert_eq!(history.ahead(), Some(&position("0-1-120")));
}

#[test]
fn a_replica_waits_until_it_is_compared() {
    let reading = |number| reading(number, "0-2-95");
    let (mut history, met) = (History::default(), first("0-2-95"));
    let applied = position("0-1-120");
    history.look_back(&applied, Some(&met), LIMIT, now());
    history.compare((&applied, &Own::default()), (&reading(5), Some(&met)), 5);
    assert!(history.has(Some(&met)) && !history.is_compared(&reading(5), Some(&met)));
    history.compare((&applied, &Own::default()), (&reading(6), Some(&met)), 6);
    assert!(history.is_compared(&reading(6), Some(&met)) && history.ahead().is_some());
    // With another primary it is compared anew.
    let next = first("0-1-120");
    history.look_back(&applied, Some(&next), LIMIT, now());
    assert!(!history.is_compared(&reading(6), Some(&next)));
    // A primary that tells no numbers.
    let silent = Reading { domain: None, ..reading(6) };
    assert!(history.is_compared(&silent, Some(&next)));
    assert!(history.is_compared(&Reading::default(), Some(&first(""))));
}

#[test]
fn a_replica_that_gets_nothing_is_late_until_it_has_caught_up() {
    let (mut history, start) = (History::default(), now());
    let mut is_late = |applied: &str, last: &Reading, percent: u32| {
        history.keep_up(&position(applied), (last, None), LIMIT, start + LIMIT * percent / 100);
        history.is_late()
    };
    // It is always a little behind, but not for long.
    for (applied, last, percent) in [(10, 12, 0), (11, 40, 40), (13, 70, 80), (50, 90, 150)] {
        let last = reading(1, &format!("0-1-{last}"));
        assert!(!is_late(&format!("0-1-{applied},7-1-3"), &last, percent));
    }
    // What it may leave out does not count.
    let cut = "0-1-80";
    assert!(!is_late(cut, &reading(2, "0-1-80,7-1-9"), 200));
    assert!(!is_late(cut, &reading(3, "0-1-81"), 300));
    assert!(!is_late(cut, &reading(4, "0-1-90"), 399));
    assert!(is_late(cut, &reading(5, "0-1-90"), 400));
    assert!(is_late("0-1-85", &reading(6, "0-1-99"), 410), "it has not caught up yet");
    let early = Reading { is_out_of_order: true, ..reading(7, "0-1-99") };
    assert!(is_late("0-1-5", &early, 900));
    assert!(!is_late("0-1-100", &reading(8, "0-1-100"), 910));
}

#[test]
fn a_replica_that_is_never_done_keeps_up_again_once_it_is_in_time_twice() {
    let (mut history, start) = (History::default(), now());
    for (applied, last, percent, is_late) in [
        (10, 20, 0, false),
        (10, 30, 100, true),
        (25, 40, 110, true),
        (39, 50, 150, true),
        (40, 60, 190, true),
        // Too late once more.
        (60, 70, 300, true),
        (70, 80, 310, true),
        (80, 90, 320, false),
        (89, 99, 419, false),
        (89, 99, 420, true),
    ] {
        let (applied, now) = (position(&format!("0-1-{applied}")), start + LIMIT * percent / 100);
        let last = reading(1, &format!("0-1-{last}"));
        history.keep_up(&applied, (&last, None), LIMIT, now);
        assert_eq!(history.is_late(), is_late, "{percent}");
    }
}

#[test]
fn a_replica_that_was_not_waited_for_is_late_only_for_what_came_since() {
    // One that was the primary itself rejoins, and another that lacks a leftover of the primary's.
    for applied in ["7-1-3", "0-1-6,7-1-3"] {
        let (mut history, met, start) = (History::default(), first("0-1-35,7-1-3"), now());
        let mut is_late = |applied: &str, last: &str, percent: u32| {
            let (applied, now) = (position(applied), start + LIMIT * percent / 100);
            history.look_back(&applied, Some(&met), LIMIT, now);
            history.keep_up(&applied, (&reading(1, last), Some(&met)), LIMIT * 11 / 10, now);
            history.is_late()
        };
        for percent in [0, 50, 100, 110, 900] {
            assert!(!is_late(applied, "0-1-35,7-1-3", percent), "{percent}");
        }
        assert!(!is_late(applied, "0-2-36,7-1-3", 910));
        assert!(is_late(applied, "0-2-37,7-1-3", 1100));
        assert!(!is_late("0-2-37,7-1-3", "0-2-37,7-1-3", 1150));
    }
}

#[test]
fn what_the_log_of_the_primary_has_counts_and_not_what_it_applied_before() {
    let (mut history, start) = (History::default(), now());
    let last = Reading { logged: Some(position("0-2-9")), ..reading(1, "0-1-35") };
    for (applied, percent, is_late) in [
        ("0-2-9", 0, false),
        ("0-2-9", 200, false),
        ("0-2-8", 300, false),
        ("0-2-8", 400, true),
        ("0-2-9", 410, false),
    ] {
        let now = start + LIMIT * percent / 100;
        history.keep_up(&position(applied), (&last, None), LIMIT, now);
        assert_eq!(history.is_late(), is_late, "{percent}");
    }
}

#[test]
fn a_replica_that_gets_nothing_of_a_log_begun_anew_is_late_whatever_numbers_it_has() {
    let (mut history, met, start) = (History::default(), first("0-1-93"), now());
    history.look_back(&position("0-1-93"), Some(&met), LIMIT, start);
    let mut is_late = |applied: &str, logged: &str, percent: u32| {
        let logged = Some(position(logged));
        let last = Reading { logged, is_renumbered: true, ..reading(1, "0-1-93") };
        let now = start + LIMIT * percent / 100;
        history.keep_up(&position(applied), (&last, Some(&met)), LIMIT, now);
        history.is_late()
    };
    assert!(!is_late("0-1-93", "0-2-1", 0) && !is_late("0-1-93", "0-2-2", 99));
    assert!(is_late("0-1-93", "0-2-3", 100));
    assert!(!is_late("0-2-3", "0-2-3", 110));
    assert!(!is_late("0-2-3", "0-2-9", 120) && is_late("0-2-3", "0-2-9", 220));
}

#[test]
fn a_replica_is_ahead_of_a_primary_that_numbers_anew() {
    let (mut history, met) = (History::default(), first(""));
    let mut look = |applied: &str, number| {
        let applied = position(applied);
        history.look_back(&applied, Some(&met), LIMIT, now());
        history.compare((&applied, &Own::default()), (&reading(number, ""), Some(&met)), number);
        (history.is_compared(&reading(number, ""), Some(&met)), history.ahead().is_some())
    };
    assert_eq!(look("0-1-154", 1), (false, false));
    assert_eq!(look("0-1-154", 2), (true, true));
    // It was set up anew.
    assert_eq!(look("", 3), (false, false));
    assert_eq!(look("", 4), (true, false));
}

#[test]
fn a_replica_that_was_the_primary_has_what_was_lost_until_the_primary_has_it_or_it_was_set_back() {
    let (mut history, met) = (History::default(), first("0-1-95"));
    let mut look = |applied: &str, logged: &str, number: u64, state: &str| {
        let mut last = reading(number, state.rsplit(',').next().expect("one"));
        last.origins.add(state, 2);
        let own = Own::new("1", logged);
        history.compare((&position(applied), &own), (&last, Some(&met)), number);
        (history.ahead().is_some(), history.is_compared(&last, Some(&met)))
    };
    assert_eq!(look("0-1-95", "0-1-97", 1, "0-1-95"), (false, false));
    assert_eq!(look("0-1-95", "0-1-97", 2, "0-1-95"), (true, true));
    assert_eq!(look("0-2-98", "0-1-97,0-2-98", 3, "0-1-95,0-2-98"), (true, true));
    // It was still applying them.
    assert_eq!(look("0-2-98", "0-1-97,0-2-98", 4, "0-1-97,0-2-98"), (false, true));
    assert_eq!(look("0-2-98", "0-1-99,0-2-98", 5, "0-1-97,0-2-98"), (false, true), "for good");
}

#[test]
fn a_replica_that_follows_another_server_is_compared_anew() {
    let (mut history, met) = (History::default(), first("0-1-9"));
    let look = |history: &mut History, applied: &str, number| {
        let applied = position(applied);
        history.look_back(&applied, Some(&met), LIMIT, now());
        let last = reading(number, "0-1-9");
        history.compare((&applied, &Own::default()), (&last, Some(&met)), number);
        (history.ahead().is_some(), history.is_compared(&last, Some(&met)))
    };
    assert_eq!(look(&mut history, "0-1-9", 1), (false, false));
    assert_eq!(look(&mut history, "0-1-9", 2), (false, true));
    assert_eq!(look(&mut history, "0-2-50", 3), (false, true));
    history.follows_another();
    assert_eq!(look(&mut history, "0-2-50", 3), (false, false));
    assert_eq!(look(&mut history, "0-2-50", 4), (true, true));
    // And what was found stays.
    history.follows_another();
    assert_eq!(look(&mut history, "0-2-50", 5), (true, true));
}

#[test]
fn a_replica_is_ahead_of_a_mysql_primary_only_in_what_that_has_numbered_itself() {
    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    let other = A.replace("3e11", "ffff");
    let reading = |number, text: &str, under_way: &str| Reading {
        domain: None,
        server: Some(A.into()),
        under_way: position(under_way),
        ..reading(number, text)
    };
    let more = format!("{A}:1-31");
    for (had, under_way, is_ahead) in [
        (format!("{A}:1-4"), String::new(), true),
        (String::new(), String::new(), true),
        (format!("{A}:1-30"), format!("{A}:31"), false),
        (format!("{A}:1-29"), format!("{A}:31"), true),
        (more.clone(), String::new(), false),
    ] {
        let (mut history, met) = (History::default(), first(&had));
        let mut look = |applied: &str, last: &Reading| {
            history.compare((&position(applied), &Own::default()), (last, Some(&met)), last.number);
            (history.is_compared(last, Some(&met)), history.ahead().is_some())
        };
        let applied = format!("{more},{other}:1-9");
        assert_eq!(look(&applied, &reading(1, &had, &under_way)), (false, false));
        assert_eq!(look(&applied, &reading(2, &had, &under_way)), (true, is_ahead), "{had}");
        // Its numbers come again.
        let later = format!("{A}:1-99");
        assert_eq!(look(&applied, &reading(3, &later, "")), (true, is_ahead));
        assert_eq!(look(&applied, &reading(4, &later, "")), (true, is_ahead));
        // It was set back.
        look("", &reading(5, &later, ""));
        assert_eq!(look("", &reading(6, &later, "")), (true, false));
    }
}

#[test]
fn a_reading_that_takes_longer_than_the_pause_between_looks_is_waited_for() {
    for (state, is_ahead) in [("0-1-120", false), ("0-2-95", true)] {
        let (mut history, met) = (History::default(), first("0-1-95"));
        let applied = position("0-1-120");
        history.look_back(&applied, Some(&met), LIMIT, now());
        // The second begins right after the first look, and another one when it has ended.
        for (ended, begun) in [(1, 1), (1, 2), (1, 2), (2, 3)] {
            let last = reading(ended, state);
            assert!(!history.is_compared(&last, Some(&met)), "{ended}");
            history.compare((&applied, &Own::default()), (&last, Some(&met)), begun);
        }
        assert!(history.is_compared(&reading(2, state), Some(&met)));
        assert_eq!(history.ahead().is_some(), is_ahead);
    }
}

#[test]
fn what_it_had_before_the_primary_was_met_is_not_compared() {
    let (mut history, met, next) = (History::default(), first("0-1-90"), first("0-2-95"));
    let applied = position("0-1-120");
    history.look_back(&position("0-1-90"), Some(&met), LIMIT, now());
    history.compare((&position("0-1-90"), &Own::default()), (&reading(1, "0-1-90"), Some(&met)), 1);
    history.look_back(&applied, Some(&next), LIMIT, now());
    history.compare((&applied, &Own::default()), (&reading(2, "0-2-95"), Some(&next)), 2);
    assert!(!history.is_compared(&reading(2, "0-2-95"), Some(&next)));
    history.compare((&applied, &Own::default()), (&reading(3, "0-2-95"), Some(&next)), 3);
    assert!(history.ahead().is_some());
}

#[test]
fn only_the_domain_of_the_primary_is_compared() {
    let (mut history, met) = (History::default(), first("0-2-95"));
    let position = position("0-2-90,4-9-40");
    let mysql = Reading { number: 2, position, ..Reading::default() };
    let mariadb = Reading { domain: Some(0), ..mysql.clone() };
    for (applied, last) in [("0-2-300", &mysql), ("0-2-90,4-9-50", &mariadb)] {
        let applied = Position::parse(applied).expect("a position");
        history.compare((&applied, &Own::default()), (last, Some(&met)), 1);
        history.compare((&applied, &Own::default()), (last, Some(&met)), 1);
        assert!(history.ahead().is_none());
    }
}

#[test]
fn who_has_numbers_of_before_a_reset_has_to_go_back() {
    let (met, next) = (first("0-1-92"), first("0-3-300"));
    let reading = |number, log: &str| Reading {
        is_renumbered: true,
        is_anew: true,
        logged: Some(position(log)),
        ..reading(number, "0-1-92")
    };
    let look = |history: &mut History, applied: &str, last: &Reading| {
        history.look_back(&position(applied), Some(&met), LIMIT, now());
        history.compare((&position(applied), &Own::default()), (last, Some(&met)), last.number);
        history.stranded().is_some()
    };
    // It has what it may still be given.
    let mut history = History::default();
    assert!(!look(&mut history, "0-1-92", &reading(1, "0-2-5")), "a reading of before");
    assert!(look(&mut history, "0-1-92", &reading(2, "0-2-5")));
    assert!(!look(&mut history, "0-2-1", &reading(3, "0-2-5")));
    assert!(!look(&mut history, "0-2-7", &reading(4, "0-2-7")));
    // It was not given them.
    assert!(!look(&mut history, "0-1-92", &reading(5, "0-2-7")));
    assert!(look(&mut history, "0-1-92", &reading(6, "0-2-8")));
    let passed = Reading { number: 7, ..Reading::default() };
    assert!(look(&mut history, "0-2-100", &passed));
    history.look_back(&position("0-2-100"), Some(&next), LIMIT, now());
    assert!(history.stranded().is_some(), "nor does another primary give it these");
    assert!(!look(&mut history, "", &passed));
    assert!(!look(&mut history, "0-1-92", &reading(8, "0-2-8")));
    assert!(look(&mut history, "0-1-92", &reading(9, "0-2-8")));
    history.is_set_up();
    let passed = Reading { number: 10, ..passed };
    assert!(!look(&mut history, "0-2-100", &passed));
    assert!(!look(&mut history, "", &passed));
    // It goes back to the one with the numbers of before.
    assert!(!look(&mut history, "0-1-92", &reading(11, "0-2-8")));
    assert!(look(&mut history, "0-1-92", &reading(12, "0-2-8")));
    history.look_back(&position("0-1-92"), Some(&next), LIMIT, now());
    assert!(history.stranded().is_none());
}

#[test]
fn another_primary_may_have_what_the_last_one_had_lost() {
    let (mut history, begun) = (History::default(), now());
    let (met, next) = (first("0-2-95"), first("0-1-120"));
    let applied = position("0-1-120");
    history.look_back(&applied, Some(&met), LIMIT, begun);
    history.compare((&applied, &Own::default()), (&Reading::default(), Some(&met)), 1);
    history.compare((&applied, &Own::default()), (&reading(2, "0-2-95"), Some(&met)), 2);
    assert!(history.ahead().is_some());
    history.look_back(&applied, Some(&next), LIMIT, begun);
    history.compare((&applied, &Own::default()), (&reading(3, "0-1-120"), Some(&next)), 3);
    assert!(history.ahead().is_none() && history.has(Some(&next)));
}
