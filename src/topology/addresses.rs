//! The addresses of a name, tried one after the other as pools do it: one may be of a network that is not
//! there, which says nothing for minutes.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use mysql_async::Error;
use tokio::net::lookup_host;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

use crate::config::settings::Address;
use crate::net::socket::ADDRESS_LIMIT;

/// What came of opening a connection in time.
pub(super) type Opened<T> = Result<Result<T, Error>, Elapsed>;

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
    loop {
        let (address, limit) = left.next().copied().unwrap_or_default();
        let opened = timeout(limit, open(address)).await;
        let has_answered = !matches!(opened, Err(_) | Ok(Err(Error::Io(_))));
        if has_answered || left.len() == 0 {
            return opened;
        }
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::io::ErrorKind;

    use mysql_async::{DriverError, IoError};
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
        assert_eq!(opened.await.expect("in time").expect("it answers"), Some(address(3)));
        assert_eq!(began.elapsed(), ADDRESS_LIMIT + 2 * PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_one_has_all_the_time_and_an_answer_is_one() {
        let began = Instant::now();
        let silent = |_| pending::<Result<(), Error>>();
        let attempts = each(vec![address(1)], LIMIT);
        assert!(first_that_answers(&attempts, PAUSE, silent).await.is_err());
        assert_eq!(began.elapsed(), LIMIT);

        let attempts = each(vec![address(1), address(2)], LIMIT);
        let refused = |at| async move {
            match at == Some(address(1)) {
                true => Err::<(), _>(Error::Driver(DriverError::NoClientSslFlagFromServer)),
                false => Ok(()),
            }
        };
        assert!(first_that_answers(&attempts, PAUSE, refused).await.expect("in time").is_err());
    }
}
