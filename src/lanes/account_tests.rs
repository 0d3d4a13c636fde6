//! Sessions over virtual time: who is taken for batch, and when.

use super::*;
use crate::lanes::Slots;

const CONNECT: u64 = 1 << 60;
const CLICK: u64 = 2 << 60;
const UPSERT: u64 = 3 << 60;
const REPORT: u64 = 4 << 60;
const CLIENT: u64 = 5 << 60;
const BEGIN: u64 = 6 << 60;

/// A clock and what all sessions have learned.
struct World {
    now: Duration,
    evidence: Evidence,
    ticked: Duration,
    slots: Slots,
    /// Slots in use at a time.
    used: f32,
    /// How much batch runs.
    beside: Beside,
}

impl World {
    fn new() -> Self {
        Self {
            now: Duration::ZERO,
            evidence: Evidence::default(),
            ticked: Duration::ZERO,
            slots: Slots::Enough,
            used: 1.0,
            beside: Beside::Nothing,
        }
    }

    fn session(&self) -> Account {
        Account::new(CLIENT, self.now)
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        while self.now - self.ticked >= Duration::from_secs(1) {
            self.ticked += Duration::from_secs(1);
            self.evidence.tick(self.slots, self.used);
        }
    }

    /// A statement of its own that takes `service` milliseconds after a wait for its slot.
    fn run(&mut self, session: &mut Account, digest: u64, wait: u64, service: u64) -> Standing {
        let standing = session.judge(self.now, digest, &self.evidence);
        self.pass(wait);
        session.granted(self.now, self.beside);
        self.pass(service);
        session.rest(self.now, false, &self.evidence);
        standing
    }

    /// A new connection that clicks once; whether any statement of it went to the batch lane.
    fn click(&mut self, service: u64) -> bool {
        let mut session = self.session();
        let mut is_batch = self.run(&mut session, CONNECT, 0, 0).is_batch();
        for _ in 0..3 {
            is_batch |= self.run(&mut session, CLICK, 0, service).is_batch();
        }
        session.close(&self.evidence);
        is_batch
    }

    /// All sessions run this at the same time, and rest: of how many it went to the batch lane.
    fn round(&self, sessions: &mut [Account], kind: u64, service: u64) -> u32 {
        let began = self.now;
        let mut batch = 0;
        for session in sessions {
            batch += u32::from(session.judge(began, kind, &self.evidence).is_batch());
            session.granted(began, self.beside);
            session.rest(began + Duration::from_millis(service), false, &self.evidence);
        }
        batch
    }
}

#[test]
fn a_session_that_never_rests_is_batch_within_a_second_and_stays_while_it_waits() {
    let mut world = World::new();
    let mut scraper = world.session();
    let began = world.now;
    while !world.run(&mut scraper, UPSERT, 0, 5).is_batch() {}
    assert!(world.now - began < Duration::from_secs(1), "{:?}", world.now - began);
    // One of many who share few slots.
    for _ in 0..100 {
        assert!(world.run(&mut scraper, UPSERT, 500, 5).is_batch());
    }
}

#[test]
fn a_transaction_that_waits_for_a_web_page_uses_its_slot_all_the_while() {
    let mut world = World::new();
    let mut scraper = world.session();
    scraper.judge(world.now, UPSERT, &world.evidence);
    scraper.granted(world.now, Beside::Nothing);
    world.pass(2);
    scraper.rest(world.now, true, &world.evidence);
    world.pass(800);
    scraper.note(REPORT, &world.evidence);
    scraper.rest(world.now, false, &world.evidence);
    assert_eq!(scraper.judge(world.now, UPSERT, &world.evidence), Standing::Attained);
}

