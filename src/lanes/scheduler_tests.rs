//! Slots and lanes: who is admitted, who waits, who is next.

use proptest::prelude::*;

use super::*;

type Slots = Scheduler<&'static str>;

/// A demand of the one client of most tests.
fn demand(lane: usize) -> Demand {
    Demand { lane, client: 0, kind: 0, crowd: 0, begun: None }
}

fn two_lanes() -> Slots {
    let interactive = Limits { reserved: 2, max: 6, queue: 3 };
    let batch = Limits { reserved: 1, max: 3, queue: 3 };
    Scheduler::new(6, &[interactive, batch])
}

fn granted(slots: &mut Slots, lane: usize, who: &'static str) -> Turn {
    match slots.admit(demand(lane), || who) {
        Admission::Granted(turn) => turn,
        other => panic!("{who} is not granted: {other:?}"),
    }
}

fn queued(slots: &mut Slots, lane: usize, who: &'static str) -> u64 {
    match slots.admit(demand(lane), || who) {
        Admission::Queued(ticket, None) => ticket,
        other => panic!("{who} does not wait: {other:?}"),
    }
}

fn next(slots: &mut Slots) -> Option<(usize, &'static str)> {
    slots.next_grant().map(|(turn, who)| (turn.lane(), who))
}

#[test]
fn batch_never_takes_what_is_reserved_nor_more_than_its_maximum() {
    let mut slots = two_lanes();
    let _batch = [(); 3].map(|()| granted(&mut slots, 1, "batch"));
    queued(&mut slots, 1, "batch");
    let _clicks = [(); 3].map(|()| granted(&mut slots, 0, "click"));
    queued(&mut slots, 0, "click");
}

#[test]
fn interactive_leaves_one_slot_to_batch() {
    let mut slots = two_lanes();
    let _clicks = [(); 5].map(|()| granted(&mut slots, 0, "click"));
    queued(&mut slots, 0, "click");
    let _batch = granted(&mut slots, 1, "batch");
}

#[test]
fn a_freed_slot_goes_to_the_most_urgent_waiter() {
    let mut slots = two_lanes();
    let mut batch = [(); 3].map(|()| Some(granted(&mut slots, 1, "batch")));
    let mut clicks = [(); 3].map(|()| Some(granted(&mut slots, 0, "click")));
    queued(&mut slots, 1, "batch");
    queued(&mut slots, 0, "first click");
    queued(&mut slots, 0, "second click");
    let free = |slots: &mut Slots, turn: &mut Option<Turn>| {
        slots.release(turn.take().expect("a turn"), Duration::from_millis(1));
    };
    free(&mut slots, &mut batch[0]);
    assert_eq!(next(&mut slots), Some((0, "first click")));
    assert_eq!(next(&mut slots), None);
    free(&mut slots, &mut clicks[0]);
    assert_eq!(next(&mut slots), Some((0, "second click")));
    free(&mut slots, &mut clicks[1]);
    assert_eq!(next(&mut slots), Some((1, "batch")));
}

#[test]
fn a_slot_that_turns_out_to_be_batch_frees_a_place_among_the_interactive() {
    let lanes =
        [Limits { reserved: 2, max: 3, queue: 3 }, Limits { reserved: 1, max: 1, queue: 3 }];
    let mut slots = Scheduler::new(6, &lanes);
    let mut clicks = [(); 3].map(|()| granted(&mut slots, 0, "click"));
    let batch = granted(&mut slots, 1, "batch");
    queued(&mut slots, 0, "click");
    slots.reassign(&mut clicks[0], 1, Duration::from_secs(1));
    assert_eq!((slots.lane(0).in_use, slots.lane(1).in_use, slots.in_use()), (2, 2, 4));
    assert_eq!(next(&mut slots), Some((0, "click")));
    queued(&mut slots, 1, "batch");
    slots.release(batch, Duration::ZERO);
    assert_eq!(next(&mut slots), None, "one batch is still the most");
    slots.set_max(1, 2);
    assert_eq!(next(&mut slots), Some((1, "batch")));
}

