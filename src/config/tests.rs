//! Bad files get file, line, key and cure; the documented file is the defaults.

use std::path::PathBuf;

use proptest::prelude::*;

use super::settings::Address;
use super::*;

const REQUIRED: &str =
    "[service]\nuser = \"fairlane\"\npassword = \"x\"\n[primary]\naddress = \"db1:3306\"\n";

fn problem(text: &str) -> String {
    parse(text, "f.toml").expect_err("a bad file").to_string()
}

/// What stands before the required part, and fragments of what is said about it.
const MISTAKES: &[(&str, &[&str])] = &[
    ("listen = [\n", &["f.toml:", "TOML"]),
    ("listne = [\"127.0.0.1:1\"]\n", &["f.toml:1", "listne", "\"listen\""]),
    ("listen = \"nonsense\"\n", &["f.toml:1", "listen", "\"nonsense\"", "cure: write"]),
    ("listen = []\n", &["f.toml:1", "listen", "empty"]),
    ("max_clients = \"many\"\n", &["f.toml:1", "max_clients", "cure: write"]),
    (
        "proxy_protocol_networks = [\"10.0.0.0/33\"]\n",
        &["f.toml:1", "proxy_protocol_networks", "10.0.0.0/33", "cure: write"],
    ),
    (
        "[[replica]]\naddress = \"a:1\"\nproxy_protocol = \"v3\"\n",
        &["f.toml:3", "replica.proxy_protocol", "\"v3\"", "\"v2\""],
    ),
    (
        "[[replica]]\naddress = \"a:1\"\ncompression = \"lz4\"\n",
        &["f.toml:3", "replica.compression", "\"lz4\"", "\"zlib\""],
    ),
    (
        "[[replica]]\naddress = \"a:1\"\ntls = \"verify\"\n",
        &["f.toml:3", "replica.tls", "\"verify\"", "\"verify_ca\""],
    ),
    (
        "[[replica]]\naddress = \"a:1\"\ntls = \"verify_ca\"\n",
        &["f.toml:1", "replica.tls_ca", "missing"],
    ),
    ("workers = 0\n", &["f.toml:1", "workers", "from 1 to 256"]),
    ("max_clients = 0\n", &["f.toml:1", "max_clients", "zero"]),
    ("login_timeout = \"5\"\n", &["f.toml:1", "login_timeout", "\"5s\""]),
    ("login_timeout = 5\n", &["f.toml:1", "login_timeout", "no unit"]),
    ("login_timeout = \"0s\"\n", &["f.toml:1", "login_timeout", "zero"]),
    ("[admin]\nlisten = \"x\"\n", &["f.toml:2", "admin.listen", "\"x\""]),
    ("[admin]\nport = 1\n", &["f.toml:2", "admin.port", "no such key"]),
    ("[pool]\nopen_rate = 0\n", &["f.toml:2", "pool.open_rate", "zero"]),
    ("[pool]\nopen_rate = -1\n", &["f.toml:2", "pool.open_rate"]),
    ("[pool]\nidle_timeout = \"soon\"\n", &["f.toml:2", "pool.idle_timeout", "\"soon\""]),
    ("[lane]\nname = \"a\"\n", &["f.toml:1", "lane", "[[lane]]"]),
    ("[[lane]]\nname = \"a b\"\n", &["f.toml:2", "lane.name", "\"a b\""]),
    ("[[lane]]\nmax = 1\n", &["f.toml:1", "lane.name", "missing"]),
    ("[[lane]]\nname = \"a\"\n[[lane]]\nname = \"a\"\n", &["f.toml:4", "lane.name", "two lanes"]),
    ("[[lane]]\nname = \"a\"\nmax = \"300%\"\n", &["f.toml:3", "lane.max", "100%"]),
    ("[[lane]]\nname = \"a\"\nmax = 0\n", &["f.toml:3", "lane.max", "none"]),
    (
        "[[lane]]\nname = \"a\"\nreserved = 5\nmax = 2\n",
        &["f.toml:3", "lane.reserved", "more than"],
    ),
    (
        "[[lane]]\nname = \"a\"\nreserved = 14\n[[lane]]\nname = \"b\"\n",
        &["f.toml:3", "reserve 14 of the 14"],
    ),
    (
        "[[rule]]\nlane = \"fast\"\nuser = \"x\"\n",
        &["f.toml:2", "rule.lane", "\"fast\"", "interactive, batch"],
    ),
    ("[[rule]]\nlane = \"batch\"\n", &["f.toml:2", "rule.lane", "no condition"]),
    ("[[rule]]\nlane = \"batch\"\nnetwork = \"10.0.0.0/99\"\n", &["f.toml:3", "rule.network"]),
    (
        "[[rule]]\nlane = \"batch\"\nuser = \"report*\"\n",
        &["f.toml:3", "rule.user", "report*", "a whole name"],
    ),
    ("[[rule]]\nlane = \"batch\"\nuser = \"x\"\nscope = \"ever\"\n", &["f.toml:4", "rule.scope"]),
    ("[[user]]\nname = \"a\"\n", &["f.toml:1", "user.password", "missing"]),
    (
        "[[user]]\nname = \"a\"\npassword = \"x\"\npassword_env = \"Y\"\n",
        &["user.password", "more than one"],
    ),
    (
        "[[user]]\nname = \"a\"\npassword_file = \"/nonexistent\"\n",
        &["f.toml:3", "user.password_file", "can't be read"],
    ),
    (
        "[[user]]\nname = \"a\"\npassword_env = \"FAIRLANE_NOT_SET\"\n",
        &["f.toml:3", "user.password_env", "not set"],
    ),
    ("[[replica]]\naddress = \"a:b\"\n", &["f.toml:2", "replica.address", "\"a:b\""]),
    ("[[replica]]\naddress = \"a:1\"\nname = \"primary\"\n", &["replica.name", "two servers"]),
    (
        "[[replica]]\naddress = \"a:1\"\nmax_connections = 1\n",
        &["f.toml:3", "replica.max_connections", "at least 2"],
    ),
    (
        "[[replica]]\naddress = \"db1\"\n",
        &["f.toml:2", "replica.address", "address of primary already"],
    ),
    (
        "[[replica]]\naddress = \"a\"\nmax_connections = 9000000000000000000\n",
        &["f.toml:3", "replica.max_connections", "100000"],
    ),
    (
        "[[rule]]\nlane = \"batch\"\ndigest = \"*a = 'b'*\"\n",
        &["f.toml:3", "rule.digest", "a = 'b'", "?"],
    ),
    (
        "[[rule]]\nlane = \"batch\"\ndigest = \"* LIMIT 10\"\n",
        &["f.toml:3", "rule.digest", "values"],
    ),
    (
        "[[rule]]\nlane = \"batch\"\ndigest = \"SELECT a,b FROM `t` WHERE id=?;\"\n",
        &["f.toml:3", "rule.digest", "write \"SELECT a , b FROM t WHERE id = ?\""],
    ),
    (
        "[[rule]]\nlane = \"batch\"\nschema = \"sh%\"\n",
        &["f.toml:3", "rule.schema", "write \"sh*\""],
    ),
    (
        "[[rule]]\nlane = \"batch\"\nuser = \"app@127.0.0.1\"\n",
        &["f.toml:3", "rule.user", "write \"app\"", "network"],
    ),
    (
        "[[rule]]\nlane = \"batch\"\nuser = \"'app'@'%'\"\n",
        &["f.toml:3", "rule.user", "write \"app\""],
    ),
    ("[[lane]]\nname = \"other\"\n", &["f.toml:2", "lane.name", "another name"]),
    (
        "[pool]\nidle_timeout = \"5M\"\n",
        &["f.toml:2", "pool.idle_timeout", "months", "\"5m\" for minutes"],
    ),
    (
        "[tls]\nmode = \"disabled\"\nclient_ca = \"/ca.pem\"\n",
        &["f.toml:3", "tls.client_ca", "\"disabled\"", "another tls.mode"],
    ),
    (
        "[tls]\ncertificate = \"/a\"\nkey = \"/b\"\nmode = \"disabled\"\n",
        &["f.toml:2", "tls.certificate", "\"disabled\""],
    ),
    ("[[rule]]\nlane = \"batch\"\nnetwork = []\n", &["f.toml:3", "rule.network", "no client"]),
    ("[routing]\nconsistency = \"maybe\"\n", &["f.toml:2", "routing.consistency"]),
    (
        "[routing]\ndefault_lane = \"x\"\n",
        &["f.toml:2", "routing.default_lane", "interactive, batch"],
    ),
    (
        "[routing]\ndefault_lane = \"batch\"\n",
        &["f.toml:2", "routing.default_lane", "is the default lane", "lanes.auto"],
    ),
    (
        "[lanes]\nbatch_lane = \"interactive\"\n",
        &["f.toml:2", "lanes.batch_lane", "is the default lane"],
    ),
    (
        "[lanes]\nbatch_lane = \"interactive\"\n[routing]\ndefault_lane = \"batch\"\n",
        &["f.toml:2", "lanes.batch_lane", "comes before the default lane"],
    ),
    ("[log]\nformat = \"xml\"\n", &["f.toml:2", "log.format"]),
    ("[log]\nfilter = \"warning\"\n", &["f.toml:2", "log.filter", "\"warning\""]),
    ("[log]\nfilter = \"info;fairlane=debug\"\n", &["f.toml:2", "log.filter"]),
    ("[log]\nfilter = \"fairlane=loud\"\n", &["f.toml:2", "log.filter"]),
    ("[routing]\nprobe_interval = \"1ns\"\n", &["f.toml:2", "routing.probe_interval", "10ms"]),
    ("[routing]\naccounts_refresh = \"1us\"\n", &["f.toml:2", "routing.accounts_refresh"]),
    (
        "[[replica]]\naddress = \"a:1\"\ntls_ca = \"/ca.pem\"\n",
        &["f.toml:3", "replica.tls_ca", "verify_identity"],
    ),
    (
        "[[replica]]\naddress = \"a:1\"\ntls = \"required\"\ntls_ca = \"/ca.pem\"\n",
        &["f.toml:4", "replica.tls_ca", "does not verify"],
    ),
    (
        "[[replica]]\naddress = \"a:1\"\ntls_certificate = \"/a.pem\"\ntls_key = \"/b.pem\"\n",
        &["f.toml:3", "replica.tls_certificate", "tls = \"disabled\""],
    ),
    ("[[replica]]\naddress = \"/run/s\"\ntls = \"required\"\n", &["f.toml:3", "replica.tls"]),
    ("[[replica]]\naddress = \"db2:3306:77\"\n", &["f.toml:2", "replica.address", "not a host"]),
    ("[[replica]]\naddress = \"svc:hush@db2\"\n", &["f.toml:2", "replica.address", "account"]),
    ("[log]\nfilter = \" info\"\n", &["f.toml:2", "log.filter"]),
    ("[log]\nfilter = \"=debug\"\n", &["f.toml:2", "log.filter"]),
    ("[log]\nfilter = \"fairlane_lanes\"\n", &["f.toml:2", "log.filter"]),
    ("[[replica]]\naddress = \"db2,db3\"\n", &["f.toml:2", "replica.address", "not a host"]),
    ("listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]\n", &["f.toml:1", "listen", "twice"]),
    ("listen = \"127.0.0.1:9306\"\n", &["f.toml:1", "listen", "operators"]),
    (
        "listen = [\"0.0.0.0:1\", \"127.0.0.1:1\"]\n",
        &["f.toml:1", "listen", "\"0.0.0.0:1\" and \"127.0.0.1:1\"", "in common", "remove"],
    ),
    (
        "listen = \"0.0.0.0:9306\"\n",
        &["f.toml:1", "listen", "admin.listen (\"127.0.0.1:9306\")", "another port"],
    ),
    ("listen = \"[::]:9306\"\n", &["f.toml:1", "listen", "admin.listen", "another port"]),
    (
        "listen = \"127.0.0.1:1\"\n[admin]\nlisten = \"[::]:1\"\n",
        &["f.toml:1", "listen", "admin.listen (\"[::]:1\")"],
    ),
    (
        "[[lane]]\nname = \"a\"\nqueue_timeout = \"5s\"\noverload_timeout = \"5s\"\n",
        &["f.toml:4", "lane.overload_timeout", "\"5s\" is not shorter", "never act", "\"off\""],
    ),
    (
        "[[lane]]\nname = \"a\"\noverload_timeout = \"6s\"\n",
        &["f.toml:3", "lane.overload_timeout", "queue_timeout (5s)"],
    ),
    (
        "[pool]\nidle_timeout = \"1s\"\nmax_age = \"1h\"\nidle_timeout = \"2s\"\n",
        &["f.toml:4", "TOML", "duplicate key \"idle_timeout\""],
    ),
    ("[pool]\n[log]\n[pool]\n", &["f.toml:3", "duplicate key \"pool\""]),
];

