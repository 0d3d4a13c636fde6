//! The addresses of a name, tried one after the other as pools do it: one may be of a network that is not
//! there, which says nothing for minutes.

use std::future::Future;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use mysql_async::{Error, IoError};
use tokio::net::lookup_host;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

use crate::config::settings::Address;
use crate::net::socket::ADDRESS_LIMIT;

/// What came of opening a connection in time.
pub(super) struct Opened<T> {
    /// At the address that was tried last.
    pub(super) last: Result<Result<T, Error>, Elapsed>,
    /// No server has said anything, and of one address nobody has.
    pub(super) is_silent: bool,
}

/// An address, `None` for the only one, and how long it may take.
pub(super) type Attempt = (Option<IpAddr>, Duration);

/// What to try for an address, with `limit` for the last.
pub(super) async fn attempts(address: &Address, limit: Duration) -> Vec<Attempt> {
    let Address::Tcp { host, port } = address else { return vec![(None, limit)] };
    match timeout(limit, lookup_host((&**host, *port))).await {
        Ok(Ok(found)) => each(found.map(|address| address.ip()).collect(), limit),
        // The library says why.
        Ok(Err(_)) | Err(_) => vec![(None, limit)],
    }
}

fn each(addresses: Vec<IpAddr>, limit: Duration) -> Vec<Attempt> {
    let [others @ .., last] = &*addresses else { return vec![(None, limit)] };
    if others.is_empty() {
        return vec![(None, limit)];
    }
    let others = others.iter().map(|address| (Some(*address), ADDRESS_LIMIT.min(limit)));
    others.chain([(Some(*last), limit)]).collect()
}

/// Opens a connection at the first of them where somebody answers, with a `pause` before each other.
pub(super) async fn first_that_answers<T, F>(
    attempts: &[Attempt],
    pause: Duration,
    open: impl Fn(Option<IpAddr>) -> F,
) -> Opened<T>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut left = attempts.iter();
    let mut is_silent = false;
    loop {
        let (address, limit) = left.next().copied().unwrap_or_default();
        let last = timeout(limit, open(address)).await;
        let has_answered = !matches!(last, Err(_) | Ok(Err(Error::Io(_))));
        is_silent |= last.as_ref().map_or(true, |it| it.as_ref().is_err_and(says_nothing));
        if has_answered || left.len() == 0 {
            return Opened { last, is_silent: is_silent && !has_answered };
        }
        sleep(pause).await;
    }
}

/// Whether an error is the system's word for there being no answer: that of a machine that is switched off.
pub(super) fn says_nothing(error: &Error) -> bool {
    let Error::Io(IoError::Io(error)) = error else { return false };
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::HostUnreachable)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use mysql_async::DriverError;
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const PAUSE: Duration = Duration::from_millis(50);

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_say_nothing_or_refuse_are_passed_by() {
        let attempts = each(vec![address(1), address(2), address(3)], LIMIT);
        let began = Instant::now();
        let opened = first_that_answers(&attempts, PAUSE, |at| async move {
            match at {
                Some(at) if at == address(1) => pending().await,
                Some(at) if at == address(2) => {
                    Err(Error::Io(IoError::Io(ErrorKind::ConnectionRefused.into())))
                }
                at => Ok(at),
            }
        });
        let opened = opened.await;
        assert!(!opened.is_silent);
        let answer = opened.last.expect("in time");
        assert_eq!(answer.expect("it answers"), Some(address(3)));
        assert_eq!(began.elapsed(), ADDRESS_LIMIT + 2 * PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_one_has_all_the_time_and_an_answer_is_one() {
        let began = Instant::now();
        let silent = |_| pending::<Result<(), Error>>();
        let attempts = each(vec![address(1)], LIMIT);
        assert!(first_that_answers(&attempts, PAUSE, silent).await.last.is_err());
        assert_eq!(began.elapsed(), LIMIT);

        let attempts = each(vec![address(1), address(2)], LIMIT);
        let refused = |at| async move {
            match at == Some(address(1)) {
                true => Err::<(), _>(Error::Driver(DriverError::NoClientSslFlagFromServer)),
                false => Ok(()),
            }
        };
        let opened = first_that_answers(&attempts, PAUSE, refused).await;
        assert!(opened.last.expect("in time").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_refuses_is_not_silent() {
        let attempts = each(vec![address(1), address(2)], LIMIT);
        let io = |kind: ErrorKind| Error::Io(IoError::Io(kind.into()));
        let refusal = || Error::Driver(DriverError::NoClientSslFlagFromServer);
        let is_silent = async |first: Option<Error>, second: Option<Error>| {
            let answers = [first, second].map(|error| std::cell::Cell::new(Some(error)));
            let open = |at| {
                let error = answers[usize::from(at == Some(address(2)))].take().flatten();
                async move {
                    match error {
                        Some(error) => Err::<(), _>(error),
                        None => pending().await,
                    }
                }
            };
            first_that_answers(&attempts, PAUSE, open).await.is_silent
        };
        let refused = || Some(io(ErrorKind::ConnectionRefused));
        assert!(is_silent(None, None).await);
        assert!(is_silent(None, refused()).await && is_silent(refused(), None).await);
        assert!(is_silent(refused(), Some(io(ErrorKind::HostUnreachable))).await, "switched off");
        assert!(!is_silent(refused(), refused()).await);
        assert!(!is_silent(None, Some(refusal())).await && !is_silent(Some(refusal()), None).await);
    }
}
