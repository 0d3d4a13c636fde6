//! The tables of scripts; each module is one test or a few.

mod begin;
mod charsets;
mod commands;
mod diagnostics;
mod extensions;
mod infile;
mod large;
mod prepared;
mod prepared_again;
mod results;
mod state;
mod texts;
mod tracking;
mod types;
mod values;
