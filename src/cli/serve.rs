//! `fairlane serve`

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::config::{self, Overrides, Problem, Settings};

/// Where the settings come from.
#[derive(Debug, Clone, Args)]
pub(super) struct ServeArgs {
    /// Configuration file; see config/fairlane.toml for every key.
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["primary", "replica"])]
    config: Option<PathBuf>,
    /// The primary, with the service account: mysql://user:password@host:port[/?max_connections=15].
    /// The variable FAIRLANE_PRIMARY says the same without showing the password to `ps`.
    #[arg(long, value_name = "URL")]
    primary: Option<String>,
    /// A replica: mysql://host:port. May be given several times.
    #[arg(long, value_name = "URL")]
    replica: Vec<String>,
    /// Address to listen on for clients (default 127.0.0.1:3306). May be given several times.
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Address to listen on for operators (default 127.0.0.1:9306), or "off".
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Log filter (default "info").
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

impl ServeArgs {
    /// A file when one is named, else the URLs; `primary_variable` is FAIRLANE_PRIMARY.
    fn settings(&self, primary_variable: Option<OsString>) -> Result<Settings, Problem> {
        let overrides = Overrides {
            listen: self.listen.clone(),
            admin: self.admin.clone(),
            log: self.log.clone(),
        };
        if let Some(path) = &self.config {
            return config::load_with(path, &overrides);
        }
        let variable = primary_variable.map(OsString::into_string).transpose().map_err(|_| {
            let cure = "write its URL in UTF-8, with special characters percent-encoded";
            Problem::one("FAIRLANE_PRIMARY", "", "the variable is not UTF-8", cure)
        })?;
        let Some(primary) = self.primary.clone().or(variable) else {
            return Err(Problem::one(
                "command line",
                "",
                "neither a configuration nor a primary is given",
                "use --config FILE, or --primary mysql://user:password@host:port",
            ));
        };
        config::from_urls(&primary, &self.replica, &overrides)
    }
}

/// Runs until told to stop.
pub(super) fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let settings = args.settings(std::env::var_os("FAIRLANE_PRIMARY"))?;
    let reread = args.config.is_some().then(|| {
        let args = args.clone();
        Box::new(move || args.settings(None)) as crate::server::Reread
    });
    crate::server::serve(settings, reread)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn settings(line: &[&str], variable: Option<&str>) -> Result<Settings, Problem> {
        let line = ["serve"].iter().chain(line);
        let parsed = Line::try_parse_from(line).expect("a command line");
        parsed.serve.settings(variable.map(OsString::from))
    }

    #[test]
    fn a_file_comes_before_the_option_and_the_option_before_the_variable() {
        let variable = Some("mysql://v:x@variable");
        let host = |settings: Settings| settings.backends[0].address.to_string();
        assert_eq!(settings(&[], variable).map(host).expect("valid"), "variable:3306");
        let primary = ["--primary", "mysql://o:x@option"];
        assert_eq!(settings(&primary, variable).map(host).expect("valid"), "option:3306");
        let file = ["--config", "config/fairlane.toml", "--listen", "127.0.0.1:4000"];
        let from_file = settings(&file, variable).expect("valid");
        assert_eq!(from_file.listen[0].port(), 4000);
        assert_eq!(host(from_file), "db1:3306");
        assert!(settings(&[], None).expect_err("nothing given").to_string().contains("--config"));
        let latin1 = OsString::from_vec(b"mysql://caf\xe9:x@db1".to_vec());
        let parsed = Line::try_parse_from(["serve"]).expect("a command line");
        let refused = parsed.serve.settings(Some(latin1)).expect_err("no UTF-8").to_string();
        assert!(refused.contains("not UTF-8"), "{refused}");
        assert!(
            Line::try_parse_from([&["serve", "--config", "f"], &primary[..]].concat()).is_err()
        );
    }
}
