//! A script on both ways, and where the answers differ.

use std::sync::OnceLock;

use fairlane::protocol::Capabilities;
use fairlane::protocol::status::ErrPacket;

use crate::describe::describe;
use crate::side::{End, Packet, Said, Side};
use crate::step::{Depth, Step};
use crate::support::raw::Login;
use crate::support::{Proxy, product, servers};

/// Most differences that are reported of one test.
const REPORTED: usize = 60;

/// Packets compared where only the start is.
const STARTING: usize = 4;

/// A client's doings from its login on.
#[derive(Debug, Clone)]
pub struct Script {
    pub name: String,
    pub user: &'static str,
    pub schema: Option<&'static str>,
    pub collation: u8,
    /// Whether column definitions that are left out are put in, see `Side::puts_definitions`.
    pub puts_definitions: bool,
    pub steps: Vec<Step>,
}

impl Script {
    pub fn new(name: impl Into<String>, steps: Vec<Step>) -> Self {
        let steps = steps.into_iter().flat_map(Step::for_product).collect();
        Self {
            name: name.into(),
            user: "app",
            schema: Some("shop"),
            collation: 45,
            puts_definitions: false,
            steps,
        }
    }

    /// As the server's own root.
    pub fn by_root(self) -> Self {
        Self { user: "root", ..self }
    }

    /// Without a schema.
    pub fn without_schema(self) -> Self {
        Self { schema: None, ..self }
    }
}

/// What clients ask for at login, besides what no client goes without.
pub const MODERN: Capabilities = Capabilities::DEPRECATE_EOF
    .union(Capabilities::MULTI_STATEMENTS)
    .union(Capabilities::MULTI_RESULTS)
    .union(Capabilities::PS_MULTI_RESULTS)
    .union(Capabilities::LOCAL_FILES);

/// As older clients ask.
pub const CLASSIC: Capabilities = MODERN.difference(Capabilities::DEPRECATE_EOF);

/// Every sensible combination.
pub const ALL: &[Capabilities] = &[
    MODERN,
    CLASSIC,
    Capabilities::empty(),
    Capabilities::DEPRECATE_EOF,
    Capabilities::MULTI_RESULTS,
    Capabilities::MULTI_RESULTS.union(Capabilities::PS_MULTI_RESULTS),
    CLASSIC.difference(Capabilities::PS_MULTI_RESULTS),
    MODERN.union(Capabilities::FOUND_ROWS).union(Capabilities::IGNORE_SPACE),
    CLASSIC.union(Capabilities::NO_SCHEMA).union(Capabilities::ODBC),
    MODERN.union(Capabilities::MARIADB_EXTENDED_METADATA),
    MODERN.union(Capabilities::MARIADB_CACHE_METADATA),
    MODERN.union(Capabilities::COMPRESS),
    CLASSIC.union(Capabilities::COMPRESS),
    CLASSIC.union(Capabilities::MARIADB_EXTENDED_METADATA).union(Capabilities::INTERACTIVE),
    MODERN.union(Capabilities::SESSION_TRACK),
    CLASSIC.union(Capabilities::SESSION_TRACK),
];

/// With session tracking.
pub const TRACKING: &[Capabilities] =
    &[MODERN.union(Capabilities::SESSION_TRACK), CLASSIC.union(Capabilities::SESSION_TRACK)];

/// The two most common.
pub const BOTH: &[Capabilities] = &[MODERN, CLASSIC];

/// Runs every script with every set of capabilities; all differences are told at the end.
pub fn check(proxy: &Proxy, scripts: &[Script], capabilities: &[Capabilities]) {
    let mut differences = Vec::new();
    for script in scripts {
        for &more in capabilities.iter().filter(|&&more| is_offered(more)) {
            differences.extend(difference(proxy, script, more).map(|found| found.text));
        }
    }
    let shown = differences[..differences.len().min(REPORTED)].join("\n");
    assert!(differences.is_empty(), "{} differences\n{shown}", differences.len());
}

