//! Settings from a command line: servers as `mysql://user:password@host:port`.

use percent_encoding::percent_decode_str;
use url::Url;

use super::model::{Admin, Backend, Model, Texts};
use super::problem::Problem;

/// What messages call the place these settings come from.
pub(super) const SOURCE: &str = "command line";

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

/// A model from URLs.
pub(super) fn model(
    primary: &str,
    replicas: &[String],
    overrides: &Overrides,
) -> Result<Model, Problem> {
    let mut model = Model::default();
    let url = parse("--primary", primary)?;
    let text = |encoded: &str| percent_decode_str(encoded).decode_utf8_lossy().into_owned();
    if url.username().is_empty() {
        return Err(Problem::one(
            SOURCE,
            "--primary",
            "the URL names no user: Fairlane needs a service account",
            "write mysql://user:password@host:port",
        ));
    }
    model.service.user = Some(text(url.username()));
    model.service.password = Some(text(url.password().unwrap_or_default()).into());
    model.primary = backend("--primary", &url)?;
    for replica in replicas {
        model.replica.push(backend("--replica", &parse("--replica", replica)?)?);
    }
    if !overrides.listen.is_empty() {
        model.listen = Texts(overrides.listen.clone());
    }
    if let Some(listen) = &overrides.admin {
        model.admin = Admin { listen: listen.clone() };
    }
    if let Some(filter) = &overrides.log {
        model.log.filter = filter.clone();
    }
    Ok(model)
}

fn parse(key: &str, text: &str) -> Result<Url, Problem> {
    let refuse =
        |wrong: String| Problem::one(SOURCE, key, wrong, "write mysql://user:password@host:port");
    let url = Url::parse(text).map_err(|error| refuse(format!("not a URL: {error}")))?;
    match url.scheme() {
        "mysql" | "mariadb" => Ok(url),
        other => Err(refuse(format!("the URL begins with {other}://"))),
    }
}

fn backend(key: &str, url: &Url) -> Result<Backend, Problem> {
    let Some(host) = url.host_str() else {
        return Err(Problem::one(SOURCE, key, "the URL names no host", "write mysql://host:port"));
    };
    let mut backend = Backend {
        address: Some(format!("{host}:{}", url.port().unwrap_or(3306))),
        ..Backend::default()
    };
    for (name, value) in url.query_pairs() {
        match (&*name, value.parse()) {
            ("max_connections", Ok(most)) => backend.max_connections = most,
            ("name", _) => backend.name = Some(value.into_owned()),
            _ => {
                return Err(Problem::one(
                    SOURCE,
                    key,
                    format!("the URL's parameter {name}={value} is not understood"),
                    "use max_connections=<number> or name=<name>",
                ));
            }
        }
    }
    Ok(backend)
}
