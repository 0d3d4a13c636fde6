//! Accounts that a server blocks after wrong passwords (MySQL: FAILED_LOGIN_ATTEMPTS; MariaDB:
//! `max_password_errors`).
//!
//! It is the server that counts and that knows when an account is open again. So it is told of each
//! password that Fairlane has found wrong, by a login with a wrong one, and what it says to that is
//! the client's answer. From then on the account's connections and logins of before are none for a
//! login: the next one with the right password opens a connection, by which the server decides, and
//! begins to count anew.

use quick_cache::sync::Cache;
use secrecy::SecretString;
use tokio::time::Instant;

use super::auth::{Claim, identity};
use super::identity::Identity;
use crate::backend::{Credential, DoubleHash};
use crate::client::Context;
use crate::error::Error;
use crate::lanes::{ClientFacts, Demand};
use crate::metrics::Closed;
use crate::pool::{Request, Retire};
use crate::protocol::auth::nonce;
use crate::protocol::{code, sha2};
use crate::state::Image;

/// Most users remembered.
const USERS_MAX: usize = 10_000;

/// Wrong passwords by user, as far as servers were told.
pub struct Lockouts {
    told: Cache<Box<str>, u64>,
}

impl std::fmt::Debug for Lockouts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lockouts").field("len", &self.told.len()).finish()
    }
}

impl Default for Lockouts {
    fn default() -> Self {
        Self { told: Cache::new(USERS_MAX) }
    }
}

impl Lockouts {
    /// The identity with no connections and logins from before the last wrong password.
    pub(in crate::client) fn renewed(&self, mut identity: Identity) -> Identity {
        if let Some(told) = self.told.get(&identity.key.user) {
            let before = match identity.key.stored {
                Some(DoubleHash::Sha256(hash)) => hash,
                Some(DoubleHash::Sha1(hash)) => sha2::double(&hash),
                None => sha2::double(b""),
            };
            let mut key = (*identity.key).clone();
            key.stored = Some(DoubleHash::Sha256(sha2::bound(&before, &told.to_le_bytes())));
            identity.key = key.into();
        }
        identity
    }
}

/// Tells the primary that `session` has given a wrong password; its answer, if it has blocked the account.
pub(in crate::client) async fn tell(
    context: &Context,
    claim: &Claim,
    session: u32,
) -> Option<Error> {
    let user = Box::<str>::from(claim.user.as_str());
    let told = context.lockouts.told.get(&user).unwrap_or(0);
    context.lockouts.told.insert(user, told.wrapping_add(1));
    let guess: String = nonce().ok()?.iter().map(|byte| format!("{byte:02x}")).collect();
    // Nobody else's: the login has to reach the server.
    let stored = DoubleHash::Sha256(sha2::double(guess.as_bytes()));
    let credential = match claim.reply.is_empty() {
        true => Credential::Empty,
        false => Credential::of_text(&SecretString::from(guess)),
    };
    let wrong = identity(claim, Some(stored), credential);
    let image = Image::default();
    let whose = wrong.whose();
    let plain = Request::plain(whose, &image, (session, context.epochs.logins()));
    let request = Request { is_guess: true, ..plain };
    let (user, address) = (claim.user.clone(), claim.address);
    let client = ClientFacts { user, address, program_name: String::new() }.feature();
    let lane = context.policy.get().rules.default_lane();
    let demand = Demand { lane, client, kind: 0, crowd: 0, begun: None };
    match context.primary_pool().check_out(demand, request, Instant::now()).await {
        Ok(checkout) => {
            checkout.discard(Retire::Quit(Closed::Evicted));
            None
        }
        Err(error @ Error::Server { code, .. }) if code::BLOCKED.contains(&code) => Some(error),
        Err(_) => None,
    }
}
