//! Who of those that are attached may type: one, or all who share.
#![forbid(unsafe_code)]

/// What a viewer wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    Look,
    Type,
    /// Type together with others.
    Share,
}

impl Wish {
    pub fn of(read_only: bool, share: bool) -> Self {
        match (read_only, share) {
            (true, _) => Self::Look,
            (false, true) => Self::Share,
            (false, false) => Self::Type,
        }
    }
}

/// Viewers in the order in which they came, and whether each types.
#[derive(Default)]
pub struct Seats(Vec<(u64, Wish, bool)>);

impl Seats {
    /// A viewer comes: whether it types.
    pub fn take(&mut self, viewer: u64, wish: Wish) -> bool {
        let types = self.allows(wish);
        self.0.push((viewer, wish, types));
        types
    }

    /// One leaves: who types from now on because of that.
    pub fn leave(&mut self, viewer: u64) -> Vec<u64> {
        self.0.retain(|(known, ..)| *known != viewer);
        let mut promoted = Vec::new();
        for place in 0..self.0.len() {
            let (viewer, wish, types) = self.0[place];
            if !types && self.allows(wish) {
                self.0[place].2 = true;
                promoted.push(viewer);
            }
        }
        promoted
    }

    pub fn types(&self, viewer: u64) -> bool {
        self.0.iter().any(|(known, _, types)| *known == viewer && *types)
    }

    pub fn all(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|(viewer, ..)| *viewer)
    }

    /// Nobody types who minds.
    fn allows(&self, wish: Wish) -> bool {
        let mut typing = self.0.iter().filter(|(_, _, types)| *types).map(|(_, wish, _)| *wish);
        match wish {
            Wish::Look => false,
            Wish::Type => typing.next().is_none(),
            Wish::Share => typing.all(|other| other == Wish::Share),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_types_until_it_leaves_and_then_the_next() {
        let mut seats = Seats::default();
        assert!(!seats.take(1, Wish::Look));
        assert!(seats.take(2, Wish::Type));
        assert!(!seats.take(3, Wish::Type) && !seats.take(4, Wish::Share));
        assert_eq!(seats.leave(1), [] as [u64; 0]);
        assert_eq!(seats.leave(2), [3], "the one that has waited longest");
        assert_eq!(seats.leave(4), [] as [u64; 0]);
        assert!(seats.types(3) && !seats.types(2));
        assert_eq!(seats.all().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn all_who_share_type() {
        let mut seats = Seats::default();
        assert!(seats.take(1, Wish::Share) && seats.take(2, Wish::Share));
        assert!(!seats.take(3, Wish::Type), "it does not share");
        assert!(seats.take(4, Wish::Share), "who waits changes nothing for who types");
        assert_eq!(seats.leave(1), [] as [u64; 0]);
        assert_eq!(seats.leave(2), [] as [u64; 0]);
        assert_eq!(seats.leave(4), [3]);
    }

    #[test]
    fn several_who_share_come_forward_together() {
        let mut seats = Seats::default();
        assert!(seats.take(1, Wish::Type));
        assert!(!seats.take(2, Wish::Share) && !seats.take(3, Wish::Share) && !seats.take(4, Wish::Look));
        assert_eq!(seats.leave(1), [2, 3]);
    }
}
