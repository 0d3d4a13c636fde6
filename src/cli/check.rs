//! `fairlane check`

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::backend::Route;
use crate::config::settings::{
    Address, Backend, BackendCompression, BackendTlsMode, Consistency, LatencyTarget, LockGuard,
    LockPolicy, ProxyProtocol, Routing, RuleScope, Scope, Settings, TlsMode,
};
use crate::config::{self, settings::Rule};
use crate::net::rsa::KeyPair;
use crate::net::tls::{Acceptor, out_of_time};
use crate::pool::CONTROL_CONNECTIONS;

/// The file to check.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "fairlane.toml")]
    config: PathBuf,
}

/// Prints what the file means.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let settings = config::load(&args.config)?;
    if settings.tls.mode != TlsMode::Disabled {
        // The files of a certificate may be there and not fit.
        Acceptor::new(&settings.tls)
            .with_context(|| format!("{} can't be used", args.config.display()))?;
    }
    if let Some(path) = &settings.rsa_private_key {
        KeyPair::load(path).with_context(|| format!("{} can't be used", args.config.display()))?;
    }
    for backend in &settings.backends {
        Route::new(backend).with_context(|| {
            format!("{} can't be used: {}", args.config.display(), backend.name)
        })?;
    }
    let (told, warnings) = (describe(&settings), warnings(&settings));
    let text = format!("{told}{warnings}{}: fine\n", args.config.display());
    std::io::stdout().write_all(text.as_bytes()).context("writing the answer")
}

/// What may be meant so, a line for each.
fn warnings(settings: &Settings) -> String {
    let own = settings.backends.iter().map(|backend| (backend.name.as_str(), &backend.tls.own));
    let all = std::iter::once(("tls", &settings.tls.files)).chain(own);
    let late = all.filter_map(|(whose, files)| Some((whose, out_of_time(files.as_ref()?)?)));
    late.map(|(whose, when)| format!("warning: certificate of {whose}: {when}\n")).collect()
}

fn describe(settings: &Settings) -> String {
    let listen: Vec<String> = settings.listen.iter().map(ToString::to_string).collect();
    let mut lines = vec![format!("clients connect to {}", listen.join(", "))];
    let certificate = match &settings.tls.files {
        Some(files) => files.certificate.display().to_string(),
        None => "a certificate made at each start".to_owned(),
    };
    lines.push(match settings.tls.mode {
        TlsMode::Disabled => "clients get no TLS".to_owned(),
        TlsMode::AsPrimary => format!("clients get TLS if the primary has it, with {certificate}"),
        TlsMode::Preferred => format!("clients get TLS if they ask for it, with {certificate}"),
        TlsMode::Required => format!("clients have to use TLS, with {certificate}"),
    });
    lines.push(match settings.admin {
        Some(address) => format!("operators look at http://{address}/"),
        None => "operators have no page (admin.listen is off)".to_owned(),
    });
    for (index, backend) in settings.backends.iter().enumerate() {
        let role = if index == 0 { "primary" } else { "replica" };
        let slots = backend.max_connections - CONTROL_CONNECTIONS;
        let compressed = match backend.compression {
            BackendCompression::Off => "",
            BackendCompression::Zlib => " (compressed with zlib)",
            BackendCompression::Zstd => " (compressed with zstd)",
        };
        lines.push(format!(
            "{role} {} at {}: {slots} slots{compressed} and {CONTROL_CONNECTIONS} control connection{}",
            backend.name,
            backend.address,
            wire_words(backend)
        ));
        for lane in &settings.lanes {
            let overloaded =
                lane.overload_timeout.map(|limit| format!(", {limit:?} when overloaded"));
            lines.push(format!(
                "    lane {}: {} reserved, at most {}, {} may wait for {:?}{}",
                lane.name,
                lane.reserved.reserved_of(slots),
                lane.max.of(slots),
                lane.queue,
                lane.queue_timeout,
                overloaded.unwrap_or_default()
            ));
        }
    }
    for rule in &settings.rules {
        lines.push(format!("rule: {}", describe_rule(rule, settings)));
    }
    lines.push(describe_behaviour(settings));
    lines.push(format!("everything else: lane {}", settings.lanes[settings.default_lane].name));
    if settings.lanes.len() > 1 {
        lines.push(format!("lock guard: {}", lock_guard_words(settings.lock_guard)));
    }
    let reads = settings.routing.replica_reads && settings.backends.len() > 1;
    lines.push(match (reads, settings.routing.consistency) {
        (false, _) | (_, Consistency::Strong) => "all reads go to the primary".to_owned(),
        (true, Consistency::Session | Consistency::Eventual) => {
            format!("reads go to replicas{}", fresh_words(&settings.routing))
        }
    });
    if settings.backends.len() > 1 {
        lines.push(format!(
            "a replica that lags more than {:?} takes no reads",
            settings.routing.max_lag
        ));
    }
    lines.push(match settings.users.len() {
        0 => "accounts are loaded from the primary".to_owned(),
        given => format!("accounts are loaded from the primary, and {given} given in the file"),
    });
    lines.push(String::new());
    lines.join("\n")
}

