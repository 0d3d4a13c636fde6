//! Sockets: reading commands, relaying responses, and the scratch memory both use.
//!
//! Buffers belong to the moment: a worker reads into its thread's scratch buffer, and only what
//! cannot be sent on or interpreted at once is copied into the session's own memory.

pub mod attributes;
pub mod certificate;
pub mod codec;
pub mod compressed;
pub mod connector;
pub mod infile;
pub mod proxy_header;
pub mod read;
pub mod relay;
pub mod rsa;
mod scratch;
pub mod socket;
pub mod tls;
pub mod worker;
