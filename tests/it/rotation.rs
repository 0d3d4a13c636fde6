//! Passwords that are changed while sessions are open, where the server counts failing logins.

use std::sync::atomic::{AtomicU32, Ordering};

use fairlane::sandbox::Options;

use crate::support::product::product;
use crate::support::raw::{Failed, Login};
use crate::support::servers::keep;
use crate::support::{Proxy, Raw, eventually};

/// Begins what only a connection of its own can hold; the error's code.
fn hold(session: &mut Raw) -> u16 {
    let held = session.query("CREATE TEMPORARY TABLE rotated_t (a INT)");
    held.err().map_or(0, |failed| failed.code())
}

/// All at the same time.
fn hold_all(sessions: &mut [Raw]) -> Vec<u16> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            sessions.iter_mut().map(|session| scope.spawn(|| hold(session))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// An application goes on with its connections after somebody has changed its password: whoever has the new
/// one gets in, through Fairlane and past it.
#[test]
fn sessions_from_before_a_new_password_block_no_account() {
    let is_mysql = product().is_mysql();
    let extra = if is_mysql { Vec::new() } else { vec!["max_password_errors=3".to_owned()] };
    let counts = if is_mysql { "FAILED_LOGIN_ATTEMPTS 3 PASSWORD_LOCK_TIME 1" } else { "" };
    let (servers, _orders) = keep(Options { extra, ..product().options() });
    let proxy = Proxy::with(&servers, 15, "");
    let mut root = servers.root();
    root.run(&format!("CREATE USER rotated@'%' IDENTIFIED BY 'old-secret' {counts}"));
    root.run("GRANT ALL ON shop.* TO rotated@'%'");
    root.run("CREATE TABLE shop.rotated_w (a INT)");
    servers.wait_replicated();
    let login = |port, password: &'static str, collation| -> Result<Raw, Failed> {
        let schema = Some("shop");
        Raw::login(&Login { schema, collation, ..Login::new(port, "rotated", password) })
    };
    let old = |collation| login(proxy.port, "old-secret", collation).unwrap();
    let mut sessions: Vec<Raw> = (0..10).map(|_| old(45)).collect();
    // Each of these would need a connection of its own on the replica, and has none there yet.
    let mut readers: Vec<Raw> = [8, 33, 46, 63].map(old).into();
    readers.iter_mut().for_each(|reader| {
        reader.run("SELECT COUNT(*) FROM rotated_w FOR UPDATE");
    });
    let mut last = old(45);

    root.run("ALTER USER rotated@'%' IDENTIFIED BY 'new-secret'");
    servers.wait_replicated();
    let codes = hold_all(&mut sessions);
    assert!(codes.contains(&1045) && !codes.iter().any(|code| ![0, 1045].contains(code)));
    for _ in 0..2 {
        readers.iter_mut().for_each(|reader| {
            assert_eq!(reader.text("SELECT COUNT(*) FROM rotated_w"), "0");
        });
    }
    for port in [servers.primary, servers.replica, proxy.port] {
        login(port, "new-secret", 45).unwrap().run("SELECT COUNT(*) FROM rotated_w");
    }
    let mut new = login(proxy.port, "new-secret", 45).unwrap();
    proxy.until_replica_answers(&mut new, "SELECT COUNT(*) FROM rotated_w");

    drop((sessions, readers));
    root.run("ALTER USER rotated@'%' IDENTIFIED BY 'old-secret'");
    servers.wait_replicated();
    drop(old(45));
    let mut others: Vec<Raw> = (0..4).map(|_| old(45)).collect();
    assert_eq!(hold_all(&mut others), [0; 4]);
    assert_eq!(hold(&mut last), 0, "its password is good again");
}

/// One login finds out whether the password is still good; the others do not wait for each other.
#[test]
fn connections_are_opened_side_by_side_where_failing_logins_are_counted() {
    let is_mysql = product().is_mysql();
    let extra = if is_mysql { Vec::new() } else { vec!["max_password_errors=3".to_owned()] };
    let counts = if is_mysql { "FAILED_LOGIN_ATTEMPTS 3 PASSWORD_LOCK_TIME 1" } else { "" };
    let (servers, _orders) = keep(Options { extra, ..product().options() });
    let proxy = Proxy::with(&servers, 15, "");
    let mut root = servers.root();
    root.run(&format!("CREATE USER beside@'%' IDENTIFIED BY 'x' {counts}"));
    root.run("GRANT ALL ON shop.* TO beside@'%'");
    let connect = || Raw::connect(proxy.port, "beside", "x", Some("shop")).unwrap();
    let mut sessions: Vec<Raw> = (0..8).map(|_| connect()).collect();
    // The server does this at the end of a login.
    root.run("SET GLOBAL init_connect = 'DO SLEEP(1)'");
    // Who is in there is in no process list.
    let mut opened = || -> u32 {
        let status = root.rows("SHOW GLOBAL STATUS LIKE 'Threads_connected'");
        status[0][1].as_ref().unwrap().parse().unwrap()
    };
    let before = opened();
    let held = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for session in &mut sessions {
            scope.spawn(|| {
                assert_eq!(hold(session), 0);
                held.fetch_add(1, Ordering::Release);
            });
        }
        eventually("several log in at a time", || {
            opened() > before + held.load(Ordering::Acquire) + 2
        });
    });
}