#[test]
fn every_mistake_is_named_with_line_key_and_cure() {
    for (text, fragments) in MISTAKES {
        let problem = problem(&format!("{text}{REQUIRED}"));
        for fragment in *fragments {
            assert!(problem.contains(fragment), "{text:?}: no {fragment:?} in\n{problem}");
        }
        assert!(problem.contains("cure: "), "{problem}");
        assert!(!problem.contains("hush"), "{problem}");
    }
}

#[test]
fn patterns_that_are_like_no_statement_are_refused_and_no_others() {
    let rule = |digest: &str| {
        let rule = format!("[[rule]]\nlane = \"batch\"\ndigest = '''{digest}'''\n");
        parse(&format!("{rule}{REQUIRED}"), "f.toml").map_err(|problem| problem.to_string())
    };
    for right in [
        "insert into items*",
        "INSERT INTO items ( a , b ) VALUES ( ? )",
        "insert into my-table (*",
        "drop table my-table",
        "insert into db-1.t values*",
        "select a - ? from t",
        "select null*",
        "select *",
        "*sleep (*",
        "select ? as gr?n(",
        "set names ?",
        "select @@global.a , @b",
        "a ; b",
        "a ; *",
        "",
        "*",
    ] {
        rule(right).unwrap_or_else(|problem| panic!("{right}: {problem}"));
    }
    for wrong in [
        "insert into `items`*",
        "select * from `items`",
        "insert into items(a , b)*",
        "insert into items ( a, b )*",
        "insert into t values ( ? , ? )",
        "insert into t values (\"x\")",
        "/* report */ *",
        "select ? -- report",
        "select ? from t;",
        "select * from t;",
        " select ?",
        "select  ?",
    ] {
        let problem = rule(wrong).expect_err(wrong);
        assert!(problem.contains("rule.digest") && problem.contains("cure: write"), "{problem}");
    }
}

