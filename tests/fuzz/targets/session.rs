//! State of sessions and slots of backends, after any order of events.

use std::collections::BTreeMap;
use std::time::Duration;

use fairlane::lanes::{Admission, Demand, Limits, Scheduler, Turn};
use fairlane::protocol::status::Tracked;
use fairlane::sql::{Charset, Class, Mode, classify};
use fairlane::state::diff::{diff, distance, is_reachable};
use fairlane::state::{Base, Image, Trackers};

use super::input::Input;

const NAMES: [&str; 8] = [
    "autocommit",
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
    "session_track_gtids",
    "sql_mode",
    "time_zone",
];

/// The commands that turn one image into another do just that, in every mode.
pub(crate) fn session_diff(data: &[u8]) {
    let mut input = Input::new(data);
    let (client, results, collation) = (input.text(), input.text(), input.text());
    // No text of the input is this one.
    let sql_mode = "the one of the login".into();
    let base = Base { client, results, collation, sql_mode, ..Base::default() };
    let (from, to) = (image(&mut input, &base), image(&mut input, &base));
    let insert_id = input.bit().then(|| input.number());
    let commands = diff(&from, &to, &base, insert_id);
    let is_same = from.schema == to.schema && from.same_variables(&to);
    assert_eq!(distance(&from, &to) == 0, is_same);
    assert_eq!(commands.is_empty(), insert_id.is_none() && (is_same || only_leaves(&from, &to)));
    if is_reachable(&from, &to) {
        let mut turned = from.clone();
        turned.turn_into(&to);
        assert_eq!(turned, to);
        assert_eq!(commands.schema.as_ref().or(from.schema.as_ref()), to.schema.as_ref());
    }
    let Some(set) = commands.set else { return };
    one_statement(&set, input.byte());
    let mut image = from.clone();
    for (name, value) in assignments(&set) {
        apply(&mut image, &base, &to, &name, value);
    }
    assert!(image.same_variables(&to), "{set} gives {image:?} of {from:?}, not {to:?}");
}

/// The schema alone differs, and there is none to go to.
fn only_leaves(from: &Image, to: &Image) -> bool {
    from.same_variables(to) && to.schema.is_none()
}

/// An image after what a server may track.
fn image(input: &mut Input<'_>, base: &Base) -> Image {
    let mut image = Image::default();
    for _ in 0..input.below(6) {
        match input.below(NAMES.len() + 4) {
            8 => image.apply(&Tracked::Schema(input.text())),
            9 => {
                let letters = input.piece().iter().filter(|byte| byte.is_ascii_lowercase());
                let name = letters
                    .fold("x_".to_owned(), |name, &byte| name + &char::from(byte).to_string());
                image.apply(&Tracked::Variable { name, value: input.text() });
            }
            10 => image.set_names(("latin1", "latin1_bin"), base),
            11 => image.set_base(base),
            // Trackers are put into images by Fairlane itself.
            5 => image.set(NAMES[5], "ALL_GTIDS"),
            index => image
                .apply(&Tracked::Variable { name: NAMES[index].to_owned(), value: input.text() }),
        }
    }
    image
}

/// Whatever the values are: it is one SET of session variables, however the server reads texts.
fn one_statement(set: &str, flags: u8) {
    let charsets = [Charset::Plain, Charset::Gbk, Charset::Sjis, Charset::Big5];
    let mode = Mode {
        ansi_quotes: flags & 1 != 0,
        no_backslash_escapes: flags & 2 != 0,
        charset: charsets[usize::from(flags >> 2) % charsets.len()],
        ..Mode::default()
    };
    let verdict = classify(set.as_bytes(), mode);
    assert_eq!((verdict.class, verdict.statements), (Class::Session, 1), "{set} in {mode:?}");
}

/// A value as it stands in a SET statement.
#[derive(Debug)]
enum Literal {
    Default,
    Null,
    Text(String),
}

