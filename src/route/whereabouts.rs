//! Which server is behind an address. A name, or a virtual address, comes to mean another one when
//! somebody fails over, while connections to the old one go on: what is known of the one must not be
//! taken for the other's, and a session must not find them mixed.
//!
//! The control connection says where it is. Connections count its absences (their *generation*): those of
//! before the absence after which it found another server, or another run of the same, are not of the one
//! that is there now. While it is somewhere, a connection to another server gets no generation. During an
//! absence they are opened to whatever is there: if that was another server for a moment, all of before
//! its return are given up, since nobody can tell them apart.

use std::sync::atomic::{AtomicU16, Ordering};

use parking_lot::Mutex;

/// Absences after which those of long ago are no longer told from ones to come.
const FAR: u16 = 1 << 14;

/// Where the connections of one backend lead to.
#[derive(Debug, Default)]
pub struct Whereabouts {
    /// The first generation of those that are of the server which is there now.
    first: AtomicU16,
    /// The first generation of those that are not forsaken.
    kept: AtomicU16,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The server that the control connection is on, while there is one.
    here: Option<Box<str>>,
    /// The last one it was on, and the run of it.
    last: Option<(Box<str>, Option<Box<str>>)>,
    /// How often it has left. Wraps around; a connection lives for an hour.
    absences: u16,
    /// During this absence a connection has been opened to another server than the last one.
    has_strayed: bool,
}

impl Whereabouts {
    /// Whether a connection of this generation is of the server that is there now.
    pub fn has(&self, generation: u16) -> bool {
        is_as_of(generation, self.first())
    }

    /// The generation of connections that are opened now.
    pub fn generation(&self) -> u16 {
        self.seen.lock().absences
    }

    /// The first generation of those that are of the server which is there now.
    pub fn first(&self) -> u16 {
        self.first.load(Ordering::Acquire)
    }

    /// Connections of generations before this one are to servers that were left long ago: what is awaited
    /// there is awaited no longer. Whether that is news.
    pub fn forsake_before(&self, generation: u16) -> bool {
        self.kept.swap(generation, Ordering::AcqRel) != generation
    }

    /// The server that is there is not to be had: all connections that have been opened are given up.
    pub fn give_up(&self) {
        let mut seen = self.seen.lock();
        seen.absences = seen.absences.wrapping_add(1);
        self.first.store(seen.absences, Ordering::Release);
        self.kept.store(seen.absences, Ordering::Release);
    }

    /// Whether a connection of this generation is one of those.
    pub fn is_forsaken(&self, generation: u16) -> bool {
        !is_as_of(generation, self.kept.load(Ordering::Acquire))
    }

    /// The control connection is on `server`, which has started when `run` says, if that is told.
    /// Whether it is another one than before, or another run of the same.
    pub fn arrive(&self, server: &str, run: Option<&str>) -> bool {
        let mut seen = self.seen.lock();
        if server.is_empty() {
            return false;
        }
        let now = (Box::from(server), run.map(Box::from));
        let is_other = seen.last.as_ref().is_some_and(|last| *last != now);
        let has_strayed = std::mem::take(&mut seen.has_strayed);
        if is_other || has_strayed {
            // What has been opened during an absence and lives is of the new run of a server, but it may
            // be of the old one of two, or of one that was there meanwhile.
            let is_run = seen.last.as_ref().is_some_and(|(last, _)| **last == *server);
            if seen.here.is_some() || !is_run || has_strayed {
                seen.absences = seen.absences.wrapping_add(1);
            }
            self.first.store(seen.absences, Ordering::Release);
        }
        let first = self.first();
        if seen.absences.wrapping_sub(first) > FAR {
            let far = seen.absences.wrapping_sub(FAR);
            self.first.store(far, Ordering::Release);
            self.kept.store(far, Ordering::Release);
        }
        seen.here = Some(now.0.clone());
        seen.last = Some(now);
        is_other
    }

    /// The control connection is gone.
    pub fn leave(&self) {
        let mut seen = self.seen.lock();
        if seen.here.take().is_some() {
            seen.absences = seen.absences.wrapping_add(1);
        }
    }

    /// The generation of a connection that has just been opened, and says that it is on `server`; `None`
    /// when the control connection is on another one. Nothing is compared while either is not known.
    pub fn generation_of(&self, server: &str) -> Option<u16> {
        let mut seen = self.seen.lock();
        if server.is_empty() {
            return Some(seen.absences);
        }
        match &seen.here {
            Some(here) => (**here == *server).then_some(seen.absences),
            None => {
                seen.has_strayed |= seen.last.as_ref().is_some_and(|(last, _)| **last != *server);
                Some(seen.absences)
            }
        }
    }

    /// Whether a connection of this generation is on `server` and the control connection on another one.
    pub fn has_left(&self, server: &str, generation: u16) -> bool {
        let is_other = |here: &str| !server.is_empty() && *here != *server;
        !self.has(generation) && self.seen.lock().here.as_deref().is_some_and(is_other)
    }
}