#[test]
fn a_file_in_another_character_set_is_told_to_be_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, password) = (directory.path().join("f.toml"), directory.path().join("password"));
    std::fs::write(&path, b"# caf\xe9\n").expect("written");
    let problem = load(&path).expect_err("no UTF-8").to_string();
    assert!(problem.contains("UTF-8") && problem.contains("cure: save it as UTF-8"), "{problem}");
    let problem = load(&directory.path().join("none")).expect_err("no file").to_string();
    assert!(problem.contains("--config") && !problem.contains("--primary"), "{problem}");
    std::fs::write(&password, b"caf\xe9").expect("written");
    let line = format!("password_file = \"{}\"", password.display());
    let text = REQUIRED.replace("password = \"x\"", &line);
    let problem = parse(&text, "f.toml").expect_err("no UTF-8").to_string();
    assert!(problem.contains("cure: write the password in UTF-8"), "{problem}");
}

#[test]
fn lanes_and_replicas_are_bounded() {
    let lanes = |count: usize| {
        let lanes = (0..count).map(|lane| format!("[[lane]]\nname = \"lane{lane}\"\n"));
        format!("{REQUIRED}max_connections = 100\n{}", lanes.collect::<String>())
    };
    assert_eq!(parse(&lanes(64), "f.toml").expect("valid").lanes.len(), 64);
    let said = problem(&lanes(65));
    assert!(said.contains("f.toml:135: lane: 65 lanes are too many\n    cure: write at most 64"));
    let replicas = |count: usize| {
        let replicas = (0..count).map(|host| format!("[[replica]]\naddress = \"r{host}\"\n"));
        format!("{REQUIRED}{}", replicas.collect::<String>())
    };
    assert_eq!(parse(&replicas(64), "f.toml").expect("valid").backends.len(), 65);
    let said = problem(&replicas(65));
    assert!(
        said.contains("f.toml:134: replica: 65 replicas are too many\n    cure: write at most")
    );
}

