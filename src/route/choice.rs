//! Power of two choices: of two random replicas the less busy one
//! (Mitzenmacher, "The power of two choices in randomized load balancing", 2001).

/// One of `candidates`; `None` when there are none.
pub(super) fn less_busy<T: Copy>(
    candidates: impl Iterator<Item = T>,
    in_use: &impl Fn(T) -> usize,
) -> Option<T> {
    // Reservoir sampling of two: no list of candidates is made.
    let mut two = [None, None];
    for (seen, candidate) in candidates.enumerate() {
        match seen {
            0 | 1 => two[seen] = Some(candidate),
            _ => {
                if let Some(place) = two.get_mut(fastrand::usize(..=seen)) {
                    *place = Some(candidate);
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_of_three_is_never_chosen() {
        let busy = |backend: usize| if backend == 2 { 9 } else { 1 };
        let chosen: Vec<_> =
            (0..200).filter_map(|_| less_busy([1, 2, 3].into_iter(), &busy)).collect();
        assert_eq!(chosen.len(), 200);
        assert!(!chosen.contains(&2) && chosen.contains(&1) && chosen.contains(&3));
        assert_eq!(less_busy(std::iter::empty(), &busy), None);
    }
}
