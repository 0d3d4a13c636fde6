//! Query attributes, read on the server by its own component, and attributes of connections.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};

use fairlane::protocol::{Capabilities, Command};

use crate::support::raw::Login;
use crate::support::{Proxy, Raw};
use crate::{as_root, client, mysql};

const LOGIN: &[&str] = &["-uapp", "-papp-secret", "--commands", "shop"];
const READ: &str = "mysql_query_attribute_string('n1'), mysql_query_attribute_string('n\u{e9}')";

#[test]
fn attributes_reach_the_server_with_their_statement() {
    let servers = mysql();
    as_root(servers, "INSTALL COMPONENT 'file://component_query_attributes'");
    as_root(servers, "CREATE TABLE shop.attributes (id INT PRIMARY KEY, t TEXT, u TEXT)");
    let proxy = Proxy::start(servers);
    let texts = [
        // A read, and its successor, which has none.
        format!("query_attributes n1 v1 n\u{e9} 'two words'\nSELECT {READ};\nSELECT {READ};"),
        // Many, with long values.
        format!("query_attributes n1 {} a b c d e f g h\nSELECT {READ};", "x".repeat(500)),
        // A write, what it needs of its session, and a statement that is rewritten on the way.
        format!(
            "SET time_zone = '+03:00';\nUSE shop;\nquery_attributes n1 v1\n\
             REPLACE INTO attributes SELECT 1, {READ};\nSELECT ROW_COUNT();\n\
             query_attributes n1 v2\nSELECT FOUND_ROWS() > 0, {READ}, @@time_zone, t FROM attributes;"
        ),
        // An error and a warning.
        format!("query_attributes n1 v1\nSELECT {READ}, 1/0;\nSHOW WARNINGS;"),
        "query_attributes n1 v1\nSELECT nothing_like_it;".to_owned(),
        // The text is still the one to judge by.
        format!("query_attributes n1 'INSERT'\nBEGIN;\nSELECT {READ}, t FROM attributes;\nCOMMIT;"),
    ];
    for text in &texts {
        for _ in 0..2 {
            let direct = client(servers.primary, LOGIN, text);
            assert_eq!(client(proxy.port, LOGIN, text), direct, "{text}");
        }
    }
    let said = client(proxy.port, LOGIN, &texts[0]);
    assert_eq!(said.out, "v1\ttwo words\nNULL\tNULL\n");
}

/// The count of parameters comes with or without the flag that tells of it, wherever there are any:
/// MySQL's Connector/Python sets the flag with attributes only.
#[test]
fn parameters_are_counted_without_a_flag_as_well() {
    let proxy = Proxy::start(mysql());
    let [direct, through] = [mysql().primary, proxy.port].map(|port| {
        let login = Login {
            schema: Some("shop"),
            more: Capabilities::QUERY_ATTRIBUTES,
            ..Login::new(port, "app", "app-secret")
        };
        let mut raw = Raw::login(&login).expect("a login");
        [(0, 1), (8, 1), (0, 0)].map(|(flag, types)| {
            let prepared = raw.command(Command::StmtPrepare, b"SELECT CONCAT(?, ?)").unwrap();
            let id = prepared.summary.prepared.expect("it is prepared").0.to_le_bytes();
            let mut body = [&id[..], &[flag, 1, 0, 0, 0][..], b"\x02\0"].concat();
            body.push(types);
            if types == 1 {
                body.extend_from_slice(b"\xfd\0\0\xfd\0\0");
            }
            body.extend_from_slice(b"\x02ab\x01c");
            raw.command(Command::StmtExecute, &body).unwrap().packets()
        })
    });
    assert_eq!(direct, through);
    assert!(
        direct[..2].iter().all(|packets| packets.iter().any(|it| it.ends_with(b"\x03abc"))),
        "{direct:?}"
    );
}

/// Fairlane's own connections have its own, whoever they serve.
#[test]
fn the_server_sees_whose_connections_they_are() {
    as_root(
        mysql(),
        "CREATE USER attributed@'%' IDENTIFIED BY 'x'; GRANT SELECT ON shop.* TO attributed@'%'",
    );
    let proxy = Proxy::start(mysql());
    assert_eq!(client(proxy.port, &["-uattributed", "-px"], "DO 1").err, "");
    let of = |user: &str| {
        let sql = format!(
            "SELECT ATTR_NAME, ATTR_VALUE FROM performance_schema.session_connect_attrs \
             JOIN performance_schema.processlist ON ID = PROCESSLIST_ID \
             WHERE USER = '{user}' AND PROCESSLIST_ID IN (SELECT PROCESSLIST_ID FROM \
             performance_schema.session_connect_attrs WHERE ATTR_NAME = '_pid' \
             AND ATTR_VALUE = '{}') ORDER BY 1",
            proxy.pid()
        );
        client(mysql().primary, &["-uroot", "-proot-secret"], &sql).out
    };
    for (user, role) in [("attributed", "pool"), ("fairlane", "control")] {
        let expected = format!(
            "_client_name\tfairlane\n_client_version\t{}\n_os\t{}\n_pid\t{}\n_platform\t{}\n\
             fairlane_role\t{role}\nprogram_name\tfairlane\n",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS,
            proxy.pid(),
            std::env::consts::ARCH,
        );
        assert_eq!(of(user), expected, "{user}");
    }
}

/// With `connection_attributes = "client"` each program's connections tell of it, and of Fairlane.
#[tokio::test]
async fn the_server_sees_whose_programs_they_serve() {
    as_root(
        mysql(),
        "CREATE USER programs@'%' IDENTIFIED BY 'x'; GRANT SELECT ON shop.* TO programs@'%'",
    );
    let more = "[pool]\nconnection_attributes = \"client\"\n[routing]\nreplica_reads = false\n";
    let proxy = Proxy::with(mysql(), 5, more);
    for (program, process) in [("worker", "1"), ("worker", "2"), ("page", "3")] {
        let told = [("program_name", program), ("_pid", process), ("fairlane_role", "none")];
        let told = told.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let opts = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(proxy.port)
            .user(Some("programs"))
            .pass(Some("x"))
            .prefer_socket(false)
            .connect_attributes(told.into());
        let mut client = Conn::new(opts).await.unwrap();
        client.query_drop("DO 1").await.unwrap();
        client.disconnect().await.unwrap();
    }
    let sql = "SELECT GROUP_CONCAT(ATTR_NAME, '=', ATTR_VALUE ORDER BY ATTR_NAME) AS told \
               FROM performance_schema.session_connect_attrs \
               JOIN performance_schema.processlist ON ID = PROCESSLIST_ID \
               WHERE USER = 'programs' AND ATTR_NAME NOT LIKE '\\_%' \
               GROUP BY PROCESSLIST_ID ORDER BY told";
    let found = client(mysql().primary, &["-uroot", "-proot-secret"], sql).out;
    let (process, version) = (proxy.pid(), env!("CARGO_PKG_VERSION"));
    let of = |program: &str| {
        format!(
            "fairlane_pid={process},fairlane_role=pool,fairlane_version={version},\
             program_name={program}\n"
        )
    };
    assert_eq!(found, format!("{}{}", of("page"), of("worker")));
}
