//! Compression with MySQL's own client, and with a client that looks at every frame.

use fairlane::protocol::Capabilities;

use crate::support::raw::{Failed, Login};
use crate::support::{Proxy, Raw, pause};
use crate::{as_root, client, mysql};

const APP: [&str; 3] = ["-uapp", "-papp-secret", "shop"];

#[test]
fn the_client_compresses_as_it_likes() {
    let servers = mysql();
    as_root(
        servers,
        "CREATE TABLE shop.comp_a (id INT PRIMARY KEY, data LONGTEXT); \
         INSERT INTO shop.comp_a VALUES (1, REPEAT('long ', 4000000)), (2, ''), (3, 'x')",
    );
    let proxy = Proxy::start(servers);
    let sql = "SELECT 1; SELECT REPEAT('a', 49), REPEAT('b', 50), REPEAT('c', 51); \
        SELECT LENGTH(data), SHA2(data, 256) FROM comp_a ORDER BY id; \
        SELECT data FROM comp_a ORDER BY id";
    let nonsense = "SELECT nothing_like_it";
    for ways in [
        &["--compression-algorithms=zlib"][..],
        &["--compression-algorithms=zstd"],
        &["--compression-algorithms=zstd", "--zstd-compression-level=1"],
        &["--compression-algorithms=zstd", "--zstd-compression-level=22"],
        &["--compression-algorithms=zstd,zlib,uncompressed"],
        &["--compression-algorithms=uncompressed"],
    ] {
        for tls in ["--ssl-mode=REQUIRED", "--ssl-mode=PREFERRED"] {
            let more = [tls, "--max-allowed-packet=64M"];
            let arguments = [&APP[..], ways, &more].concat();
            for sql in [sql, nonsense] {
                let direct = client(servers.primary, &arguments, sql);
                let through = client(proxy.port, &arguments, sql);
                assert!(direct == through, "{arguments:?}: {}, {}", direct.err, through.err);
            }
        }
    }
}

/// Logs in without a password, so that no plugin has to be played.
fn login(port: u16, more: Capabilities, zstd_level: u8) -> Result<Raw, Failed> {
    let plugin = "caching_sha2_password";
    let login = Login { more, zstd_level, plugin, ..Login::new(port, "nothing_a", "") };
    Raw::login(&login)
}

#[test]
fn frames_and_levels_are_the_servers() {
    let servers = mysql();
    as_root(servers, "CREATE USER nothing_a@'%'");
    let proxy = Proxy::start(servers);
    let plain = login(servers.primary, Capabilities::empty(), 0).expect("a login");
    let through = login(proxy.port, Capabilities::empty(), 0).expect("a login");
    let both = Capabilities::COMPRESS | Capabilities::ZSTD;
    assert_eq!(plain.greeting.capabilities & both, both);
    assert_eq!(through.greeting.capabilities & both, both);
    for level in [0, 1, 3, 22, 23, 255] {
        let said = |port| {
            let mut raw = login(port, Capabilities::ZSTD, level)?;
            let answers = ["SELECT 1", "SELECT REPEAT('x', 9)", "SELECT REPEAT('x', 17000000)"];
            Ok::<_, Failed>(answers.map(|sql| raw.run(sql).bytes.len()))
        };
        assert_eq!(said(servers.primary), said(proxy.port), "level {level}");
    }
}

#[test]
fn a_slow_reader_of_frames_holds_up_nobody_and_bounded_memory() {
    let servers = mysql();
    as_root(servers, "CREATE USER IF NOT EXISTS slow_a@'%'");
    let proxy = Proxy::start(servers);
    let plugin = "caching_sha2_password";
    let slow = |more| {
        let login = Login { more, zstd_level: 3, plugin, ..Login::new(proxy.port, "slow_a", "") };
        Raw::login(&login).expect("a login")
    };
    let resident = || resident_kib(proxy.pid());
    let mut clients: Vec<Raw> = (0..8).map(|_| slow(Capabilities::ZSTD)).collect();
    let before = resident();
    // What does not get shorter by packing.
    let sql = "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 900) \
        SELECT RANDOM_BYTES(1000), RANDOM_BYTES(1000) FROM r a, r b LIMIT 40000";
    for client in &mut clients {
        client.send(fairlane::protocol::Command::Query, sql.as_bytes());
    }
    pause(1500);
    let grown = resident().saturating_sub(before);
    assert!(grown < 40 * 1024, "{grown} KiB for 80 MB that nobody reads, 8 times");
    let mut other = slow(Capabilities::empty());
    other.run("SELECT 1");
}

/// Memory a process holds.
fn resident_kib(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
