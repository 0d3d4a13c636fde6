//! An address that comes to mean another server, while connections to the first one go on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use fairlane::protocol::{Command, Shape};
use fairlane::sandbox::Options;

use tokio::sync::mpsc::Sender;

use crate::support::servers::{Order, Servers, What, keep, order};
use crate::support::{ONE_LANE_AND_REPLICA, Proxy, Raw, eventually, pause, product, within};

/// A name that is made to lead elsewhere: what has been connected stays where it is.
struct Name {
    port: u16,
    server: Arc<AtomicU16>,
    is_frozen: Arc<AtomicBool>,
}

impl Name {
    fn of(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Arc::new(AtomicU16::new(server));
        let now = server.clone();
        let is_frozen = Arc::new(AtomicBool::new(false));
        let freezes = is_frozen.clone();
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", now.load(Ordering::SeqCst)))
                else {
                    continue;
                };
                let freezes =
                    || Some(freezes.clone()).filter(|freezes| !freezes.load(Ordering::SeqCst));
                copy(client.try_clone().unwrap(), server.try_clone().unwrap(), freezes());
                copy(server, client, freezes());
            }
        });
        Self { port, server, is_frozen }
    }

    /// Nothing goes to or fro on what has been connected.
    fn freeze(&self) {
        self.is_frozen.store(true, Ordering::SeqCst);
    }

    fn lead_to(&self, server: u16) {
        self.server.store(server, Ordering::SeqCst);
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, freezes: Option<Arc<AtomicBool>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            while freezes.as_ref().is_some_and(|is_frozen| is_frozen.load(Ordering::SeqCst)) {
                std::thread::park();
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

/// A planned switchover: the old primary lives on as a server that only reads.
#[test]
fn all_connections_follow_an_address_to_another_server() {
    let (servers, _orders) = keep(Options { max_connections: 100, ..product().options() });
    let more = "[routing]\nreplica_reads = false\nprobe_interval = \"200ms\"\n";
    let name = Name::of(servers.primary);
    let proxy = Proxy::behind(name.port, &servers, 8, more);
    let mut clients: Vec<Raw> = (0..6).map(|_| proxy.app()).collect();
    clients[0].run("CREATE TABLE moved (id INT PRIMARY KEY)");
    for client in &mut clients {
        client.run("BEGIN");
        client.run("SELECT 1");
    }
    let mut holder = clients.pop().unwrap();
    clients.iter_mut().for_each(|client| drop(client.run("COMMIT")));
    servers.wait_replicated();
    let who = |client: &mut Raw| client.text("SELECT @@port");
    let (old, new) = (servers.primary.to_string(), servers.replica.to_string());
    assert_eq!(who(&mut clients[0]), old);

    let mut replica = servers.replica_root();
    for sql in match product().is_mysql() {
        true => ["STOP REPLICA", "SET GLOBAL read_only = OFF"],
        false => ["STOP SLAVE", "SET GLOBAL read_only = OFF"],
    } {
        replica.run(sql);
    }
    servers.root().run("SET GLOBAL read_only = ON");
    name.lead_to(servers.replica);
    eventually("it is noticed", || who(&mut clients[0]) == new);
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(who(client), new, "client {index}");
        client.run(&format!("INSERT INTO moved VALUES ({index})"));
        let count = client.text("SELECT COUNT(*) FROM moved");
        assert_eq!(count, (index + 1).to_string(), "its own write");
    }
    // A transaction goes on where it is, and the connection is no other session's after it.
    assert_eq!(who(&mut holder), old);
    holder.run("COMMIT");
    assert_eq!(who(&mut holder), new);
    eventually("the old ones are closed", || {
        proxy.sum("fairlane_backend_connections_closed_total{backend=\"primary\",reason=\"moved\"}")
            >= 1.0
    });
    let left = || {
        servers.root().text(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE user IN ('app', 'fairlane')",
        )
    };
    // The replica's own control connection is not on it.
    eventually("nobody is left on the old one", || left() == "0");
}

#[test]
fn a_connection_to_another_server_is_not_used() {
    let (servers, _orders) = keep(Options { max_connections: 100, ..product().options() });
    let more = "[routing]\nreplica_reads = false\n";
    let name = Name::of(servers.primary);
    let proxy = Proxy::behind(name.port, &servers, 8, more);
    let mut client = proxy.app();
    let old = client.text("SELECT @@port");
    // It leads there for a moment only: while nobody looks, but one session that connects.
    let mut other = proxy.app();
    client.run("BEGIN");
    client.run("SELECT 1");
    name.lead_to(servers.replica);
    let back = std::thread::spawn({
        let (server, primary) = (Arc::clone(&name.server), servers.primary);
        move || {
            pause(5);
            server.store(primary, Ordering::SeqCst);
        }
    });
    let seen = other.text("SELECT @@port");
    back.join().unwrap();
    let control = |proxy: &Proxy| proxy.log().contains("leads to another server");
    assert!(seen == old || control(&proxy), "{seen}");
}

/// Its name leads to another replica, which lacks what the first one had.
#[test]
fn what_a_replica_has_says_nothing_of_the_next_one_of_its_name() {
    let options = Options { max_connections: 100, replicas: 2, ..product().options() };
    let (mut servers, _orders) = keep(options);
    let name = Name::of(servers.replica);
    servers.replica_address = format!("127.0.0.1:{}", name.port);
    let mut first = servers.replica_root();
    let mut second = Raw::connect(servers.others[0], "root", "root-secret", None).unwrap();
    let (stop, start, position, wait) = match product().is_mysql() {
        true => (
            "STOP REPLICA",
            "START REPLICA",
            "SELECT @@global.gtid_executed",
            "WAIT_FOR_EXECUTED_GTID_SET",
        ),
        false => {
            ("STOP SLAVE", "START SLAVE", "SELECT @@global.gtid_binlog_pos", "MASTER_GTID_WAIT")
        }
    };
    let proxy = Proxy::start(&servers);
    let (mut holder, mut client) = (proxy.app(), proxy.app());
    client.run("CREATE TABLE name_a (id INT PRIMARY KEY)");
    client.run("INSERT INTO name_a VALUES (1)");
    let position = servers.root().text(position);
    assert_eq!(second.text(&format!("SELECT {wait}('{position}', 20)")), "0");
    second.run(stop);
    client.run("INSERT INTO name_a VALUES (2)");
    let count = "SELECT COUNT(*) FROM name_a";
    holder.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
    proxy.until_replica_answers(&mut holder, count);
    holder.run("START TRANSACTION READ ONLY");
    assert_eq!(holder.text(count), "2");

    // Where it decides to read there is no connection left: it opens one.
    name.lead_to(servers.others[0]);
    assert_eq!(client.text(count), "2");
    assert!(proxy.log().contains("leads to another server"), "it was tried");

    first.run(stop);
    second.run(start);
    client.run("INSERT INTO name_a VALUES (3)");
    proxy.until_replica_answers(&mut client, count);
    assert_eq!(holder.text(count), "3", "of a user, and read committed");
}

/// The other replica has what the new primary never had, under the numbers of what that writes next.
#[test]
fn a_session_sees_what_it_writes_after_a_failover_that_has_lost_something() {
    if product().is_mysql() {
        // Its numbers are the server's own.
        return;
    }
    let options = Options { max_connections: 100, replicas: 2, ..product().options() };
    let (servers, orders) = keep(options);
    let name = Name::of(servers.primary);
    let proxy = Proxy::behind(name.port, &servers, 8, "");
    let mut client = proxy.app();
    client.run("CREATE TABLE lossy_a (id INT PRIMARY KEY)");
    let mut next = Raw::connect(servers.others[0], "root", "root-secret", None).unwrap();
    let position = servers.root().text("SELECT @@global.gtid_binlog_pos");
    assert_eq!(next.text(&format!("SELECT MASTER_GTID_WAIT('{position}', 20)")), "0");
    next.run("STOP SLAVE");
    (0..100).for_each(|id| drop(client.run(&format!("INSERT INTO lossy_a VALUES ({id})"))));
    servers.wait_replicated();
    next.run("SET GLOBAL read_only = OFF");
    proxy.until_replica_answers(&mut client, "SELECT COUNT(*) FROM lossy_a");
    name.lead_to(servers.others[0]);
    order(&orders, What::KillPrimary);
    let (mut id, mut left) = (100, 30);
    eventually("it is known", || {
        id += 1;
        match client.query(&format!("INSERT INTO lossy_a VALUES ({id})")) {
            Ok(_) => {
                let read = format!("SELECT COUNT(*) FROM lossy_a WHERE id = {id}");
                assert_eq!(client.text(&read), "1", "its own write");
            }
            Err(_) => client = proxy.app(),
        }
        // And for a while after that.
        left -= i32::from(proxy.log().contains("leads to another server"));
        left == 0
    });
    assert_eq!(client.text("SELECT COUNT(*) FROM lossy_a WHERE id < 100"), "0");
}

#[test]
fn connections_to_a_frozen_server_do_not_count_for_the_next_one_of_its_name() {
    let options = Options { max_connections: 100, replicas: 2, ..product().options() };
    let (mut servers, orders) = keep(options);
    let name = Name::of(servers.replica);
    servers.replica_address = format!("127.0.0.1:{}", name.port);
    let more = format!("[pool]\nconnect_timeout = \"1s\"\n{ONE_LANE_AND_REPLICA}");
    let proxy = Proxy::with(&servers, 5, &more);
    let mut client = proxy.app();
    client.run("CREATE TABLE frozen_a (id INT PRIMARY KEY)");
    let rows: Vec<String> = (0..300).map(|id| format!("({id})")).collect();
    client.run(&format!("INSERT INTO frozen_a VALUES {}", rows.join(",")));
    proxy.until_replica_answers(&mut client, "SELECT 1 FROM frozen_a");
    let in_use = "fairlane_lane_slots_in_use{backend=\"replica1\"";
    let [mut holder, mut idle] =
        [(); 2].map(|()| proxy.holder_on_replica("SELECT 1 FROM frozen_a"));
    let mut readers: Vec<Raw> = (0..2).map(|_| proxy.app()).collect();
    let long = "SELECT COUNT(*) FROM frozen_a a, frozen_a b, frozen_a c, frozen_a d \
                WHERE a.id + b.id + c.id + d.id < 0";
    readers.iter_mut().for_each(|reader| reader.send(Command::Query, long.as_bytes()));
    let running = "SELECT COUNT(*) FROM information_schema.processlist \
                   WHERE info LIKE '%frozen_a d%' AND id <> CONNECTION_ID()";
    eventually("both run on the replica", || servers.replica_root().text(running) == "2");
    assert_eq!(proxy.sum(in_use), 4.0);
    order(&orders, What::PauseReplica);
    holder.send(Command::Query, b"SELECT 2 FROM frozen_a");
    readers.into_iter().for_each(Raw::hang_up);
    eventually("their slots are free", || proxy.sum(in_use) == 2.0);
    name.lead_to(servers.others[0]);
    proxy.until_replica_answers(&mut client, "SELECT 1 FROM frozen_a");
    // What they hold there is lost after half a minute.
    assert!(holder.answer(Shape::Results).is_err());
    assert_eq!(idle.stream.read(&mut [0]).unwrap(), 0);
    eventually("their slots are free", || proxy.sum(in_use) == 0.0);
    order(&orders, What::ResumeReplica);
}

/// Files, and a statement behind the question for another session's LAST_INSERT_ID().
#[test]
fn what_waits_for_a_frozen_server_is_given_up_when_the_address_has_left_it() {
    let (servers, _orders) = keep(Options { max_connections: 100, ..product().options() });
    let more = "[routing]\nreplica_reads = false\n";
    let name = Name::of(servers.primary);
    let proxy = Proxy::behind(name.port, &servers, 8, more);
    let mut client = proxy.app();
    client.run("CREATE TABLE file_a (id INT)");
    client.run("CREATE TABLE file_b (id INT AUTO_INCREMENT PRIMARY KEY)");
    servers.wait_replicated();
    let (mut owner, mut asker) = (proxy.app(), proxy.app());
    let load = b"LOAD DATA LOCAL INFILE 'x' INTO TABLE file_a";
    let mut senders = [proxy.app(), proxy.app()];
    for sender in &mut senders {
        sender.send(Command::Query, load);
        sender.packet().unwrap();
    }
    // Its id stays unread on the one connection that is idle.
    owner.run("INSERT INTO file_b VALUES ()");
    name.freeze();
    asker.send(Command::Query, b"UPDATE file_b SET id = 2");
    let [mut ended, mut in_midst] = senders;
    // The one waits for the answer, the other for its file to be taken.
    ended.put(2, b"1\n");
    ended.put(3, b"");
    let sending =
        std::thread::spawn(move || (2..12).for_each(|at| in_midst.put(at, &[b'1'; 4_000_000])));
    name.lead_to(servers.replica);
    let in_use = "fairlane_lane_slots_in_use{backend=\"primary\"";
    eventually("all three wait", || proxy.sum(in_use) == 3.0);
    within(100, "their slots are free", || proxy.sum(in_use) == 0.0);
    sending.join().unwrap();
    assert!(asker.answer(Shape::Results).unwrap().error().is_some());
    assert_eq!(client.text("SELECT @@port"), servers.replica.to_string());
}

/// It is a login, and has its time; others of its user wait for what it is told.
#[test]
fn a_change_of_user_on_a_frozen_server_keeps_nobody_out() {
    let (servers, _orders) = keep(Options { max_connections: 100, ..product().options() });
    let more = "login_timeout = \"2s\"\n[routing]\nreplica_reads = false\n";
    let name = Name::of(servers.primary);
    let proxy = Proxy::behind(name.port, &servers, 8, more);
    let mut client = proxy.app();
    client.run("SELECT 1");
    name.freeze();
    let schema = "information_schema";
    let body = format!("app\0\0{schema}\0\x2d\0mysql_native_password\0\0");
    client.send(Command::ChangeUser, body.as_bytes());
    assert_eq!(client.prove("app-secret").unwrap_err().code(), 1040);
    name.lead_to(servers.replica);
    let login = || Raw::connect(proxy.port, "app", "app-secret", Some(schema));
    eventually("others are let in", || login().is_ok());
}

const IN_ROTATION: &str = "fairlane_backend_in_rotation{backend=\"replica1\"}";

/// No other connection is opened to it, which would find another server there.
#[test]
fn a_replica_out_of_rotation_follows_its_address() {
    let options = Options { max_connections: 100, replicas: 2, ..product().options() };
    let (mut servers, _orders) = keep(options);
    let name = Name::of(servers.replica);
    servers.replica_address = format!("127.0.0.1:{}", name.port);
    let proxy = Proxy::start(&servers);
    let is_in = || proxy.metric(IN_ROTATION) == 1.0;
    servers.replica_root().run(match product().is_mysql() {
        true => "STOP REPLICA SQL_THREAD",
        false => "STOP SLAVE SQL_THREAD",
    });
    eventually("it is out of rotation", || !is_in());
    pause(1500);
    name.lead_to(servers.others[0]);
    eventually("the healthy one at its address is in", is_in);
}

/// A replica of MariaDB that has `shop.followed` and all else of the primary, and another one that replicates from it
/// or from nobody, behind a proxy. `None` on MySQL, where numbers are a server's own.
struct Sources {
    servers: Servers,
    _orders: Sender<Order>,
    strange: Raw,
    proxy: Proxy,
    session: Raw,
    rows: u32,
}

impl Sources {
    const READ: &str = "SELECT COUNT(*) FROM followed";

    fn new() -> Option<Self> {
        if product().is_mysql() {
            return None;
        }
        let extra = vec!["gtid_strict_mode=OFF".into(), "log_slave_updates=ON".into()];
        let options = Options { max_connections: 100, replicas: 2, extra, ..product().options() };
        let (servers, orders) = keep(options);
        let strange = Raw::connect(servers.others[0], "root", "root-secret", None).unwrap();
        let proxy = Proxy::start(&servers);
        let mut session = proxy.app();
        session.run("CREATE TABLE followed (id INT PRIMARY KEY)");
        proxy.until_replica_answers(&mut session, Self::READ);
        let mut sources = Self { servers, _orders: orders, strange, proxy, session, rows: 0 };
        sources.wait_for_strange();
        Some(sources)
    }

    fn wait_for_strange(&mut self) {
        let position = self.servers.root().text("SELECT @@global.gtid_binlog_pos");
        let wait = format!("SELECT MASTER_GTID_WAIT('{position}', 20)");
        assert_eq!(self.strange.text(&wait), "0");
    }

    /// The replica takes what it has from the strange one from now on; its replication stands still.
    fn follow_strange(&self) -> Raw {
        let mut replica = self.servers.replica_root();
        replica.run("STOP SLAVE");
        replica.run(&format!("CHANGE MASTER TO MASTER_PORT = {}", self.servers.others[0]));
        replica
    }

    fn write_and_read(&mut self) {
        self.session.run(&format!("INSERT INTO followed VALUES ({})", self.rows));
        self.rows += 1;
        assert_eq!(self.session.text(Self::READ), self.rows.to_string());
    }
}

/// That one has more transactions of the primary's domain, so that the replica's position covers what the primary writes.
#[test]
fn own_writes_are_found_when_a_replica_is_made_to_follow_another_server() {
    let Some(mut sources) = Sources::new() else { return };
    for sql in ["STOP SLAVE", "RESET SLAVE ALL", "CREATE TABLE shop.strange (id INT)"] {
        sources.strange.run(sql);
    }
    let insert = "INSERT INTO shop.strange VALUES (1)";
    (0..2000).for_each(|_| drop(sources.strange.run(insert)));
    let mut replica = sources.follow_strange();
    // It is looked at often from here on.
    (0..20).for_each(|_| sources.write_and_read());
    replica.run("START SLAVE");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        sources.write_and_read();
    }
    eventually("it is out of rotation", || sources.proxy.metric(IN_ROTATION) == 0.0);
}

