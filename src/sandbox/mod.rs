//! Private servers: a primary with replicas, made from the server installed on this machine.
//!
//! `fairlane sandbox`, the demo, the benches and the tests all use this. A sandbox listens on
//! loopback only, never touches a server it did not start, and takes its servers and its
//! temporary directory with it when it ends, also when this process is killed.
//!
//! ```no_run
//! use fairlane::sandbox::{APP_PASSWORD, APP_SCHEMA, APP_USER, Options, Sandbox};
//!
//! # async fn example() -> Result<(), fairlane::sandbox::SandboxError> {
//! let sandbox = Sandbox::start(Options { replicas: 2, ..Options::default() }).await?;
//! println!("{}", sandbox.primary.url(APP_USER, APP_PASSWORD, APP_SCHEMA));
//! sandbox.wait_replicated().await?;
//! sandbox.stop().await
//! # }
//! ```

mod accounts;
mod dialect;
mod directory;
mod error;
mod mariadb;
mod mysql;
mod options;
mod programs;
mod server;

use std::path::Path;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row, from_value_opt};

pub use accounts::{
    APP_PASSWORD, APP_SCHEMA, APP_USER, ROOT_PASSWORD, SERVICE_PASSWORD, SERVICE_USER,
};
pub use error::SandboxError;
pub use options::Options;
pub use server::Server;

use dialect::Dialect;
use directory::Directory;
use programs::{Identity, Programs};

/// How long a replica may take to apply what the primary has written.
const REPLICATED_TIMEOUT: Duration = Duration::from_secs(60);

/// A running primary with its replicas.
#[derive(Debug)]
pub struct Sandbox {
    /// Takes all writes.
    pub primary: Server,
    /// Follow the primary, and refuse writes of ordinary accounts.
    pub replicas: Vec<Server>,
    dialect: &'static Dialect,
    // Last: fields are dropped in order, and servers must be gone before their files.
    directory: Directory,
}

impl Sandbox {
    /// Starts the servers, makes the accounts, and returns once the replicas have them too.
    ///
    /// # Cancel safety
    /// A dropped start leaves no process and no temporary directory.
    pub async fn start(options: Options) -> Result<Self, SandboxError> {
        let programs = Programs::find(&options)?;
        let directory = Directory::open(options.directory.as_deref())?;
        directory.wait_for_the_last().await?;
        let was_ready = directory.is_ready();
        let server = |name: String, id, is_primary| {
            let identity = Identity { id, is_primary };
            Server::new(name, directory.path(), &programs, identity, &options)
        };
        let mut primary = server("primary".to_owned(), 1, true)?;
        let mut replicas = (1..=options.replicas)
            .map(|number| server(format!("replica-{number}"), number + 1, false))
            .collect::<Result<Vec<_>, _>>()?;

        let is_new: Vec<bool> = replicas.iter().map(|replica| !has_data(replica)).collect();
        install(&programs, &primary, &replicas).await?;
        for server in replicas.iter().chain([&primary]) {
            server.spawn()?;
        }
        primary.settle().await?;
        for replica in &mut replicas {
            replica.settle().await?;
        }

        let dialect = options.family.dialect();
        let sandbox = Self { primary, replicas, dialect, directory };
        if !was_ready {
            run(&sandbox.primary, None, &accounts::statements(dialect)).await?;
        }
        for (replica, is_new) in sandbox.replicas.iter().zip(is_new) {
            let password = (!is_new).then_some(ROOT_PASSWORD);
            let Server { host, port, .. } = &sandbox.primary;
            let follow = accounts::follow(dialect, host, *port);
            run(replica, password, &follow).await?;
        }
        sandbox.wait_replicated().await?;
        sandbox.directory.mark_ready()?;
        Ok(sandbox)
    }

    /// Where everything is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until every replica has applied all that the primary has committed by now.
    pub async fn wait_replicated(&self) -> Result<(), SandboxError> {
        let mut primary = self.primary.root().await?;
        let position: Option<String> = primary
            .query_first(self.dialect.position)
            .await
            .map_err(|error| self.primary.refused(error))?;
        let position = position.unwrap_or_default();
        for replica in &self.replicas {
            wait_for_position(self.dialect, replica, &position).await?;
        }
        Ok(())
    }

