//! The TOML file, or nothing but URLs, to validated [`Settings`].
//!
//! `text ─► shape (keys known, types right) ─► model ─► resolve (values right) ─► settings`.
//! Each step reports everything it finds, with line, key and cure.

pub mod key;
mod listening;
mod model;
mod problem;
mod resolve;
mod servers;
pub mod settings;
mod shape;
mod url;

use std::io::ErrorKind;
use std::path::Path;

pub use listening::is_v6_only;
pub use problem::{Finding, Problem};
pub use settings::Settings;
pub use url::Overrides;

/// Reads and checks a file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<Settings, Problem> {
    load_with(path, &Overrides::default())
}

/// Reads and checks a file; what the command line says wins over it.
///
/// # Errors
/// Everything that is wrong with the file, or with the command line.
pub fn load_with(path: &Path, overrides: &Overrides) -> Result<Settings, Problem> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let cure = match error.kind() {
            ErrorKind::InvalidData => "save it as UTF-8",
            _ => "give the path of a readable file with --config",
        };
        Problem::one(&name, "", format!("the file can't be read: {error}"), cure)
    })?;
    parse_with(&text, &name, overrides)
}

/// Checks the text of a file; `file` is its name in messages.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file: &str) -> Result<Settings, Problem> {
    parse_with(text, file, &Overrides::default())
}

fn parse_with(text: &str, file: &str, overrides: &Overrides) -> Result<Settings, Problem> {
    let in_file = |findings| Problem::new(file, findings);
    let mut shape = shape::read(text).map_err(in_file)?;
    overrides.apply(&mut shape.model)?;
    resolve::resolve(&shape.model, &shape.places).map_err(in_file)
}

/// Settings from nothing but the servers' URLs.
///
/// # Errors
/// Everything that is wrong with them.
pub fn from_urls(
    primary: &str,
    replicas: &[String],
    overrides: &Overrides,
) -> Result<Settings, Problem> {
    let mut model = url::model(primary, replicas)?;
    overrides.apply(&mut model)?;
    resolve::resolve(&model, &shape::Places::nowhere())
        .map_err(|findings| Problem::new(url::SOURCE, findings))
}

#[cfg(test)]
mod tests;
