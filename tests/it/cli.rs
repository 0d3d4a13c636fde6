//! The command line, as a person uses it.

use std::process::Command;

use crate::support::{Proxy, eventually, servers};

fn fairlane(args: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fairlane")).args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_bad_file_is_refused_with_file_line_key_and_cure() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.toml");
    std::fs::write(&path, "[primary]\naddress = \"db:1\"\n[pool]\nidle_timout = \"5s\"\n").unwrap();
    let path = path.to_str().unwrap();
    for command in ["check", "serve"] {
        let (ok, text) = fairlane(&[command, "--config", path]);
        assert!(!ok);
        for fragment in ["bad.toml:4", "pool.idle_timout", "\"idle_timeout\"", "cure:"] {
            assert!(text.contains(fragment), "{text}");
        }
    }
    let (ok, text) = fairlane(&["serve", "--config", "/nonexistent.toml"]);
    assert!(!ok && text.contains("/nonexistent.toml") && text.contains("cure"), "{text}");
}

#[test]
fn an_address_in_use_is_said_in_words_with_a_cure() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let primary = ["serve", "--primary", "mysql://svc:x@127.0.0.1:1"];
    for (ways, key) in [
        (["--listen", &taken, "--admin", "off"], "(key listen)"),
        (["--listen", "127.0.0.1:0", "--admin", &taken], "(admin.listen)"),
    ] {
        let (ok, text) = fairlane(&[&primary[..], &ways[..]].concat());
        assert!(!ok, "{text}");
        for fragment in [key, taken.as_str(), "in use", "stop what listens there", "another port"] {
            assert!(text.contains(fragment), "{text}");
        }
    }
}

#[test]
fn the_shipped_files_are_fine() {
    let (ok, text) = fairlane(&["check", "--config", "config/fairlane.toml"]);
    assert!(ok && text.contains("14 slots"), "{text}");
    let minimal = Command::new(env!("CARGO_BIN_EXE_fairlane"))
        .args(["check", "--config", "config/minimal.toml"])
        .env("FAIRLANE_PASSWORD", "x")
        .output()
        .unwrap();
    assert!(minimal.status.success());
}

#[test]
fn a_check_tells_how_servers_are_reached() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fairlane.toml");
    let text = "[service]\nuser = \"fairlane\"\npassword = \"x\"\n[primary]\naddress = \"db:1\"\n\
                compression = \"zstd\"\n[[replica]]\naddress = \"db:2\"\n";
    std::fs::write(&path, text).unwrap();
    let (ok, said) = fairlane(&["check", "--config", path.to_str().unwrap()]);
    assert!(ok, "{said}");
    assert!(
        said.contains("primary primary at db:1: 14 slots (compressed with zstd) and 1 "),
        "{said}"
    );
    assert!(said.contains("replica replica1 at db:2: 14 slots and 1 "), "{said}");
}

#[test]
fn a_check_tells_what_behaviour_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fairlane.toml");
    let said = |more: &str| {
        let service = "[service]\nuser = \"fairlane\"\npassword = \"x\"\n";
        let text = format!("{service}[primary]\naddress = \"db:1\"\n{more}");
        std::fs::write(&path, text).unwrap();
        fairlane(&["check", "--config", path.to_str().unwrap()]).1
    };
    for (more, expected) in [
        (
            "",
            "what behaves like a batch: lane batch, with slots as lane interactive can spare them",
        ),
        ("[lanes]\ntarget = \"50ms\"\n", "slots as statements of lane interactive stay under 50ms"),
        ("[lanes]\nauto = \"off\"\n", "as everything else (lanes.auto is off)"),
        ("[[lane]]\nname = \"all\"\n", "as everything else (there is one lane)"),
        ("[lanes]\nlock_guard = \"pace\"\n", "lock guard: work of later lanes is held back"),
        ("[routing]\ndefault_lane = \"batch\"\n", "nothing would be taken for batch"),
        ("[routing]\ndefault_lane = \"batch\"\n", "name an earlier lane in routing.default_lane"),
        ("[lanes]\nbatch_lane = \"interactive\"\n", "name a lane behind routing.default_lane"),
    ] {
        let said = said(more);
        assert!(said.contains(expected), "{more}: {said}");
    }
}

#[test]
fn without_its_primary_it_is_alive_and_not_ready() {
    let proxy = Proxy::unreachable(servers());
    let admin = format!("127.0.0.1:{}", proxy.admin);
    eventually("it is alive", || fairlane(&["health", "--live", "--admin", &admin]).0);
    let (ok, said) = fairlane(&["health", "--admin", &admin]);
    assert!(!ok && said.contains("not ready"), "{said}");
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut health = Command::new(env!("CARGO_BIN_EXE_fairlane"));
    let health = health.args(["health", "--live", "--admin", &admin]).stdout(full);
    let (output, said) = (health.output().unwrap(), "fairlane: writing the answer: No space left");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.starts_with(said), "{error}");
}

