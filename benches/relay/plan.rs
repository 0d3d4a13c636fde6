//! What is measured: the loads, and the ways each goes.

use serde::Serialize;

use crate::proxies::Way;
use crate::sysbench::{Script, Statements};

/// Threads of the point selects.
pub(crate) const THREADS: [u32; 4] = [1, 16, 64, 256];
/// Threads of the point selects that only the proxies work for.
const THREADS_OF_CEILINGS: [u32; 2] = [16, 64];
/// Threads of the loads with transactions.
const THREADS_OF_MIXES: u32 = 16;

/// The ways to the real servers.
pub(crate) const WAYS: [Way; 5] =
    [Way::Direct, Way::HaProxy, Way::Router, Way::Fairlane, Way::FairlaneReplica];
/// The ways with one server behind: all there is for one client at a time, and for the ceilings.
pub(crate) const PLAIN: [Way; 4] = [Way::Direct, Way::HaProxy, Way::Router, Way::Fairlane];

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Behind {
    /// The private primary, and the replica where a way uses it.
    Servers,
    /// The null server.
    Null,
}

/// What a core does that has nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cores {
    /// It halts, as the machine has it.
    Alone,
    /// It spins.
    Awake,
}

/// One kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Load {
    pub(crate) script: Script,
    pub(crate) statements: Statements,
    pub(crate) threads: u32,
    pub(crate) behind: Behind,
    pub(crate) cores: Cores,
}

impl Load {
    fn new(script: Script, statements: Statements, threads: u32) -> Self {
        Self { script, statements, threads, behind: Behind::Servers, cores: Cores::Alone }
    }

    /// Point selects that the servers answer.
    pub(crate) fn point_select(statements: Statements, threads: u32) -> Self {
        Self::new(Script::PointSelect, statements, threads)
    }

    /// The ways it goes.
    pub(crate) fn ways(self) -> &'static [Way] {
        match (self.behind, self.threads) {
            (Behind::Null, _) | (_, 1) => &PLAIN,
            (Behind::Servers, _) => &WAYS,
        }
    }

    /// The threads, as the tables write them.
    pub(crate) fn threads(self) -> String {
        match self.cores {
            Cores::Alone => self.threads.to_string(),
            Cores::Awake => format!("{}, cores awake", self.threads),
        }
    }
}

/// Point selects in every combination of statements and threads, transactions, and the ceilings.
pub(crate) fn loads() -> Vec<Load> {
    let mut loads = Vec::new();
    for statements in [Statements::Text, Statements::Prepared] {
        for threads in THREADS {
            let load = Load::point_select(statements, threads);
            loads.push(load);
            if threads == 1 {
                loads.push(Load { cores: Cores::Awake, ..load });
            }
        }
    }
    for script in [Script::ReadOnly, Script::ReadWrite] {
        loads.push(Load::new(script, Statements::Text, THREADS_OF_MIXES));
    }
    for statements in [Statements::Text, Statements::Prepared] {
        for threads in THREADS_OF_CEILINGS {
            let load = Load::point_select(statements, threads);
            loads.push(Load { behind: Behind::Null, ..load });
        }
    }
    loads
}
