//! Commands that end a server or make it tell of itself, given by those who may.

use fairlane::protocol::Command;

use crate::support::servers::{What, keep, order};
use crate::support::{Login, Proxy, Raw, eventually, product};

fn operator(port: u16) -> Raw {
    let login = Login::new(port, "operator", "operator-secret");
    Raw::login(&login).unwrap_or_else(|error| panic!("{error:?}"))
}

/// What a command answers on the replica itself and through Fairlane, on the primary.
fn both(direct: &mut Raw, through: &mut Raw, command: Command, body: &[u8]) {
    let [direct, through] = [direct, through].map(|client| {
        client.send(command, body);
        client.packet().expect("an answer")
    });
    assert_eq!(through, direct, "{command:?}");
    assert_ne!(direct.1[0], 0xff, "{command:?} is done: {direct:?}");
}

#[test]
fn a_server_is_shut_down_by_whoever_may_and_fairlane_lives_on() {
    let (servers, orders) = keep(product().options());
    let mut root = servers.root();
    root.run("CREATE USER operator@'%' IDENTIFIED BY 'operator-secret'");
    root.run("GRANT ALL ON *.* TO operator@'%'");
    root.run("CREATE TABLE shop.kept (id INT PRIMARY KEY)");
    servers.wait_replicated();
    let proxy = Proxy::with(&servers, 5, "");
    let mut bystander = proxy.app();
    bystander.run("INSERT INTO kept VALUES (1)");
    servers.wait_replicated();
    let (mut direct, mut through) = (operator(servers.replica), operator(proxy.port));
    both(&mut direct, &mut through, Command::Debug, b"");
    both(&mut direct, &mut through, Command::Ping, b"");
    // MySQL knows only the statement.
    let (command, body) = match product().is_mysql() {
        true => (Command::Query, &b"SHUTDOWN"[..]),
        false => (Command::Shutdown, &[0][..]),
    };
    both(&mut direct, &mut through, command, body);

    let up = "fairlane_backend_up{backend=\"primary\"}";
    eventually("the primary is down", || proxy.metric(up) == 0.0);
    assert!(proxy.get("/healthz").starts_with("HTTP/1.1 200"));
    let refused = bystander.query("INSERT INTO kept VALUES (2)").expect_err("no primary");
    assert_ne!(refused.code(), 0, "it is told: {refused:?}");
    // They take their time, and are not waited for.
    for what in [What::KillPrimary, What::StartPrimary, What::KillReplica, What::StartReplica] {
        order(&orders, what);
    }
    eventually("the primary is up", || proxy.metric(up) == 1.0);
    bystander.run("INSERT INTO kept VALUES (3)");
    let ids = bystander.text("SELECT GROUP_CONCAT(id ORDER BY id) FROM kept FOR UPDATE");
    assert_eq!(ids, "1,3");
    assert_eq!(through.text("SELECT CURRENT_USER()"), "operator@%");
}
