//! Compression with MySQL's own client, and with a client that looks at every frame.

use fairlane::protocol::Capabilities;

use crate::support::raw::{Failed, Login};
use crate::support::{Proxy, Raw, eventually, pause};
use crate::{as_root, client, mysql, started, with_keys};

const ROOT: [&str; 2] = ["-uroot", "-proot-secret"];
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

/// Status variables of the connection Fairlane has to the primary, which the tables show.
const ON_THE_SERVER: &str = "SELECT variable_value FROM performance_schema.session_status \
    WHERE variable_name LIKE 'Compression%' ORDER BY variable_name";

#[test]
fn the_two_legs_of_a_session_are_compressed_apart() {
    let servers = mysql();
    let large = "SELECT LENGTH(REPEAT('x', 20000000)), REPEAT('y', 20000000)";
    for (keys, expected) in [
        ("compression = \"off\"", "OFF\n\n0\n"),
        ("compression = \"zlib\"", "ON\nzlib\n6\n"),
        ("compression = \"zstd\"", "ON\nzstd\n3\n"),
        ("compression = \"zstd\"\ntls = \"required\"", "ON\nzstd\n3\n"),
    ] {
        let proxy = Proxy::start(&with_keys(keys));
        for (way, shown) in [("uncompressed", "OFF"), ("zlib", "ON"), ("zstd", "ON")] {
            let way = format!("--compression-algorithms={way}");
            let arguments = [&APP[..], &[&way, "--max-allowed-packet=64M"]].concat();
            let said = client(proxy.port, &arguments, ON_THE_SERVER);
            assert_eq!((&*said.out, &*said.err), (expected, ""), "{keys}, {way}");
            let said = client(proxy.port, &arguments, "SHOW STATUS LIKE 'Compression'");
            assert_eq!(said.out, format!("Compression\t{shown}\n"), "{keys}, {way}");
            let said = client(proxy.port, &arguments, large);
            assert_eq!((said.out.len(), &*said.err), (20_000_010, ""), "{keys}, {way}");
        }
        let on_the_replica = format!("/* fairlane: route=replica */ {ON_THE_SERVER}");
        let arguments = [&APP[..], &["--comments"]].concat();
        assert_eq!(client(proxy.port, &arguments, &on_the_replica).out, expected, "{keys}");
    }
    assert_eq!(client(servers.primary, &APP, ON_THE_SERVER).out, "OFF\n\n0\n");
}

#[test]
fn a_server_that_ceases_to_offer_its_compression_is_told() {
    let (mut servers, _orders) = started(Vec::new());
    servers.keys = "compression = \"zstd\"".to_owned();
    let offer = |algorithms: &str| {
        let sql = format!("SET GLOBAL protocol_compression_algorithms = '{algorithms}'");
        for port in [servers.primary, servers.replica] {
            assert_eq!(client(port, &ROOT, &sql).err, "");
        }
    };
    let proxy = Proxy::start(&servers);
    assert_eq!(client(proxy.port, &APP, ON_THE_SERVER).out, "ON\nzstd\n3\n");
    offer("zlib,uncompressed");
    // Connections that are there go on; for another user one is opened.
    assert_eq!(client(proxy.port, &APP, ON_THE_SERVER).out, "ON\nzstd\n3\n");
    let refused = client(proxy.port, &ROOT, "SELECT 1");
    let told =
        "the server offers no zstd compression, and the key compression of this server wants it";
    assert!(refused.err.contains(told), "{refused:?}");
    let late = Proxy::start_without_waiting(&servers, 5, "");
    eventually("the trouble is told", || late.log().contains(&format!("{told} (offered: zlib")));
    offer("zlib,zstd,uncompressed");
    eventually("it is used again", || late.get("/readyz").starts_with("HTTP/1.1 200"));
}

/// Memory a process holds.
fn resident_kib(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
