//! Every metric family once: name, kind, unit, labels and the sentence an operator reads.
//!
//! Registration takes its words from here, and the tests hold `docs/metrics.md` and
//! `config/alerts.yml` against it, so a family cannot exist in one place only.
//!
//! Naming: `fairlane_` + what it is about + what is counted + unit; counters end in `_total`,
//! units are base units (seconds, bytes). Every label has few values, all known at start, but
//! for `code`, which is bounded where it is counted.

/// What a family's numbers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from zero at start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// What a family's numbers measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// 0 or 1.
    Truth,
}

/// One metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Full name as scraped (histograms add `_bucket`, `_sum` and `_count`).
    pub name: &'static str,
    /// What its numbers do.
    pub kind: Kind,
    /// What they measure.
    pub unit: Unit,
    /// Label names, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// The HELP text.
    pub help: &'static str,
}

/// Declares each family as a constant and lists all of them in [`FAMILIES`].
macro_rules! families {
    ($($id:ident = $name:literal, $kind:ident, $unit:ident, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Family = Family {
                name: $name,
                kind: Kind::$kind,
                unit: Unit::$unit,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// All families, in the order of the documentation.
        pub const FAMILIES: &[Family] = &[$($id),*];
    };
}

families! {
    BUILD_INFO = "fairlane_build_info", Gauge, Truth, ["version"],
        "Always 1; the label tells the version that runs.";
    START_TIME = "fairlane_start_time_seconds", Gauge, Seconds, [],
        "When the process started, as seconds since 1970.";

    LANE_IN_USE = "fairlane_lane_slots_in_use", Gauge, Count, ["backend", "lane"],
        "Slots of the backend's pool that work of this lane holds now.";
    LANE_LIMIT = "fairlane_lane_slots_limit", Gauge, Count, ["backend", "lane"],
        "Most slots of the backend's pool this lane may hold now.";
    LANE_RESERVED = "fairlane_lane_slots_reserved", Gauge, Count, ["backend", "lane"],
        "Slots of the backend's pool that only this lane may use.";
    LANE_WAITING = "fairlane_lane_waiters", Gauge, Count, ["backend", "lane"],
        "Sessions of this lane that wait for a slot now.";
    LANE_ADMITTED = "fairlane_lane_admitted_total", Counter, Count, ["backend", "lane"],
        "Times work of this lane was given a slot, at once or after a wait.";
    LANE_REJECTED = "fairlane_lane_rejected_total", Counter, Count, ["backend", "lane", "reason"],
        "Times work was refused a slot: reason full (the queue was full), timeout (it waited for queue_timeout) or overload (it waited for overload_timeout while the lane was overloaded).";
    LANE_OVERLOADED = "fairlane_lane_overloaded", Gauge, Truth, ["backend", "lane"],
        "1 while more work comes to this lane than the backend can do: what waits for overload_timeout is refused.";
    LANE_ABANDONED = "fairlane_lane_abandoned_total", Counter, Count, ["backend", "lane"],
        "Times a waiter left the queue by itself: its client hung up or was killed, or its statement was.";
    LANE_REASSIGNED = "fairlane_lane_reassigned_total", Counter, Count, ["backend", "lane"],
        "Slots of this lane that were held for more than a second (0.1 s, where statements of one kind hold many for long) and count for the batch lane since then.";
    LANE_CHOICES = "fairlane_lane_choices_total", Counter, Count, ["reason"],
        "Statements that asked for a slot, by what chose their lane: hint, rule, light (the default lane: nothing speaks against it), attained_service (the session has used much of late), company (its statements or client are those of heavy sessions) or crowd (statements of its kind hold many slots for long, and no more are left than are reserved for the default lane).";
    LANE_HEAVY_FROM = "fairlane_lane_heavy_from_seconds", Gauge, Seconds, [],
        "Service from which a visit of a session counts as heavy now: three times that of small visits, and 0.25 s at least.";
    LANE_BULK_IS_HEAVY = "fairlane_lane_bulk_is_heavy", Gauge, Count, [],
        "1 while visits with eight statements that change rows in one transaction, or those of 0.03 s and three times small ones, count as heavy however short they are: they have most of the primary's slot time, and others wait for slots (of the latter it is enough that the default lane's slots are nearly all in use).";
    LANE_FEATURES = "fairlane_lane_features", Gauge, Count, [],
        "Kinds of statements and clients whose behaviour is known now.";
    LANE_WAIT = "fairlane_lane_wait_seconds", Histogram, Seconds, ["backend", "lane"],
        "Time from asking for a slot to having it; includes those that did not have to wait.";
    LANE_SERVICE = "fairlane_lane_service_seconds", Histogram, Seconds, ["backend", "lane"],
        "Time a slot was held: one statement, or a whole transaction or pinned stretch.";

    LOCK_WAITS = "fairlane_lock_waits_total", Counter, Count, ["lane", "blocker", "kind"],
        "Statements of this lane found waiting for locks on the primary, by the lane of the session that has them (other: a connection that is not Fairlane's, or unknown) and kind: row or metadata.";
    LOCK_WAIT = "fairlane_lock_wait_seconds", Histogram, Seconds, ["lane"],
        "How long statements of this lane waited for locks, as far as they were found waiting: from their beginning, or when they were last found not to wait, to their end.";
    LOCK_ACTIONS = "fairlane_lock_guard_actions_total", Counter, Count, ["action"],
        "What the lock guard did: paced (a statement of a later lane was held back for a moment), aborted (a transaction that held a lock was rolled back and its client told so by error 1213), spared (it should have been, and could not be without harm), repeated (a statement that lost a deadlock of the server's was sent again, see deadlock_retries).";
    LOCK_PROBES = "fairlane_lock_probes_total", Counter, Count, ["outcome"],
        "Times the primary was asked who waits for whom: answered, refused (a privilege is missing) or unreachable.";

    BACKEND_OPEN = "fairlane_backend_connections_open", Gauge, Count, ["backend"],
        "Connections to the backend that count against its bound: being opened, busy, idle or being closed.";
    BACKEND_IDLE = "fairlane_backend_connections_idle", Gauge, Count, ["backend"],
        "Open connections that nobody uses now.";
    BACKEND_OPENING = "fairlane_backend_connections_opening", Gauge, Count, ["backend"],
        "Sessions for which a connection is being opened, or that wait for the right to open one.";
    BACKEND_LIMIT = "fairlane_backend_connections_limit", Gauge, Count, ["backend"],
        "Most pooled connections there may be to the backend: its slots.";
    BACKEND_OPENED = "fairlane_backend_connections_opened_total", Counter, Count, ["backend"],
        "Connections opened and logged in.";
    BACKEND_OPEN_ERRORS = "fairlane_backend_open_errors_total", Counter, Count, ["backend"],
        "Attempts to open a connection that failed, at connecting or at login.";
    BACKEND_CLOSED = "fairlane_backend_connections_closed_total", Counter, Count, ["backend", "reason"],
        "Connections closed: idle (idle_timeout), age (max_age), evicted (its place was needed), broken (the server or network ended it), reset_failed (could not be made clean), killed (on purpose, to end what ran on it), moved (its server is not the one any more that is at its address), differs (its server takes the user for another one than the primary does).";
    BACKEND_TARGET = "fairlane_backend_interactive_target_seconds", Gauge, Seconds, ["backend"],
        "What statements of the default lane may take on average now beside batch work; NaN while not known.";
    BACKEND_UP = "fairlane_backend_up", Gauge, Truth, ["backend"],
        "1 while the last probe of the backend succeeded.";
    BACKEND_IN_ROTATION = "fairlane_backend_in_rotation", Gauge, Truth, ["backend"],
        "1 while statements may be routed to the backend.";
    BACKEND_LAG = "fairlane_backend_replication_lag_seconds", Gauge, Seconds, ["backend"],
        "Replication delay as the replica itself says; NaN when unknown and on the primary.";
    BACKEND_WATERMARK = "fairlane_backend_watermark_sequence", Gauge, Count, ["backend"],
        "Sequence number of the last transaction the backend is known to have applied, summed over replication domains.";
    BACKEND_RECEIVED = "fairlane_backend_received_bytes_total", Counter, Bytes, ["backend"],
        "Bytes read from the backend's pooled connections, counted as they are without compression and TLS.";
    BACKEND_SENT = "fairlane_backend_sent_bytes_total", Counter, Bytes, ["backend"],
        "Bytes written to the backend's pooled connections, counted likewise.";
    BACKEND_RETRIES = "fairlane_backend_retries_total", Counter, Count, ["backend"],
        "Statements sent again on another connection because the first turned out to be dead before it could run them.";

    SESSIONS = "fairlane_sessions_open", Gauge, Count, [],
        "Clients that are connected now, logged in or not yet.";
    SESSIONS_TOTAL = "fairlane_sessions_total", Counter, Count, [],
        "Clients that have connected, whether they logged in or not.";
    LOGINS_FAILED = "fairlane_logins_failed_total", Counter, Count, ["reason"],
        "Logins that failed: denied (user or password), schema (unknown or forbidden schema), timeout (login_timeout), protocol (not a MySQL client, or it hung up), backend (the primary could not be asked, or its accounts could not be read), busy (it could not, since no connection of the default lane was free for that), proxy_header (a PROXY protocol header that is malformed, or not from proxy_protocol_networks).";
    LOGINS_DELAYED = "fairlane_logins_delayed_total", Counter, Count, [],
        "Failed logins whose answer was delayed because others of the same address had failed (login_delay).";
    CLIENTS_REFUSED = "fairlane_clients_refused_total", Counter, Count, [],
        "Clients refused at once with error 1040 because max_clients were connected.";
    CLIENT_RECEIVED = "fairlane_client_received_bytes_total", Counter, Bytes, [],
        "Bytes read from clients, counted as they are without compression and TLS.";
    CLIENT_SENT = "fairlane_client_sent_bytes_total", Counter, Bytes, [],
        "Bytes written to clients, counted likewise.";
    PINNED = "fairlane_sessions_pinned", Gauge, Count, ["reason"],
        "Sessions that must keep their backend connection now, by what pins them; a session with two pins counts in both.";
    PINS = "fairlane_pins_total", Counter, Count, ["reason"],
        "Times a session got a pin.";
    BOUND_SECONDS = "fairlane_sessions_bound_seconds_total", Counter, Seconds, ["by"],
        "Seconds that sessions kept a backend connection beyond a single statement: by transaction, or by pin, outside of transactions. Brought up to date with each statement of such a session.";

    COMMANDS = "fairlane_commands_total", Counter, Count, ["command"],
        "Protocol commands received from clients.";
    ROUTED = "fairlane_statements_routed_total", Counter, Count, ["target", "reason"],
        "Statements by where they were answered and why: primary, replica, session (the connection the session held already) or local (by Fairlane itself). A read that failed on a replica counts for the primary, too.";
    ERRORS_SENT = "fairlane_errors_sent_total", Counter, Count, ["origin", "code"],
        "Errors sent to clients by MySQL error code: origin server (relayed unchanged) or fairlane (its own). Codes after the first 256 count as other.";
    REPLICA_RETRIES = "fairlane_replica_retries_total", Counter, Count, [],
        "Reads that failed on a replica and were answered by the primary instead.";
    FRESHNESS_WAITS = "fairlane_freshness_waits_total", Counter, Count, ["outcome"],
        "Reads that found no replica with all of the writes they have to see (routing.consistency_scope): fresh (a replica caught up within freshness_wait) or primary (answered by the primary instead).";
    FRESHNESS_WAIT = "fairlane_freshness_wait_seconds", Histogram, Seconds, [],
        "Time such reads waited for a replica to catch up.";
    FRESHNESS_FORGOTTEN = "fairlane_freshness_users_forgotten_total", Counter, Count, [],
        "Users without a session that were forgotten to remember others: what they wrote then counts for every user not seen yet.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        for family in FAMILIES {
            let name = family.name;
            assert!(name.starts_with("fairlane_"), "{name}");
            assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
            let stem = name.trim_end_matches("_total");
            assert_eq!(stem.ends_with("_seconds"), family.unit == Unit::Seconds, "{name}");
            assert_eq!(stem.ends_with("_bytes"), family.unit == Unit::Bytes, "{name}");
            assert!(family.help.ends_with('.'), "the help of {name} is a sentence");
        }
    }

    #[test]
    fn names_are_unique_even_without_their_suffix() {
        // OpenMetrics names a counter family without `_total`.
        let mut stems: Vec<_> =
            FAMILIES.iter().map(|f| f.name.trim_end_matches("_total")).collect();
        stems.sort_unstable();
        let all = stems.len();
        stems.dedup();
        assert_eq!(stems.len(), all);
    }
}
