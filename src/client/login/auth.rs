//! Whether a client is who it says, and what that makes it towards the backends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::identity::Identity;
use super::lockout;
use super::password::{self, Compare, Known, Proved};
use crate::backend::{ConnectionKey, Credential, DoubleHash};
use crate::client::Context;
use crate::client::registry::{Entry, Order};
use crate::client::wire::Wire;
use crate::config::settings::TlsMode;
use crate::error::Error;
use crate::net::attributes::{self, Attributes};
use crate::net::certificate::ClientTls;
use crate::net::read::ReadError;
use crate::pool;
use crate::protocol::auth::{NATIVE, NONCE, Proof, nonce};
use crate::protocol::handshake::auth_switch;
use crate::protocol::sha2::{self, CACHING_SHA2, SHA256};
use crate::protocol::{Capabilities, Family, ed25519, parsec};
use crate::topology::{Account, Names, Plugin, SocketMethod, UNIX_SOCKET};

/// The client's plugin that sends the password as it is.
const CLEAR: &str = "mysql_clear_password";

/// Length of a reply of mysql_native_password that is not for the empty password.
const NATIVE_REPLY: usize = 20;
/// Likewise of caching_sha2_password.
const SHA2_REPLY: usize = 32;
/// How much of a user name MySQL shows in an error.
const NAME_SHOWN: usize = 48;

/// What a client presents.
pub(in crate::client) struct Claim {
    pub(in crate::client) user: String,
    pub(in crate::client) address: IpAddr,
    /// The address as servers are told it, where they are.
    pub(in crate::client) told: Option<IpAddr>,
    /// Its connection attributes as servers are told them, where they are.
    pub(in crate::client) attributes: Option<Arc<Attributes>>,
    /// The plugin its reply is made with.
    pub(in crate::client) plugin: String,
    pub(in crate::client) reply: Vec<u8>,
    /// The nonce the reply is for.
    pub(in crate::client) nonce: [u8; NONCE],
    /// MariaDB asks for a reply to the same nonce again in COM_CHANGE_USER, and its C client
    /// does not look at another one.
    pub(in crate::client) keeps_nonce: bool,
    pub(in crate::client) capabilities: Capabilities,
    pub(in crate::client) collation: u8,
    /// Which server's words it is told.
    pub(in crate::client) family: Family,
    /// What hosts are called in them.
    pub(in crate::client) names: Names,
    /// `None` without TLS.
    pub(in crate::client) tls: Option<Arc<ClientTls>>,
    pub(in crate::client) progress: Progress,
}

/// How far the proof of a claim has come.
#[derive(Default)]
pub(in crate::client) struct Progress {
    /// Whether it was asked for the password itself, which can be done once.
    pub(in crate::client) was_asked: bool,
    /// The password, if that brought one.
    pub(in crate::client) given: Option<Arc<Known>>,
    /// The password is right, whatever else may be wrong.
    pub(in crate::client) is_proved: bool,
    /// It was found wrong by one way, and the client may know so by what it was asked next.
    pub(in crate::client) is_refused: bool,
}

/// Why a claim is not proved.
#[derive(Debug)]
pub(in crate::client) enum Unproved {
    /// The client is to be told.
    Refused(Error),
    /// There is nobody left to tell.
    Gone,
    /// Likewise, once the password was found wrong by one way.
    GaveUp,
}

impl From<Error> for Unproved {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<ReadError> for Unproved {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::OutOfOrder => Self::Refused(Error::OutOfOrder),
            ReadError::TooLong { .. } => Self::Refused(Error::BadHandshake),
            ReadError::Closed | ReadError::Broken(_) => Self::Gone,
        }
    }
}

impl Claim {
    /// The server's error for a wrong password.
    pub(in crate::client) fn denied(&self) -> Error {
        self.denied_as(Some(!self.reply.is_empty()))
    }

    fn denied_as(&self, used_password: Option<bool>) -> Error {
        let user = match self.family.is_mariadb() {
            true => &self.user,
            false => cut(&self.user, NAME_SHOWN),
        };
        Error::AccessDenied {
            user: user.to_owned(),
            host: host_name(self.address, self.names),
            used_password,
        }
    }