#[test]
fn what_others_hold_is_none_of_what_is_reserved() {
    let mut slots = two_lanes();
    let mut report = granted(&mut slots, 0, "report");
    slots.reassign(&mut report, 1, Duration::from_secs(1));
    let mut clicks = [(); 4].map(|()| Some(granted(&mut slots, 0, "click")));
    queued(&mut slots, 0, "click");
    // The last one is still batch's own.
    let batch = granted(&mut slots, 1, "batch");
    slots.release(batch, Duration::ZERO);
    assert_eq!(next(&mut slots), None);
    slots.release(report, Duration::ZERO);
    assert_eq!(next(&mut slots), Some((0, "click")));
    queued(&mut slots, 0, "click");
    assert_eq!(next(&mut slots), None, "nor is another one given away");
    slots.release(clicks[0].take().expect("a turn"), Duration::ZERO);
    assert_eq!(next(&mut slots), Some((0, "click")));
}

#[test]
fn slow_work_of_a_lane_leaves_those_who_wait_what_is_reserved_for_them() {
    let lanes =
        [Limits { reserved: 2, max: 6, queue: 9 }, Limits { reserved: 1, max: 6, queue: 9 }];
    let mut slots = Scheduler::new(6, &lanes);
    let mut slow = [(); 5].map(|()| granted(&mut slots, 0, "slow"));
    for turn in &mut slow {
        slots.reassign(turn, 1, Duration::from_secs(1));
    }
    // Nobody waits for the last one yet.
    let mut last = granted(&mut slots, 0, "click");
    slots.reassign(&mut last, 1, Duration::from_secs(1));
    queued(&mut slots, 0, "click");
    queued(&mut slots, 1, "batch");
    slots.set_max(1, 7);
    slots.release(last, Duration::from_secs(1));
    assert_eq!(next(&mut slots), Some((1, "batch")), "it is batch's");
    let [first, second, ..] = slow;
    slots.release(first, Duration::from_secs(1));
    assert_eq!(next(&mut slots), Some((0, "click")), "batch has what is reserved for it");
    queued(&mut slots, 0, "click");
    queued(&mut slots, 1, "batch");
    slots.release(second, Duration::from_secs(1));
    assert_eq!(next(&mut slots), Some((0, "click")));
}

#[test]
fn a_full_queue_refuses_and_a_left_one_admits_again() {
    let mut slots = Scheduler::new(1, &[Limits { reserved: 0, max: 1, queue: 1 }]);
    let _turn = granted(&mut slots, 0, "first");
    let ticket = queued(&mut slots, 0, "second");
    assert_eq!(slots.admit(demand(0), || "third"), Admission::Refused);
    assert!(slots.leave(0, ticket));
    assert!(!slots.leave(0, ticket));
    queued(&mut slots, 0, "third");
}

#[test]
fn a_client_that_fills_the_queue_does_not_keep_others_out() {
    let mut slots = Scheduler::new(1, &[Limits { reserved: 0, max: 1, queue: 3 }]);
    let turn = granted(&mut slots, 0, "hog");
    for who in ["hog 1", "hog 2", "hog 3"] {
        queued(&mut slots, 0, who);
    }
    assert_eq!(slots.admit(demand(0), || "hog 4"), Admission::Refused);
    let other = Demand { client: 7, ..demand(0) };
    let admission = slots.admit(other, || "other");
    assert!(matches!(admission, Admission::Queued(_, Some("hog 3"))), "{admission:?}");
    assert_eq!(slots.lane(0).waiting, 3);
    slots.release(turn, Duration::from_secs(1));
    assert_eq!(next(&mut slots), Some((0, "other")), "the hog has had a second");
}

#[test]
fn the_oldest_can_be_dismissed() {
    let mut slots = Scheduler::new(1, &[Limits { reserved: 0, max: 1, queue: 3 }]);
    let turn = granted(&mut slots, 0, "first");
    queued(&mut slots, 0, "second");
    queued(&mut slots, 0, "third");
    assert_eq!(slots.dismiss_oldest(0), Some("second"));
    slots.release(turn, Duration::ZERO);
    assert_eq!(next(&mut slots), Some((0, "third")));
    assert_eq!(slots.dismiss_oldest(0), None);
}

