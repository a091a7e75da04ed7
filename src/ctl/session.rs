//! What every command works with: the way to the supervisor, and how its answers become text.
#![forbid(unsafe_code)]

use serde::Serialize;
use serde_json::Value;

use super::client::{Client, ClientError};
use super::connect::Connector;
use crate::model::text::json_escaped;
use crate::protocol::control::{Method, Process, StatusCall, StatusReply};
use crate::system::terminal::Interrupts;

/// What every command needs.
pub struct Session<'a> {
    pub connector: &'a Connector,
    pub interrupts: Option<&'a Interrupts>,
    pub json: bool,
    pub in_shell: bool,
}

impl Session<'_> {
    pub fn client(&self) -> Result<Client<'_>, ClientError> {
        Ok(Client::new(self.connector.connect()?, self.interrupts))
    }

    pub fn ask(&self, method: Method, parameters: &impl Serialize) -> Result<Value, ClientError> {
        self.client()?.call_raw(method, parameters)
    }

    pub fn processes(&self, selectors: &[String]) -> Result<Vec<Process>, ClientError> {
        Ok(self.status_of(selectors)?.processes)
    }

    pub fn status_of(&self, selectors: &[String]) -> Result<StatusReply, ClientError> {
        self.client()?.call(Method::Status, &StatusCall { selectors: selectors.to_vec() })
    }
}

/// JSON with two spaces of indent, safe to show.
pub fn pretty(value: &impl Serialize) -> String {
    // Our own types and JSON values have string keys only: serialising cannot fail.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    format!("{}\n", json_escaped(&text))
}