    /// `error` in the words of an account that may need no password.
    fn denied_by(&self, account: &Account, error: Error) -> Error {
        let is_unmentioned = match &error {
            Error::AccessDenied { .. } => match account.socket {
                SocketMethod::None => false,
                SocketMethod::Earlier => self.reply.is_empty(),
                SocketMethod::Last => true,
            },
            Error::UnsupportedPlugin { plugin, .. } => plugin == UNIX_SOCKET,
            _ => false,
        };
        if is_unmentioned { self.denied_as(None) } else { error }
    }

    /// Gets a reply made with `plugin`, unless the client has given that already.
    pub(in crate::client) async fn reply_with(
        &mut self,
        plugin: &str,
        wire: &mut Wire,
    ) -> Result<(), Unproved> {
        if !self.plugin.eq_ignore_ascii_case(plugin) {
            self.switch_to(plugin, wire).await?;
        }
        if plugin == CACHING_SHA2 && self.reply == [0] {
            // How clients say that they have no password.
            self.reply.clear();
        }
        if plugin == NATIVE && !matches!(self.reply.len(), 0 | NATIVE_REPLY) {
            return Err(Error::BadHandshake.into());
        }
        if plugin == CACHING_SHA2 && !matches!(self.reply.len(), 0 | SHA2_REPLY) {
            return Err(self.denied().into());
        }
        Ok(())
    }

    /// The password in clear text; only over TLS.
    pub(in crate::client) async fn ask_openly(
        &mut self,
        wire: &mut Wire,
    ) -> Result<Option<Arc<Known>>, Unproved> {
        debug_assert!(self.tls.is_some());
        self.switch_to(CLEAR, wire).await?;
        Ok(Known::from_wire(&self.take_reply()))
    }

    /// The first packet of sha256_password, which the server asks for whatever the client has said
    /// before it.
    pub(in crate::client) async fn ask_sha256(
        &mut self,
        wire: &mut Wire,
    ) -> Result<Zeroizing<Vec<u8>>, Unproved> {
        self.switch_to(SHA256, wire).await?;
        Ok(self.take_reply())
    }

    /// Leaves of it what tells in an error whether there was a password.
    fn take_reply(&mut self) -> Zeroizing<Vec<u8>> {
        let answer = Zeroizing::new(std::mem::take(&mut self.reply));
        self.reply = answer.iter().take_while(|&&byte| byte != 0).take(1).map(|_| 0).collect();
        answer
    }

    async fn switch_to(&mut self, plugin: &str, wire: &mut Wire) -> Result<(), Unproved> {
        if !self.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            return Err(Error::OldClient { family: self.family }.into());
        }
        if !(self.keeps_nonce && plugin == NATIVE) {
            self.nonce = nonce().map_err(|_| Error::NotReady)?;
        }
        wire.push(&auth_switch(plugin, &self.nonce));
        self.reply = wire.ask().await?;
        plugin.clone_into(&mut self.plugin);
        Ok(())
    }
}

/// The address servers are told, if there is one that is told any.
pub(in crate::client) fn told_address(context: &Context, client: IpAddr) -> Option<IpAddr> {
    context.settings.tells_addresses().then(|| client.to_canonical())
}

/// The attributes servers are told of a client, if they are told any.
pub(in crate::client) fn told_attributes(
    context: &Context,
    given: &Attributes,
) -> Option<Arc<Attributes>> {
    context.settings.pool.tells_attributes.then(|| attributes::shared(given))
}

/// A claim that is being verified. When it is dropped half-way, the client has let its time run out.
struct Attempt<'a> {
    context: &'a Context,
    claim: &'a mut Claim,
    is_over: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_over && self.claim.progress.is_refused {
            self.context.throttle.failed(self.claim.address, Instant::now());
        }
    }
}

