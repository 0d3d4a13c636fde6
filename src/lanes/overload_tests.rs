//! The watch alone, fed with queues; `tests/simulation.rs` lets it steer one.

use super::*;

const LOOK: Duration = Duration::from_millis(100);

/// Looks each tenth of a second at a queue that grows by `growth` a look from `waiting` on, while
/// `served` a look are granted and the first in it waits for as long as it takes.
fn watch(
    overload: &mut Overload,
    looks: u32,
    waiting: &mut f64,
    growth: f64,
    served: u64,
) -> Vec<bool> {
    let look = |_| {
        *waiting = (*waiting + growth).max(0.0);
        let oldest = Duration::from_secs_f64(*waiting / served as f64 * LOOK.as_secs_f64());
        let granted = overload.all.granted.unwrap_or(1_000_000) + served;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small")]
        let waiting = *waiting as usize;
        overload.look(LOOK, QueueNow { waiting, in_use: 10, oldest, granted, begun: granted })
    };
    (0..looks).map(look).collect()
}

fn overload() -> Overload {
    Overload::new(Some(Duration::from_millis(500)), Duration::from_secs(5))
}

#[test]
fn a_queue_that_grows_on_and_on_is_known_before_anybody_has_waited_for_long() {
    let mut overload = overload();
    let mut waiting = 0.0;
    // Five times what can be done.
    let looks = watch(&mut overload, 30, &mut waiting, 400.0, 100);
    let found = looks.iter().position(|&is_overloaded| is_overloaded);
    assert!(found.is_some_and(|found| (8..=14).contains(&found)), "{found:?}");
}

#[test]
fn a_burst_that_drains_in_time_is_no_overload() {
    let mut overload = overload();
    let mut waiting = 4500.0;
    let looks = watch(&mut overload, 60, &mut waiting, -100.0, 100);
    assert!(!looks.contains(&true), "{looks:?}");
}

#[test]
fn a_queue_that_is_long_and_stays_as_it_is_is_no_overload() {
    let mut overload = overload();
    let mut waiting = 2000.0;
    let looks = watch(&mut overload, 300, &mut waiting, 0.0, 100);
    assert!(!looks.contains(&true), "{looks:?}");
    // One in which nobody can be served in time is.
    waiting = 6000.0;
    assert!(watch(&mut overload, 10, &mut waiting, 0.0, 100).contains(&true));
}

#[test]
fn it_ends_when_waits_are_short_again_and_does_not_flap() {
    let mut overload = overload();
    let mut waiting = 0.0;
    watch(&mut overload, 30, &mut waiting, 400.0, 100);
    // Who waited for long was refused; as many as before come on.
    waiting = 500.0;
    let looks = watch(&mut overload, 100, &mut waiting, 0.0, 100);
    assert!(!looks.contains(&false), "{looks:?}");
    let looks = watch(&mut overload, 20, &mut waiting, -50.0, 100);
    assert_eq!(looks.iter().position(|&is_overloaded| !is_overloaded), Some(4), "{looks:?}");
    assert!(!looks[4..].contains(&true));
}

#[test]
fn one_waiter_a_slot_is_no_overload_however_long_turns_take() {
    let mut overload = overload();
    let mut look = |seconds: u64, waiting| {
        let oldest = Duration::from_secs(seconds);
        let queue =
            QueueNow { waiting, in_use: 9, oldest, granted: seconds / 3, begun: seconds / 3 };
        (overload.look(LOOK, queue), Overload::refusable(queue))
    };
    // Turns of 3 s.
    let looks: Vec<_> = (0..100).map(|tenth| look(tenth / 10, 9)).collect();
    assert!(looks.iter().all(|look| *look == (false, 0)), "{looks:?}");
    assert_eq!(look(11, 30), (true, 21));
}

#[test]
fn without_a_limit_a_lane_is_never_overloaded() {
    let mut overload = Overload::new(None, Duration::from_secs(5));
    let mut waiting = 0.0;
    assert!(!watch(&mut overload, 300, &mut waiting, 400.0, 100).contains(&true));
    assert_eq!(overload.precedence(), Precedence::None);
}

#[test]
fn what_goes_on_comes_before_its_kind_once_somebody_has_waited_a_while() {
    for (oldest, precedence) in
        [(50, Precedence::None), (200, Precedence::OfKind), (3000, Precedence::None)]
    {
        let mut overload = overload();
        let oldest = Duration::from_millis(oldest);
        overload.look(LOOK, QueueNow { waiting: 12, in_use: 10, oldest, granted: 9, begun: 9 });
        assert_eq!(overload.precedence(), precedence, "{oldest:?}");
    }
    let mut overload = overload();
    let mut waiting = 0.0;
    watch(&mut overload, 30, &mut waiting, 400.0, 100);
    assert_eq!(overload.precedence(), Precedence::OfAll);
}