/// Whether a connection of this generation, which the place still had, is on the server that was there in
/// generation `then`. A later one may be on the next.
pub fn is_as_of(then: u16, generation: u16) -> bool {
    then.wrapping_sub(generation) < 1 << 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_to_another_server_are_not_of_this_one() {
        let place = Whereabouts::default();
        let early = place.generation_of("a").expect("nothing is known");
        assert!(!place.arrive("a", Some("1")), "the first one");
        let first = place.generation_of("a").expect("it is there");
        assert!(place.has(early) && place.has(first));
        assert_eq!(place.generation_of("b"), None);
        assert!(place.generation_of("").is_some(), "nobody has told");
        // It moves while connections to the first one go on.
        assert!(place.arrive("b", Some("1")));
        assert!(!place.has(first) && !place.has(early));
        assert_eq!(place.generation_of("a"), None);
        assert!(place.has(place.generation_of("b").expect("it is there")));
    }

    #[test]
    fn what_is_opened_while_nobody_looks_is_not_the_next_servers() {
        let place = Whereabouts::default();
        place.arrive("a", Some("1"));
        place.leave();
        let meanwhile = place.generation_of("a").expect("nobody knows");
        assert!(place.arrive("b", Some("1")));
        assert!(!place.has(meanwhile));
        assert!(!place.arrive("", None), "it did not tell");
        assert!(place.generation_of("b").is_some());
    }

    #[test]
    fn what_was_known_of_a_server_says_nothing_of_later_connections() {
        let place = Whereabouts::default();
        place.arrive("a", Some("1"));
        let (known, early) = (place.generation(), place.generation_of("a").expect("it is there"));
        assert!(is_as_of(known, early));
        place.leave();
        let meanwhile = place.generation_of("b").expect("nobody knows");
        assert!(place.has(meanwhile) && !is_as_of(known, meanwhile));
        place.arrive("b", Some("1"));
        let late = place.generation_of("b").expect("it is there");
        assert!(place.has(late) && !is_as_of(known, late));
        assert!(is_as_of(place.generation(), late));
        assert!(is_as_of(2, u16::MAX) && !is_as_of(u16::MAX, 2), "they wrap around");
    }

    #[test]
    fn what_led_elsewhere_for_a_moment_while_nobody_looked_is_not_kept() {
        for run in ["1", "2"] {
            let place = Whereabouts::default();
            place.arrive("a", Some("1"));
            let early = place.generation_of("a").expect("it is there");
            place.leave();
            let strayed = place.generation_of("b").expect("nobody knows");
            let meanwhile = place.generation_of("a").expect("nobody knows");
            assert_eq!(place.arrive("a", Some(run)), run == "2");
            assert!(!place.has(strayed) && !place.has(meanwhile) && !place.has(early));
            assert!(place.has_left("b", strayed) && !place.has_left("a", early));
            assert!(place.has(place.generation_of("a").expect("it is there")));
            // The next absence is one like others.
            let kept = place.generation_of("a").expect("it is there");
            place.leave();
            place.arrive("a", Some(run));
            assert!(place.has(kept));
        }
    }

    #[test]
    fn any_number_of_absences_keeps_new_connections() {
        let place = Whereabouts::default();
        for _ in 0..100_000 {
            place.arrive("a", Some("1"));
            assert!(place.has(place.generation_of("a").expect("it is there")));
            place.leave();
        }
    }

    #[test]
    fn connections_from_before_a_restart_are_not_of_this_run() {
        let place = Whereabouts::default();
        place.arrive("a", Some("1"));
        let old = place.generation_of("a").expect("it is there");
        place.leave();
        let meanwhile = place.generation_of("a").expect("nobody knows");
        assert!(!place.arrive("a", Some("1")), "only the control connection was gone");
        assert!(place.has(old) && place.has(meanwhile));
        place.leave();
        let first_to_know = place.generation_of("a").expect("nobody knows");
        assert!(place.arrive("a", Some("2")), "it has restarted");
        assert!(place.has(first_to_know) && !place.has(old) && !place.has(meanwhile));
    }

    #[test]
    fn a_server_that_is_given_up_keeps_only_what_is_opened_later() {
        for was_left in [true, false] {
            let place = Whereabouts::default();
            place.arrive("a", Some("1"));
            let mut before = vec![place.generation()];
            if was_left {
                place.leave();
                before.extend(place.generation_of("a"));
            }
            place.give_up();
            assert!(before.iter().all(|&before| place.is_forsaken(before) && !place.has(before)));
            let opened = place.generation_of("a").expect("it is the same, if it is known");
            assert!(!place.arrive("a", Some("1")), "it is the same when it is back");
            assert!(!place.is_forsaken(opened) && place.has(opened));
            assert!(place.has(place.generation()));
        }
    }
}
