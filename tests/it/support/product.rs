//! Which server the tests run on: the environment variable `FAIRLANE_TEST_SERVER` says it.

use std::sync::OnceLock;

use fairlane::protocol::Family;
use fairlane::sandbox::Options;

/// A server the tests know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// `mariadb`: the one that is installed; also without the variable.
    MariaDb,
    /// `mariadb-unstable`: that of Debian's development version, see `scripts/unpack.sh`.
    MariaDbUnstable,
    /// `mysql`: likewise.
    MySql,
}

/// The product of this run.
pub fn product() -> Product {
    static PRODUCT: OnceLock<Product> = OnceLock::new();
    *PRODUCT.get_or_init(|| match std::env::var("FAIRLANE_TEST_SERVER").as_deref() {
        Err(_) | Ok("mariadb") => Product::MariaDb,
        Ok("mariadb-unstable") => Product::MariaDbUnstable,
        Ok("mysql") => Product::MySql,
        Ok(other) => panic!("FAIRLANE_TEST_SERVER: no server is called {other:?}"),
    })
}

impl Product {
    /// Options of a sandbox with it. Where its programs are not, the sandbox says so and fails.
    pub fn options(self) -> Options {
        let unpacked = |name: &str| {
            let place = concat!(env!("CARGO_MANIFEST_DIR"), "/target/unstable");
            Some(format!("{place}/{name}/bin").into())
        };
        let (family, programs) = match self {
            Self::MariaDb => (Family::MariaDb, None),
            Self::MariaDbUnstable => (Family::MariaDb, unpacked("mariadb")),
            Self::MySql => (Family::MySql, unpacked("mysql")),
        };
        Options { family, programs, ..Options::default() }
    }

    pub fn family(self) -> Family {
        if self.is_mysql() { Family::MySql } else { Family::MariaDb }
    }

    pub fn is_mysql(self) -> bool {
        self == Self::MySql
    }

    /// `CREATE OR REPLACE` as statements the server knows: MySQL has it for views only.
    pub fn replacing(self, sql: &str) -> Vec<String> {
        let Some(rest) = sql.strip_prefix("CREATE OR REPLACE ").filter(|_| self.is_mysql()) else {
            return vec![sql.to_owned()];
        };
        let end = |at: usize| rest[at..].find([' ', '(']).map_or(rest.len(), |end| at + end);
        let kind = end(0);
        let name = end(kind + 1);
        vec![
            format!("DROP {} IF EXISTS{}", &rest[..kind], &rest[kind..name]),
            format!("CREATE {rest}"),
        ]
    }
}

/// Tables under the names of MariaDB's sequences, for servers that do not have these.
pub const SEQUENCES: &[u32] = &[3, 9, 10, 25, 100, 1000, 20_000, 90_000];