#[test]
fn a_file_without_an_rsa_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, key) = (directory.path().join("fairlane.toml"), directory.path().join("key.pem"));
    let text = format!(
        "rsa_private_key = \"{}\"\n[service]\nuser = \"fairlane\"\npassword = \"x\"\n\
         [primary]\naddress = \"127.0.0.1:1\"\n[admin]\nlisten = \"off\"\n",
        key.display()
    );
    std::fs::write(&path, text).unwrap();
    for (content, reason) in [
        (None, "No such file"),
        (Some("no key"), "it is no PEM"),
        (
            Some("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"),
            "it is a \"RSA PRIVATE KEY\"",
        ),
        (
            Some("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "it is no RSA key",
        ),
    ] {
        content.into_iter().for_each(|content| std::fs::write(&key, content).unwrap());
        for command in ["check", "serve"] {
            let (ok, said) = fairlane(&[command, "--config", path.to_str().unwrap()]);
            assert!(!ok && said.contains("rsa_private_key") && said.contains(reason), "{said}");
            assert!(said.contains("openssl pkcs8"), "{said}");
        }
    }
}

#[test]
fn explain_tells_class_target_lane_and_reason() {
    let (ok, text) = fairlane(&["explain", "SELECT * FROM t WHERE a = 1 FOR UPDATE"]);
    assert!(ok);
    for fragment in
        ["locking_clause", "the primary", "interactive", "SELECT * FROM t WHERE a = ? FOR UPDATE"]
    {
        assert!(text.contains(fragment), "{text}");
    }
}

#[test]
fn a_url_that_is_out_of_place_is_not_repeated() {
    let url = "mysql://svc:hush@db1:3306";
    for args in
        [&["check", url][..], &["serve", url], &["serve", "--config", "f", "--primary", url]]
    {
        let (ok, text) = fairlane(args);
        assert!(!ok && !text.contains("hush"), "{args:?}: {text}");
    }
    let (ok, text) = fairlane(&["serve", "--primari", "x"]);
    assert!(!ok && text.contains("--primary"), "others are told what they meant: {text}");
}

#[test]
fn a_certificate_that_is_not_good_now_or_has_another_key_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let make = |name: &str, year: i32| {
        let mut params = rcgen::CertificateParams::new(vec!["db".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(file(name), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    };
    make("late", 2002);
    make("good", 2100);
    let check = |tls: &str, primary: &str| {
        let text = format!(
            "[tls]\n{tls}\n[service]\nuser = \"fairlane\"\npassword = \"x\"\n[primary]\n\
             address = \"db:1\"\ntls = \"required\"\n{primary}\n"
        );
        std::fs::write(file("f.toml"), text).unwrap();
        fairlane(&["check", "--config", &file("f.toml")])
    };
    let files = |prefix: &str, certificate: &str, key: &str| {
        format!(
            "{prefix}certificate = \"{}\"\n{prefix}key = \"{}\"",
            file(certificate),
            file(&format!("{key}.key"))
        )
    };
    let (ok, said) = check(&files("", "late", "late"), &files("tls_", "late", "late"));
    assert!(ok, "{said}");
    for whose in ["tls", "primary"] {
        let expected = format!("warning: certificate of {whose}: \"{}\" is good", file("late"));
        assert!(said.contains(&expected) && said.contains("2002"), "{said}");
    }
    let (ok, said) = check(&files("", "good", "good"), &files("tls_", "good", "good"));
    assert!(ok && !said.contains("warning"), "{said}");
    let (ok, said) = check("", &files("tls_", "good", "late"));
    let expected = format!("tls_key = \"{}\"", file("late.key"));
    assert!(!ok && said.contains(&expected), "{said}");
    assert!(said.contains("primary") && said.contains("belongs to tls_certificate"), "{said}");
}

#[test]
fn a_password_in_another_character_set_is_not_taken_for_none() {
    use std::os::unix::ffi::OsStrExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f.toml");
    let service = "[service]\nuser = \"fairlane\"\npassword_env = \"FAIRLANE_TEST_LATIN1\"\n";
    std::fs::write(&path, format!("{service}[primary]\naddress = \"db:1\"\n")).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_fairlane"));
    check.args(["check", "--config"]).arg(&path);
    check.env("FAIRLANE_TEST_LATIN1", std::ffi::OsStr::from_bytes(b"caf\xe9"));
    let error = String::from_utf8_lossy(&check.output().unwrap().stderr).into_owned();
    assert!(error.contains("is not UTF-8") && error.contains("in UTF-8"), "{error}");
}
