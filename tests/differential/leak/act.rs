//! What happens to one session, on both ways.

use std::io::Write;
use std::net::Shutdown;

use fairlane::protocol::status::Status;
use fairlane::protocol::{Capabilities, Command};

use crate::compare::differing;
use crate::side::{End, Side};
use crate::step::{Payload, Step, query};
use crate::support::raw::{Failed, Login};
use crate::support::{Proxy, servers};

/// How the clients call themselves; the number of the seat follows.
pub const PROGRAM: &str = "leak ";

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Act {
    Login(Entry),
    Step(Step),
    Leave(Leave),
}

/// How a session begins.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub user: &'static str,
    pub schema: Option<&'static str>,
    pub collation: u8,
    pub more: Capabilities,
}

/// How a client goes away.
#[derive(Debug, Clone)]
pub enum Leave {
    /// COM_QUIT.
    Quit,
    /// The socket is closed between statements.
    Drop,
    /// The socket is closed with some of the answer read.
    InAnswer(String),
    /// The socket is closed as soon as the statement is sent.
    BeforeAnswer(String),
    /// The socket is closed within a command.
    InCommand,
}

impl Act {
    /// In words; acts with the same words are the same act.
    pub fn what(&self) -> String {
        match self {
            Self::Login(entry) => format!("login {entry:?}"),
            Self::Step(step) => step.what.clone(),
            Self::Leave(leave) => format!("leave {leave:?}"),
        }
    }
}

/// What an act has come to.
#[derive(Debug)]
pub enum Told {
    /// Both ways answered alike.
    Same {
        /// Code of the error, if it was one.
        error: Option<u16>,
        /// Status flags, where there were any.
        status: Option<Status>,
    },
    /// The session is over on both ways.
    Over,
    /// The two ways parted.
    Different(String),
}

/// A session's two ways.
#[derive(Debug)]
pub struct Pair {
    direct: Side,
    through: Side,
}

/// The session's own name on the server itself and through Fairlane; equally long.
pub fn names(seat: usize) -> [String; 2] {
    // Digits, because servers write some names in capitals.
    [format!("_1{seat:03}"), format!("_2{seat:03}")]
}

/// Lets `act` happen to the session of a seat.
pub fn perform(pair: &mut Option<Pair>, proxy: &Proxy, seat: usize, act: &Act) -> Told {
    match (act, pair.as_mut()) {
        (Act::Login(entry), _) => match log_in(proxy, seat, entry) {
            Ok(new) => {
                *pair = Some(new);
                Told::Same { error: None, status: Some(Status::AUTOCOMMIT) }
            }
            Err(text) => Told::Different(text),
        },
        (Act::Step(step), Some(both)) => {
            let told = both.step(step);
            if matches!(told, Told::Over) {
                *pair = None;
            }
            told
        }
        (Act::Leave(leave), Some(_)) => {
            if let Some(pair) = pair.take() {
                go(pair.direct, leave);
                go(pair.through, leave);
            }
            Told::Over
        }
        // A script from which the login was left out.
        (_, None) => Told::Over,
    }
}

fn log_in(proxy: &Proxy, seat: usize, entry: &Entry) -> Result<Pair, String> {
    let password = format!("{}-secret", entry.user);
    let program = format!("{PROGRAM}{seat}");
    let [direct, through] = [servers().primary, proxy.port].map(|port| {
        Side::login(&Login {
            program: &program,
            schema: entry.schema,
            more: entry.more,
            collation: entry.collation,
            ..Login::new(port, entry.user, &password)
        })
    });
    let [own_direct, own_through] = names(seat);
    match (direct, through) {
        (Ok(direct), Ok(through)) => {
            let mut pair =
                Pair { direct: direct.named(own_direct), through: through.named(own_through) };
            // Before that MariaDB's FOUND_ROWS() is what the session before on its thread left.
            match pair.step(&query("SELECT 1")) {
                Told::Different(text) => Err(text),
                Told::Same { .. } | Told::Over => Ok(pair),
            }
        }
        (direct, through) => {
            let (direct, through): (Option<Failed>, Option<Failed>) = (direct.err(), through.err());
            Err(format!("login: server {direct:?}, Fairlane {through:?}"))
        }
    }
}

impl Pair {
    fn step(&mut self, step: &Step) -> Told {
        let direct = self.direct.take(step);
        let through = self.through.take(step);
        if let Some(found) = differing(step.depth, &direct, &through) {
            return Told::Different(found);
        }
        if direct.end != End::Whole {
            return Told::Over;
        }
        let summary = self.direct.summary();
        let is_change = matches!(step.payload, Payload::ChangeUser { .. });
        let error = match is_change {
            true => None,
            false => summary.error,
        };
        let status = match is_change {
            true => Some(Status::AUTOCOMMIT),
            false => summary.has_status.then_some(summary.status),
        };
        Told::Same { error, status }
    }
}

/// A client goes away.
fn go(side: Side, leave: &Leave) {
    let statement = match leave {
        Leave::InAnswer(sql) | Leave::BeforeAnswer(sql) => Some(side.payload(&query(sql))),
        _ => None,
    };
    let mut raw = side.into_raw();
    if let Some(statement) = statement {
        raw.put(0, &statement);
    }
    match leave {
        Leave::Quit => raw.send(Command::Quit, b""),
        Leave::InAnswer(_) => drop(raw.packet()),
        Leave::InCommand => drop(raw.stream.write_all(b"\x20\0\0\0\x03UPDATE")),
        Leave::Drop | Leave::BeforeAnswer(_) => {}
    }
    let _ = raw.stream.shutdown(Shutdown::Both);
}
