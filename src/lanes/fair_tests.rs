//! The fair queue alone: who is next, and what is remembered.

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const PRECEDENCES: [Precedence; 3] = [Precedence::None, Precedence::OfKind, Precedence::OfAll];

/// A client with one kind of work.
fn of(client: u64) -> Party {
    Party { client, kind: 0 }
}

fn index(client: u64) -> usize {
    usize::try_from(client).expect("a small number")
}

/// Serves `turns` turns of `slots` at a time, each as long as `cost` says; the clients in order.
fn serve(
    queue: &mut FairQueue<u64>,
    slots: usize,
    turns: usize,
    cost: impl Fn(u64) -> u64,
) -> Vec<u64> {
    // Ends of the turns in service, with client and charge.
    let mut running: BTreeMap<(u64, usize), (Party, u64)> = BTreeMap::new();
    let (mut now, mut order) = (0, Vec::new());
    while order.len() < turns {
        if running.len() < slots {
            let Some(next) = queue.pop(Precedence::None) else { break };
            running
                .insert((now + cost(next.party.client), order.len()), (next.party, next.charged));
            order.push(next.party.client);
        } else if let Some(((end, _), (party, charged))) = running.pop_first() {
            now = end;
            queue.settle(party, charged, cost(party.client));
        }
    }
    order
}

/// `counts` waiters of each client, the clients one after the other.
fn crowd(counts: &[(u64, u64)]) -> FairQueue<u64> {
    let mut queue = FairQueue::default();
    let clients = counts.iter().flat_map(|&(client, count)| (0..count).map(move |_| client));
    clients
        .enumerate()
        .for_each(|(ticket, client)| queue.push(ticket as u64, of(client), None, client));
    // A turn has ended before anybody is granted another.
    queue.settle(of(u64::MAX), 0, MS);
    queue
}

#[test]
fn one_statement_does_not_wait_for_all_of_a_client_with_a_thousand() {
    let mut queue = crowd(&[(1, 1000)]);
    serve(&mut queue, 4, 100, |_| MS);
    queue.push(5000, of(2), None, 2);
    let order = serve(&mut queue, 4, 10, |_| MS);
    let place = order.iter().position(|&client| client == 2).expect("it is served");
    assert!(place <= 1, "{order:?}");
}

#[test]
fn clients_get_equal_time_not_equal_turns() {
    let mut queue = crowd(&[(1, 2000), (2, 2000)]);
    let order = serve(&mut queue, 3, 600, |client| if client == 1 { MS } else { 5 * MS });
    let turns = |client| order.iter().filter(|&&of| of == client).count() as f64;
    let ratio = turns(1) / turns(2);
    assert!((4.5..5.5).contains(&ratio), "{ratio}");
}

#[test]
fn a_kind_of_work_that_fills_all_slots_does_not_keep_another_kind_of_its_client_waiting() {
    // 65 scrapers' visits of 27 ms, and clicks of the same client, a statement of a millisecond each.
    let (scrape, click) = (Party { client: 1, kind: 7 }, Party { client: 1, kind: 8 });
    let mut queue = FairQueue::default();
    (0..1000).for_each(|ticket| queue.push(ticket, scrape, None, scrape));
    let (mut tickets, mut after_clicks) = (1000, Vec::new());
    for _ in 0..50 {
        queue.push(tickets, click, None, click);
        tickets += 1;
        let before = std::iter::from_fn(|| {
            let next = queue.pop(Precedence::None)?;
            queue.settle(next.party, next.charged, if next.waiter == click { MS } else { 27 * MS });
            (next.waiter == scrape).then_some(())
        });
        after_clicks.push(before.count());
    }
    assert!(after_clicks.iter().skip(1).all(|&before| before <= 1), "{after_clicks:?}");
    assert!(after_clicks.iter().sum::<usize>() >= 1, "scrapes are served too: {after_clicks:?}");
}

#[test]
fn within_a_client_the_first_to_come_is_the_first_served() {
    let mut queue = FairQueue::default();
    for ticket in 0..100 {
        queue.push(ticket, of(ticket % 3), None, ticket);
    }
    let mut last = [None; 3];
    while let Some(next) = queue.pop(Precedence::None) {
        let last = &mut last[index(next.party.client)];
        assert!(last.is_none_or(|last| last < next.waiter));
        *last = Some(next.waiter);
        queue.settle(next.party, next.charged, MS * (1 + next.party.client));
    }
    assert_eq!((queue.len(), queue.clients()), (0, 0));
}