/// Reads a SET statement of literals, as the servers do.
fn assignments(set: &str) -> Vec<(String, Literal)> {
    let mut rest = set.strip_prefix("SET ").expect("a SET statement");
    let mut all = Vec::new();
    if let Some(names) = rest.strip_prefix("NAMES ") {
        let (charset, after) = literal(names);
        let (collation, after) = literal(after.strip_prefix(" COLLATE ").expect("a collation"));
        let (Literal::Text(charset), Literal::Text(collation)) = (charset, collation) else {
            panic!("no names: {set}");
        };
        all.push(("names".to_owned(), Literal::Text(format!("{charset} {collation}"))));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').expect("an assignment");
        let (value, after) = literal(after);
        all.push((name.to_owned(), value));
        rest = after.strip_prefix(',').unwrap_or_else(|| {
            assert!(after.is_empty(), "{after:?} after a value");
            after
        });
    }
    all
}

fn literal(text: &str) -> (Literal, &str) {
    if let Some(quoted) = text.strip_prefix('\'') {
        let mut value = String::new();
        let mut rest = quoted;
        loop {
            let (part, after) = rest.split_once('\'').expect("a closing quote");
            assert!(!part.contains('\\'), "a backslash depends on the mode");
            value.push_str(part);
            let Some(more) = after.strip_prefix('\'') else { return (Literal::Text(value), after) };
            value.push('\'');
            rest = more;
        }
    }
    if let Some(hex) = text.strip_prefix("CONVERT(x'") {
        let (digits, rest) = hex.split_once("' USING utf8mb4)").expect("a conversion");
        let bytes: Vec<u8> = (0..digits.len() / 2)
            .map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).expect("digits"))
            .collect();
        return (Literal::Text(String::from_utf8(bytes).expect("text")), rest);
    }
    let end = text.find(',').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let value = match word {
        "DEFAULT" => Literal::Default,
        "NULL" => Literal::Null,
        number => {
            assert!(number.parse::<f64>().is_ok(), "{number:?} is bare and no number");
            Literal::Text(number.to_owned())
        }
    };
    (value, rest)
}

/// What a server makes of one assignment.
fn apply(image: &mut Image, base: &Base, to: &Image, name: &str, value: Literal) {
    let value = match value {
        Literal::Default => return image.unset(name),
        Literal::Null => String::new(),
        Literal::Text(value) => value,
    };
    if name == "character_set_client" && to.get("names").is_none() {
        // Character sets go back to those of the login first.
        image.unset("names");
    }
    let goes_back = to.get(name).is_none();
    let of_login = match name {
        "character_set_client" => Some(&base.client),
        "character_set_results" => Some(&base.results),
        "collation_connection" => Some(&base.collation),
        _ => None,
    };
    match name {
        "names" => {
            image.unset("character_set_results");
            // A session that has the base's by name keeps the name.
            let none = Base::default();
            let base = if to.get("names").is_some() { &none } else { base };
            image.set_names(value.split_once(' ').expect("two"), base);
        }
        "last_insert_id" => {}
        "sql_mode" if goes_back && *value == *base.sql_mode => image.unset(name),
        "session_track_gtids" if goes_back => image.unset(name),
        "collation_connection" if goes_back && Some(&value) == of_login => {
            image.unset("character_set_connection");
            image.unset(name);
        }
        _ if goes_back && Some(&value) == of_login => image.unset(name),
        _ => image.set(name, &value),
    }
}

/// The trackers of a session are set and undone by one statement each, whatever their values.
pub(crate) fn trackers(data: &[u8]) {
    let mut input = Input::new(data);
    let global: [String; 5] = std::array::from_fn(|_| input.text());
    let is_mariadb = input.bit();
    let mut trackers = Trackers::of_server(|name| match name {
        "session_track_system_variables" => Some(global[0].as_str()),
        "session_track_schema" => Some(global[1].as_str()),
        "session_track_state_change" => Some(global[2].as_str()),
        "session_track_transaction_info" => Some(global[3].as_str()),
        _ => (!is_mariadb).then_some(global[4].as_str()),
    });
    let answer: Vec<String> = (0..input.below(7)).map(|_| input.text()).collect();
    trackers.learn(&answer, input.bit());
    let in_transaction = input.bit();
    let sets = [trackers.to_set(in_transaction), trackers.to_undo(input.bit(), in_transaction)];
    for set in sets.into_iter().flatten() {
        one_statement(&set, input.byte());
        assignments(&set);
    }
    let wanted = trackers.wanted();
    assert_eq!(wanted, trackers.clone().wanted());
    assert!(trackers.question().split(',').filter(|name| !name.is_empty()).count() <= 5);
}

