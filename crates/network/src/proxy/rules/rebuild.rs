//! The whole table in more than one transaction, for a socket that takes no more at once, and in one instant all the same.
//!
//! A second table is filled, which the kernel calls for no packet. The last transaction lets the kernel call it, and deletes the first.

use std::io;

use crate::netfilter::Batch;

use super::{HAIRPIN, Rules, TABLES, keys, pair, skeleton, write_frontends, write_route};

impl Rules {
    /// Puts a table with everything that is committed in place of the one that is there.
    pub(super) fn rebuild(&mut self) -> io::Result<()> {
        let live = if self.socket.has_chain(TABLES[1], skeleton::FIRST_CHAIN)? { 1 } else { 0 };
        let next = TABLES[1 - live];
        let mut batch = Batch::new(next);
        // One may be left, half filled.
        batch.drop_table(next);
        batch.add_table();
        skeleton::write_sets(&mut batch);
        let pairs: Vec<_> = self.backends.keys().copied().map(pair).collect();
        // A machine has at most some hundred pods, and a pair takes 32 bytes.
        batch.add_elements(HAIRPIN, &keys(&pairs));
        for route in self.committed.values() {
            write_route(&mut batch, None, route);
            write_frontends(&mut batch, route.frontends.iter(), &route.key.to_string());
            // One route with a hundred backends takes some tens of KB.
            if batch.len() > self.socket.limit() / 2 {
                self.socket.commit(std::mem::replace(&mut batch, Batch::new(next)))?;
            }
        }
        self.socket.commit(batch)?;
        let mut batch = Batch::new(next);
        skeleton::write_hooks(&mut batch, &self.addresses, &self.egress);
        batch.drop_table(TABLES[live]);
        self.socket.commit(batch)?;
        self.table = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{gone, in_namespace, listing, sorted, tcp};

    /// Blocks of the listing, whatever the table is called.
    fn blocks() -> Vec<String> {
        sorted(&listing().replace("table ip windlass-2", "table ip windlass"))
    }

    #[track_caller]
    fn assert_same(found: &[String], expected: &[String]) {
        let differ = found.iter().zip(expected).find(|(found, expected)| found != expected);
        assert!(
            differ.is_none() && found.len() == expected.len(),
            "{} of {} blocks: {differ:.1000?}",
            found.len(),
            expected.len()
        );
    }

    /// As many Services as an ordinary user's socket does not take at once.
    fn many() -> Vec<super::super::Change> {
        let service = |number: u32| {
            let frontend = format!("10.96.{}.{}:80", number / 200, number % 200);
            tcp(&format!("web-{number}"), &frontend, &[2, 3, 4])
        };
        (0..1000).map(service).collect()
    }

    #[test]
    fn a_thousand_services_fit_one_transaction() {
        in_namespace(|mut rules| {
            rules.commit(many()).unwrap();
            assert_eq!(listing().matches("numgen").count(), 2000);
            rules.commit(many().into_iter().map(gone).collect()).unwrap();
            assert_eq!(listing().matches("numgen").count(), 0);
        });
    }

    #[test]
    fn a_socket_that_takes_little_leads_to_the_same_rules() {
        in_namespace(|mut rules| {
            rules.commit(many()).unwrap();
            let whole = blocks();
            let unlimited = rules.socket.limit();
            for (limit, name) in [(100_000, "windlass-2"), (200_000, "windlass"), (unlimited, "windlass")] {
                rules.socket.set_limit(limit);
                rules.unknown = true;
                rules.commit(Vec::new()).unwrap();
                assert_eq!(listing().split(' ').nth(2), Some(name), "with {limit} bytes");
                assert_same(&blocks(), &whole);
            }
        });
    }

    #[test]
    fn many_changes_at_once_and_single_ones_after_them() {
        in_namespace(|mut rules| {
            rules.socket.set_limit(100_000);
            rules.commit(many()).unwrap();
            rules.commit(vec![gone(many().remove(0)), tcp("more", "10.96.9.9:80", &[5])]).unwrap();
            let listed = blocks();
            rules.unknown = true;
            rules.commit(Vec::new()).unwrap();
            assert_same(&blocks(), &listed);
            rules.commit(many().into_iter().map(gone).chain([gone(tcp("more", "10.96.9.9:80", &[5]))]).collect()).unwrap();
            assert!(!listing().contains("shop/"));
        });
    }

    #[test]
    fn a_table_that_was_left_half_filled_is_in_nobody_s_way() {
        in_namespace(|mut rules| {
            rules.commit(vec![tcp("web", "10.96.0.5:80", &[2])]).unwrap();
            let whole = blocks();
            let mut batch = crate::netfilter::Batch::new("windlass-2");
            batch.add_table();
            super::skeleton::write_sets(&mut batch);
            rules.socket.commit(batch).unwrap();
            rules.socket.set_limit(2000);
            rules.unknown = true;
            rules.commit(Vec::new()).unwrap();
            assert_same(&blocks(), &whole);
        });
    }
}