#[test]
fn who_goes_on_comes_first_when_told_so_and_pays_for_it() {
    let mut queue = crowd(&[(1, 5), (2, 5)]);
    queue.push(100, of(1), Some(7), 100);
    queue.push(101, of(1), Some(7), 101);
    assert_eq!(queue.pop(Precedence::OfAll).map(|next| next.waiter), Some(100));
    assert_eq!(queue.pop(Precedence::OfAll).map(|next| next.waiter), Some(101));
    let after: Vec<u64> =
        (0..3).filter_map(|_| queue.pop(Precedence::OfAll)).map(|next| next.party.client).collect();
    assert_eq!(after, [2, 2, 1], "client 1 has had two turns already");
}

#[test]
fn what_was_begun_earlier_goes_on_first_whoever_asked_first() {
    for precedence in [Precedence::OfKind, Precedence::OfAll] {
        let mut queue = FairQueue::default();
        for (ticket, begun) in [(0, None), (1, Some(9)), (2, Some(7)), (3, None), (4, Some(8))] {
            queue.push(ticket, of(1), begun, ticket);
        }
        let order: Vec<u64> =
            std::iter::from_fn(|| queue.pop(precedence)).map(|next| next.waiter).collect();
        assert_eq!(order, [2, 4, 1, 0, 3], "{precedence:?}");
    }
}

#[test]
fn a_client_whose_work_always_goes_on_does_not_keep_others_waiting() {
    let mut queue = FairQueue::default();
    (0..1000).for_each(|ticket| queue.push(ticket, of(1), Some(7), 1));
    (1000..1100).for_each(|ticket| queue.push(ticket, of(2), None, 2));
    queue.settle(of(u64::MAX), 0, 10 * MS);
    let mut order = Vec::new();
    while let Some(next) = queue.pop(Precedence::OfAll).filter(|_| order.len() < 200) {
        queue.settle(next.party, next.charged, 10 * MS);
        order.push(next.party.client);
    }
    let others = order.iter().filter(|&&client| client == 2).count();
    // Equal turns, but for twice a quarter of a second.
    assert!(others >= 74, "{others} of 200");
}

#[test]
fn a_kind_whose_work_always_goes_on_comes_first_of_all_but_not_of_other_kinds() {
    let of_other_kind = |precedence| {
        let mut queue = FairQueue::default();
        (0..1000).for_each(|ticket| queue.push(ticket, Party { client: 1, kind: 1 }, Some(7), 1));
        (1000..1100).for_each(|ticket| queue.push(ticket, Party { client: 1, kind: 2 }, None, 2));
        queue.settle(of(u64::MAX), 0, 10 * MS);
        let mut order = Vec::new();
        while let Some(next) = queue.pop(precedence).filter(|_| order.len() < 200) {
            queue.settle(next.party, next.charged, 10 * MS);
            order.push(next.party.kind);
        }
        order.iter().filter(|&&kind| kind == 2).count()
    };
    assert_eq!(of_other_kind(Precedence::None), 100);
    assert_eq!(of_other_kind(Precedence::OfKind), 100);
    assert_eq!(of_other_kind(Precedence::OfAll), 0);
}

#[test]
fn clients_that_come_once_do_not_keep_one_that_was_served_before_waiting_for_ever() {
    let mut queue = crowd(&[(1, 50)]);
    serve(&mut queue, 1, 20, |_| 10 * MS);
    let mut served = 0;
    for stranger in 0..2000_u64 {
        queue.push(1000 + stranger, of(10 + stranger), None, 0);
        queue.push(5000 + stranger, of(10_000 + stranger), None, 0);
        let order = serve(&mut queue, 1, 1, |_| MS);
        served += order.iter().filter(|&&client| client == 1).count();
    }
    assert!((1..50).contains(&served), "{served}");
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut queue = crowd(&[(1, 10)]);
    for stranger in 0..10_000_u64 {
        queue.settle(of(100 + stranger), 0, 100 * MS);
    }
    assert!(queue.clients() <= RESTING_MAX + 1, "{}", queue.clients());
    while queue.pop(Precedence::None).is_some() {}
    assert_eq!(queue.clients(), 0);
}