    /// Stops the servers in order, replicas first, and removes a temporary directory.
    pub async fn stop(self) -> Result<(), SandboxError> {
        for server in self.servers() {
            if server.is_running() {
                server.stop().await?;
            }
        }
        Ok(())
    }

    /// All servers, the primary last.
    fn servers(&self) -> impl Iterator<Item = &Server> {
        self.replicas.iter().chain([&self.primary])
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // All at once; each server then waits for its own end when it is dropped.
        self.servers().for_each(Server::ask_to_stop);
    }
}

fn has_data(server: &Server) -> bool {
    server.directory.join("data").join("mysql").exists()
}

/// Makes the data directories that are missing; the servers are not running.
///
/// A new replica starts empty, and gets everything from the primary's first binary log on.
async fn install(
    programs: &Programs,
    primary: &Server,
    replicas: &[Server],
) -> Result<(), SandboxError> {
    let servers = [primary].into_iter().chain(replicas);
    let mut missing = servers.filter(|server| !has_data(server));
    let Some(first) = missing.next() else { return Ok(()) };
    let template = first.directory.join("data");
    std::fs::create_dir_all(&template).map_err(SandboxError::io("make", &template))?;
    programs.install(&template, &first.directory.join("tmp")).await?;
    for server in missing {
        let (source, target) = (template.clone(), server.directory.join("data"));
        match tokio::task::spawn_blocking(move || directory::copy(&source, &target)).await {
            Ok(copied) => copied?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    Ok(())
}

/// Runs statements as `root` in one connection.
async fn run(
    server: &Server,
    password: Option<&str>,
    statements: &[String],
) -> Result<(), SandboxError> {
    let mut connection = server.root_by_socket(password).await?;
    for statement in statements {
        connection.query_drop(statement).await.map_err(|error| server.refused(error))?;
    }
    connection.disconnect().await.map_err(|error| server.refused(error))
}

/// Logs in to a replica that may not have got root's password yet, or get it right now.
async fn root_of_replica(replica: &Server) -> Result<Conn, SandboxError> {
    for password in [Some(ROOT_PASSWORD), None] {
        match replica.root_by_socket(password).await {
            Err(SandboxError::Sql { source: mysql_async::Error::Server(_), .. }) => {}
            other => return other,
        }
    }
    replica.root_by_socket(Some(ROOT_PASSWORD)).await
}

async fn wait_for_position(
    dialect: &Dialect,
    replica: &Server,
    position: &str,
) -> Result<(), SandboxError> {
    let mut connection = root_of_replica(replica).await?;
    let seconds = REPLICATED_TIMEOUT.as_secs();
    let reached: Option<i64> = connection
        .exec_first(dialect.wait_for_position, (position, seconds))
        .await
        .map_err(|error| replica.refused(error))?;
    if reached == Some(0) {
        return Ok(());
    }
    let status: Option<Row> = connection
        .query_first("SHOW REPLICA STATUS")
        .await
        .map_err(|error| replica.refused(error))?;
    Err(SandboxError::NotReplicated {
        server: replica.to_string(),
        position: position.to_owned(),
        reason: status.map_or_else(|| "it follows nobody".to_owned(), |row| describe(&row)),
    })
}

/// The columns of a replica's status that say why it does not move, by the names of either family.
fn describe(status: &Row) -> String {
    let column = |names: &[&str]| {
        let mut values = names.iter().filter_map(|&name| status.get_opt(name)?.ok());
        let value: Option<mysql_async::Value> = values.next();
        value.and_then(|value| from_value_opt::<String>(value).ok()).unwrap_or_default()
    };
    format!(
        "I/O thread {:?} {:?}, SQL thread {:?} {:?}, applied {:?}",
        column(&["Slave_IO_Running", "Replica_IO_Running"]),
        column(&["Last_IO_Error"]),
        column(&["Slave_SQL_Running", "Replica_SQL_Running"]),
        column(&["Last_SQL_Error"]),
        column(&["Gtid_Slave_Pos", "Executed_Gtid_Set"]),
    )
}
