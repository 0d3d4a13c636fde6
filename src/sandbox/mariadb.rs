//! MariaDB's [`Dialect`].

use super::dialect::Dialect;

pub(super) const DIALECT: Dialect = Dialect {
    server: "mariadbd",
    installer: "mariadb-install-db",
    cure: "install it, on Debian and Ubuntu with: \
           apt-get install --no-install-recommends mariadb-server",
    impostors: &[],
    install: &[
        "auth-root-authentication-method=normal",
        "skip-test-db",
        "skip-name-resolve",
        "innodb_log_file_size=48M",
    ],
    unique_files: &[],
    common: COMMON,
    primary: &["read-only=OFF"],
    replica: &[
        "read-only=ON",
        "slave-parallel-threads=4",
        "slave-net-timeout=10",
        "master-retry-count=0",
    ],
    prepare: &["DELETE FROM mysql.global_priv WHERE User = ''", "FLUSH PRIVILEGES"],
    service_grants: &[
        "SELECT ON mysql.global_priv",
        "SELECT ON mysql.user",
        "BINLOG MONITOR, SLAVE MONITOR, PROCESS, CONNECTION ADMIN ON *.*",
    ],
    stop_start: ["STOP SLAVE", "START SLAVE"],
    change_source: ("CHANGE MASTER TO", "MASTER"),
    source_options: "MASTER_USE_GTID = slave_pos",
    position: "SELECT @@GLOBAL.gtid_binlog_pos",
    wait_for_position: "SELECT MASTER_GTID_WAIT(?, ?)",
};

const COMMON: &[&str] = &[
    "bind-address=127.0.0.1",
    "skip-name-resolve=OFF",
    "character-set-server=utf8mb4",
    "log-bin=binlog",
    "relay-log=relay",
    "binlog-format=ROW",
    "log-slave-updates=ON",
    "gtid-strict-mode=ON",
    // Functions of an account without SUPER: applications create them, and rows are replicated.
    "log-bin-trust-function-creators=ON",
    // Small, because each server writes it whole when it is installed.
    "innodb-log-file-size=48M",
    // A sandbox outlives its process, not the machine: writes need not reach the disk.
    "innodb-flush-log-at-trx-commit=2",
    "sync-binlog=0",
    "performance-schema=OFF",
    // Packets over 16 MiB are a case of their own in the protocol, so they must be possible.
    "max-allowed-packet=64M",
    "local-infile=ON",
    // Tests break handshakes on purpose; the server would refuse the whole host after 100.
    "max-connect-errors=4294967295",
    "log-warnings=1",
];