/// Slots and queues after any order of events: bounds hold, nobody who could run waits, and within
/// a lane, a client and a kind of work the first to come is the first to run.
pub(crate) fn scheduler(data: &[u8]) {
    let mut input = Input::new(data);
    let total = 1 + input.below(12);
    let mut left = total;
    let lanes: Vec<Limits> = (0..1 + input.below(4))
        .map(|_| {
            let reserved = input.below(left + 1);
            left -= reserved;
            let max = (reserved.max(1) + input.below(8)).min(total);
            Limits { reserved, max, queue: input.below(5) }
        })
        .collect();
    let mut slots = Scheduler::new(total, &lanes);
    let mut waiting: Vec<Queue> = vec![Queue::new(); lanes.len()];
    let mut turns: Vec<Vec<Turn>> = lanes.iter().map(|_| Vec::new()).collect();
    let mut number = 0;
    while !input.is_empty() {
        let lane = input.below(lanes.len());
        match input.below(5) {
            0 => {
                number += 1;
                let (client, kind) = (u64::from(input.byte() % 4), input.byte().into());
                let begun = input.bit().then(|| Duration::from_nanos(input.byte().into()));
                let demand = Demand { lane, client, kind, crowd: kind, begun };
                match slots.admit(demand, || number) {
                    Admission::Granted(turn) => turns[lane].push(turn),
                    Admission::Queued(ticket, evicted) => {
                        let of = &mut waiting[lane];
                        of.retain(|_, (waiter, _)| Some(*waiter) != evicted);
                        assert!(of.insert(ticket, (number, (client, kind))).is_none());
                    }
                    Admission::Refused => assert_eq!(waiting[lane].len(), lanes[lane].queue),
                }
            }
            1 => {
                let service = Duration::from_millis(input.byte().into());
                turns[lane].pop().into_iter().for_each(|turn| slots.release(turn, service));
            }
            2 => {
                let ticket = u64::from(input.byte());
                assert_eq!(slots.leave(lane, ticket), waiting[lane].remove(&ticket).is_some());
            }
            3 => {
                let oldest = waiting[lane].pop_first().map(|(_, (waiter, _))| waiter);
                assert_eq!(slots.dismiss_oldest(lane), oldest);
            }
            _ => {}
        }
        while let Some((turn, waiter)) = slots.next_grant() {
            let of = &mut waiting[turn.lane()];
            let (&ticket, &(_, party)) = of.iter().find(|(_, of)| of.0 == waiter).expect("waits");
            let first = of.iter().find(|(_, of)| of.1 == party).map(|(&ticket, _)| ticket);
            assert_eq!(first, Some(ticket), "a kind is served in the order it asked");
            of.remove(&ticket);
            turns[turn.lane()].push(turn);
        }
        let in_use: Vec<usize> = turns.iter().map(Vec::len).collect();
        check(&slots, total, &lanes, &in_use, &waiting);
    }
}

/// Waiters of a lane by ticket: who, and of which client and kind.
type Queue = BTreeMap<u64, (u64, (u64, u64))>;

fn check(
    slots: &Scheduler<u64>,
    total: usize,
    lanes: &[Limits],
    in_use: &[usize],
    waiting: &[Queue],
) {
    let used: usize = in_use.iter().sum();
    assert!(used <= total && slots.in_use() == used);
    let owed = |lane: usize| lanes[lane].reserved.saturating_sub(in_use[lane]);
    let all_owed: usize = (0..lanes.len()).map(owed).sum();
    assert!(used + all_owed <= total, "reserved slots are there when they are wanted");
    for (lane, limits) in lanes.iter().enumerate() {
        let now = slots.lane(lane);
        assert_eq!((now.in_use, now.waiting), (in_use[lane], waiting[lane].len()));
        assert_eq!(slots.oldest(lane), waiting[lane].values().next().map(|(waiter, _)| waiter));
        assert!(in_use[lane] <= limits.max && waiting[lane].len() <= limits.queue);
        let could_run = in_use[lane] < limits.max && used + all_owed - owed(lane) < total;
        assert!(waiting[lane].is_empty() || !could_run, "lane {lane} waits for nothing");
    }
}
