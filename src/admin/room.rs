use axum::extract::FromRef;
use std::net::SocketAddr;
use std::sync::Arc;

use super::configs::Bench;
use super::log_level::Changes;
use super::session::Sessions;
use super::stay::Streams;
use super::stream::Viewers;
use crate::config::schema::{Admin, Role};
use crate::control::{Handle, InForce};

/// What every page can reach. Cheap to clone.
#[derive(Clone)]
pub(super) struct Room {
    pub(super) handle: Handle,
    pub(super) sessions: Sessions,
    pub(super) streams: Streams,
    /// Who looks on.
    pub(super) viewers: Viewers,
    /// Work on texts that somebody sends, a few at a time.
    pub(super) bench: Bench,
    pub(super) log_changes: Changes,
    /// The process is `ringway demo`.
    pub(super) is_demo: bool,
    /// The address of the door, when it has one.
    pub(super) bound: Option<SocketAddr>,
}

impl Room {
    /// The files in force, and what they say of this door.
    pub(super) fn rules(&self) -> Rules {
        Rules(self.handle.in_force())
    }
}

/// What the files in force say of the door; another load says it anew.
pub(super) struct Rules(pub(super) Arc<InForce>);

impl Rules {
    /// The section of the file; `None` when it has none.
    pub(super) fn admin(&self) -> Option<&Admin> {
        self.0.loaded.file.admin.as_ref()
    }

    /// Nothing can be changed.
    pub(super) fn is_read_only(&self) -> bool {
        self.admin().is_some_and(|admin| admin.read_only)
    }

    /// Whoever reaches the door from this machine is an admin: the file names nobody who could be told apart.
    pub(super) fn trusts_this_machine(&self) -> bool {
        self.0.references.tokens().is_none() && self.admin().is_none_or(|admin| admin.sso.is_none())
    }

    /// The role that a proxy's word gives to the members of these groups.
    pub(super) fn role_of_groups(&self, groups: &[String]) -> Option<Role> {
        let sso = self.admin()?.sso.as_ref()?;
        let by_group = groups.iter().filter_map(|group| sso.roles.get(group)).max().copied();
        by_group.or(sso.default_role)
    }
}

impl FromRef<Room> for Handle {
    fn from_ref(room: &Room) -> Handle {
        room.handle.clone()
    }
}
