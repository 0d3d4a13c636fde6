//! What a procedure takes for its session, and servers tell nobody.

use fairlane::sandbox::Options;

use crate::support::servers::keep;
use crate::support::{ONE_LANE, Proxy, Raw, eventually, product};

/// Procedures that hold everybody up, and what gives it back before the session ends.
fn locks() -> [(&'static str, Option<&'static str>); 4] {
    [
        ("FLUSH TABLES WITH READ LOCK", Some("UNLOCK TABLES")),
        ("BEGIN CALL pr_none(); CALL pr_freezes(); END", Some("UNLOCK TABLES")),
        // It is told that something has changed.
        ("BEGIN PREPARE s FROM 'FLUSH TABLES WITH READ LOCK'; EXECUTE s; END", None),
        match product().is_mysql() {
            true => ("LOCK INSTANCE FOR BACKUP", None),
            false => ("EXECUTE IMMEDIATE 'BACKUP LOCK shop.pr_rows'", None),
        },
    ]
}

#[test]
fn a_lock_that_a_procedure_takes_is_its_sessions() {
    let (servers, _orders) = keep(Options { max_connections: 50, ..product().options() });
    let mut root = servers.root();
    for sql in [
        "USE shop",
        "CREATE TABLE pr_rows (id INT AUTO_INCREMENT PRIMARY KEY)",
        "CREATE PROCEDURE pr_none() INSERT INTO pr_rows VALUES (NULL)",
        "CREATE PROCEDURE pr_freezes() FLUSH TABLES WITH READ LOCK",
        "SET lock_wait_timeout = 1",
    ] {
        root.run(sql);
    }
    let proxy = Proxy::with(&servers, 4, ONE_LANE);
    let pinned = || proxy.sum("fairlane_sessions_pinned{");
    let (mut other, mut first) = (proxy.app(), proxy.app());
    first.run("CALL pr_none()");
    for (body, gives_back) in locks() {
        root.run("DROP PROCEDURE IF EXISTS pr_takes");
        root.run(&format!("CREATE PROCEDURE pr_takes() {body}"));
        let is_frozen = |root: &mut Raw| root.query("ALTER TABLE pr_rows COMMENT 'x'").is_err();
        for ends in [gives_back, None].into_iter().take(1 + usize::from(gives_back.is_some())) {
            let mut one = proxy.app();
            // Whatever has run on its connection before.
            one.run("CALL pr_none()");
            assert_eq!(pinned(), 0.0, "a procedure that takes nothing binds nobody");
            one.run("CALL pr_takes()");
            eventually("it is bound", || pinned() == 1.0);
            other.run("SELECT 1 FROM pr_rows");
            assert!(is_frozen(&mut root), "{body}: it is given back while its session goes on");
            match ends {
                Some(sql) => drop(one.run(sql)),
                None => one.hang_up(),
            }
            eventually("nobody is bound", || pinned() == 0.0);
            eventually("the server goes on", || !is_frozen(&mut root));
        }
    }
}