/// Whether the server knows all of them. What a server does not have, Fairlane must not offer
/// before it, which the comparison of greetings sees. MySQL warns of CLIENT_NO_SCHEMA with every
/// statement, also with those that Fairlane answers.
pub fn is_offered(more: Capabilities) -> bool {
    static OFFERED: OnceLock<Capabilities> = OnceLock::new();
    let warns = product().is_mysql() && more.contains(Capabilities::NO_SCHEMA);
    !warns && OFFERED.get_or_init(|| servers().root().greeting.capabilities).contains(more)
}

/// Where the two ways part.
#[derive(Debug)]
pub struct Difference {
    /// Index of the step.
    pub step: usize,
    /// In words.
    pub text: String,
}

/// The first difference between the two ways.
pub fn difference(proxy: &Proxy, script: &Script, more: Capabilities) -> Option<Difference> {
    let direct = run(servers().primary, script, more);
    let through = run(proxy.port, script, more);
    let (direct, through) = match (direct, through) {
        (Ok(direct), Ok(through)) => (direct, through),
        (direct, through) if direct == through => return None,
        (direct, through) => {
            let (direct, through) = (direct.err(), through.err());
            let name = &script.name;
            let text = format!("{name} {more:?}: login: server {direct:?}, Fairlane {through:?}");
            return Some(Difference { step: 0, text });
        }
    };
    let mut both = script.steps.iter().zip(direct.iter().zip(&through)).enumerate();
    both.find_map(|(index, (step, (direct, through)))| {
        let found = differing(step.depth, direct, through)?;
        let Script { name, steps, .. } = script;
        let (number, all) = (index + 1, steps.len());
        let text = format!("{name}, step {number} of {all}: {}\n  {more:?}\n{found}", step.what);
        Some(Difference { step: index, text })
    })
}

type Run = Result<Vec<Said>, crate::support::raw::Failed>;

fn run(port: u16, script: &Script, more: Capabilities) -> Run {
    let password = format!("{}-secret", script.user);
    let login = Login {
        schema: script.schema,
        more,
        collation: script.collation,
        ..Login::new(port, script.user, &password)
    };
    let mut side = Side::login(&login)?;
    side.puts_definitions = script.puts_definitions;
    assert!(side.capabilities().contains(more), "not all offered: {more:?}");
    let said = script.steps.iter().map(|step| side.take(step)).collect();
    Ok(said)
}

/// The first packet that is not the same.
pub fn differing(depth: Depth, direct: &Said, through: &Said) -> Option<String> {
    let mut count = direct.packets.len().max(through.packets.len());
    if depth == Depth::Start {
        count = count.min(STARTING);
    }
    for index in 0..count {
        let (a, b) = (direct.packets.get(index), through.packets.get(index));
        if are_alike(depth, a, b) {
            continue;
        }
        let at = first_difference(a, b);
        let (a, b) = (describe(a, at), describe(b, at));
        let number = index + 1;
        return Some(format!("  packet {number}, byte {at}\n    server:   {a}\n    Fairlane: {b}"));
    }
    let (a, b): (&End, &End) = (&direct.end, &through.end);
    (a != b).then(|| format!("  after {count} packets: server {a:?}, Fairlane {b:?}"))
}

fn are_alike(depth: Depth, a: Option<&Packet>, b: Option<&Packet>) -> bool {
    match (depth, a, b) {
        (Depth::Kinds, Some(a), Some(b)) => {
            let error = |packet: &Packet| {
                let error = ErrPacket::parse(&packet.payload).ok()?;
                (packet.payload[0] == 0xff).then(|| (error.code, error.sqlstate.to_vec()))
            };
            a.sequence == b.sequence
                && a.payload.first() == b.payload.first()
                && error(a) == error(b)
        }
        _ => a == b,
    }
}

fn first_difference(a: Option<&Packet>, b: Option<&Packet>) -> usize {
    let (Some(a), Some(b)) = (a, b) else { return 0 };
    let common = a.payload.iter().zip(&b.payload).take_while(|(a, b)| a == b).count();
    if a.payload == b.payload { 0 } else { common }
}
