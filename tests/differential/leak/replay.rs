//! A difference made short: the log of its round is run again in one thread, with less and less in it.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::random::environment;

use super::act::{Act, Pair, Told, perform};
use super::{Event, Failure, NO_SLOT, NOBODY, Round, even_out};

/// No longer than so many seconds is spent on one difference, unless the environment says otherwise.
const PATIENCE: u64 = 240;
/// How much of the log before the difference is tried, the shortest first; the sessions that have a
/// part in it come whole.
const WINDOWS: &[usize] = &[0, 30, 200, 1500, usize::MAX];
/// Events shown of a difference that did not come again.
const SHOWN: usize = 40;

/// What to do to see a difference again, and the shortest script that shows it.
pub fn report(round: &Round, log: &[Event], failure: &Failure) -> String {
    let head = format!(
        "FAIRLANE_SEED={} FAIRLANE_LEAK_STATEMENTS={} FAIRLANE_LEAK_SESSIONS={}\n{round:?}\n",
        round.seed,
        round.statements,
        round.seats * super::WORKERS
    );
    let last = log.iter().rposition(|event| event.seat == failure.seat);
    let is_hang = failure.text.contains(NO_SLOT) || failure.seat == NOBODY;
    let Some(last) = last.filter(|_| !is_hang) else {
        let scripts = failure.strays.iter().map(|(seat, why)| last_session(log, *seat, why));
        return format!("{head}{}\n{}", scripts.collect::<String>(), failure.text);
    };
    let patience = environment("FAIRLANE_LEAK_PATIENCE").unwrap_or(PATIENCE);
    let deadline = Instant::now() + Duration::from_secs(patience);
    let log = &log[..=last];
    let found = WINDOWS.iter().find_map(|&window| {
        let events = whole_sessions(log, window);
        (Instant::now() < deadline && again(round, &events).is_some()).then_some(events)
    });
    let Some(mut events) = found else {
        let own = log.iter().filter(|event| event.seat == failure.seat);
        let own: Vec<Event> = own.cloned().collect();
        let own = script(&own[own.len().saturating_sub(SHOWN)..]);
        let all = script(&log[log.len().saturating_sub(SHOWN)..]);
        let text = &failure.text;
        return format!("{head}not seen again in one thread\n{own}\n\nof all:\n{all}\n\n{text}");
    };
    shorten(round, &mut events, deadline);
    let text = again(round, &events).unwrap_or_else(|| format!("at first: {}", failure.text));
    format!("{head}{}\n\n{text}", script(&events))
}

/// The last session of a seat, for the reader of a hang.
fn last_session(log: &[Event], seat: usize, why: &str) -> String {
    let own: Vec<Event> = log.iter().filter(|event| event.seat == seat).cloned().collect();
    let login = own.iter().rposition(|event| matches!(event.act, Act::Login(_)));
    format!("{}\nholds a connection: {why}\n", script(&own[login.unwrap_or(0)..]))
}

/// One event a line: seat and act.
pub fn script(events: &[Event]) -> String {
    let line = |event: &Event| format!("{:03} {}", event.seat, event.act.what());
    events.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Number of the session that each event is part of.
fn sessions(events: &[Event]) -> Vec<(usize, usize)> {
    let mut logins: HashMap<usize, usize> = HashMap::new();
    let session = |event: &Event| {
        let login = logins.entry(event.seat).or_default();
        *login += usize::from(matches!(event.act, Act::Login(_)));
        (event.seat, *login)
    };
    events.iter().map(session).collect()
}

/// The sessions that have a part in the last `window` events and the one of the last event.
fn whole_sessions(log: &[Event], window: usize) -> Vec<Event> {
    let sessions = sessions(log);
    let from = log.len().saturating_sub(window.max(1));
    let wanted: BTreeSet<_> = sessions[from..].iter().collect();
    let is_wanted = sessions.iter().map(|session| wanted.contains(session));
    log.iter().zip(is_wanted).filter(|(_, is_wanted)| *is_wanted).map(|(e, _)| e.clone()).collect()
}

/// Runs the events; what their last one differs in, if that alone does.
fn again(round: &Round, events: &[Event]) -> Option<String> {
    let last = events.last()?;
    let seats: BTreeSet<usize> = events.iter().map(|event| event.seat).collect();
    even_out(seats.into_iter());
    let proxy = round.proxy();
    let mut pairs: HashMap<usize, Option<Pair>> = HashMap::new();
    for (index, event) in events.iter().enumerate() {
        let pair = pairs.entry(event.seat).or_default();
        if let Told::Different(text) = perform(pair, &proxy, event.seat, &event.act) {
            let is_last = index + 1 == events.len();
            // What comes before may have become the same one.
            let is_same = is_last || event.seat == last.seat && event.act.what() == last.act.what();
            return is_same.then_some(text);
        }
    }
    None
}

/// Leaves out sessions, then pieces, as long as the last event differs.
fn shorten(round: &Round, events: &mut Vec<Event>, deadline: Instant) {
    let mut all: Vec<_> =
        sessions(events).into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    all.retain(|session| Some(session) != sessions(events).last());
    let without = |events: &[Event], left_out: &[(usize, usize)]| -> Vec<Event> {
        let kept = sessions(events).into_iter().map(|session| !left_out.contains(&session));
        events.iter().zip(kept).filter(|(_, kept)| *kept).map(|(event, _)| event.clone()).collect()
    };
    // Halves of the sessions, then smaller parts.
    let mut size = all.len().div_ceil(2);
    while size > 0 && !all.is_empty() {
        let mut at = 0;
        while at < all.len() && Instant::now() < deadline {
            let part: Vec<_> = all[at..all.len().min(at + size)].to_vec();
            let fewer = without(events, &part);
            if again(round, &fewer).is_some() {
                *events = fewer;
                all.drain(at..at + part.len());
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    let mut size = (events.len() / 2).max(1);
    loop {
        let mut end = events.len() - 1;
        while end > 0 && Instant::now() < deadline {
            let from = end.saturating_sub(size);
            let mut fewer = events.clone();
            fewer.drain(from..end);
            if again(round, &fewer).is_some() {
                *events = fewer;
            }
            end = from;
        }
        if size == 1 {
            return;
        }
        size /= 2;
    }
}