#[test]
fn addresses_that_can_be_listened_on_together_are_fine() {
    for listen in [
        "listen = [\"[::]:1\", \"0.0.0.0:1\", \"0.0.0.0:2\", \"[::1]:3\"]\n",
        "listen = [\"[::]:1\", \"10.0.0.1:1\"]\nadmin = { listen = \"127.0.0.1:1\" }\n",
        "listen = [\"127.0.0.1:0\", \"0.0.0.0:0\"]\n",
    ] {
        parse(&format!("{listen}{REQUIRED}"), "f.toml").expect("valid");
    }
}

#[test]
fn what_is_required_is_asked_for() {
    let problem = problem("");
    for fragment in ["service.user", "service.password", "primary.address", "missing"] {
        assert!(problem.contains(fragment), "{problem}");
    }
    assert!(load(Path::new("/nonexistent.toml")).is_err());
}

#[test]
fn urls_are_enough() {
    let settings = from_urls(
        "mysql://svc:p%40ss@db1/?max_connections=30",
        &["mysql://db2:3307".to_owned()],
        &Overrides { admin: Some("off".to_owned()), ..Overrides::default() },
    )
    .expect("valid");
    assert_eq!(settings.service.user, "svc");
    let address = |index: usize| settings.backends[index].address.to_string();
    assert_eq!((address(0).as_str(), settings.backends[0].max_connections), ("db1:3306", 30));
    assert_eq!((address(1).as_str(), settings.backends[1].name.as_str()), ("db2:3307", "replica1"));
    let socket = "mysql://svc:x@localhost?socket=/run/mysqld/mysqld.sock";
    let local = from_urls(socket, &[], &Overrides::default()).expect("valid");
    assert_eq!(local.backends[0].address, Address::Unix("/run/mysqld/mysqld.sock".into()));
    assert_eq!(settings.admin, None);
    for (bad, fragment) in [
        ("nonsense", "not a URL"),
        ("mysql://svc:x@h?socket=mysqld.sock", "absolute path"),
        ("http://a", "does not begin with mysql://"),
        ("mysql:/svc:hush@db1:3306", "does not begin with mysql://"),
        ("hush://db1", "does not begin with mysql://"),
        ("mysql:///svc:hush@db1", "host"),
        ("mysql://svc:/hush@db1", "%2F"),
        ("mysql://svc:3/hush@db1", "%2F"),
        ("mysql://svc:?hush@db1", "%3F"),
        ("mysql://db1", "names no user"),
        ("mysql://svc:hush@", "host"),
        ("mysql://svc:hu#sh@db1", "cure"),
        ("mysql://svc:hush@db1/shop", "schema"),
        ("mysql://svc:hush@db1/?max_conections=3", "\"max_connections\""),
        ("mysql://svc:hush@db1/?max_connections=few", "not a number"),
        ("mysql://svc:h%ffush@db1", "UTF-8"),
    ] {
        let problem = from_urls(bad, &[], &Overrides::default()).expect_err("bad").to_string();
        for fragment in ["command line: --primary", "cure", fragment] {
            assert!(problem.contains(fragment), "{bad}: no {fragment:?} in\n{problem}");
        }
        assert!(!problem.contains("hu"), "{problem}");
    }
    let replica =
        |url: &str| from_urls("mysql://svc:x@db1", &[url.to_owned()], &Overrides::default());
    assert!(replica("mysql://svc:x@db2").is_ok());
    let problem = replica("mysql://svc:y@db2").expect_err("another account").to_string();
    assert!(problem.contains("--replica") && problem.contains("another account"), "{problem}");
}