proptest! {
    /// Whatever happens in whatever order: the bounds hold, and nobody who could run waits.
    #[test]
    fn bounds_hold_and_no_slot_idles(
        steps in prop::collection::vec((0..4_u8, 0..2_usize, 0..3_u64), 0..300),
    ) {
        let mut slots = two_lanes();
        let mut tickets: Vec<(usize, u64)> = Vec::new();
        let mut turns: Vec<Turn> = Vec::new();
        for (step, lane, client) in steps {
            match step {
                0 => match slots.admit(Demand { client, ..demand(lane) }, || "waiter") {
                    Admission::Granted(turn) => turns.push(turn),
                    Admission::Queued(ticket, _) => tickets.push((lane, ticket)),
                    Admission::Refused => prop_assert_eq!(slots.lane(lane).waiting, 3),
                },
                1 if !turns.is_empty() => {
                    let turn = turns.swap_remove(lane % turns.len());
                    slots.release(turn, Duration::from_millis(client));
                }
                2 => {
                    if let Some((lane, ticket)) = tickets.pop() {
                        slots.leave(lane, ticket);
                    }
                }
                3 => drop(slots.dismiss_oldest(lane)),
                _ => {}
            }
            while let Some((turn, _)) = slots.next_grant() {
                turns.push(turn);
            }
            let (interactive, batch) = (slots.lane(0), slots.lane(1));
            let in_use = interactive.in_use + batch.in_use;
            prop_assert!(in_use <= 6 && batch.in_use <= 3 && interactive.in_use <= 5);
            prop_assert_eq!(slots.in_use(), in_use);
            prop_assert_eq!(turns.len(), in_use);
            if interactive.waiting > 0 {
                prop_assert!(interactive.in_use + batch.in_use.max(1) >= 6);
            }
            if batch.waiting > 0 {
                prop_assert!(batch.in_use == 3 || interactive.in_use.max(2) + batch.in_use >= 6);
            }
        }
    }

    /// The same where what runs may count for batch from then on: who waits for a free slot waits for one that is another
    /// lane's for sure.
    #[test]
    fn what_is_moved_leaves_each_lane_its_own(
        steps in prop::collection::vec((0..4_u8, 0..2_usize, 0..6_usize), 0..300),
    ) {
        let lanes = [Limits { reserved: 2, max: 6, queue: 3 }, Limits { reserved: 1, max: 9, queue: 3 }];
        let mut slots = Scheduler::new(6, &lanes);
        let mut turns: Vec<Turn> = Vec::new();
        for (step, lane, which) in steps {
            match step {
                0 | 1 => {
                    if let Admission::Granted(turn) = slots.admit(demand(lane), || "waiter") {
                        turns.push(turn);
                    }
                }
                2 if !turns.is_empty() => {
                    let turn = turns.swap_remove(which % turns.len());
                    slots.release(turn, Duration::ZERO);
                }
                3 if !turns.is_empty() => {
                    let which = which % turns.len();
                    if turns[which].lane == 0 {
                        slots.reassign(&mut turns[which], 1, Duration::from_secs(1));
                    }
                }
                _ => {}
            }
            while let Some((turn, _)) = slots.next_grant() {
                turns.push(turn);
            }
            let free = 6 - slots.in_use();
            prop_assert_eq!(turns.len(), slots.in_use());
            let batchs = turns.iter().filter(|turn| turn.lane == 1 && turn.from.is_none_or(|from| from == 1)).count();
            if slots.lane(1).waiting > 0 && free > 0 {
                prop_assert!(batchs > 0, "{} free", free);
            }
            if slots.lane(0).waiting > 0 && free > 0 {
                prop_assert!(free == 1 && batchs == 0, "{} free", free);
            }
        }
    }
}