#[test]
fn who_waits_for_the_locks_of_batch_has_used_nothing_and_has_not_rested() {
    let mut world = World::new();
    let mut click = world.session();
    let waits = |world: &mut World, session: &mut Account, told| {
        let standing = session.judge(world.now, UPSERT, &world.evidence);
        session.granted(world.now, Beside::Nothing);
        world.pass(4_000);
        session.waited(Duration::from_millis(told));
        session.rest(world.now, false, &world.evidence);
        standing
    };
    for _ in 0..5 {
        assert_eq!(waits(&mut world, &mut click, 3_990), Standing::Light);
    }
    click.close(&world.evidence);
    assert!(!world.click(10), "nobody has learned that its statements are heavy");
    // Not seen by anybody.
    let mut other = world.session();
    waits(&mut world, &mut other, 0);
    assert_eq!(waits(&mut world, &mut other, 3_990), Standing::Attained);
    assert_eq!(waits(&mut world, &mut other, 3_990), Standing::Attained, "it has not rested");
    // Told of more than there was, which can be a moment.
    waits(&mut world, &mut other, 5_000);
}

/// Statements of 3 ms each 150 ms after one that took so long; how long they are batch, which waits for its slots.
fn batch_after(world: &mut World, session: &mut Account, service: u64) -> Duration {
    world.run(session, CLICK, 0, service);
    let began = world.now;
    assert_eq!(session.judge(world.now, CLICK, &world.evidence), Standing::Attained);
    while world.run(session, CLICK, 350, 3).is_batch() {
        world.pass(150);
        assert!(world.now - began < Duration::from_secs(120));
    }
    world.now - began
}

#[test]
fn one_long_statement_is_forgiven_in_seconds_and_the_next_is_not() {
    for is_known in [true, false] {
        let mut world = World::new();
        if is_known {
            (0..100).for_each(|_| assert!(!world.click(5)));
        }
        let mut session = world.session();
        for _ in 0..20 {
            assert!(!world.run(&mut session, CLICK, 0, 3).is_batch());
            world.pass(150);
        }
        let once = batch_after(&mut world, &mut session, 30_000);
        assert!(once < Duration::from_secs(7), "{is_known}: {once:?}");
        let again = batch_after(&mut world, &mut session, 30_000);
        assert!(again > Duration::from_secs(10), "{is_known}: {again:?}");
        // That is long ago.
        world.pass(60_000);
        let once = batch_after(&mut world, &mut session, 30_000);
        assert!(once < Duration::from_secs(7), "{is_known}: {once:?}");
    }
}

#[test]
fn a_new_connection_of_the_batch_is_known_by_its_company() {
    let mut world = World::new();
    world.slots = Slots::Scarce;
    let mut late = Vec::new();
    for round in 0..400 {
        let mut scraper = world.session();
        world.run(&mut scraper, CONNECT, 0, 0);
        let mut standing = Standing::Light;
        for _ in 0..10 {
            standing = world.run(&mut scraper, UPSERT, 0, 6);
        }
        if standing != Standing::Company {
            late.push(round);
        }
        scraper.close(&world.evidence);
        assert!(!world.click(2), "a click in round {round}");
    }
    // Unknown work of 60 ms is light until clicks have shown what light is.
    assert!(late.iter().all(|&round| round < 100), "{late:?}");
}

#[test]
fn clicks_are_light_also_when_all_are_slow_for_a_while_and_when_they_touch_the_same_rows() {
    let mut world = World::new();
    let mut scrapers: Vec<Account> = (0..6).map(|_| world.session()).collect();
    for round in 0..500 {
        // Each wants the next slot as soon as it has given one back, and waits for the others.
        for scraper in &mut scrapers {
            scraper.granted(world.now, Beside::Nothing);
            world.pass(8);
            scraper.rest(world.now, false, &world.evidence);
            scraper.judge(world.now, UPSERT, &world.evidence);
        }
        let service = if (200..220).contains(&round) { 150 } else { 4 };
        assert!(!world.click(service), "round {round}");
        let mut buyer = world.session();
        assert!(!world.run(&mut buyer, CLICK, 0, service).is_batch());
        assert!(!world.run(&mut buyer, UPSERT, 0, service).is_batch(), "round {round}");
        buyer.close(&world.evidence);
    }
    assert!(scrapers.iter().all(|scraper| scraper.standing().is_batch()));
}

#[test]
fn who_rests_is_forgiven() {
    let mut world = World::new();
    let mut session = world.session();
    for _ in 0..3 {
        world.run(&mut session, REPORT, 0, 1000);
    }
    assert!(world.run(&mut session, CLICK, 0, 5).is_batch());
    world.pass(30_000);
    assert_eq!(world.run(&mut session, CLICK, 0, 5), Standing::Light);
}

