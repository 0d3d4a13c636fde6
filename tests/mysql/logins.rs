//! Who gets in, and what the others are told.

use crate::support::{Proxy, eventually};
use crate::{as_root, client, mysql, with_keys};

const OPEN: &str = "--ssl-mode=DISABLED";
const OPEN_WITH_KEY: [&str; 2] = [OPEN, "--get-server-public-key"];
const TLS: &str = "--ssl-mode=REQUIRED";
const WHO: &str = "SELECT CURRENT_USER(), DATABASE()";

#[test]
fn passwords_are_proved_in_every_way() {
    let servers = mysql();
    as_root(
        servers,
        "CREATE USER empty_a@'%', quoted_a@'%' IDENTIFIED BY 'it''s \\\\ \"long\" enough to be \
         longer than a nonce é'; CREATE USER locked_a@'%' IDENTIFIED BY 'x' ACCOUNT LOCK; \
         CREATE USER s_quoted_a@'%' IDENTIFIED WITH sha256_password BY 'it''s \\ \"long\" enough to \
         be longer than a nonce é'; CREATE USER s_locked_a@'%' IDENTIFIED WITH sha256_password BY 'x' \
         ACCOUNT LOCK",
    );
    let proxy = Proxy::start(servers);
    let quoted = "-pit's \\ \"long\" enough to be longer than a nonce é";
    let accounts: &[&[&str]] = &[
        &["-uapp", "-papp-secret"],
        &["-uapp", "-papp-secret", "shop"],
        &["-uapp", "-papp-secret", "no_such_schema"],
        &["-uapp", "-pwrong"],
        &["-uapp"],
        &["-uempty_a"],
        &["-uempty_a", "-px"],
        &["-uquoted_a", quoted],
        &["-ulocked_a", "-px"],
        &["-ulocked_a", "-pwrong"],
        &["-us_quoted_a", quoted],
        &["-us_quoted_a"],
        &["-us_locked_a", "-px"],
        &["-us_locked_a", "-pwrong"],
        &["-unobody", "-px"],
        &["-unobody"],
    ];
    for way in [&[TLS][..], &OPEN_WITH_KEY, &[OPEN], &[]] {
        for account in accounts {
            // Whether the server asks somebody it does not know for the password, is left to chance.
            if way == [OPEN] && account[0] == "-unobody" {
                continue;
            }
            // The second time Fairlane and the server remember the password.
            for _ in 0..2 {
                let arguments = [way, account].concat();
                let direct = client(servers.primary, &arguments, WHO);
                let through = client(proxy.port, &arguments, WHO);
                assert_eq!(through, direct, "{arguments:?}");
            }
        }
    }
}

#[test]
fn a_password_is_remembered_without_its_account_and_changes_with_it() {
    let servers = mysql();
    as_root(servers, "CREATE USER changes_a@'%' IDENTIFIED BY 'first'");
    let proxy = Proxy::start(servers);
    let login = |password: &str, way: &str| {
        client(proxy.port, &["-uchanges_a", &format!("-p{password}"), way], "SELECT 1")
    };
    // Without TLS and key only a remembered password can be proved.
    assert!(login("first", OPEN).err.contains("2061"), "{:?}", login("first", OPEN));
    assert_eq!(login("first", TLS).out, "1\n");
    assert_eq!(login("first", OPEN).out, "1\n");
    as_root(servers, "ALTER USER changes_a@'%' IDENTIFIED BY 'second'");
    eventually("the old password is refused", || login("first", TLS).err.contains("1045"));
    assert_eq!(login("second", TLS).out, "1\n");
    assert_eq!(login("second", OPEN).out, "1\n");
    as_root(servers, "DROP USER changes_a@'%'");
    eventually("the account is gone", || login("second", TLS).err.contains("1045"));
}

#[test]
fn configured_users_and_a_server_that_forgot() {
    let servers = mysql();
    as_root(servers, "CREATE USER configured_a@'%' IDENTIFIED BY 'known'");
    let user = "[[user]]\nname = \"configured_a\"\npassword = \"known\"";
    let proxy = Proxy::with(servers, 5, user);
    let login = |password: &str| {
        let arguments = ["-uconfigured_a", &format!("-p{password}"), OPEN];
        client(proxy.port, &arguments, "SELECT 'in'")
    };
    assert_eq!(login("known").out, "in\n");
    assert!(login("wrong").err.contains("1045"));
    // The server's cache is emptied: new backend connections have to bring the password again.
    as_root(servers, "FLUSH PRIVILEGES");
    let sleepers: Vec<_> = (0..3)
        .map(|_| {
            let arguments = ["-uconfigured_a", "-pknown", OPEN];
            let port = proxy.port;
            std::thread::spawn(move || client(port, &arguments, "SELECT SLEEP(1), 'in'"))
        })
        .collect();
    for sleeper in sleepers {
        assert_eq!(sleeper.join().unwrap().out, "0\tin\n");
    }
}