#[test]
fn the_command_line_wins_over_a_file() {
    let overrides = Overrides {
        listen: vec!["127.0.0.1:4000".to_owned()],
        admin: Some("off".to_owned()),
        log: Some("debug".to_owned()),
    };
    let settings = parse_with(REQUIRED, "f.toml", &overrides).expect("valid");
    assert_eq!(settings.listen, ["127.0.0.1:4000".parse().expect("an address")]);
    assert_eq!((settings.admin, settings.log.filter.as_str()), (None, "debug"));
    let overrides = Overrides {
        listen: vec!["4000".to_owned()],
        admin: Some("on".to_owned()),
        log: Some("a=b=c".to_owned()),
    };
    let problem = parse_with(REQUIRED, "f.toml", &overrides).expect_err("bad").to_string();
    for fragment in ["command line: --listen: \"4000\"", "--admin: \"on\"", "--log", "cure: give"] {
        assert!(problem.contains(fragment), "{problem}");
    }
}

#[test]
fn no_password_is_ever_shown() {
    let settings = parse(REQUIRED, "f.toml").expect("valid");
    assert!(!format!("{settings:?}").contains("\"x\""));
    let secret = REQUIRED.replace("\"x\"", "[\"s3cr3t\"]");
    assert!(!problem(&secret).contains("s3cr3t"));
}