/// A connection of an application's own pool: a page of its users every 80 ms, never half a second of rest.
#[test]
fn a_connection_that_many_users_share_is_light_beside_short_visits() {
    let mut world = World::new();
    let mut shared = world.session();
    for round in 0..600 {
        for _ in 0..4 {
            assert!(!world.run(&mut shared, REPORT, 0, 1).is_batch(), "round {round}");
        }
        world.pass(80);
        assert!(!world.click(1), "round {round}");
    }
    // One visit of it is a page, not the day.
    assert!(world.evidence.weight(REPORT) < 0.5, "{}", world.evidence.weight(REPORT));
}

/// Ten connections of an application's own pool, each busy for a part of the time without a long rest; the
/// share of their statements that are taken for batch.
fn pooled(service: u64, pause: u64) -> f64 {
    let mut world = World::new();
    let mut pool: Vec<Account> = (0..10).map(|_| world.session()).collect();
    let (mut batch, mut all) = (0_u32, 0_u32);
    // They take turns within one period, as if on a server with room for all of them.
    for round in 0..60_000 / (service + pause) {
        let began = world.now;
        for session in &mut pool {
            let digest = REPORT + round % 5;
            all += 1;
            batch += u32::from(session.judge(began, digest, &world.evidence).is_batch());
            session.granted(began, Beside::Nothing);
            session.rest(began + Duration::from_millis(service), false, &world.evidence);
        }
        world.pass(service + pause);
        if round % 4 == 0 {
            let mut short = world.session();
            short.judge(began, CLICK, &world.evidence);
            short.granted(began, Beside::Nothing);
            short.rest(began + Duration::from_millis(1), false, &world.evidence);
            short.close(&world.evidence);
        }
    }
    f64::from(batch) / f64::from(all)
}

#[test]
fn connections_that_many_users_share_are_light_up_to_a_fifth_of_the_time() {
    for (service, pause) in [(2, 18), (3, 20), (4, 16)] {
        let share = pooled(service, pause);
        assert!(share < 0.001, "{service} ms and {pause} ms of rest: {share}");
    }
    assert!(pooled(20, 10) > 0.9, "most of the time");
}

/// Each of them is light, and rests for six times as long as it works: but there are fifty.
#[test]
fn many_scrapers_that_rest_for_long_are_batch_when_they_use_slots_together() {
    let mut world = World::new();
    (world.slots, world.used) = (Slots::Scarce, 7.0);
    let mut scrapers: Vec<Account> = (0..50).map(|_| world.session()).collect();
    let (mut batch, mut is_click_found) = (0, false);
    for round in 0..200 {
        batch = world.round(&mut scrapers, UPSERT, 50);
        is_click_found |= world.click(7) && round > 20;
        world.pass(350 - 21);
    }
    assert!(batch == 50 && !is_click_found, "{batch} of 50; a click: {is_click_found}");
}

/// Sixteen connections of an application, each busy for an eighth of the time with the page that all users want: how many
/// of their last statements were taken for batch.
fn popular_page(slots: Slots, used: f32, round: u64) -> u32 {
    let mut world = World::new();
    (world.slots, world.used) = (slots, used);
    let mut pool: Vec<Account> = (0..16).map(|_| world.session()).collect();
    let mut batch = 0;
    for _ in 0..round {
        batch = world.round(&mut pool, CLICK, 100);
        world.pass(830);
    }
    batch
}

#[test]
fn a_page_that_all_users_want_is_light_while_nobody_waits_or_others_have_the_slots() {
    for (slots, used) in [(Slots::Enough, 2.0), (Slots::BatchWaits, 14.0), (Slots::Scarce, 14.0)] {
        assert_eq!(popular_page(slots, used, 60), 0, "{slots:?} {used}");
    }
    assert_eq!(popular_page(Slots::Scarce, 5.0, 60), 0, "others have most of them");
    assert!(popular_page(Slots::Scarce, 2.0, 60) > 8, "others wait for it");
}