/// Has Fairlane read the accounts: it looks at them again before it refuses anybody.
fn have_accounts_read(proxy: &Proxy) {
    Raw::connect(proxy.port, "nobody", "x", None).expect_err("nobody is let in");
}

/// What counts is the account that is found for the client, whatever others of its name are like.
#[test]
fn only_the_account_of_a_session_tells_whether_its_password_was_changed() {
    let is_mysql = product().is_mysql();
    let extra = if is_mysql { Vec::new() } else { vec!["max_password_errors=3".to_owned()] };
    let counts = if is_mysql { "FAILED_LOGIN_ATTEMPTS 3 PASSWORD_LOCK_TIME 1" } else { "" };
    let (servers, _orders) = keep(Options { extra, ..product().options() });
    let proxy = Proxy::with(&servers, 15, "");
    let mut root = servers.root();
    let mut create = |account: &str, password: &str| {
        root.run(&format!("CREATE USER {account} IDENTIFIED BY '{password}' {counts}"));
        root.run(&format!("GRANT ALL ON shop.* TO {account}"));
    };
    create("varied@'%'", "old-secret");
    create("varied@'10.99.99.99'", "other-secret");
    create("outdone@'%'", "old-secret");
    let connect = |user, password| Raw::connect(proxy.port, user, password, Some("shop")).unwrap();
    let sessions = |user| (0..6).map(|_| connect(user, "old-secret")).collect::<Vec<Raw>>();
    let (mut varied, mut outdone) = (sessions("varied"), sessions("outdone"));

    // It fits better.
    create("outdone@'127.0.0.1'", "new-secret");
    root.run("ALTER USER varied@'%' IDENTIFIED BY 'new-secret'");
    // The first ones get the connections at rest.
    assert_eq!([hold(&mut varied[0]), hold(&mut outdone[0])], [0, 0]);
    for (turn, session) in varied[1..].iter_mut().enumerate() {
        assert_eq!(hold(session), 1045);
        root.run(&format!("ALTER USER varied@'10.99.99.99' IDENTIFIED BY 'other-{turn}'"));
        have_accounts_read(&proxy);
    }
    outdone[1..].iter_mut().for_each(|session| assert_eq!(hold(session), 1045));
    for user in ["varied", "outdone"] {
        Raw::connect(servers.primary, user, "new-secret", None).unwrap();
    }
}

/// Failing logins are made late by MySQL's connection_control, for everybody, and a replica may count them though
/// the primary does not.
#[test]
fn a_password_of_before_is_tried_once_where_it_is_not_counted() {
    if product().is_mysql() {
        return;
    }
    let replica_extra = vec!["max_password_errors=3".to_owned()];
    let (servers, _orders) = keep(Options { replica_extra, ..product().options() });
    let proxy = Proxy::with(&servers, 15, "");
    let mut root = servers.root();
    root.run("CREATE USER uncounted@'%' IDENTIFIED BY 'old-secret'");
    root.run("GRANT ALL ON shop.* TO uncounted@'%'");
    root.run("CREATE TABLE shop.uncounted_w (a INT)");
    servers.wait_replicated();
    let old = |collation| {
        let (schema, login) = (Some("shop"), Login::new(proxy.port, "uncounted", "old-secret"));
        Raw::login(&Login { schema, collation, ..login }).unwrap()
    };
    let mut readers: Vec<Raw> = [8, 33, 46, 63].map(old).into();
    readers.iter_mut().for_each(|reader| {
        reader.run("SELECT COUNT(*) FROM uncounted_w FOR UPDATE");
    });
    let mut sessions: Vec<Raw> = (0..6).map(|_| old(45)).collect();
    root.run("ALTER USER uncounted@'%' IDENTIFIED BY 'new-secret'");
    servers.wait_replicated();
    have_accounts_read(&proxy);
    let refused = "SHOW GLOBAL STATUS LIKE 'Access_denied_errors'";
    let before = root.rows(refused);
    let codes = hold_all(&mut sessions);
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "a connection was at rest");
    assert_ne!(root.rows(refused), before);
    let once = root.rows(refused);
    readers.iter_mut().for_each(|reader| {
        assert_eq!(reader.text("SELECT COUNT(*) FROM uncounted_w"), "0");
    });
    sessions.iter_mut().filter_map(|session| session.query("DO 1").err()).for_each(drop);
    assert_eq!(root.rows(refused), once);
    Raw::connect(servers.replica, "uncounted", "new-secret", None).unwrap();
}