/// Verifies a claim when it is its address's turn. The answer to a failed one is late if others
/// have failed before it; a client that is gone at a further question has its answer, too.
pub(in crate::client) async fn verify(
    context: &Context,
    claim: &mut Claim,
    wire: &mut Wire,
    entry: &Entry,
) -> Result<Identity, Unproved> {
    let _turn = context.throttle.turn(claim.address).await;
    let mut attempt = Attempt { context, claim, is_over: false };
    let verified = match look_twice(context, attempt.claim, wire).await {
        Err(Unproved::Gone) if attempt.claim.progress.is_refused => Err(Unproved::GaveUp),
        verified => verified,
    };
    attempt.is_over = true;
    let claim = &*attempt.claim;
    if let Err(Unproved::Refused(Error::AccessDenied { .. }) | Unproved::GaveUp) = verified {
        let accounts = context.topology.accounts();
        let account = accounts.find(&claim.user, claim.address);
        let counts = account.is_some_and(|account| account.counts_failures);
        let blocked = match counts && !claim.progress.is_proved {
            true => Box::pin(lockout::tell(context, claim, entry.id)).await,
            false => None,
        };
        let delay = context.throttle.failed(claim.address, Instant::now());
        if !delay.is_zero() {
            context.metrics.sessions.logins_delayed_total.inc();
            tokio::select! {
                () = sleep(delay) => {}
                () = entry.told(Order::Drain) => {}
            }
        }
        if let Some(blocked) = blocked {
            return Err(blocked.into());
        }
    }
    verified
}

/// Verifies a claim; a failing one is tried again after a look at the primary's accounts, since
/// they may have changed since they were loaded.
async fn look_twice(
    context: &Context,
    claim: &mut Claim,
    wire: &mut Wire,
) -> Result<Identity, Unproved> {
    match prove(context, claim, wire).await {
        Err(Unproved::Refused(
            Error::AccessDenied { .. }
            | Error::AccountLocked { .. }
            | Error::UnsupportedPlugin { .. }
            | Error::OldClient { .. }
            | Error::NeedsTls { .. }
            | Error::BackendUnavailable { .. },
        )) => {
            context.topology.refresh().await;
            prove(context, claim, wire).await
        }
        settled => settled,
    }
}

async fn prove(
    context: &Context,
    claim: &mut Claim,
    wire: &mut Wire,
) -> Result<Identity, Unproved> {
    let accounts = context.topology.accounts();
    let account = accounts.find(&claim.user, claim.address);
    claim.progress.is_proved = false;
    let mut identity = prove_account(context, account, claim, wire).await?;
    claim.progress.is_proved = true;
    refuse_unusable(context, account, claim)?;
    identity.is_expired = account.is_some_and(|account| account.is_expired);
    if account.is_some_and(|account| account.counts_failures) {
        identity = context.lockouts.renewed(identity);
    }
    Ok(identity)
}

async fn prove_account(
    context: &Context,
    account: Option<&Account>,
    claim: &mut Claim,
    wire: &mut Wire,
) -> Result<Identity, Unproved> {
    let configured = context.settings.users.iter().find(|user| user.name == claim.user);
    if let Some(user) = configured {
        let stored = prove_configured(context, account, claim, (wire, &user.password)).await?;
        let found = identity(claim, stored, Credential::of_text(&user.password));
        let client = claim.address;
        let proof = account.map(|account| pool::Proof { mark: account.mark(), client });
        return Ok(Identity { proof, ..found });
    }
    let Some(account) = account else {
        if !context.topology.knows_accounts() {
            return Err(unknown_accounts(context).into());
        }
        // As the servers do it: who is not known learns it after the exchange.
        claim.reply_with(default_plugin(context), wire).await?;
        if claim.plugin == CACHING_SHA2 && !claim.reply.is_empty() {
            context.passwords.prove(claim, wire, &[]).await?;
        }
        return Err(claim.denied().into());
    };
    let mut refused = None;
    for plugin in std::iter::once(&account.plugin).chain(&account.alternatives) {
        match prove_by(context, (account, plugin), claim, wire).await {
            Err(Unproved::Refused(
                error @ (Error::AccessDenied { .. }
                | Error::UnsupportedPlugin { .. }
                | Error::OldClient { .. }
                | Error::NeedsTls { .. }),
            )) => {
                claim.progress.is_refused |= matches!(error, Error::AccessDenied { .. });
                // That a password is wrong outdoes that another way is closed.
                if refused.is_none() || matches!(error, Error::AccessDenied { .. }) {
                    refused = Some(error);
                }
            }
            settled => return settled,
        }
    }
    let refused = refused.unwrap_or_else(|| claim.denied());
    Err(claim.denied_by(account, refused).into())
}