/// Scrapers that all rest for long have the slots for which others wait: how many of fifty are batch after so many seconds
/// in which only they wait for the few slots that batch has.
#[test]
fn scrapers_that_have_had_most_slots_stay_batch_while_they_wait_for_few() {
    for (seconds, slots, expected) in
        [(60, Slots::BatchWaits, 50), (20, Slots::Enough, 0), (320, Slots::BatchWaits, 0)]
    {
        let mut world = World::new();
        (world.slots, world.used) = (Slots::Scarce, 7.0);
        let mut scrapers: Vec<Account> = (0..50).map(|_| world.session()).collect();
        let mut batch = 0;
        for round in 0..75 + seconds * 5 / 2 {
            if round == 75 {
                (world.slots, world.used) = (slots, 5.0);
            }
            let began = world.now;
            batch = 0;
            for scraper in &mut scrapers {
                batch += u32::from(scraper.judge(began, UPSERT, &world.evidence).is_batch());
                scraper.granted(began, Beside::Nothing);
                scraper.rest(began + Duration::from_millis(50), false, &world.evidence);
            }
            if round == 74 {
                assert_eq!(batch, 50, "found");
            }
            (0..5).for_each(|_| assert!(!world.click(7) || round < 20));
            world.pass(400 - 5 * 21);
        }
        assert_eq!(batch, expected, "{seconds} s {slots:?}");
    }
}

#[test]
fn short_rests_wear_off_what_short_statements_have_used() {
    let mut world = World::new();
    let mut session = world.session();
    for _ in 0..20_000 {
        world.run(&mut session, CLICK, 0, 1);
        world.pass(9);
    }
    // A tenth of the time: 0.1 s a second, of which half is gone after two.
    assert!((0.25..0.4).contains(&session.level), "{}", session.level);
}

#[test]
fn a_scraper_that_thinks_for_longer_than_it_writes_is_batch_all_the_same() {
    for (service, pause, limit) in [(2, 1, 2), (1, 2, 6), (3, 5, 6), (260, 800, 6)] {
        let mut world = World::new();
        let mut round = 0;
        let mut scraper = world.session();
        let began = world.now;
        let mut found = None;
        while world.now - began < Duration::from_secs(60) {
            let is_batch = world.run(&mut scraper, UPSERT, 0, service).is_batch();
            found = if is_batch { found.or(Some(world.now - began)) } else { None };
            world.pass(pause);
            round += 1;
            if round % (60 / service).max(1) == 0 {
                world.click(1);
            }
        }
        let (found, limit) = (found.expect("batch"), Duration::from_secs(limit));
        assert!(found < limit, "{service} ms and {pause} ms of thought: {found:?}");
    }
}

#[test]
fn a_page_that_takes_long_and_is_seldom_opened_is_light() {
    let mut world = World::new();
    for round in 0..300 {
        for _ in 0..9 {
            assert!(!world.click(1), "round {round}");
            world.pass(100);
        }
        let mut dashboard = world.session();
        let mut is_batch = world.run(&mut dashboard, CONNECT, 0, 0).is_batch();
        for statement in 0..120 {
            let digest = REPORT + statement % 6;
            is_batch |=
                world.run(&mut dashboard, digest, 0, u64::from(statement % 2 == 0)).is_batch();
        }
        dashboard.close(&world.evidence);
        assert!(!is_batch, "round {round}");
    }
}

/// Pages of 25 small statements by turns with clicks of 2 ms: those that were taken for batch of the last hundred, and
/// whether a click ever was.
fn open_pages(world: &mut World) -> (u32, bool) {
    let (mut found, mut is_click_found) = (0, false);
    for round in 0..400 {
        let mut page = world.session();
        let mut is_batch = world.run(&mut page, CONNECT, 0, 0).is_batch();
        for statement in 0..25 {
            is_batch |= world.run(&mut page, REPORT + statement % 5, 0, 5).is_batch();
        }
        page.close(&world.evidence);
        found += u32::from(round >= 300 && is_batch);
        is_click_found |= world.click(2);
    }
    (found, is_click_found)
}

