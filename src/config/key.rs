//! The table of keys: path, default as written, meaning, valid values.
//!
//! It drives the check for unknown keys, the cures in messages, and the test that
//! `config/fairlane.toml` documents every key with its true default.

/// One key of the file.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Table and name, `pool.open_rate`; a name alone at the top of the file.
    pub path: &'static str,
    /// The default as written in TOML; none when there is nothing to fall back to.
    pub default: Option<&'static str>,
    /// One line: what it decides.
    pub meaning: &'static str,
    /// What may be written; completes "write ...".
    pub valid: &'static str,
}

/// A table of the file.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// Whether there may be many of them: `[[lane]]`.
    pub many: bool,
}

impl Section {
    /// The header line that opens it.
    pub fn header(&self) -> String {
        if self.many { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }
}

/// Every table, in the order of the documented file.
const SECTIONS: [Section; 12] = [
    Section { name: "tls", many: false },
    Section { name: "admin", many: false },
    Section { name: "service", many: false },
    Section { name: "primary", many: false },
    Section { name: "replica", many: true },
    Section { name: "pool", many: false },
    Section { name: "lanes", many: false },
    Section { name: "lane", many: true },
    Section { name: "rule", many: true },
    Section { name: "user", many: true },
    Section { name: "routing", many: false },
    Section { name: "log", many: false },
];

/// Every key, in the order of the documented file.
pub const KEYS: &[Key] = &[
    Key {
        path: "listen",
        default: Some(r#"["127.0.0.1:3306"]"#),
        meaning: "Addresses clients connect to.",
        valid: r#"one or more addresses with port, such as ["0.0.0.0:3306"]"#,
    },
    Key {
        path: "proxy_protocol_networks",
        default: Some("[]"),
        meaning: "Load balancers whose PROXY protocol headers tell the clients' addresses.",
        valid: r#"addresses or networks, such as ["10.0.0.5", "10.1.0.0/16"], or "*" for every address"#,
    },
    Key {
        path: "workers",
        default: None,
        meaning: "Threads that serve clients; one a core when not given.",
        valid: "a whole number from 1 to 256",
    },
    Key {
        path: "max_clients",
        default: Some("20000"),
        meaning: "Most clients at once; one more gets error 1040.",
        valid: "a whole number, at least 1",
    },
    Key {
        path: "login_timeout",
        default: Some(r#""10s""#),
        meaning: "Time a client has to finish its login.",
        valid: r#"a time longer than zero, such as "10s""#,
    },
    Key {
        path: "login_failures",
        default: Some("5"),
        meaning: "Failed logins of one address that are answered at once.",
        valid: "a whole number; 0 means that the first one waits",
    },
    Key {
        path: "login_delay",
        default: Some(r#""4s""#),
        meaning: "Longest wait for the answer to a failed login.",
        valid: r#"a time such as "4s"; "0s" means that nobody waits"#,
    },
    Key {
        path: "rsa_private_key",
        default: None,
        meaning: "RSA key that clients without TLS encrypt their passwords for (MySQL).",
        valid: "the path of a file with the private key (PKCS #8) in PEM form",
    },
    Key {
        path: "tls.mode",
        default: Some(r#""as_primary""#),
        meaning: "Which clients get TLS.",
        valid: r#""as_primary", "disabled", "preferred" or "required""#,
    },
    Key {
        path: "tls.certificate",
        default: None,
        meaning: "Fairlane's certificate.",
        valid: "the path of a file with the certificate in PEM form, beside tls.key",
    },
    Key {
        path: "tls.key",
        default: None,
        meaning: "The certificate's private key.",
        valid: "the path of a file with the private key in PEM form, beside tls.certificate",
    },
    Key {
        path: "tls.client_ca",
        default: None,
        meaning: "Issuers of clients' certificates.",
        valid: "the path of a file with the issuers' certificates in PEM form",
    },
    Key {
        path: "admin.listen",
        default: Some(r#""127.0.0.1:9306""#),
        meaning: "Where /metrics, /healthz and /readyz are served.",
        valid: r#"an address with port such as "127.0.0.1:9306", or "off""#,
    },
    Key {
        path: "service.user",
        default: None,
        meaning: "Fairlane's own account on all servers.",
        valid: r#"the name of the service account, such as "fairlane""#,
    },
    Key {
        path: "service.password",
        default: None,
        meaning: "Its password, in the file itself.",
        valid: r#"the password as a string, possibly """#,
    },
    Key {
        path: "service.password_file",
        default: None,
        meaning: "Its password, in a file of its own.",
        valid: "the path of a file that holds the password and nothing else",
    },
    Key {
        path: "service.password_env",
        default: None,
        meaning: "Its password, in an environment variable.",
        valid: "the name of an environment variable that holds the password",
    },
    Key {
        path: "primary.address",
        default: None,
        meaning: "Host and port of the primary, or its Unix socket.",
        valid: r#"a host with or without port, such as "db1:3306", or the path of a Unix socket"#,
    },
    Key {
        path: "primary.tls",
        default: Some(r#""disabled""#),
        meaning: "TLS towards it, and what is checked.",
        valid: r#""disabled", "preferred", "required", "verify_ca" or "verify_identity""#,
    },
    Key {
        path: "primary.tls_ca",
        default: None,
        meaning: "Issuers that are trusted.",
        valid: "the path of a file with the issuers' certificates in PEM form",
    },
    Key {
        path: "primary.tls_certificate",
        default: None,
        meaning: "Fairlane's own certificate, for servers and accounts that want one.",
        valid: "the path of a file with the certificate in PEM form, beside tls_key",
    },
    Key {
        path: "primary.tls_key",
        default: None,
        meaning: "The certificate's private key.",
        valid: "the path of a file with the private key in PEM form, beside tls_certificate",
    },
    Key {
        path: "primary.compression",
        default: Some(r#""off""#),
        meaning: "How what Fairlane and it send each other is compressed.",
        valid: r#""off", "zlib" or, for MySQL, "zstd""#,
    },
    Key {
        path: "primary.proxy_protocol",
        default: Some(r#""off""#),
        meaning: "Whether it is told the clients' addresses, by PROXY protocol headers.",
        valid: r#""off", "v1" or "v2""#,
    },
    Key {
        path: "primary.name",
        default: Some(r#""primary""#),
        meaning: "Its name in metrics and messages.",
        valid: r#"a unique name of letters, digits, "_", "-" and ".", at most 64 characters"#,
    },
    Key {
        path: "primary.max_connections",
        default: Some("15"),
        meaning: "Most connections Fairlane ever has to it.",
        valid: "a whole number from 2 to 100000; one of them is Fairlane's own control connection",
    },
    Key {
        path: "replica.address",
        default: None,
        meaning: "Host and port of a replica.",
        valid: r#"a host with or without port, such as "db2:3306""#,
    },
    Key {
        path: "replica.tls",
        default: Some(r#""disabled""#),
        meaning: "TLS towards it, and what is checked.",
        valid: r#""disabled", "preferred", "required", "verify_ca" or "verify_identity""#,
    },
    Key {
        path: "replica.tls_ca",
        default: None,
        meaning: "Issuers that are trusted.",
        valid: "the path of a file with the issuers' certificates in PEM form",
    },
    Key {
        path: "replica.tls_certificate",
        default: None,
        meaning: "Fairlane's own certificate, for servers and accounts that want one.",
        valid: "the path of a file with the certificate in PEM form, beside tls_key",
    },
    Key {
        path: "replica.tls_key",
        default: None,
        meaning: "The certificate's private key.",
        valid: "the path of a file with the private key in PEM form, beside tls_certificate",
    },
    Key {
        path: "replica.compression",
        default: Some(r#""off""#),
        meaning: "How what Fairlane and it send each other is compressed.",
        valid: r#""off", "zlib" or, for MySQL, "zstd""#,
    },
    Key {
        path: "replica.proxy_protocol",
        default: Some(r#""off""#),
        meaning: "Whether it is told the clients' addresses, by PROXY protocol headers.",
        valid: r#""off", "v1" or "v2""#,
    },
    Key {
        path: "replica.name",
        default: Some(r#""replica1""#),
        meaning: "Its name in metrics and messages.",
        valid: r#"a unique name of letters, digits, "_", "-" and ".", at most 64 characters"#,
    },
    Key {
        path: "replica.max_connections",
        default: Some("15"),
        meaning: "Most connections Fairlane ever has to it.",
        valid: "a whole number from 2 to 100000; one of them is Fairlane's own control connection",
    },
    Key {
        path: "pool.connect_timeout",
        default: Some(r#""5s""#),
        meaning: "Limit for connecting and logging in to a server.",
        valid: r#"a time longer than zero, such as "5s""#,
    },
    Key {
        path: "pool.idle_timeout",
        default: Some(r#""60s""#),
        meaning: "An idle connection older than this is closed.",
        valid: r#"a time longer than zero, such as "60s""#,
    },
    Key {
        path: "pool.max_age",
        default: Some(r#""1h""#),
        meaning: "A connection older than this is closed when next idle.",
        valid: r#"a time longer than zero, such as "1h""#,
    },
    Key {
        path: "pool.open_rate",
        default: Some("200"),
        meaning: "Most new connections per second to one server.",
        valid: "a whole number, at least 1",
    },
    Key {
        path: "pool.abandoned",
        default: Some(r#""kill_reads""#),
        meaning: "What becomes of a statement whose client is gone.",
        valid: r#""kill_reads", "kill" or "finish""#,
    },
    Key {
        path: "pool.prepared_answer_age",
        default: Some(r#""1s""#),
        meaning: "How long a server's answer to COM_STMT_PREPARE is given again.",
        valid: r#"a time such as "1s", or "0s" for never"#,
    },
    Key {
        path: "pool.assignment_age",
        default: Some(r#""1m""#),
        meaning: "How long a SET or first USE that the primary has carried out is answered without it.",
        valid: r#"a time such as "1m", or "0s" for never"#,
    },
    Key {
        path: "pool.connection_attributes",
        default: Some(r#""own""#),
        meaning: "Whose connection attributes servers are told.",
        valid: r#""own" or "client""#,
    },
    Key {
        path: "lanes.auto",
        default: Some(r#""on""#),
        meaning: "Whether work that no rule or hint assigns is assigned by what it does.",
        valid: r#""on" or "off""#,
    },
    Key {
        path: "lanes.batch_lane",
        default: Some(r#""batch""#),
        meaning: "The lane of what has used much.",
        valid: "the name of a lane behind routing.default_lane; the last one when not given",
    },
    Key {
        path: "lanes.target",
        default: Some(r#""auto""#),
        meaning: "What statements of the default lane may take on average beside batch work.",
        valid: r#""auto", "off", or a time longer than zero, such as "50ms""#,
    },
    Key {
        path: "lanes.lock_guard",
        default: Some(r#""observe""#),
        meaning: "What is done when a statement waits for locks that work of a later lane holds.",
        valid: r#""observe", "pace", "abort" or "off""#,
    },
    Key {
        path: "lanes.lock_wait",
        default: Some(r#""auto""#),
        meaning: "How long a statement must have run before the server is asked what it waits for.",
        valid: r#""auto", or a time longer than zero, such as "50ms""#,
    },
    Key {
        path: "lanes.lock_abort_after",
        default: Some(r#""500ms""#),
        meaning: "How long a statement must have waited before lock_guard = \"abort\" acts.",
        valid: r#"a time longer than zero, such as "500ms""#,
    },
    Key {
        path: "lanes.deadlock_retries",
        default: Some("5"),
        meaning: "How often a single INSERT, UPDATE, DELETE or REPLACE is repeated after a deadlock.",
        valid: "a whole number up to 10; 0 means never",
    },
    Key {
        path: "lanes.deadlock_repeat",
        default: Some(r#""undone""#),
        meaning: "Which of them are repeated: what the server says it has undone whole, or all.",
        valid: r#""undone" or "all""#,
    },
    Key {
        path: "lane.name",
        default: None,
        meaning: "Its name in rules, hints and metrics.",
        valid: r#"a unique name of letters, digits, "_", "-" and ".", at most 64 characters"#,
    },
    Key {
        path: "lane.reserved",
        default: Some("0"),
        meaning: "Slots of each server only this lane may use; of a single slot none, of more at least one for a percentage.",
        valid: r#"a number of slots such as 4, or a percentage such as "25%"; all lanes together must leave every lane a slot"#,
    },
    Key {
        path: "lane.max",
        default: Some(r#""100%""#),
        meaning: "Most slots of each server this lane may hold.",
        valid: r#"a number of slots such as 4, or a percentage such as "50%"; at least one slot"#,
    },
    Key {
        path: "lane.queue",
        default: Some("10000"),
        meaning: "Most waiters per server; one more is refused at once.",
        valid: "a whole number; 0 means nobody waits",
    },
    Key {
        path: "lane.queue_timeout",
        default: Some(r#""5s""#),
        meaning: "Longest wait for a slot.",
        valid: r#"a time longer than zero, such as "5s""#,
    },
    Key {
        path: "lane.overload_timeout",
        default: Some(r#""auto""#),
        meaning: "Longest wait while more work comes to the lane than can be done.",
        valid: r#""auto", "off", or a time shorter than queue_timeout, such as "500ms""#,
    },
    Key {
        path: "rule.lane",
        default: None,
        meaning: "The lane for what matches.",
        valid: "the name of a lane",
    },
    Key {
        path: "rule.user",
        default: None,
        meaning: "The client's user name, exactly.",
        valid: r#"a user name, such as "scraper""#,
    },
    Key {
        path: "rule.network",
        default: None,
        meaning: "The client's address is in one of these.",
        valid: r#"an address or network, or a list of them, such as ["10.0.7.0/24", "::1"]"#,
    },
    Key {
        path: "rule.program_name",
        default: None,
        meaning: "The client's program_name attribute.",
        valid: r#"a pattern with * and ?, such as "mysqldump*""#,
    },
    Key {
        path: "rule.schema",
        default: None,
        meaning: "The session's current schema.",
        valid: r#"a pattern with * and ?, such as "reports_*""#,
    },
    Key {
        path: "rule.digest",
        default: None,
        meaning: "The normalised statement.",
        valid: r#"a pattern with * and ?, such as "insert into items*""#,
    },
    Key {
        path: "rule.scope",
        default: Some(r#""statement""#),
        meaning: "How long the assignment holds.",
        valid: r#""statement" (this statement or transaction) or "session" (until the client leaves, or resets it)"#,
    },
    Key {
        path: "user.name",
        default: None,
        meaning: "User name of a client account.",
        valid: r#"a unique user name, such as "app""#,
    },
    Key {
        path: "user.password",
        default: None,
        meaning: "Its password, in the file itself.",
        valid: r#"the password as a string, possibly """#,
    },
    Key {
        path: "user.password_file",
        default: None,
        meaning: "Its password, in a file of its own.",
        valid: "the path of a file that holds the password and nothing else",
    },
    Key {
        path: "user.password_env",
        default: None,
        meaning: "Its password, in an environment variable.",
        valid: "the name of an environment variable that holds the password",
    },
    Key {
        path: "routing.replica_reads",
        default: Some("true"),
        meaning: "Whether reads may go to replicas.",
        valid: "true or false",
    },
    Key {
        path: "routing.consistency",
        default: Some(r#""session""#),
        meaning: "What a session is sure to see.",
        valid: r#""session" (its own writes), "eventual" (what the replica has) or "strong" (reads go to the primary)"#,
    },
    Key {
        path: "routing.consistency_scope",
        default: Some(r#""user""#),
        meaning: "Whose writes a session is sure to see.",
        valid: r#""session" (its own), "user" (those of all sessions of its user) or "global" (all)"#,
    },
    Key {
        path: "routing.max_lag",
        default: Some(r#""5s""#),
        meaning: "A replica that lags more gets no reads.",
        valid: r#"a time longer than zero, such as "5s""#,
    },
    Key {
        path: "routing.freshness_wait",
        default: Some(r#""0ms""#),
        meaning: "Wait for a replica to catch up with its session.",
        valid: r#"a time such as "20ms"; "0ms" means straight to the primary"#,
    },
    Key {
        path: "routing.probe_interval",
        default: Some(r#""500ms""#),
        meaning: "Time between probes of a server.",
        valid: r#"a time of at least "10ms", such as "500ms""#,
    },
    Key {
        path: "routing.recovery_probes",
        default: Some("3"),
        meaning: "Good probes in a row before a replica comes back.",
        valid: "a whole number, at least 1",
    },
    Key {
        path: "routing.accounts_refresh",
        default: Some(r#""10s""#),
        meaning: "Time between reloads of the accounts.",
        valid: r#"a time of at least "10ms", such as "10s""#,
    },
    Key {
        path: "routing.default_lane",
        default: Some(r#""interactive""#),
        meaning: "The lane of what no rule matches.",
        valid: "the name of a lane; the first one when not given",
    },
    Key {
        path: "log.filter",
        default: Some(r#""info""#),
        meaning: "What is logged.",
        valid: r#"a level or a filter, such as "info" or "info,fairlane::pool=debug""#,
    },
    Key {
        path: "log.format",
        default: Some(r#""text""#),
        meaning: "How log lines look.",
        valid: r#""text" or "json""#,
    },
];

/// The key at `path`.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The section called `name`.
pub(crate) fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// Names that may be written in `section` (at the top of the file when empty).
pub(crate) fn names_in(section: &str) -> impl Iterator<Item = &'static str> {
    let sections = SECTIONS.iter().map(|section| section.name).filter(move |_| section.is_empty());
    let keys = KEYS.iter().filter_map(move |key| match key.path.split_once('.') {
        None => section.is_empty().then_some(key.path),
        Some((table, name)) => (table == section).then_some(name),
    });
    sections.chain(keys)
}

/// The candidate most like `name`, when one is like it at all.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(&name.to_lowercase(), candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found_and_a_strange_one_has_none() {
        assert_eq!(nearest("max_conections", names_in("primary")), Some("max_connections"));
        assert_eq!(nearest("Queue_Timeouts", names_in("lane")), Some("queue_timeout"));
        assert_eq!(nearest("replicas", names_in("")), Some("replica"));
        assert_eq!(nearest("zzz", names_in("pool")), None);
    }

    #[test]
    fn every_key_is_in_a_known_section_once() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..index].iter().all(|other| other.path != key.path), "{}", key.path);
            if let Some((table, _)) = key.path.split_once('.') {
                assert!(section(table).is_some(), "{}", key.path);
            }
        }
    }
}