/// Such as ANALYZE TABLE there.
#[test]
fn own_writes_are_found_behind_a_server_in_between_that_has_transactions_of_its_own() {
    let Some(mut sources) = Sources::new() else { return };
    sources.follow_strange().run("START SLAVE");
    sources.write_and_read();
    sources.proxy.until_replica_answers(&mut sources.session, Sources::READ);
    for _ in 0..3 {
        sources.strange.run("STOP SLAVE SQL_THREAD");
        (0..5).for_each(|_| sources.write_and_read());
        // With the numbers of these: ones that the primary has not given yet would put the replica out of rotation.
        (0..5).for_each(|_| drop(sources.strange.run("ANALYZE TABLE shop.followed")));
        for _ in 0..5 {
            pause(50);
            assert_eq!(sources.session.text(Sources::READ), sources.rows.to_string());
        }
        sources.strange.run("START SLAVE SQL_THREAD");
        sources.wait_for_strange();
        // With numbers behind those of the one in between.
        (0..10).for_each(|_| sources.write_and_read());
        sources.proxy.until_replica_answers(&mut sources.session, Sources::READ);
        sources.write_and_read();
    }
}

/// The primary and the replica change places, there and back; their connections stay.
#[test]
fn reads_go_to_the_old_primary_after_a_planned_switchover() {
    if product().is_mysql() {
        // The other family has no such position, and finds itself by what it has executed.
        return;
    }
    let (mut servers, _orders) = keep(Options { max_connections: 100, ..product().options() });
    let ports = [servers.primary, servers.replica];
    let mut roots = [servers.root(), servers.replica_root()];
    let follow = |root: &mut Raw, source: u16| {
        root.run(&format!(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {source}, \
             MASTER_USER = 'replication', MASTER_PASSWORD = 'replication-secret', \
             MASTER_CONNECT_RETRY = 1, MASTER_USE_GTID = current_pos"
        ));
        root.run("START SLAVE");
    };
    roots[1].run("STOP SLAVE");
    follow(&mut roots[1], ports[0]);
    let names = ports.map(Name::of);
    servers.replica_address = format!("127.0.0.1:{}", names[1].port);
    let proxy = Proxy::behind(names[0].port, &servers, 8, "");
    let mut sessions = [proxy.app(), proxy.app()];
    sessions[0].run("CREATE TABLE switched (id INT PRIMARY KEY)");
    let (mut rows, read) = (0, "SELECT COUNT(*) FROM switched");
    for (old, new) in [(0, 1), (1, 0)] {
        roots[old].run("SET GLOBAL read_only = ON");
        let position = roots[old].text("SELECT @@global.gtid_binlog_pos");
        let waited = roots[new].text(&format!("SELECT MASTER_GTID_WAIT('{position}', 20)"));
        assert_eq!(waited, "0");
        for sql in ["STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = OFF"] {
            roots[new].run(sql);
        }
        follow(&mut roots[old], ports[new]);
        names[0].lead_to(ports[new]);
        names[1].lead_to(ports[old]);
        within(20, "writes succeed", || {
            let wrote = sessions[0].query(&format!("INSERT INTO switched VALUES ({rows})"));
            let is_refused = wrote.as_ref().is_err_and(|error| error.code() == 1290);
            assert!(wrote.is_ok() || is_refused, "{wrote:?}");
            wrote.is_ok()
        });
        rows += 1;
        for _ in 0..5 {
            sessions[0].run(&format!("INSERT INTO switched VALUES ({rows})"));
            rows += 1;
            let count = rows.to_string();
            for _ in 0..3 {
                for session in &mut sessions {
                    assert_eq!(session.text(read), count);
                }
            }
        }
        within(20, "the old one takes reads", || proxy.metric(IN_ROTATION) == 1.0);
        proxy.until_replica_answers(&mut sessions[1], read);
        for session in &mut sessions {
            assert_eq!(session.text(read), rows.to_string());
        }
    }
}

