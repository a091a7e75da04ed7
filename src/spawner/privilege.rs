//! The privileges of a program: the steps around the change of user that decide what it can ever do.
//!
//! Before the change: the session keyring, the bounding set (afterwards the right to limit it is gone),
//! that uid 0 means nothing to an unprivileged program, and that what is configured outlives the change.
//! After it: exactly the configured sets, as ambient ones, so that they outlive the execution.

use crate::model::capability::CapabilitySet;
use crate::model::program::Keyring;
use crate::model::stage::{Stage, StartFailure};
use crate::protocol::spawner::StartSpec;
use crate::system::{account, capability, credentials};

use super::identity::Who;
use super::report::failure;

type Step = Result<(), StartFailure>;

/// What the program keeps, and what it can ever have.
pub struct Privileges {
    kept: CapabilitySet,
    /// `None`: nothing is limited (root without a configured limit, or a supervisor that is not root).
    bounding: Option<CapabilitySet>,
    /// The sets are made exact: as root for whoever it is, else only where something was asked for.
    exact: bool,
    root: bool,
    no_new_privileges: bool,
}

impl Privileges {
    pub fn of(spec: &StartSpec, who: &Who) -> Self {
        let root = who.is_root();
        let by_root = account::own_uid().is_root();
        let configured = spec.capabilities.is_some() || spec.capability_bounding.is_some();
        let kept = spec.capabilities.unwrap_or_default();
        let limited = !root || configured;
        let bounding = spec.capability_bounding.or(limited.then_some(kept)).filter(|_| by_root || configured);
        let exact = if root { configured } else { by_root || configured };
        Self { kept, bounding, exact, root, no_new_privileges: spec.no_new_privileges.unwrap_or(!root) }
    }

    /// All that the program can have once it is executed. `None`: nothing is taken from it.
    pub fn wanted(&self) -> Option<CapabilitySet> {
        let root = self.bounding.unwrap_or(self.kept);
        self.exact.then_some(if self.root { root } else { self.kept })
    }

    /// What it can ever have. `None`: as [`Self::wanted`].
    pub fn bounding(&self) -> Option<CapabilitySet> {
        self.bounding
    }

    pub fn no_new_privileges(&self) -> bool {
        self.no_new_privileges
    }

    /// The part that needs the rights that are being given up.
    pub fn prepare(&self) -> Step {
        let Some(bounding) = self.bounding else { return Ok(()) };
        let missing = self.kept.without(bounding);
        if !missing.is_empty() {
            return Err(StartFailure {
                stage: Stage::Bounding,
                errno: libc::EPERM,
                subject: String::new(),
                error: format!("`capabilities` has what `capability_bounding` has not: {missing}"),
            });
        }
        let step = |error: &std::io::Error| failure(Stage::Bounding, "", error);
        if !self.root && self.no_new_privileges {
            capability::make_root_ordinary().map_err(|error| step(&error))?;
        }
        if !self.root && !self.kept.is_empty() {
            capability::keep_over_change_of_user(true).map_err(|error| step(&error))?;
        }
        capability::limit_bounding(bounding).map_err(|error| step(&error))
    }

    /// The part that the change of user would undo.
    pub fn settle(&self) -> Step {
        let Some(wanted) = self.wanted() else { return Ok(()) };
        let ambient = if self.root { CapabilitySet::EMPTY } else { self.kept };
        let step = |error: &std::io::Error| failure(Stage::Capabilities, format!("({wanted})"), error);
        capability::set_exactly(wanted, ambient).map_err(|error| step(&error))?;
        capability::keep_over_change_of_user(false).map_err(|error| step(&error))
    }
}

/// Without this the program would hold the keys of whoever started the supervisor.
pub fn leave_the_keyring(spec: &StartSpec) -> Step {
    match spec.keyring {
        Some(Keyring::Inherit) => Ok(()),
        // A container: its own keyring is what all in it share, and none of them can use a key.
        None if credentials::keys_are_denied() => Ok(()),
        None | Some(Keyring::Private) => credentials::join_new_keyring().map_err(|error| {
            let mut failure = failure(Stage::Keyring, "", &error);
            if credentials::keys_are_denied() {
                failure.error.push_str(": a filter forbids keyctl(2); allow it, or leave `keyring` out");
            }
            failure
        }),
    }
}

/// Nothing that it executes gives it more.
pub fn give_up_new(spec: &StartSpec, who: &Who) -> Step {
    if spec.no_new_privileges.unwrap_or(!who.is_root()) {
        credentials::give_up_new_privileges().map_err(|error| failure(Stage::NoNewPrivs, "", &error))?;
    }
    if spec.mdwe {
        credentials::deny_writable_executable_memory().map_err(|error| failure(Stage::Mdwe, "", &error))?;
    }
    Ok(())
}
