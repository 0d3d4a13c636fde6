//! Whether a client is who it says, and what that makes it towards the backends.

use std::net::IpAddr;
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::Context;
use super::identity::Identity;
use crate::backend::{ConnectionKey, Credential};
use crate::error::Error;
use crate::protocol::Capabilities;
use crate::protocol::auth::Proof;
use crate::topology::Plugin;

/// What a client presents.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) user: &'a str,
    pub(super) address: IpAddr,
    /// Its mysql_native_password reply.
    pub(super) reply: &'a [u8],
    /// The nonce the reply is for.
    pub(super) nonce: &'a [u8],
    pub(super) capabilities: Capabilities,
    pub(super) collation: u8,
}

/// Verifies a claim; a failing one is tried again after a look at the primary's accounts, since
/// they may have changed since they were loaded.
pub(super) async fn verify(context: &Context, claim: &Claim<'_>) -> Result<Identity, Error> {
    match check(context, claim) {
        Err(
            Error::AccessDenied { .. } | Error::AccountLocked | Error::UnsupportedPlugin { .. },
        ) => {
            context.topology.refresh_accounts().await;
            check(context, claim)
        }
        settled => settled,
    }
}

fn check(context: &Context, claim: &Claim<'_>) -> Result<Identity, Error> {
    let denied = || Error::AccessDenied {
        user: claim.user.to_owned(),
        host: host_name(claim.address),
        used_password: !claim.reply.is_empty(),
    };
    let configured = context.settings.users.iter().find(|user| user.name == claim.user);
    let (stored, credential) = if let Some(user) = configured {
        let stored = Proof::of_password(user.password.expose_secret()).map(|p| p.stored());
        prove(stored, claim).ok_or_else(denied)?;
        (stored, Credential::Password(user.password.clone()))
    } else {
        let accounts = context.topology.accounts();
        let account = accounts.find(claim.user, claim.address).ok_or_else(denied)?;
        let stored = match &account.plugin {
            Plugin::NativePassword { hash } => hash.as_ref().map(|hash| *hash.as_bytes()),
            Plugin::Unusable => return Err(denied()),
            Plugin::Other(plugin) => {
                let (user, plugin) = (claim.user.to_owned(), plugin.clone());
                return Err(Error::UnsupportedPlugin { user, plugin });
            }
        };
        let credential = prove(stored, claim).ok_or_else(denied)?;
        if account.is_locked {
            return Err(Error::AccountLocked);
        }
        (stored, credential)
    };
    let key = ConnectionKey {
        user: claim.user.into(),
        stored,
        capabilities: claim.capabilities & Capabilities::SEMANTIC,
        collation: claim.collation,
    };
    Ok(Identity { key: Arc::new(key), credential })
}

fn prove(stored: Option<[u8; 20]>, claim: &Claim<'_>) -> Option<Credential> {
    match stored {
        None => claim.reply.is_empty().then_some(Credential::Empty),
        Some(stored) => Proof::from_reply(claim.reply, claim.nonce, &stored).map(Credential::Proof),
    }
}

/// A client's host as the servers write it in their errors: they resolve the loopback address.
pub(super) fn host_name(address: IpAddr) -> String {
    let address = address.to_canonical();
    if address.is_loopback() { "localhost".to_owned() } else { address.to_string() }
}