#[test]
fn the_account_of_the_clients_own_host_decides() {
    let servers = mysql();
    as_root(
        servers,
        "CREATE USER u_a@'%' IDENTIFIED BY 'pw'; \
         CREATE USER u_a@'127.0.0.2' IDENTIFIED BY 'pw' ACCOUNT LOCK; \
         CREATE USER v_a@'%' IDENTIFIED BY 'pw'; \
         CREATE USER v_a@'127.0.0.2' IDENTIFIED BY 'other' ACCOUNT LOCK; \
         CREATE USER w_a@'%' IDENTIFIED BY 'pw'; \
         CREATE USER w_a@'127.0.0.2' IDENTIFIED BY 'other' REQUIRE SSL",
    );
    let proxy = Proxy::start(servers);
    for user in ["-uu_a", "-uv_a", "-uw_a"] {
        // The backends know these by now.
        assert_eq!(client(proxy.port, &[user, "-ppw", TLS], "SELECT 1").out, "1\n");
        for password in ["-ppw", "-pother"] {
            let arguments =
                [&OPEN_WITH_KEY[..], &["--bind-address=127.0.0.2", user, password]].concat();
            let direct = client(servers.primary, &arguments, "SELECT 1");
            let through = client(proxy.port, &arguments, "SELECT 1");
            assert_eq!(through, direct, "{arguments:?}");
        }
    }
}

#[test]
fn what_is_demanded_later_counts_for_connections_that_idle() {
    let servers = mysql();
    as_root(
        servers,
        "CREATE USER ssl_b@'%' IDENTIFIED BY 'x', expired_b@'%' IDENTIFIED BY 'x', \
         old_b@'%' IDENTIFIED BY 'x'; ALTER USER old_b@'%' IDENTIFIED BY 'y' RETAIN CURRENT PASSWORD",
    );
    let proxy = Proxy::start(servers);
    let login = |user: &str, password: &str| {
        let arguments = [&OPEN_WITH_KEY[..], &[user, password]].concat();
        client(proxy.port, &arguments, "DO 1")
    };
    for (user, password) in
        [("-ussl_b", "-px"), ("-uexpired_b", "-px"), ("-uold_b", "-px"), ("-uold_b", "-py")]
    {
        assert_eq!(login(user, password).err, "", "{user} {password}");
    }
    as_root(
        servers,
        "ALTER USER ssl_b@'%' REQUIRE SSL; ALTER USER expired_b@'%' PASSWORD EXPIRE; \
         ALTER USER old_b@'%' DISCARD OLD PASSWORD",
    );
    eventually("TLS is demanded", || login("-ussl_b", "-px").err.contains("1045"));
    // The client's own words for error 1862.
    eventually("the password has expired", || {
        let said = login("-uexpired_b", "-px");
        (said.out + &said.err).contains("--connect-expired-password")
    });
    eventually("the old password is gone", || login("-uold_b", "-px").err.contains("1045"));
    assert_eq!(login("-uold_b", "-py").err, "");
}

/// MySQL does not know the PROXY protocol: whoever turns it on is told what is wrong.
#[test]
fn a_header_the_server_does_not_take_is_told_as_such() {
    for version in ["v1", "v2"] {
        let keys = format!("proxy_protocol = \"{version}\"");
        let proxy = Proxy::start(&with_keys(&keys));
        let said = client(proxy.port, &["-uapp", "-papp-secret"], "SELECT 1");
        assert!(said.err.contains("proxy_protocol") && said.err.contains("1040"), "{said:?}");
    }
}

#[test]
fn the_server_counts_wrong_passwords() {
    let servers = mysql();
    as_root(
        servers,
        "CREATE USER counted_a@'%' IDENTIFIED BY 'x' FAILED_LOGIN_ATTEMPTS 2 \
         PASSWORD_LOCK_TIME UNBOUNDED",
    );
    let proxy = Proxy::start(servers);
    let login = |password: &str| client(proxy.port, &["-ucounted_a", password, TLS], "SELECT 1");
    // Its connection stays, and is none for a login after a wrong password.
    assert_eq!(login("-px").out, "1\n");
    assert!(login("-pwrong").err.contains("1045"));
    assert_eq!(login("-px").out, "1\n", "counting begins anew");
    assert!(login("-pwrong").err.contains("1045"));
    let blocked = login("-pwrong");
    assert!(blocked.err.contains("3955"), "{blocked:?}");
    assert_eq!(client(servers.primary, &["-ucounted_a", "-px"], "SELECT 1"), blocked);
    assert_eq!(login("-px"), blocked);
    as_root(servers, "ALTER USER counted_a@'%' ACCOUNT UNLOCK");
    assert_eq!(login("-px").out, "1\n");
    as_root(servers, "DROP USER counted_a@'%'");
}