#[test]
fn a_full_queue_makes_room_at_the_cost_of_the_largest_crowd() {
    let mut queue = crowd(&[(1, 10), (2, 2)]);
    assert_eq!(queue.pop_of_largest_crowd(3), Some(1));
    assert_eq!(queue.pop_of_largest_crowd(1), None, "nobody makes room for himself");
    assert_eq!(queue.len(), 11);
}

proptest! {
    /// Clients that all wait have had equal time, but for what one turn of each slot takes.
    #[test]
    fn no_client_that_waits_is_far_behind(
        costs in prop::collection::vec(1..50_u64, 2..6),
        slots in 1..6_usize,
    ) {
        let crowds: Vec<_> = (0..costs.len() as u64).map(|client| (client, 3000)).collect();
        let mut queue = crowd(&crowds);
        let order = serve(&mut queue, slots, 1000, |client| costs[index(client)] * MS);
        let time = |client: u64| {
            let turns = order.iter().filter(|&&of| of == client).count() as u64;
            turns * costs[index(client)]
        };
        let times: Vec<u64> = (0..costs.len() as u64).map(time).collect();
        let most = costs.iter().max().expect("a cost");
        let apart = times.iter().max().expect("a time") - times.iter().min().expect("a time");
        // Twice a turn of each slot: what is charged is a guess until the turn ends.
        prop_assert!(apart <= 2 * most * (slots as u64 + 1), "{times:?} with {costs:?}");
    }

    /// The orders agree with each other after anything.
    #[test]
    fn the_books_agree(
        steps in prop::collection::vec((0..6_u8, 0..5_u64, 0..3_u64, 0..200_u64), 0..400),
    ) {
        let mut queue = FairQueue::default();
        let mut tickets = 0;
        for (step, client, kind, value) in steps {
            let party = Party { client, kind };
            match step {
                0 | 1 => {
                    queue.push(tickets, party, (value % 2 == 0).then_some(value), tickets);
                    tickets += 1;
                }
                2 => drop(queue.remove(value)),
                3 => {
                    let has_waiters = !queue.is_empty();
                    let next = queue.pop(PRECEDENCES[index(value % 3)]);
                    prop_assert_eq!(next.is_some(), has_waiters);
                }
                4 => queue.settle(party, value, value * value),
                _ => drop(queue.pop_of_largest_crowd(client)),
            }
            let known = (0..5).filter_map(|client| queue.clients.find(client));
            let known: Vec<_> = known.filter_map(|client| queue.clients.get(client)).collect();
            let waiters: usize = known.iter().map(|of| of.tickets.len()).sum();
            prop_assert_eq!(queue.len(), waiters);
            prop_assert!(queue.clients.agree());
            prop_assert!(known.iter().all(|of| of.data.kinds.agree()));
            let of_kinds = |of: &&Flow<Client>| {
                let kinds = (0..3).filter_map(|kind| of.data.kinds.get(of.data.kinds.find(kind)?));
                kinds.map(|kind| kind.tickets.len()).sum::<usize>() == of.tickets.len()
            };
            prop_assert!(known.iter().all(of_kinds));
            let goes_on = |of: &&Flow<Client>| {
                let kinds = (0..3).filter_map(|kind| of.data.kinds.get(of.data.kinds.find(kind)?));
                let places: BTreeSet<Place> = kinds.flat_map(|kind| kind.data.clone()).collect();
                let are_there = places.iter().all(|(_, ticket)| of.tickets.contains(ticket));
                places == of.data.continuing && are_there
            };
            prop_assert!(known.iter().all(goes_on));
            let waiting = known.iter().filter(|of| !of.tickets.is_empty()).count();
            prop_assert_eq!(queue.crowds.len(), waiting);
            let go_on = known.iter().filter(|of| !of.data.continuing.is_empty()).count();
            prop_assert_eq!(queue.continuing.len(), go_on);
            prop_assert!(!queue.is_empty() || queue.clients() == 0);
        }
    }
}