fn describe_behaviour(settings: &Settings) -> String {
    let Some(lane) = settings.batch_lane else {
        let why = if settings.lanes.len() < 2 { "there is one lane" } else { "lanes.auto is off" };
        return format!("what behaves like a batch: as everything else ({why})");
    };
    let interactive = &settings.lanes[settings.default_lane].name;
    let target = match settings.latency_target {
        LatencyTarget::Auto => format!("slots as lane {interactive} can spare them"),
        LatencyTarget::Fixed(target) => {
            format!("slots as statements of lane {interactive} stay under {target:?}")
        }
        LatencyTarget::Off => "all slots it may have (lanes.target is off)".to_owned(),
    };
    format!("what behaves like a batch: lane {}, with {target}", settings.lanes[lane].name)
}

fn lock_guard_words(guard: LockGuard) -> String {
    match guard.policy {
        LockPolicy::Off => "off".to_owned(),
        LockPolicy::Observe => "waits for work of later lanes are reported".to_owned(),
        LockPolicy::Pace => "work of later lanes is held back for who waits for it".to_owned(),
        LockPolicy::Abort => {
            format!("work of later lanes is rolled back for who has waited {:?}", guard.abort_after)
        }
    }
}

/// How the wire to a server is protected, and what is told on it.
fn wire_words(backend: &Backend) -> String {
    let tls = match (&backend.address, backend.tls.mode) {
        (Address::Unix(_), _) => ", by a socket of this machine",
        (_, BackendTlsMode::Disabled) => ", without TLS",
        (_, BackendTlsMode::Preferred) => ", with TLS if it has it",
        (_, BackendTlsMode::Required) => ", with TLS, whoever it is",
        (_, BackendTlsMode::VerifyCa) => ", with TLS, by its certificate's issuer",
        (_, BackendTlsMode::VerifyIdentity) => ", with TLS, by its certificate and name",
    };
    let told = match backend.proxy_protocol {
        ProxyProtocol::Off => "",
        ProxyProtocol::V1 | ProxyProtocol::V2 => ", told the clients' addresses",
    };
    format!("{tls}{told}")
}

/// What a replica must have to be read from, as the end of a sentence about it.
pub(super) fn fresh_words(routing: &Routing) -> &'static str {
    match (routing.consistency, routing.scope) {
        (Consistency::Eventual, _) => ", however old its data",
        (_, Scope::Session) => " with the session's own writes",
        (_, Scope::User) => " with all writes of the session's user",
        (_, Scope::Global) => " with all writes that went through Fairlane",
    }
}

/// A rule in words.
pub(super) fn describe_rule(rule: &Rule, settings: &Settings) -> String {
    let mut conditions = Vec::new();
    if let Some(user) = &rule.user {
        conditions.push(format!("user is {user}"));
    }
    if !rule.network.is_empty() {
        let networks: Vec<String> = rule.network.iter().map(ToString::to_string).collect();
        conditions.push(format!("client is in {}", networks.join(" or ")));
    }
    let globs = [
        ("program_name", &rule.program_name),
        ("schema", &rule.schema),
        ("statement", &rule.digest),
    ];
    for (what, glob) in globs {
        if let Some(glob) = glob {
            conditions.push(format!("{what} is like {}", glob.as_str()));
        }
    }
    let scope = match rule.scope {
        RuleScope::Statement => "",
        RuleScope::Session => " for the rest of the session",
    };
    format!("if {}: lane {}{scope}", conditions.join(" and "), settings.lanes[rule.lane].name)
}
