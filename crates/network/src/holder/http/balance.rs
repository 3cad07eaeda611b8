//! Which backend a request goes to: shares between revisions are exact, and within a revision the least busy is chosen.

use std::{collections::BTreeMap, rc::Rc};

use super::pool::Backend;

/// Remembers what shares are owed.
#[derive(Default)]
pub(super) struct Balance {
    split: BTreeMap<String, u32>,
    /// What each revision is owed, in requests times the sum of shares: after every such sum of requests all are zero again.
    owed: BTreeMap<String, i64>,
    /// Whose turn it is among equals of a revision, or of all.
    turns: BTreeMap<Option<String>, usize>,
}

impl Balance {
    pub(super) fn set_split(&mut self, split: BTreeMap<String, u32>) {
        if self.split != split {
            self.split = split;
            self.owed.clear();
            self.turns.clear();
        }
    }

    pub(super) fn choose(&mut self, backends: &[Rc<Backend>]) -> Option<Rc<Backend>> {
        let revision = self.choose_revision(backends);
        let among = || backends.iter().filter(|backend| revision.as_ref().is_none_or(|revision| backend.revision == *revision));
        let least = among().map(|backend| backend.in_flight()).min()?;
        let equals: Vec<_> = among().filter(|backend| backend.in_flight() == least).collect();
        let turn = self.turns.entry(revision.clone()).or_default();
        *turn = turn.wrapping_add(1);
        equals.get(*turn % equals.len()).map(|backend| Rc::clone(backend))
    }

    /// The revision that is owed most, of those that have a share and a backend; none when there is no such revision, and any will do.
    fn choose_revision(&mut self, backends: &[Rc<Backend>]) -> Option<String> {
        let there = |revision: &str| backends.iter().any(|backend| backend.revision == revision);
        let shares: Vec<(&String, i64)> = self
            .split
            .iter()
            .filter(|(revision, share)| **share > 0 && there(revision))
            .map(|(revision, &share)| (revision, i64::from(share)))
            .collect();
        let total: i64 = shares.iter().map(|(_, share)| share).sum();
        for (revision, share) in &shares {
            *self.owed.entry((*revision).clone()).or_default() += share;
        }
        let (revision, _) = shares.iter().max_by_key(|(revision, _)| self.owed.get(*revision).copied())?;
        let revision = (*revision).clone();
        *self.owed.entry(revision.clone()).or_default() -= total;
        Some(revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(revisions: &[&str]) -> Vec<Rc<Backend>> {
        let backend = |(index, revision): (u8, &&str)| {
            Rc::new(Backend::new(([10, 244, 0, index], 80).into(), (*revision).to_owned(), false))
        };
        (2..).zip(revisions).map(backend).collect()
    }

    /// How many of `requests` went to each backend.
    fn counts(balance: &mut Balance, backends: &[Rc<Backend>], requests: usize) -> Vec<usize> {
        let mut counts = vec![0; backends.len()];
        for _ in 0..requests {
            let chosen = balance.choose(backends).unwrap();
            counts[backends.iter().position(|backend| Rc::ptr_eq(backend, &chosen)).unwrap()] += 1;
        }
        counts
    }

    fn split(shares: &[(&str, u32)]) -> Balance {
        let mut balance = Balance::default();
        balance.set_split(shares.iter().map(|(revision, share)| ((*revision).to_owned(), *share)).collect());
        balance
    }

    #[test]
    fn shares_are_exact() {
        for (shares, revisions, expected) in [
            (&[("old", 90), ("new", 10)][..], &["old", "new"][..], vec![90, 10]),
            (&[("old", 90), ("new", 10)], &["old", "old", "new"], vec![45, 45, 10]),
            (&[("old", 1), ("new", 0)], &["old", "new"], vec![100, 0]),
            (&[], &["old", "new"], vec![50, 50]),
            // Nobody is there of those who are to get something: better any than none.
            (&[("gone", 1)], &["old", "new"], vec![50, 50]),
        ] {
            assert_eq!(counts(&mut split(shares), &backends(revisions), 100), expected, "{shares:?} {revisions:?}");
        }
    }

    #[test]
    fn the_least_busy_is_chosen() {
        let backends = backends(&["a", "a", "a"]);
        let _busy = (backends[0].track(), backends[2].track());
        assert_eq!(counts(&mut Balance::default(), &backends, 10), [0, 10, 0]);
        assert!(Balance::default().choose(&[]).is_none());
    }
}