#[test]
fn pages_of_many_statements_are_light_unless_they_have_the_slots_for_which_others_wait() {
    for (slots, used, pages) in [
        (Slots::Enough, 1.0, 0),
        (Slots::BatchWaits, 1.0, 0),
        // Most of them are others'.
        (Slots::Scarce, 7.0, 0),
        (Slots::Scarce, 1.0, 100),
        (Slots::Busy { batch_waits: false }, 1.0, 100),
    ] {
        let mut world = World::new();
        (world.slots, world.used) = (slots, used);
        assert_eq!(open_pages(&mut world), (pages, false), "{slots:?} {used}");
    }
}

#[test]
fn visits_longer_than_any_page_are_heavy_also_while_nobody_waits() {
    let mut world = World::new();
    let mut found = 0;
    for round in 0..100 {
        let mut scraper = world.session();
        found += u32::from(world.run(&mut scraper, UPSERT, 0, 280).is_batch() && round >= 50);
        scraper.close(&world.evidence);
        (0..10).for_each(|_| assert!(!world.click(2)));
    }
    assert_eq!(found, 50);
}

#[test]
fn what_rules_assign_says_nothing_of_a_sessions_other_work() {
    let mut world = World::new();
    let mut session = world.session();
    for _ in 0..30 {
        session.assigned(world.now, &world.evidence);
        session.granted(world.now, Beside::Nothing);
        world.pass(1000);
        session.rest(world.now, false, &world.evidence);
    }
    assert_eq!(world.run(&mut session, CLICK, 0, 5), Standing::Light);
    session.close(&world.evidence);
    assert!(world.evidence.weight(CLICK) < 0.1);
}

#[test]
fn a_refused_statement_has_not_rested() {
    let mut world = World::new();
    let mut scraper = world.session();
    while !world.run(&mut scraper, UPSERT, 0, 50).is_batch() {}
    for _ in 0..3 {
        assert!(scraper.judge(world.now, UPSERT, &world.evidence).is_batch());
        world.pass(120_000);
        scraper.refused(world.now);
    }
    assert!(scraper.judge(world.now, UPSERT, &world.evidence).is_batch());
}

/// Visits of a scraper, a transaction of twelve statements of 2 ms each, by turns with clicks; those
/// that were taken for batch of the last hundred, and whether a click ever was.
fn scrape_in_bulk(world: &mut World) -> (u32, bool) {
    let (mut found, mut is_click_found) = (0, false);
    for round in 0..400 {
        let mut scraper = world.session();
        world.run(&mut scraper, CONNECT, 0, 0);
        let standing = scraper.judge(world.now, BEGIN, &world.evidence);
        found += u32::from(round >= 300 && standing.is_batch());
        scraper.granted(world.now, Beside::Nothing);
        for _ in 0..11 {
            world.pass(2);
            scraper.rest(world.now, true, &world.evidence);
            scraper.note(UPSERT, &world.evidence);
            scraper.note_transaction(true, || true);
        }
        world.pass(2);
        scraper.rest(world.now, false, &world.evidence);
        scraper.close(&world.evidence);
        is_click_found |= world.click(1);
    }
    (found, is_click_found)
}

#[test]
fn many_short_visits_in_bulk_are_batch_while_others_wait_for_slots() {
    let mut world = World::new();
    assert_eq!(scrape_in_bulk(&mut world), (0, false));
    world.slots = Slots::Scarce;
    let (found, is_click_found) = scrape_in_bulk(&mut world);
    assert!(found == 100 && !is_click_found, "{found} of 100; a click: {is_click_found}");
}

/// Visits that begin with `boots` statements which all have in common: those of eight scrapers at a time, and of twelve
/// kinds of pages. Which part of the scrapers' last statements, and of the pages', was taken for batch in the end.
fn boot(world: &mut World, boots: u64, service: u64) -> (f64, f64) {
    let (mut scraped, mut paged) = ((0, 0), (0, 0));
    let visit = |world: &World, at: Duration, own: &[u64], service: u64| {
        let (mut session, mut now, mut batch) = (world.session(), at, 0);
        let boots = (0..boots).map(|boot| (BEGIN + boot, 2));
        for (digest, service) in boots.chain(own.iter().map(|&digest| (digest, service))) {
            batch = u32::from(session.judge(now, digest, &world.evidence).is_batch());
            session.granted(now, Beside::Nothing);
            now += Duration::from_millis(service);
            session.rest(now, false, &world.evidence);
        }
        session.close(&world.evidence);
        batch
    };
    for round in 0..200 {
        let began = world.now;
        for _ in 0..8 {
            let batch = visit(world, began, &[UPSERT; 4], service);
            scraped = (scraped.0 + batch, scraped.1 + 1);
        }
        let page: Vec<u64> = (0..3).map(|part| CLICK + 3 * (round % 12) + part).collect();
        let batch = visit(world, began, &page, 2);
        paged = (paged.0 + batch, paged.1 + 1);
        if round < 100 {
            (scraped, paged) = ((0, 0), (0, 0));
        }
        world.pass(4 * service + 2 * boots);
    }
    let share = |(batch, all): (u32, u32)| f64::from(batch) / f64::from(all);
    (share(scraped), share(paged))
}

