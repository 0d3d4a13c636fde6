//! Servers with other global variables than usual, or than each other.

use fairlane::sandbox::Options;

use crate::support::servers::keep;
use crate::support::{ONE_LANE_AND_REPLICA, Proxy, product};

fn options() -> Options {
    Options { max_connections: 50, ..product().options() }
}

/// They pad names of accounts, refuse what may read many rows, and cut answers.
#[test]
fn fairlane_reads_the_accounts_whatever_is_global() {
    let (servers, _orders) = keep(options());
    for mut root in [servers.root(), servers.replica_root()] {
        root.run("SET GLOBAL sql_mode = CONCAT(@@sql_mode, ',PAD_CHAR_TO_FULL_LENGTH')");
        root.run("SET GLOBAL max_join_size = 1");
        root.run("SET GLOBAL sql_select_limit = 1");
    }
    let proxy = Proxy::with(&servers, 4, ONE_LANE_AND_REPLICA);
    assert_eq!(proxy.app().text("SELECT 1"), "1");
}