/// Lines `key = value` of the documented file that belong to a table, commented out or not.
fn documented(table: &str) -> Vec<(&'static str, &'static str)> {
    let mut current = String::new();
    let mut found = Vec::new();
    for line in include_str!("../../config/fairlane.toml").lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') {
            current = line.trim_matches(['[', ']']).to_owned();
        } else if let Some((name, value)) = line.split_once(" = ")
            && current == table
        {
            found.push((name, value));
        }
    }
    found
}

/// The documented file: every key of the table of keys is in its table, those that have one
/// default with just that, and the file as shipped means the same as one that says nothing.
#[test]
fn the_documented_file_is_the_defaults() {
    for key in key::KEYS {
        let (table, name) = key.path.split_once('.').unwrap_or(("", key.path));
        let lines = documented(table);
        let values: Vec<&str> = lines.iter().filter(|line| line.0 == name).map(|l| l.1).collect();
        assert!(!values.is_empty(), "{} is not in config/fairlane.toml", key.path);
        if let Some(default) = key.default.filter(|_| !matches!(table, "lane" | "rule")) {
            assert_eq!(values, [default], "{} with another default", key.path);
        }
    }
    let documented = include_str!("../../config/fairlane.toml");
    let settings = parse(documented, "fairlane.toml").unwrap_or_else(|problem| panic!("{problem}"));
    let plain = parse(REQUIRED, "f.toml").expect("valid");
    let same = |settings: &Settings| {
        let mut settings = settings.clone();
        settings.backends.truncate(1);
        settings.backends[0].address = Address::Unix(PathBuf::new());
        settings.rules.clear();
        settings.users.clear();
        format!("{settings:?}")
    };
    assert_eq!(same(&settings), same(&plain));
}

/// The table's defaults of keys that stand in tables of which there may be many.
#[test]
fn the_table_of_keys_has_the_defaults_of_lanes_rules_and_replicas() {
    let written = |table: &str, more: &str| {
        let defaults = key::KEYS.iter().filter_map(|key| {
            let name = key.path.strip_prefix(table)?.strip_prefix('.')?;
            key.default.map(|default| format!("{name} = {default}\n"))
        });
        format!("[[{table}]]\n{more}{}", defaults.collect::<String>())
    };
    for (table, more) in [
        ("lane", "name = \"a\"\n"),
        ("rule", "lane = \"batch\"\nuser = \"u\"\n"),
        ("replica", "address = \"db2\"\n"),
    ] {
        let said = parse(&format!("{}{REQUIRED}", written(table, more)), "f.toml").expect("valid");
        let unsaid = parse(&format!("[[{table}]]\n{more}{REQUIRED}"), "f.toml").expect("valid");
        assert_eq!(format!("{said:?}"), format!("{unsaid:?}"), "{table}");
    }
}