/// Proves a claim by one of the account's methods.
async fn prove_by(
    context: &Context,
    (account, plugin): (&Account, &Plugin),
    claim: &mut Claim,
    wire: &mut Wire,
) -> Result<Identity, Unproved> {
    match plugin {
        Plugin::NativePassword { hash } => {
            let stored = hash.as_ref().map(|hash| *hash.as_bytes());
            let credential = match &claim.progress.given {
                Some(given) => prove_given(stored, given, claim)?,
                None => {
                    claim.reply_with(NATIVE, wire).await?;
                    prove_native(stored, claim)?
                }
            };
            let text = stored.as_ref().map_or(&[][..], |stored| stored);
            Ok(identity(claim, stored.map(DoubleHash::Sha1), credential)
                .proved_by(text, claim.address))
        }
        Plugin::CachingSha2 { stored: texts } => {
            if claim.progress.given.is_none() {
                claim.reply_with(CACHING_SHA2, wire).await?;
            }
            if texts.is_empty() && claim.reply.is_empty() {
                return Ok(identity(claim, None, Credential::Empty).proved_by(b"", claim.address));
            }
            if claim.reply.is_empty() {
                return Err(claim.denied().into());
            }
            let proved = context.passwords.prove(claim, wire, texts).await?;
            Ok(proved_identity(claim, account, &proved))
        }
        Plugin::Sha256 { stored: texts } => {
            let proved = context.passwords.prove_sha256(claim, wire, texts).await?;
            Ok(match proved {
                Some(proved) => proved_identity(claim, account, &proved),
                None => identity(claim, None, Credential::Empty).proved_by(b"", claim.address),
            })
        }
        Plugin::Ed25519 { stored } => {
            let method = (ed25519::SERVER, &**stored, ed25519::is_password as Compare);
            let proved = context.passwords.prove_openly(claim, wire, method).await?;
            Ok(proved_identity(claim, account, &proved))
        }
        Plugin::Parsec { stored } => {
            let method = (parsec::PARSEC, &**stored, parsec::is_password as Compare);
            let proved = context.passwords.prove_openly(claim, wire, method).await?;
            Ok(proved_identity(claim, account, &proved))
        }
        Plugin::Unusable => {
            claim.reply_with(NATIVE, wire).await?;
            Err(claim.denied().into())
        }
        Plugin::Other(plugin) => {
            let (user, plugin) = (claim.user.clone(), plugin.clone());
            Err(Error::UnsupportedPlugin { user, plugin }.into())
        }
    }
}

/// The plugin of the greeting.
pub(in crate::client) fn default_plugin(context: &Context) -> &'static str {
    match context.topology.facts() {
        Some(facts) if facts.auth_plugin == CACHING_SHA2 => CACHING_SHA2,
        _ => NATIVE,
    }
}

async fn prove_configured(
    context: &Context,
    account: Option<&Account>,
    claim: &mut Claim,
    (wire, password): (&mut Wire, &SecretString),
) -> Result<Option<DoubleHash>, Unproved> {
    let double = match account.map(|found| &found.plugin) {
        _ if password.expose_secret().is_empty() => None,
        Some(Plugin::CachingSha2 { .. }) => {
            Some(password::check_configured(claim, wire, password).await?)
        }
        Some(Plugin::Sha256 { .. }) => {
            Some(context.passwords.check_configured_sha256(claim, wire, password).await?)
        }
        _ => None,
    };
    if let Some(double) = double {
        return Ok(Some(DoubleHash::Sha256(double)));
    }
    claim.reply_with(NATIVE, wire).await?;
    let stored =
        Proof::of_password(password.expose_secret().as_bytes()).map(|proof| proof.stored());
    prove_native(stored, claim)?;
    Ok(stored.map(DoubleHash::Sha1))
}

fn prove_native(stored: Option<[u8; 20]>, claim: &Claim) -> Result<Credential, Error> {
    let credential = match stored {
        None => claim.reply.is_empty().then_some(Credential::Empty),
        Some(stored) => {
            Proof::from_reply(&claim.reply, &claim.nonce, &stored).map(Credential::Proof)
        }
    };
    credential.ok_or_else(|| claim.denied())
}

