//! The TOML file, or nothing but URLs, to validated [`Settings`].

pub mod settings;

pub use settings::Settings;