/// What the promoted server writes next has numbers which replicas have of others. Without `gtid_strict_mode`, as is
/// the default.
fn reset_a_promoted_server(is_met_before: bool) {
    if product().is_mysql() {
        // Its numbers are the server's own.
        return;
    }
    let extra = vec!["gtid_strict_mode=OFF".into()];
    let options = Options { max_connections: 100, replicas: 2, extra, ..product().options() };
    let (mut servers, _orders) = keep(options);
    let mut promoted = servers.replica_root();
    let mut other = Raw::connect(servers.others[0], "root", "root-secret", None).unwrap();
    servers.replica_address = format!("127.0.0.1:{}", servers.others[0]);
    let name = Name::of(servers.primary);
    let proxy = Proxy::behind(name.port, &servers, 8, "[routing]\nmax_lag = \"2s\"\n");
    let mut sessions = [proxy.app(), proxy.app()];
    sessions[0].run("CREATE TABLE renumbered (id INT PRIMARY KEY)");
    let mut rows = 0;
    let mut write = |session: &mut Raw| {
        session.run(&format!("INSERT INTO renumbered VALUES ({rows})"));
        rows += 1;
        rows.to_string()
    };
    (0..60).for_each(|_| drop(write(&mut sessions[0])));
    let read = "SELECT COUNT(*) FROM renumbered";
    proxy.until_replica_answers(&mut sessions[1], read);
    let position = servers.root().text("SELECT @@global.gtid_binlog_pos");
    for replica in [&mut promoted, &mut other] {
        assert_eq!(replica.text(&format!("SELECT MASTER_GTID_WAIT('{position}', 20)")), "0");
    }
    servers.root().run("SET GLOBAL read_only = ON");
    ["STOP SLAVE", "RESET SLAVE ALL"].into_iter().for_each(|sql| drop(promoted.run(sql)));
    if !is_met_before {
        promoted.run("RESET MASTER");
    }
    promoted.run("SET GLOBAL read_only = OFF");
    other.run("STOP SLAVE");
    other.run(&format!(
        "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USE_GTID = slave_pos",
        servers.replica
    ));
    other.run("START SLAVE");
    name.lead_to(servers.replica);
    let port = servers.replica.to_string();
    for session in &mut sessions {
        eventually("it is on the promoted one", || session.text("SELECT @@port") == port);
    }
    if is_met_before {
        eventually("the replica is in", || proxy.metric(IN_ROTATION) == 1.0);
        promoted.run("RESET MASTER");
    }
    let stays = |sessions: &mut [Raw; 2], write: &mut dyn FnMut(&mut Raw) -> String| {
        let rows = write(&mut sessions[0]);
        for _ in 0..8 {
            sessions.iter_mut().for_each(|session| assert_eq!(session.text(read), rows));
            pause(30);
        }
    };
    for _ in 0..2 {
        other.run("FLUSH TABLES WITH READ LOCK");
        (0..3).for_each(|_| stays(&mut sessions, &mut write));
        other.run("UNLOCK TABLES");
        stays(&mut sessions, &mut write);
    }
    if is_met_before {
        // It gets nothing more, and does not know. Once it asks for more it is given what is written from then on,
        // and would seem to have gone back while the log is shorter.
        eventually("it is out of rotation", || proxy.metric(IN_ROTATION) == 0.0);
        other.run("STOP SLAVE IO_THREAD");
    }
    // Until its log has passed what it had applied.
    let applied = position.rsplit('-').next().unwrap().parse().unwrap();
    (0..applied).for_each(|_: u32| drop(write(&mut sessions[0])));
    if is_met_before {
        other.run("START SLAVE IO_THREAD");
        let passed = promoted.text("SELECT @@global.gtid_binlog_pos");
        assert_eq!(other.text(&format!("SELECT MASTER_GTID_WAIT('{passed}', 20)")), "0");
        let has: u32 = other.text("SELECT COUNT(*) FROM shop.renumbered").parse().unwrap();
        assert!(has < promoted.text("SELECT COUNT(*) FROM shop.renumbered").parse().unwrap());
        (0..20).for_each(|_| stays(&mut sessions, &mut write));
        set_up_anew(&mut other);
    }
    proxy.until_replica_answers(&mut sessions[0], read);
    let rows = write(&mut sessions[0]);
    sessions.iter_mut().for_each(|session| assert_eq!(session.text(read), rows));
}

/// Fairlane has to see its replication stand still.
fn set_up_anew(replica: &mut Raw) {
    replica.run("STOP SLAVE");
    pause(2500);
    replica.run("DELETE FROM shop.renumbered WHERE id >= 60");
    replica.run("SET GLOBAL gtid_slave_pos = ''");
    pause(2500);
    replica.run("START SLAVE");
}

#[test]
fn own_writes_are_found_after_a_reset_before_the_address_moved() {
    reset_a_promoted_server(false);
}

#[test]
fn own_writes_are_found_after_a_reset_of_the_primary_that_was_a_replica() {
    reset_a_promoted_server(true);
}
