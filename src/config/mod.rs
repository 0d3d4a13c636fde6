//! The TOML file, or nothing but URLs, to validated [`Settings`].
//!
//! `text ─► shape (keys known, types right) ─► model ─► resolve (values right) ─► settings`.
//! Each step reports everything it finds, with line, key and cure.

pub mod key;
mod model;
mod problem;
mod resolve;
pub mod settings;
mod shape;
mod url;

use std::path::Path;

pub use problem::{Finding, Problem};
pub use settings::Settings;
pub use url::Overrides;

/// Reads and checks a file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<Settings, Problem> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Problem::one(
            &name,
            "",
            format!("the file can't be read: {error}"),
            "give the path of a readable file with --config, or use --primary URL",
        )
    })?;
    parse(&text, &name)
}

/// Checks the text of a file; `file` is its name in messages.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file: &str) -> Result<Settings, Problem> {
    let shape = shape::read(text).map_err(|findings| Problem::new(file, findings))?;
    resolve::resolve(&shape.model, &shape.places).map_err(|findings| Problem::new(file, findings))
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
    let model = url::model(primary, replicas, overrides)?;
    resolve::resolve(&model, &shape::Places::nowhere())
        .map_err(|findings| Problem::new(url::SOURCE, findings))
}

#[cfg(test)]
mod tests;
