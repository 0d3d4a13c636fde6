//! LAST_INSERT_ID() over shared connections: random sessions, each next to a twin that talks to the
//! server directly. Every packet has to be the same.

use fairlane::protocol::Command;

use crate::support::{ONE_LANE, Proxy, Raw, servers};

const SESSIONS: usize = 8;
/// Sessions that may hold a connection for good, by an expression that sets the insert id.
const PINNING: usize = 2;
/// Sessions that may be in a transaction at the same moment.
const IN_TRANSACTION: usize = 2;
/// One slot more than can be held.
const CONNECTIONS: usize = 1 + PINNING + IN_TRANSACTION + 1;
const STEPS: usize = 3000;

struct Twin {
    through: Raw,
    direct: Raw,
    name: String,
    in_transaction: bool,
}

impl Twin {
    fn new(proxy: &Proxy, index: usize) -> Self {
        let direct =
            Raw::connect(servers().primary, "app", "app-secret", Some("shop")).expect("a login");
        let mut twin =
            Self { through: proxy.app(), direct, name: format!("{index}"), in_transaction: false };
        twin.both(
            "CREATE OR REPLACE TABLE ids_X (id BIGINT AUTO_INCREMENT PRIMARY KEY, v BIGINT, \
             UNIQUE (v)) ENGINE=InnoDB",
        );
        twin
    }

    /// Runs a statement on both ways, on the table of each, and compares the packets.
    fn both(&mut self, sql: &str) {
        let names = [format!("ids_p{}", self.name), format!("ids_d{}", self.name)];
        let through = said(&mut self.through, &sql.replace("ids_X", &names[0]), &names[0]);
        let direct = said(&mut self.direct, &sql.replace("ids_X", &names[1]), &names[1]);
        assert_eq!(through, direct, "session {}: {sql}", self.name);
    }
}

/// The answer's packets, with the table's name taken out.
fn said(raw: &mut Raw, sql: &str, table: &str) -> Vec<String> {
    let answer = raw.command(Command::Query, sql.as_bytes()).expect("an answer");
    let text = |packet: Vec<u8>| packet.escape_ascii().to_string().replace(table, "ids_X");
    answer.packets().into_iter().map(text).collect()
}

fn step(random: &mut fastrand::Rng) -> String {
    let known = random.u32(1..30);
    match random.u32(0..18) {
        0..=2 => "INSERT INTO ids_X (v) VALUES (NULL)".to_owned(),
        3 => "INSERT INTO ids_X (v) VALUES (NULL), (NULL), (NULL)".to_owned(),
        4 => format!("INSERT INTO ids_X (id, v) VALUES ({known}, NULL)"),
        5 => format!("INSERT INTO ids_X (v) VALUES (NULL), ({known}), ({known})"),
        6 => format!("INSERT INTO ids_X (v) VALUES ({known}) ON DUPLICATE KEY UPDATE v = v"),
        7 => format!("INSERT IGNORE INTO ids_X (v) VALUES ({known}), ({known})"),
        8 => format!("REPLACE INTO ids_X (v) VALUES ({known})"),
        9 => "INSERT INTO ids_X (v) VALUES (NULL) RETURNING id".to_owned(),
        10 => "INSERT INTO ids_X (v) VALUES (1000000 + LAST_INSERT_ID())".to_owned(),
        11 => format!("SET last_insert_id = {known}"),
        12 => "SELECT @@last_insert_id, @@identity".to_owned(),
        13 => "SELECT COUNT(*), MAX(id), MAX(v) FROM ids_X".to_owned(),
        15 => format!("UPDATE ids_X SET v = NULL WHERE id = {known} + LAST_INSERT_ID(0)"),
        16 => format!("UPDATE ids_X SET v = LAST_INSERT_ID(2000000 + id) WHERE id = {known}"),
        14 => format!("DELETE FROM ids_X WHERE id = {known}"),
        _ => "SELECT LAST_INSERT_ID()".to_owned(),
    }
}

#[test]
fn every_session_has_its_own_insert_id_whoever_used_its_connection() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let proxy = Proxy::with(servers(), CONNECTIONS, ONE_LANE);
    let mut twins: Vec<Twin> = (0..SESSIONS).map(|index| Twin::new(&proxy, index)).collect();
    for _ in 0..STEPS {
        let index = random.usize(0..SESSIONS);
        let open = twins.iter().filter(|twin| twin.in_transaction).count();
        let twin = &mut twins[index];
        match random.u32(0..20) {
            0 | 1 if twin.in_transaction => {
                twin.both(if random.bool() { "COMMIT" } else { "ROLLBACK" });
                twin.in_transaction = false;
            }
            0 | 1 if open < IN_TRANSACTION && index >= PINNING => {
                twin.both("START TRANSACTION");
                twin.in_transaction = true;
            }
            2 if index < PINNING => {
                let id = random.u32(1..500);
                twin.both(&format!("SELECT LAST_INSERT_ID({id})"));
            }
            3 if !twin.in_transaction && random.u32(0..4) == 0 => *twin = Twin::new(&proxy, index),
            _ => twin.both(&step(&mut random)),
        }
        if random.bool() {
            twins[index].both("SELECT LAST_INSERT_ID()");
        }
    }
}
