//! The interfaces that are not our own: `org.varlink.service`, by which a client asks what there is, and
//! `io.systemd.service`, by which a service manager asks any service the same few things.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::authority::Verb;
use crate::policy::permission::{Peer, Target};
use crate::protocol::control::{DESCRIPTION, INTERFACE, NoParameters, Refusal};
use crate::protocol::varlink::{Reply, SERVICE_DESCRIPTION, SERVICE_INTERFACE, SYSTEMD_DESCRIPTION, SYSTEMD_INTERFACE};
use crate::supervisor::core::Core;

use super::calls::{not_permitted, read};

/// Every interface with its description, in the order in which they are listed.
const INTERFACES: [(&str, &str); 3] =
    [(SERVICE_INTERFACE, SERVICE_DESCRIPTION), (INTERFACE, DESCRIPTION), (SYSTEMD_INTERFACE, SYSTEMD_DESCRIPTION)];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DescriptionCall {
    interface: String,
}

/// A call of any interface but `io.taskmaster.Control`, of somebody who may connect.
pub(super) fn call(core: &mut Core, peer: &Peer, method: &str, parameters: Value) -> Result<Reply, Refusal> {
    let (interface, name) = method.rsplit_once('.').unwrap_or(("", method));
    match (interface, name) {
        (SERVICE_INTERFACE, "GetInfo") => {
            let NoParameters {} = read(parameters)?;
            Ok(info())
        }
        (SERVICE_INTERFACE, "GetInterfaceDescription") => {
            let DescriptionCall { interface } = read(parameters)?;
            match INTERFACES.iter().find(|(name, _)| *name == interface) {
                Some((_, description)) => Ok(Reply::done(json!({ "description": description }))),
                None => Err(Refusal::InterfaceNotFound { interface }),
            }
        }
        (SYSTEMD_INTERFACE, "Ping") => {
            let NoParameters {} = read(parameters)?;
            Ok(Reply::done(NoParameters {}))
        }
        (SYSTEMD_INTERFACE, "Reload") => {
            core.rules.judge(peer, Verb::Reload, Target::All).map_err(not_permitted)?;
            let NoParameters {} = read(parameters)?;
            if core.fleet.is_shutting_down() {
                return Err(Refusal::ShuttingDown {});
            }
            core.reload(false).map_err(|faults| Refusal::ConfigRejected { faults })?;
            Ok(Reply::done(NoParameters {}))
        }
        (SYSTEMD_INTERFACE, "SetLogLevel") => Err(Refusal::MethodNotImplemented { method: method.to_owned() }),
        (SERVICE_INTERFACE | SYSTEMD_INTERFACE | "", _) => Err(Refusal::MethodNotFound { method: method.to_owned() }),
        _ => Err(Refusal::InterfaceNotFound { interface: interface.to_owned() }),
    }
}

fn info() -> Reply {
    Reply::done(json!({
        "vendor": "Taskmaster",
        "product": "taskmasterd",
        "version": env!("CARGO_PKG_VERSION"),
        "url": "",
        "interfaces": INTERFACES.map(|(name, _)| name),
    }))
}