#[test]
fn what_all_visits_begin_with_does_not_hide_what_tells_them_apart() {
    for (boots, service) in [(0, 80), (4, 80), (5, 60), (8, 80), (12, 60), (20, 80)] {
        let mut world = World::new();
        (world.slots, world.used) = (Slots::Busy { batch_waits: false }, 7.0);
        assert_eq!(boot(&mut world, boots, service), (1.0, 0.0), "{boots} {service}");
    }
}

/// Sessions of an application's own pool click at the same time each tenth of a second, for so many seconds; of how
/// many statements they were taken for batch.
fn click_together(world: &mut World, sessions: &mut [Account], service: u64, seconds: u64) -> u32 {
    let mut batch = 0;
    for _ in 0..seconds * 1000 / (service + 100) {
        batch += world.round(sessions, CLICK, service);
        world.pass(service + 100);
    }
    batch
}

#[test]
fn pooled_connections_that_batch_makes_slower_stay_light() {
    let world = || {
        let mut world = World::new();
        let mut sessions: Vec<_> = (0..4).map(|_| world.session()).collect();
        assert_eq!(click_together(&mut world, &mut sessions, 6, 20), 0);
        (world, sessions)
    };
    let (mut beside, mut sessions) = world();
    beside.beside = Beside::More;
    assert_eq!(click_together(&mut beside, &mut sessions, 300, 30), 0);
    // Much as before where it is their own doing.
    let (mut alone, mut sessions) = world();
    assert!(click_together(&mut alone, &mut sessions, 300, 30) > 200);
}

#[test]
fn beside_batch_who_never_rests_is_found_and_whose_kind_is_batch_is_not_excused() {
    let mut world = World::new();
    let mut clicks: Vec<_> = (0..4).map(|_| world.session()).collect();
    click_together(&mut world, &mut clicks, 6, 20);
    world.beside = Beside::More;
    let mut scraper = world.session();
    let began = world.now;
    while !world.run(&mut scraper, CLICK, 0, 30).is_batch() {}
    assert!(world.now - began < Duration::from_secs(15), "{:?}", world.now - began);
    // More like it, which rest for as long as they work.
    let mut others: Vec<_> = (0..2).map(|_| world.session()).collect();
    let mut batch = 0;
    for round in 0..400 {
        let found = world.round(&mut others, CLICK, 100);
        batch += if round < 300 { 0 } else { found };
        for _ in 0..2 {
            world.run(&mut scraper, CLICK, 0, 100);
        }
    }
    assert!(batch > 150, "{batch}");
}

#[test]
fn what_is_prepared_anew_each_time_is_known_by_what_it_takes_to_run() {
    fn run(world: &mut World, session: &mut Account) -> bool {
        session.judge(world.now, CLICK, &world.evidence);
        session.only_prepares();
        session.granted(world.now, world.beside);
        session.rest(world.now + Duration::from_micros(300), false, &world.evidence);
        world.run(session, CLICK, 0, 60).is_batch()
    }
    let mut world = World::new();
    let mut user = world.session();
    for _ in 0..40 {
        assert!(!run(&mut world, &mut user), "every half a second");
        world.pass(440);
    }
    world.beside = Beside::More;
    let mut scraper = world.session();
    let began = world.now;
    while !run(&mut world, &mut scraper) {
        world.pass(40);
        assert!(world.now - began < Duration::from_secs(15), "not found");
    }
}
