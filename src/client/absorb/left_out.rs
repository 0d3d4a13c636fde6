//! What a statement may have left out of the binary log, if nobody has seen its end.
//!
//! Otherwise its answer tells, or the procedures that it names are looked at behind it. Here there is nothing but its
//! text, and the connection is gone: procedures are looked at on another one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::flight::Lost;
use super::routine::{Calls, Log};
use super::writes::{is_quiet, names_left_out, switches_log};
use crate::backend::Failure;
use crate::client::login::identity::Identity;
use crate::client::statement::Work;
use crate::client::{Context, Session};
use crate::lanes::Demand;
use crate::pool::{Request, Retire};
use crate::sql::{Class, Effects, has_word};
use crate::state::{Image, Pin};

/// Most tries to look at procedures, and the pause after the first one that fails. Each pause is twice as long as the
/// one before, up to the longest.
const LOOKS_MAX: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Who looks at procedures: the user of the session that has lost them.
struct Look {
    context: Arc<Context>,
    identity: Identity,
    demand: Demand,
    /// The session's id, and the epoch in which it began.
    session: (u32, u64),
    calls: Calls,
    /// It had a role of its own choice.
    has_role: bool,
}

impl Session {
    /// `work` was sent to the primary, and ends out of sight. Until its procedures have been looked at, nothing that
    /// is written in the scope has a known position.
    pub(in crate::client) fn note_unseen_log(&self, work: &Work<'_>) {
        let effects = work.verdict.effects;
        if work.verdict.class == Class::Read || is_quiet(work.command) {
            return;
        }
        let sets = effects.contains(Effects::SET_STATEMENT) && names_left_out(work.sql);
        if sets || switches_log(work.verdict, (work.sql, self.mode_of(work))) {
            return self.writes.note_unlogged();
        }
        if !effects.contains(Effects::OPAQUE) || self.calls_just_functions(work) {
            return;
        }
        let mut calls = self.procedures_in(work);
        // What was prepared before may call anything.
        calls.are_all &= !has_word(work.sql, b"execute");
        match self.context.procedures.log_of(&self.identity.key, &calls) {
            Some(Log::Off) => self.writes.note_unlogged(),
            Some(Log::On | Log::Absent) => {}
            Some(Log::Unknown) | None => self.look_elsewhere(calls),
        }
    }

    fn look_elsewhere(&self, calls: Calls) {
        let (lost, writes) = (Lost::new(self.writes.written()), Arc::clone(&self.writes));
        writes.note_unknown();
        let look = Look {
            context: Arc::clone(&self.context),
            identity: self.identity.clone(),
            demand: self.demand_to_go_on(),
            session: (self.entry.id, self.epoch),
            calls,
            has_role: self.pins.has(Pin::Role),
        };
        tokio::spawn(async move {
            if look.switch_log().await {
                writes.note_unlogged();
            }
            drop(lost);
        });
    }
}

impl Look {
    /// Whether one of the procedures may leave something out; also where that can't be found out.
    async fn switch_log(&self) -> bool {
        let mut pause = PAUSE;
        for _ in 0..LOOKS_MAX {
            if let Some(switch_log) = self.once().await {
                return switch_log;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        true
    }

    async fn once(&self) -> Option<bool> {
        let image = Image::default();
        let request = Request::plain(self.identity.whose(), &image, self.session);
        let pool = self.context.primary_pool();
        let mut checkout = pool.check_out(self.demand, request, Instant::now()).await.ok()?;
        let generation = checkout.connection().generation;
        let looking = async {
            let connection = checkout.connection();
            let asked = (&self.calls, self.has_role);
            let switch_log = self.context.procedures.switch_log(connection, asked).await?;
            // With autocommit off MySQL has begun a transaction.
            connection.roll_back().await?;
            Ok::<_, Failure>(switch_log)
        };
        let looked = tokio::select! {
            biased;
            looked = looking => looked.ok(),
            () = pool.forsakes(generation) => None,
        };
        match looked {
            Some(_) => {
                checkout.connection().residue.is_dirty = true;
                checkout.check_in();
            }
            None => checkout.discard(Retire::Kill),
        }
        looked
    }
}
