//! Bad files get file, line, key and cure; the documented file is the defaults.

use proptest::prelude::*;

use super::*;

const REQUIRED: &str =
    "[service]\nuser = \"fairlane\"\npassword = \"x\"\n[primary]\naddress = \"db1:3306\"\n";

fn problem(text: &str) -> String {
    parse(text, "f.toml").expect_err("a bad file").to_string()
}

#[test]
fn every_mistake_is_named_with_line_key_and_cure() {
    // (what stands before the required part, expected fragments)
    let table: &[(&str, &[&str])] = &[
        ("listen = [\n", &["f.toml:", "TOML"]),
        ("listne = [\"127.0.0.1:1\"]\n", &["f.toml:1", "listne", "\"listen\""]),
        ("listen = \"nonsense\"\n", &["f.toml:1", "listen", "\"nonsense\"", "cure: write"]),
        ("listen = []\n", &["f.toml:1", "listen", "empty"]),
        ("max_clients = \"many\"\n", &["f.toml:1", "max_clients", "cure: write"]),
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
        (
            "[[lane]]\nname = \"a\"\n[[lane]]\nname = \"a\"\n",
            &["f.toml:4", "lane.name", "two lanes"],
        ),
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
            "[[rule]]\nlane = \"batch\"\nuser = \"x\"\nscope = \"ever\"\n",
            &["f.toml:4", "rule.scope"],
        ),
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
        ("[[rule]]\nlane = \"batch\"\nnetwork = []\n", &["f.toml:3", "rule.network", "no client"]),
        ("[routing]\nconsistency = \"maybe\"\n", &["f.toml:2", "routing.consistency"]),
        (
            "[routing]\ndefault_lane = \"x\"\n",
            &["f.toml:2", "routing.default_lane", "interactive, batch"],
        ),
        ("[log]\nformat = \"xml\"\n", &["f.toml:2", "log.format"]),
    ];
    for (text, fragments) in table {
        let problem = problem(&format!("{text}{REQUIRED}"));
        for fragment in *fragments {
            assert!(problem.contains(fragment), "{text:?}: no {fragment:?} in\n{problem}");
        }
        assert!(problem.contains("cure: "), "{problem}");
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
    assert_eq!((settings.backends[0].port, settings.backends[0].max_connections), (3306, 30));
    assert_eq!((settings.backends[1].name.as_str(), settings.backends[1].port), ("replica1", 3307));
    assert_eq!(settings.admin, None);
    for (bad, fragment) in [
        ("nonsense", "not a URL"),
        ("http://a", "begins with http:"),
        ("mysql://db1", "names no user"),
        ("mysql://svc:hush@", "host"),
        ("mysql://svc:hu#sh@db1", "cure"),
        ("mysql://svc:hush@db1/shop", "\"shop\""),
        ("mysql://svc:hush@db1/?max_conections=3", "\"max_connections\""),
        ("mysql://svc:hush@db1/?max_connections=few", "\"few\""),
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

/// The documented file: every key of the table is in it, written as its default, and the file as
/// shipped means the same as one that says nothing.
#[test]
fn the_documented_file_is_the_defaults() {
    let documented = include_str!("../../config/fairlane.toml");
    for key in key::KEYS {
        let name = key.path.rsplit('.').next().unwrap_or(key.path);
        let written = documented.lines().any(|line| {
            line.trim_start_matches("# ").split('=').next().is_some_and(|k| k.trim() == name)
        });
        assert!(written, "{} is not in config/fairlane.toml", key.path);
    }
    let settings = parse(documented, "fairlane.toml").unwrap_or_else(|problem| panic!("{problem}"));
    let plain = parse(REQUIRED, "f.toml").expect("valid");
    let same = |settings: &Settings| {
        let mut settings = settings.clone();
        settings.backends.truncate(1);
        settings.backends[0].host = String::new();
        settings.rules.clear();
        settings.users.clear();
        format!("{settings:?}")
    };
    assert_eq!(same(&settings), same(&plain));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text: String) {
        let _ = parse(&text, "f.toml");
    }
}
