//! MySQL's [`Dialect`].

use super::dialect::Dialect;

pub(super) const DIALECT: Dialect = Dialect {
    server: "mysqld",
    installer: "mysqld",
    cure: "install MySQL 8.4 or later, or unpack it with: \
           scripts/unpack.sh target/unstable/mysql mysql-server-core \
           and name its directory: --programs target/unstable/mysql/bin",
    // MariaDB's packages have a link of MySQL's name.
    impostors: &["mariadbd"],
    install: &["initialize-insecure", "innodb-redo-log-capacity=48M"],
    // The server's UUID, part of every GTID; a server without one makes its own.
    unique_files: &["auto.cnf"],
    common: COMMON,
    primary: &["super-read-only=OFF", "read-only=OFF"],
    // Not read-only alone: it lets accounts with CONNECTION_ADMIN write, which Fairlane's has.
    replica: &[
        "super-read-only=ON",
        "replica-parallel-workers=4",
        "replica-net-timeout=10",
        // After a kill: what was received and not applied is fetched again.
        "relay-log-recovery=ON",
    ],
    prepare: &[],
    service_grants: &[
        "SELECT ON mysql.user",
        "SELECT ON performance_schema.*",
        "REPLICATION CLIENT, PROCESS, CONNECTION_ADMIN ON *.*",
    ],
    stop_start: ["STOP REPLICA", "START REPLICA"],
    change_source: ("CHANGE REPLICATION SOURCE TO", "SOURCE"),
    // A primary that stops waits 8 seconds for the thread of a replica that is gone; a heartbeat
    // lets that thread notice. The public key: caching_sha2_password sends no plain password.
    source_options: "SOURCE_AUTO_POSITION = 1, SOURCE_RETRY_COUNT = 0, \
                     SOURCE_HEARTBEAT_PERIOD = 0.2, GET_SOURCE_PUBLIC_KEY = 1",
    position: "SELECT @@GLOBAL.gtid_executed",
    wait_for_position: "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)",
};

const COMMON: &[&str] = &[
    "bind-address=127.0.0.1",
    "skip-name-resolve=OFF",
    // Its port would be the same for all servers.
    "mysqlx=OFF",
    "character-set-server=utf8mb4",
    "log-bin=binlog",
    "relay-log=relay",
    "gtid-mode=ON",
    "enforce-gtid-consistency=ON",
    // Functions of an account without SUPER: applications create them, and rows are replicated.
    "log-bin-trust-function-creators=ON",
    "innodb-redo-log-capacity=48M",
    // A sandbox outlives its process, not the machine: writes need not reach the disk.
    "innodb-flush-log-at-trx-commit=2",
    "sync-binlog=0",
    // Packets over 16 MiB are a case of their own in the protocol, so they must be possible.
    "max-allowed-packet=64M",
    "local-infile=ON",
    // The default is a directory that only an installed package has.
    "secure-file-priv=",
    // Tests break handshakes on purpose; the server would refuse the whole host after 100.
    "max-connect-errors=4294967295",
];
