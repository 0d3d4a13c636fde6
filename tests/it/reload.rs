//! SIGHUP: lanes and rules change under running sessions; what is wrong changes nothing.

use std::process::Command;
use std::{fs, thread};

use crate::support::{Proxy, eventually, servers};

const LANES: &str = "[lanes]\nauto = \"off\"\n[[lane]]\nname = \"interactive\"\n\
    [[lane]]\nname = \"batch\"\nmax = 1\nreserved = 0\n[routing]\nreplica_reads = false\n";

fn admitted(proxy: &Proxy, lane: &str) -> f64 {
    proxy.sum(&format!("fairlane_lane_admitted_total{{backend=\"primary\",lane=\"{lane}\"}}"))
}

fn reload(proxy: &Proxy, lanes: &str, expected: &str) {
    let before = proxy.log().matches(expected).count();
    proxy.reconfigure(LANES, lanes);
    eventually("it was read", || proxy.log().matches(expected).count() > before);
}

const DONE: &str = "lanes and rules were read again";

#[test]
fn rules_and_lanes_change_under_running_sessions() {
    let proxy = Proxy::with(servers(), 6, LANES);
    let mut client = proxy.app();
    client.run("SELECT 1");
    assert_eq!(admitted(&proxy, "batch"), 0.0);
    let ruled = format!("{LANES}[[rule]]\nlane = \"batch\"\ndigest = \"select sleep*\"\n");
    reload(&proxy, &ruled, DONE);
    client.run("SELECT SLEEP(0)");
    client.run("SELECT 1");
    eventually("one statement is batch", || admitted(&proxy, "batch") == 1.0);
    // One slot for batch: the second waits until there may be two.
    let sleeps: Vec<_> = (0..2)
        .map(|_| {
            let mut client = proxy.app();
            thread::spawn(move || client.text("SELECT SLEEP(3)"))
        })
        .collect();
    let waiting = || proxy.sum("fairlane_lane_waiters{backend=\"primary\",lane=\"batch\"}");
    let in_use = || proxy.sum("fairlane_lane_slots_in_use{backend=\"primary\",lane=\"batch\"}");
    eventually("one waits", || waiting() == 1.0 && in_use() == 1.0);
    reload(&proxy, &ruled.replace("max = 1", "max = 2"), DONE);
    assert_eq!((waiting(), in_use()), (0.0, 2.0));
    let limit = "fairlane_lane_slots_limit{backend=\"primary\",lane=\"batch\"}";
    assert_eq!(proxy.metric(limit), 2.0);
    sleeps.into_iter().for_each(|sleep| assert_eq!(sleep.join().unwrap(), "0"));
    reload(&proxy, LANES, DONE);
    client.run("SELECT SLEEP(0)");
    client.run("SELECT 1");
    assert_eq!(admitted(&proxy, "batch"), 3.0, "the rule is gone");
    assert_eq!(in_use(), 0.0);
}

#[test]
fn a_session_keeps_its_lane_while_the_rule_that_chose_it_is_there() {
    let proxy = Proxy::with(servers(), 6, LANES);
    let rule = "[[rule]]\nlane = \"batch\"\ndigest = \"select sleep*\"\nscope = \"session\"\n";
    reload(&proxy, &format!("{LANES}{rule}"), DONE);
    let mut client = proxy.app();
    client.run("SELECT SLEEP(0)");
    client.run("SELECT 1");
    assert_eq!(admitted(&proxy, "batch"), 2.0);
    let other = "[[rule]]\nlane = \"batch\"\nuser = \"nobody\"\n";
    reload(&proxy, &format!("{LANES}{other}{rule}"), DONE);
    client.run("SELECT 1");
    assert_eq!(admitted(&proxy, "batch"), 3.0);
    reload(&proxy, &format!("{LANES}{other}"), DONE);
    client.run("SELECT 1");
    assert_eq!(admitted(&proxy, "batch"), 3.0, "the rule is gone");
}

#[test]
fn behaviour_is_switched_on_and_off() {
    let proxy = Proxy::with(servers(), 6, LANES);
    let mut client = proxy.app();
    let by_behaviour = || {
        ["attained_service", "company"]
            .iter()
            .map(|reason| proxy.sum(&format!("fairlane_lane_choices_total{{reason=\"{reason}\"}}")))
            .sum::<f64>()
    };
    let mut work = |until: &dyn Fn() -> bool| {
        for _ in 0..200 {
            client.run("DO SLEEP(0.02)");
            if until() {
                return true;
            }
        }
        false
    };
    (0..3).for_each(|_| assert!(work(&|| true)));
    reload(&proxy, &LANES.replace("auto = \"off\"", "auto = \"on\""), DONE);
    assert!(work(&|| by_behaviour() > 0.0), "it is batch");
    reload(&proxy, LANES, DONE);
    work(&|| true);
    let before = by_behaviour();
    (0..20).for_each(|_| assert!(work(&|| true)));
    assert_eq!(by_behaviour(), before, "rules alone decide");
}

#[test]
fn what_is_wrong_changes_nothing() {
    let proxy = Proxy::with(servers(), 6, LANES);
    let stay = "lanes and rules stay as they are";
    reload(&proxy, "[lanes]\nauto = \"perhaps\"\n", stay);
    assert!(proxy.log().contains("lanes.auto"), "{}", proxy.log());
    reload(&proxy, &LANES.replace("batch", "reports"), stay);
    assert!(proxy.log().contains("the lanes are interactive, batch"), "{}", proxy.log());
    let mut client = proxy.app();
    assert_eq!(client.text("SELECT /* fairlane: lane=batch */ 1"), "1");
    eventually("the lane is there", || admitted(&proxy, "batch") == 1.0);
}

#[test]
fn what_takes_a_restart_is_said_to() {
    let proxy = Proxy::with(servers(), 6, LANES);
    let log = format!("{LANES}max_lag = \"1s\"\n[log]\nfilter = \"debug\"\n");
    reload(&proxy, &log, "lanes and rules are what they were");
    let told = proxy.log();
    let line = told.lines().find(|line| line.contains("takes a restart")).expect("it is said");
    assert!(line.contains("WARN") && line.contains("[routing], [log]"), "{line}");
}

#[test]
fn a_file_that_hangs_holds_nothing_else_up() {
    let mut proxy = Proxy::with(servers(), 6, LANES);
    let (path, text) = (proxy.config(), fs::read_to_string(proxy.config()).unwrap());
    fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let hangs = || proxy.log().matches("the files are still being read").count();
    proxy.signal("HUP");
    eventually("it waits for the file", || hangs() == 1);
    assert!(proxy.get("/healthz").starts_with("HTTP/1.1 200"));
    assert_eq!(proxy.app().text("SELECT 1"), "1");
    fs::write(&path, text).unwrap();
    eventually("it was read", || proxy.log().contains("lanes and rules are what they were"));
    proxy.signal("HUP");
    eventually("it waits again", || hangs() == 2);
    proxy.signal("TERM");
    eventually("it ends", || proxy.exit_code() == Some(0));
}
