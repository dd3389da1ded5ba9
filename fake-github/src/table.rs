//! Entities by counter-made id, shared between forks of a world and copied on write in small pieces.
//!
//! Never hands out two values for one id and never reuses an id. Iteration is by id.

use std::sync::Arc;

/// Entries a write copies at most when the table is shared with another fork.
const CHUNK: usize = 16;

type Chunk<T> = [Option<T>; CHUNK];
type Spine<T> = Vec<Option<Arc<Chunk<T>>>>;

/// A map from small consecutive numbers to `T`: a clone costs one reference count.
#[derive(Debug)]
pub(crate) struct Table<T> {
    spine: Arc<Spine<T>>,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Table { spine: Arc::clone(&self.spine) }
    }
}

impl<T: Clone> Table<T> {
    pub(crate) fn new() -> Table<T> {
        Table { spine: Arc::new(Vec::new()) }
    }

    pub(crate) fn get(&self, id: u64) -> Option<&T> {
        let at = usize::try_from(id).ok()?;
        self.spine.get(at / CHUNK)?.as_ref()?[at % CHUNK].as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        let at = usize::try_from(id).ok()?;
        // Looking first keeps a miss from copying anything.
        self.get(id)?;
        let chunk = Arc::make_mut(&mut self.spine).get_mut(at / CHUNK)?.as_mut()?;
        Arc::make_mut(chunk)[at % CHUNK].as_mut()
    }

    pub(crate) fn insert(&mut self, id: u64, value: T) {
        let at = id as usize;
        let spine = Arc::make_mut(&mut self.spine);
        if spine.len() <= at / CHUNK {
            spine.resize(at / CHUNK + 1, None);
        }
        let chunk = spine[at / CHUNK].get_or_insert_with(|| Arc::new([const { None }; CHUNK]));
        Arc::make_mut(chunk)[at % CHUNK] = Some(value);
    }

    /// Takes one entry out; a piece without entries is given back.
    pub(crate) fn remove(&mut self, id: u64) -> Option<T> {
        let at = usize::try_from(id).ok()?;
        self.get(id)?;
        let slot = &mut Arc::make_mut(&mut self.spine)[at / CHUNK];
        let chunk = Arc::make_mut(slot.as_mut()?);
        let value = chunk[at % CHUNK].take();
        if chunk.iter().all(Option::is_none) {
            *slot = None;
        }
        value
    }

    /// All entries by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.iter_from(0)
    }

    /// Entries from `id` on, rounded down to the beginning of its piece.
    pub(crate) fn iter_from(&self, id: u64) -> impl Iterator<Item = &T> {
        self.spine.iter().skip(id as usize / CHUNK).flatten().flat_map(|chunk| chunk.iter().flatten())
    }
}

/// The same for few, large and often written entries: each is copied by itself, and reached in two steps.
#[derive(Debug)]
pub(crate) struct Cells<T> {
    spine: Arc<Vec<Option<Arc<T>>>>,
}

impl<T> Clone for Cells<T> {
    fn clone(&self) -> Self {
        Cells { spine: Arc::clone(&self.spine) }
    }
}

impl<T: Clone> Cells<T> {
    pub(crate) fn new() -> Cells<T> {
        Cells { spine: Arc::new(Vec::new()) }
    }

    pub(crate) fn get(&self, id: u64) -> Option<&T> {
        self.spine.get(usize::try_from(id).ok()?)?.as_deref()
    }

    /// A reference that outlives later changes.
    pub(crate) fn share(&self, id: u64) -> Option<Arc<T>> {
        self.spine.get(usize::try_from(id).ok()?)?.clone()
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        self.get(id)?;
        Arc::make_mut(&mut self.spine).get_mut(id as usize)?.as_mut().map(Arc::make_mut)
    }

    pub(crate) fn insert(&mut self, id: u64, value: T) {
        let spine = Arc::make_mut(&mut self.spine);
        if spine.len() <= id as usize {
            spine.resize(id as usize + 1, None);
        }
        spine[id as usize] = Some(Arc::new(value));
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Arc<T>> {
        self.get(id)?;
        Arc::make_mut(&mut self.spine).get_mut(id as usize)?.take()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.spine.iter().flatten().map(|entry| &**entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_do_not_see_each_others_writes() {
        let mut a = Table::new();
        for id in 1..=40 {
            a.insert(id, id * 10);
        }
        let mut b = a.clone();
        *b.get_mut(17).expect("present") = 0;
        b.remove(3);
        b.insert(41, 410);
        assert_eq!(a.get(17), Some(&170));
        assert_eq!(a.iter().count(), 40);
        assert_eq!(b.iter().count(), 40);
        assert_eq!((b.get(3), b.get(41), a.get(41)), (None, Some(&410), None));
    }

    #[test]
    fn cells_are_copied_one_by_one() {
        let mut a = Cells::new();
        a.insert(1, String::from("one"));
        a.insert(3, String::from("three"));
        let mut b = a.clone();
        b.get_mut(3).expect("present").push('!');
        assert_eq!((a.get(3).map(String::as_str), b.get(3).map(String::as_str)), (Some("three"), Some("three!")));
        assert!(Arc::ptr_eq(&a.share(1).expect("present"), &b.share(1).expect("present")));
        assert_eq!(
            (b.remove(1).is_some(), b.remove(2).is_none(), b.iter().count(), a.iter().count()),
            (true, true, 1, 2)
        );
    }

    #[test]
    fn emptied_pieces_are_given_back_and_misses_are_none() {
        let mut t = Table::new();
        (0..32).for_each(|id| t.insert(id, ()));
        assert!((0..16).all(|id| t.remove(id).is_some()));
        assert!(t.spine[0].is_none());
        assert_eq!(t.iter().count(), 16);
        assert_eq!(t.get_mut(u64::MAX), None);
        assert_eq!(t.remove(5), None);
        assert_eq!(t.iter_from(20).count(), 16);
    }
}