/// Values of every type, likely and unlikely, for keys that exist.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        any::<bool>().prop_map(|is| is.to_string()),
        any::<String>().prop_map(|text| toml::Value::String(text).to_string()),
        "[0-9]{1,20}(%|ms|s|d)?".prop_map(|text| format!("\"{text}\"")),
        "[a-z0-9:.\\[\\]/]{0,20}".prop_map(|text| format!("[\"{text}\"]")),
        Just("{ a = 1 }".to_owned()),
    ]
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text: String) {
        let _ = parse(&text, "f.toml");
    }

    #[test]
    fn no_value_makes_it_panic_and_every_problem_has_a_line(
        values in prop::collection::vec((0..key::KEYS.len(), any_value()), 1..6),
    ) {
        let mut text = String::new();
        for (index, value) in values {
            // TOML's dotted keys need no header; tables of many stand in a list of one.
            let path = key::KEYS[index].path;
            let line = match path.split_once('.') {
                Some((table, name)) if key::section(table).is_some_and(|table| table.many) => {
                    format!("{table} = [{{ {name} = {value} }}]\n")
                }
                _ => format!("{path} = {value}\n"),
            };
            text.push_str(&line);
        }
        if let Err(problem) = parse(&text, "f.toml") {
            let lines = text.lines().count() + 1;
            for finding in problem.findings() {
                prop_assert!(finding.line.is_some_and(|line| (1..=lines).contains(&line)));
                prop_assert!(!finding.cure.is_empty());
            }
        }
    }
}

#[test]
fn what_takes_a_restart_is_named_without_what_it_says() {
    let base = "max_clients = 5\n[service]\nuser = \"f\"\npassword = \"secret\"\n[primary]\naddress = \"db:1\"\n\
        [[replica]]\naddress = \"db:2\"\n[routing]\nmax_lag = \"2s\"\n\
        [[user]]\nname = \"u\"\npassword = \"other\"\n";
    let settings = |text: &str| parse(text, "f.toml").expect("valid");
    let first = settings(base);
    let differs = |from: &str, to: &str| {
        assert!(base.contains(from), "{from}");
        first.differs_in(&settings(&base.replacen(from, to, 1)))
    };
    assert!(first.differs_in(&settings(base)).is_empty());
    assert_eq!(differs("max_clients = 5", "max_clients = 6"), ["max_clients"]);
    assert_eq!(differs("secret", "changed"), ["[service]"]);
    assert_eq!(differs("other", "changed"), ["[[user]]"]);
    assert_eq!(differs("db:1", "db:9"), ["[primary]"]);
    assert_eq!(differs("db:2", "db:9"), ["[[replica]]"]);
    assert_eq!(differs("\"2s\"", "\"1s\"\n[log]\nfilter = \"debug\""), ["[routing]", "[log]"]);
    let lanes = "[lanes]\nauto = \"off\"\n[[rule]]\nlane = \"batch\"\nuser = \"u\"\n[routing]\n\
        default_lane = \"batch\"";
    assert!(differs("[routing]", lanes).is_empty(), "lanes and rules take none");
}

#[test]
fn networks_of_ipv4_may_be_written_as_ipv6() {
    let base = "[service]\nuser = \"f\"\npassword = \"secret\"\n[primary]\naddress = \"db:1\"\n\
        [[rule]]\nlane = \"batch\"\nnetwork = ";
    for (written, meant) in [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("fd00::/8", "fd00::/8"),
        ("::/0", "::/0"),
    ] {
        let settings = parse(&format!("{base}[\"{written}\"]\n"), "f.toml").expect("valid");
        assert_eq!(settings.rules[0].network, [meant.parse().expect("a network")], "{written}");
    }
}
