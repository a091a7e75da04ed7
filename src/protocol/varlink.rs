//! The varlink envelope (varlink.org): `{"method": …, "parameters": {…}}` asks,
//! `{"parameters": {…}, "continues": true}` or `{"error": …, "parameters": {…}}` answers. With `"more":
//! true` a call may be answered many times, with `"oneway": true` not at all; with `"upgrade": true` the
//! connection goes on after the answer with what the method says.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// A call as it arrives. Unknown members are ignored, as varlink asks; duplicate ones are refused by serde.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub method: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub oneway: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub upgrade: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Reply {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default)]
    pub parameters: Value,
    #[serde(default, skip_serializing_if = "is_false")]
    pub continues: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Reply {
    /// A last answer.
    pub fn done(parameters: impl Serialize) -> Self {
        Self { parameters: to_object(parameters), ..Self::default() }
    }

    /// An answer with more to follow.
    pub fn continues(parameters: impl Serialize) -> Self {
        Self { parameters: to_object(parameters), continues: true, ..Self::default() }
    }

    pub fn error(name: impl Into<String>, parameters: impl Serialize) -> Self {
        Self { error: Some(name.into()), parameters: to_object(parameters), continues: false }
    }
}

/// A last answer that is long: written as it is, without a tree of values in between.
#[derive(Serialize)]
pub struct LongReply<P> {
    pub parameters: P,
}

/// An answer whose parameters are not read yet.
#[derive(Deserialize)]
pub struct RawReply<'a> {
    #[serde(default)]
    pub error: Option<String>,
    #[serde(borrow, default)]
    pub parameters: Option<&'a RawValue>,
    #[serde(default)]
    pub continues: bool,
}

/// Varlink's parameters are always an object, also when there is nothing to say.
fn to_object(parameters: impl Serialize) -> Value {
    match serde_json::to_value(parameters) {
        Ok(value @ Value::Object(_)) => value,
        _ => Value::Object(serde_json::Map::new()),
    }
}

/// The error for a call that cannot be understood.
pub const INVALID_PARAMETER: &str = "org.varlink.service.InvalidParameter";

/// The interface that every service has, so that clients can ask what it offers.
pub const SERVICE_INTERFACE: &str = "org.varlink.service";
pub const SERVICE_DESCRIPTION: &str = "\
# The Varlink Service Interface is provided by every varlink service. It
# describes the service and the interfaces it implements.
interface org.varlink.service

method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
";

/// What any service manager can ask of a service, as systemd defines it (io.systemd.service).
pub const SYSTEMD_INTERFACE: &str = "io.systemd.service";
pub const SYSTEMD_DESCRIPTION: &str = "\
# What a service manager can ask of this service, as systemd defines it.
interface io.systemd.service

# Answers as soon as the service can.
method Ping() -> ()

# Reads the configuration again, as io.taskmaster.Control.Reload, with the same errors.
method Reload() -> ()

# Not implemented: what is logged is said in the configuration.
method SetLogLevel(level: ?int) -> ()
";
