//! Temporary.
use fairlane::config::settings::*;
use std::time::Duration;
fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let port = |i: usize| args[i].parse::<u16>();
    let mut backends = vec![];
    for (i, a) in args[2..].iter().enumerate() {
        backends.push(Backend {
            name: if i == 0 { "primary".into() } else { format!("replica{i}") },
            host: "127.0.0.1".into(),
            port: a.parse()?,
            max_connections: 15,
        });
    }
    let lane = |name: &str, reserved, max| Lane {
        name: name.into(),
        reserved,
        max,
        queue: 10000,
        queue_timeout: Duration::from_secs(5),
    };
    let s = Settings {
        listen: vec![format!("127.0.0.1:{}", port(1)?).parse()?],
        max_clients: 20000,
        login_timeout: Duration::from_secs(10),
        admin: Some(format!("127.0.0.1:{}", port(1)? + 1).parse()?),
        service: Service { user: "app".into(), password: "pw".to_string().into() },
        backends,
        pool: Pool {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            max_age: Duration::from_secs(3600),
            open_rate: 200,
        },
        lanes: vec![
            lane("interactive", Share::Percent(25), Share::Percent(100)),
            lane("batch", Share::Slots(1), Share::Percent(50)),
        ],
        rules: vec![],
        default_lane: 0,
        users: vec![],
        routing: Routing {
            replica_reads: true,
            consistency: Consistency::Session,
            max_lag: Duration::from_secs(5),
            freshness_wait: Duration::ZERO,
            probe_interval: Duration::from_millis(500),
            recovery_probes: 3,
            accounts_refresh: Duration::from_secs(10),
        },
        log: Log { filter: std::env::var("RUST_LOG").unwrap_or("info".into()), json: false },
    };
    fairlane::server::serve(s)
}
