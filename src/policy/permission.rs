//! Who may ask what of the supervisor, judged by the credentials a client had when it connected.
#![forbid(unsafe_code)]

use crate::model::id::Uid;

/// On whose behalf a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// The shell on the supervisor's own terminal, over a connection that the core made.
    Starter,
    /// A client of the control socket, with the uid it had when it connected.
    Client(Uid),
}

/// Whether the peer may control the supervisor that runs as `own`.
///
/// # Errors
/// What would allow it, in words.
pub fn judge(peer: Peer, own: Uid) -> Result<(), String> {
    match peer {
        Peer::Starter => Ok(()),
        Peer::Client(uid) if uid.is_root() || uid == own => Ok(()),
        Peer::Client(uid) => {
            let others = if own.is_root() { String::new() } else { format!(" or uid {own}") };
            Err(format!("being root{others} (this is uid {uid})"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_supervisors_own_user_may_and_nobody_else() {
        let own = Uid(1000);
        assert!(judge(Peer::Starter, own).is_ok());
        assert!(judge(Peer::Client(Uid(0)), own).is_ok());
        assert!(judge(Peer::Client(own), own).is_ok());
        assert!(judge(Peer::Client(Uid(1001)), own).is_err());
        assert!(judge(Peer::Client(Uid(1000)), Uid(0)).is_err());
    }
}
