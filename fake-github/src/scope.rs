//! Whom a fault concerns and which of the occurrences it meets it changes. By counting, never by chance.

use arc_api::{ScaleSetId, Str};

use crate::scale_sets::ScaleSet;

/// Names a fault that was switched on, to switch it off again and to see whether it ever fired.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleId(pub u32);

/// Whom a fault concerns: everybody for whom all stated members hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    /// Tenant path.
    pub tenant: Option<Str>,
    /// Scale set name, in whatever incarnation.
    pub scale_set: Option<Str>,
    /// One incarnation of a scale set: the fault ends with it.
    pub id: Option<ScaleSetId>,
}

impl Scope {
    /// One tenant.
    pub fn tenant(path: impl Into<Str>) -> Scope {
        Scope { tenant: Some(path.into()), ..Scope::default() }
    }
    /// All scale sets of this name.
    pub fn scale_set(name: impl Into<Str>) -> Scope {
        Scope { scale_set: Some(name.into()), ..Scope::default() }
    }
    /// One incarnation.
    pub fn id(id: ScaleSetId) -> Scope {
        Scope { id: Some(id), ..Scope::default() }
    }
    pub(crate) fn covers(&self, tenant: Option<&str>, set: Option<&ScaleSet>) -> bool {
        let is_tenant = |path: &Str| tenant.is_some_and(|tenant| tenant.eq_ignore_ascii_case(path));
        let is_named = |name: &Str| set.is_some_and(|set| set.name.eq_ignore_ascii_case(name));
        self.tenant.as_ref().is_none_or(is_tenant)
            && self.scale_set.as_ref().is_none_or(is_named)
            && self.id.is_none_or(|id| set.is_some_and(|set| set.id == id))
    }
}

/// Which of the occurrences a rule meets it changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Firing {
    /// The first so many pass untouched.
    pub skip: u32,
    /// Then every n-th is changed; 1 is every one.
    pub every: u32,
    /// At most so many are changed.
    pub count: u32,
    /// How many it has met; begins at 0.
    pub seen: u32,
}

impl Default for Firing {
    fn default() -> Firing {
        Firing { skip: 0, every: 1, count: u32::MAX, seen: 0 }
    }
}

impl Firing {
    /// Only the next one.
    pub fn once() -> Firing {
        Firing { count: 1, ..Firing::default() }
    }
    /// Counts an occurrence and says whether it is one of those meant.
    pub(crate) fn fires(&mut self) -> bool {
        self.seen = self.seen.saturating_add(1);
        let Some(at) = self.seen.checked_sub(self.skip + 1) else { return false };
        if self.count == 0 || at % self.every.max(1) != 0 {
            return false;
        }
        self.count = self.count.saturating_sub(u32::from(self.count != u32::MAX));
        true
    }
}
