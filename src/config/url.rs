//! Settings from a command line: servers as `mysql://user:password@host:port`, and options that
//! win over a file.
//!
//! Messages never show a whole URL: it holds a password.

use std::net::SocketAddr;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::model::{Admin, Backend, Model, Service, Texts};
use super::problem::{Finding, Problem};
use super::{key, resolve};

/// What messages call the place these settings come from.
pub(super) const SOURCE: &str = "command line";

/// What a valid URL looks like.
const FORM: &str = "write mysql://user:password@host:3306/?max_connections=15, with special \
                    characters of user and password percent-encoded (an @ is %40)";

/// Parameters a URL may have.
const PARAMETERS: [&str; 3] = ["max_connections", "name", "socket"];

/// What the command line may say besides the servers.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--listen`
    pub listen: Vec<String>,
    /// `--admin`
    pub admin: Option<String>,
    /// `--log`
    pub log: Option<String>,
}

impl Overrides {
    /// Puts these in place of what the model says.
    pub(super) fn apply(&self, model: &mut Model) -> Result<(), Problem> {
        let mut findings = Vec::new();
        let is_address = |text: &str| text.parse::<SocketAddr>().is_ok();
        let mut check = |option: &str, path: &str, text: &str, is_right: bool| {
            if !is_right {
                let valid = key::find(path).map_or("a valid value", |key| key.valid);
                let wrong = format!("\"{text}\" is not what {path} can be");
                findings.push(finding(option, wrong, format!("give {valid}")));
            }
        };
        if !self.listen.is_empty() {
            self.listen.iter().for_each(|at| check("--listen", "listen", at, is_address(at)));
            model.listen = Texts(self.listen.clone());
        }
        if let Some(listen) = &self.admin {
            let is_off = resolve::is_off(listen);
            check("--admin", "admin.listen", listen, is_off || is_address(listen));
            model.admin = Admin { listen: listen.clone() };
        }
        if let Some(filter) = &self.log {
            check("--log", "log.filter", filter, resolve::log_filter(filter).is_ok());
            model.log.filter = filter.clone();
        }
        if findings.is_empty() { Ok(()) } else { Err(Problem::new(SOURCE, findings)) }
    }
}

/// A model from URLs. The primary's URL names the service account; a replica's needs none.
pub(super) fn model(primary: &str, replicas: &[String]) -> Result<Model, Problem> {
    let mut model = Model::default();
    let mut findings = Vec::new();
    match server("--primary", primary) {
        Ok(Server { account: None, .. }) => {
            let wrong = "the URL names no user: Fairlane needs a service account";
            findings.push(finding("--primary", wrong, FORM));
        }
        Ok(Server { backend, account: Some((user, password)) }) => {
            model.service.user = Some(user);
            model.service.password = Some(password);
            model.primary = backend;
        }
        Err(wrong) => findings.push(wrong),
    }
    for replica in replicas {
        match server("--replica", replica) {
            Ok(Server { backend, account }) => {
                if account.is_some_and(|account| !is_of(&account, &model.service)) {
                    findings.push(finding(
                        "--replica",
                        "the URL has another account than the primary's",
                        "leave user and password out: the primary's are used on all servers",
                    ));
                }
                model.replica.push(backend);
            }
            Err(wrong) => findings.push(wrong),
        }
    }
    if findings.is_empty() { Ok(model) } else { Err(Problem::new(SOURCE, findings)) }
}

/// What one URL says.
struct Server {
    backend: Backend,
    account: Option<(String, SecretString)>,
}

fn server(option: &str, text: &str) -> Result<Server, Finding> {
    // No part of it is repeated: in a mistyped URL any part may be the password.
    let wrong = |wrong: String| finding(option, wrong, FORM);
    let url = Url::parse(text).map_err(|error| wrong(format!("not a URL: {error}")))?;
    if !["mysql://", "mariadb://"].iter().any(|scheme| text.trim_start().starts_with(scheme)) {
        return Err(wrong("the URL does not begin with mysql://".to_owned()));
    }
    if url.fragment().is_some() {
        return Err(wrong("there is a # in the URL".to_owned()));
    }
    if !matches!(url.path(), "" | "/") {
        let cure = "leave the schema out, each client chooses its own; if it is a part of the \
                    password, percent-encode that (a / is %2F)";
        return Err(finding(option, "there is a schema behind the host", cure));
    }
    let text = |encoded: &str| {
        let decoded = percent_decode_str(encoded).decode_utf8();
        decoded.map(String::from).map_err(|_| wrong("it is not UTF-8 when decoded".to_owned()))
    };
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = text(host.ok_or_else(|| wrong("the URL names no host".to_owned()))?)?;
    let address = format!("{host}:{}", url.port().unwrap_or(3306));
    let mut backend = Backend { address: Some(address), ..Backend::default() };
    for (name, value) in url.query_pairs() {
        parameter(option, &name, value.into_owned(), &mut backend)?;
    }
    let account = match url.username() {
        "" => None,
        user => Some((text(user)?, text(url.password().unwrap_or_default())?.into())),
    };
    Ok(Server { backend, account })
}

fn parameter(
    option: &str,
    name: &str,
    value: String,
    backend: &mut Backend,
) -> Result<(), Finding> {
    match name {
        "name" => backend.name = Some(value),
        "socket" if value.starts_with('/') => backend.address = Some(value),
        "socket" => {
            return Err(finding(
                option,
                "the socket is not an absolute path",
                "write socket=/run/mysqld/mysqld.sock, or the like",
            ));
        }
        "max_connections" => {
            backend.max_connections = value.parse().map_err(|_| {
                let wrong = "max_connections is not a number";
                finding(option, wrong, "write max_connections=15, or another number from 2")
            })?;
        }
        _ => {
            let cure = match key::nearest(name, PARAMETERS.into_iter()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "use max_connections=<number>, name=<name> or socket=<path>; all else \
                         stands in a file (--config); a ? in the password is %3F"
                    .to_owned(),
            };
            return Err(finding(option, "a parameter behind the ? is not known", cure));
        }
    }
    Ok(())
}

fn is_of((user, password): &(String, SecretString), service: &Service) -> bool {
    let known = service.password.as_ref().map(ExposeSecret::expose_secret);
    service.user.as_ref() == Some(user) && known == Some(password.expose_secret())
}

fn finding(option: &str, wrong: impl Into<String>, cure: impl Into<String>) -> Finding {
    Finding { line: None, key: option.to_owned(), wrong: wrong.into(), cure: cure.into() }
}
