//! In the place of `servers` in a build without the feature `network`: nobody is talked to. The configuration
//! refuses every channel that would need it, so nothing here is ever reached by a message.

use std::convert::Infallible;
use std::io;

use super::Message;
use super::secret::Secrets;
use crate::alert::outcome::{Class, Failure, Outcome};
use crate::alert::syslog::Label;
use crate::model::event::Event;
use crate::model::notify::{Channel, Syslog};

const NOT_BUILT: &str = "this build sends nothing over the network";

/// No names are looked up; the runtime wants one thread.
pub const LOOKUPS: usize = 1;

#[derive(Clone, Copy, Default, Debug)]
pub struct Limits(());

/// Where the lines of a conversation would go.
pub type Tell = Option<Box<dyn Fn(String) + Send + Sync>>;

/// The way out of every channel: its messages go another way.
pub enum Sender {
    Elsewhere,
}

impl Sender {
    pub fn new(_: Channel, _: Secrets, _: &str, _: Limits) -> Self {
        Self::Elsewhere
    }

    pub async fn send(&self, _: &Message, _: &Tell) -> Outcome {
        super::failed(Class::Configuration, NOT_BUILT)
    }
}

/// A log daemon over the network: there is none.
pub struct Remote(Infallible);

impl Remote {
    /// # Errors
    /// Always.
    pub async fn open(_: &Syslog) -> Result<Self, Failure> {
        Err(Failure::new(Class::Configuration, NOT_BUILT))
    }

    pub fn is_stream(&self) -> bool {
        match self.0 {}
    }

    pub async fn send(&mut self, _: &Event, _: &Label, _: &str) -> io::Result<()> {
        match self.0 {}
    }

    pub async fn closed(&mut self) {
        match self.0 {}
    }
}
