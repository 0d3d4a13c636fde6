//! Power of two choices: of two random replicas the less busy one
//! (Mitzenmacher, "The power of two choices in randomized load balancing", 2001).
//!
//! Replicas lag by different times. Who reads from one and then from another may see rows come, and go again. So the
//! one that was read from last is one of the two, and left only for one that is notably less busy.

/// One of `candidates`, among which may be the last one; `None` when there are none.
pub(super) fn less_busy<T: Copy>(
    candidates: impl Iterator<Item = T>,
    in_use: &impl Fn(T) -> usize,
    is_last: impl Fn(T) -> bool,
) -> Option<T> {
    // Reservoir sampling of two: no list of candidates is made.
    let (mut two, mut last, mut seen) = ([None, None], None, 0);
    for candidate in candidates {
        // One that takes nothing is one of many.
        if is_last(candidate) && in_use(candidate) < usize::MAX {
            last = Some(candidate);
            continue;
        }
        let place = if seen < 2 { seen } else { fastrand::usize(..=seen) };
        if let Some(place) = two.get_mut(place) {
            *place = Some(candidate);
        }
        seen += 1;
    }
    if let Some(last) = last {
        let other = if two[1].is_some() && fastrand::bool() { two[1] } else { two[0] };
        return Some(other.filter(|other| in_use(*other) < in_use(last)).unwrap_or(last));
    }
    match two {
        [Some(one), Some(other)] => {
            // Equals are tossed, or an idle pair would send all to the first.
            let (one_busy, other_busy) = (in_use(one), in_use(other));
            let takes_other = other_busy < one_busy || other_busy == one_busy && fastrand::bool();
            Some(if takes_other { other } else { one })
        }
        [one, _] => one,
    }
}

/// How busy a replica counts, with so many of its `slots` in use, for a session that has read from it last. Where slots
/// grow few it counts as for others.
pub fn in_use_by_others(in_use: usize, slots: usize) -> usize {
    let has_room = in_use.saturating_mul(2) <= slots;
    if has_room { in_use.saturating_sub(1 + in_use / 4) } else { in_use }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_of_three_is_never_chosen() {
        let busy = |backend: usize| if backend == 2 { 9 } else { 1 };
        let choose = || less_busy([1, 2, 3].into_iter(), &busy, |_| false);
        let chosen: Vec<_> = (0..200).filter_map(|_| choose()).collect();
        assert_eq!(chosen.len(), 200);
        assert!(!chosen.contains(&2) && chosen.contains(&1) && chosen.contains(&3));
        assert_eq!(less_busy(std::iter::empty(), &busy, |_| false), None);
    }

    #[test]
    fn the_last_one_is_kept_until_another_is_notably_less_busy_or_slots_are_few() {
        for (last_busy, other_busy, is_kept) in [
            (0, 0, true),
            (1, 0, true),
            (2, 0, false),
            (8, 5, true),
            (8, 4, false),
            (17, 17, true),
            (17, 16, false),
        ] {
            let busy = |backend| match backend {
                3 => in_use_by_others(last_busy, 32),
                _ => other_busy,
            };
            for _ in 0..50 {
                let chosen = less_busy([1, 2, 3].into_iter(), &busy, |backend| backend == 3);
                assert_eq!(chosen == Some(3), is_kept, "{last_busy} {other_busy}");
            }
        }
        // One that takes nothing is left, and the last one has no other.
        let refuses = |backend| if backend == 2 { usize::MAX } else { 0 };
        let choose = |all: &[usize]| less_busy(all.iter().copied(), &refuses, |last| last == 2);
        assert_eq!((choose(&[1, 2]), choose(&[2]), choose(&[1])), (Some(1), Some(2), Some(1)));
    }

    /// Sessions that read one statement at a time, as many at once as there are.
    #[test]
    fn many_sessions_are_spread_although_each_keeps_its_own() {
        for at_once in [1, 4, 16, 64] {
            let (mut busy, mut served) = ([0, 0, 0], [0, 0, 0]);
            // All have read from the first one, as when the others were away.
            let mut last = vec![0; 200];
            let mut under_way = std::collections::VecDeque::new();
            for _ in 0..20_000 {
                let session = fastrand::usize(..last.len());
                let is_last = |backend| backend == last[session];
                let in_use = |backend: usize| match is_last(backend) {
                    true => in_use_by_others(busy[backend], 32),
                    false => busy[backend],
                };
                let chosen = less_busy(0..3, &in_use, is_last).unwrap();
                last[session] = chosen;
                busy[chosen] += 1;
                served[chosen] += 1;
                under_way.push_back(chosen);
                if under_way.len() >= at_once {
                    busy[under_way.remove(fastrand::usize(..under_way.len())).unwrap()] -= 1;
                }
            }
            println!("{at_once} at once: {served:?}");
            if at_once > 8 {
                assert!(served.iter().all(|&reads| reads > 4_000), "{at_once}: {served:?}");
            }
        }
    }
}