/// Likewise of a client that was asked for the password itself before.
fn prove_given(
    stored: Option<[u8; 20]>,
    given: &Known,
    claim: &Claim,
) -> Result<Credential, Error> {
    let proof = Proof::of_password(given.password.expose_secret());
    match (proof, stored) {
        (None, None) => Ok(Credential::Empty),
        (Some(proof), Some(stored)) if bool::from(proof.stored().ct_eq(&stored)) => {
            Ok(Credential::Proof(proof))
        }
        _ => Err(claim.denied()),
    }
}

/// What a server refuses although the password is right.
fn refuse_unusable(
    context: &Context,
    account: Option<&Account>,
    claim: &Claim,
) -> Result<(), Error> {
    let lacks_tls = claim.tls.is_none() && wants_tls(context);
    if lacks_tls && claim.family.is_mariadb() {
        return Err(claim.denied());
    }
    let tls = claim.tls.as_deref().map(|tls| {
        let names = tls.certificate.as_ref();
        (tls.cipher, names.map(|names| (names.issuer.as_str(), names.subject.as_str())))
    });
    if account.is_some_and(|account| !account.required_tls.is_met(tls)) {
        return Err(claim.denied());
    }
    if account.is_some_and(|account| account.is_locked) {
        let (user, host) = (claim.user.clone(), host_name(claim.address, claim.names));
        return Err(Error::AccountLocked { user, host, family: claim.family });
    }
    if lacks_tls { Err(Error::TlsRequired) } else { Ok(()) }
}

/// Whether the primary lets nobody in without TLS, and the configuration does not want none.
fn wants_tls(context: &Context) -> bool {
    context.settings.tls.mode != TlsMode::Disabled
        && context.topology.facts().is_some_and(|facts| facts.requires_tls())
}

fn proved_identity(claim: &Claim, account: &Account, proved: &Proved) -> Identity {
    // What a backend has agreed to under another stored text, or before the password expired, is
    // no answer now.
    let terms = [&proved.stored[..], &[u8::from(account.is_expired)]].concat();
    let hash = DoubleHash::Sha256(sha2::bound(&proved.known.double, &terms));
    let credential = Credential::Password(proved.known.password.clone());
    identity(claim, Some(hash), credential).proved_by(&proved.stored, claim.address)
}

/// What a claim makes its client, with this credential.
pub(in crate::client) fn identity(
    claim: &Claim,
    stored: Option<DoubleHash>,
    credential: Credential,
) -> Identity {
    let key = ConnectionKey {
        user: claim.user.as_str().into(),
        stored,
        capabilities: claim.capabilities & Capabilities::SEMANTIC,
        collation: claim.collation,
        expired: None,
        client: claim.told,
        attributes: claim.attributes.clone(),
    };
    Identity { key: Arc::new(key), credential, proof: None, is_expired: false }
}

/// Whether there is such an account, nobody can say.
fn unknown_accounts(context: &Context) -> Error {
    let backend = context.primary_pool().name().to_owned();
    let detail = "its accounts cannot be read, as Fairlane's log says".to_owned();
    Error::BackendUnavailable { backend, detail }
}

/// The error for a client that knows none of the plugins its account could have.
pub(in crate::client) fn old_client(context: &Context) -> Error {
    Error::OldClient { family: context.family() }
}

/// At most so many bytes of a text, and whole characters.
pub(in crate::client) fn cut(text: &str, most: usize) -> &str {
    let is_end = |&end: &usize| text.is_char_boundary(end);
    &text[..(0..=most.min(text.len())).rev().find(is_end).unwrap_or(0)]
}

/// A client's host as the servers know it: unless they skip that, they resolve the address of the host
/// itself.
pub(in crate::client) fn host_name(address: IpAddr, names: Names) -> String {
    let address = address.to_canonical();
    let is_itself = address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST;
    match names {
        Names::Resolved if is_itself => "localhost".to_owned(),
        Names::Resolved | Names::Skipped => address.to_string(),
    }
}
