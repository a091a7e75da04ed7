//! The description of the interface and its types say the same: the same names, the same kinds of values,
//! null where it may be and nowhere else.
//!
//! From the description a sample of each call, reply and error is made. It must go through the Rust type and
//! come out as it was; with null where that may be it must be understood, with null elsewhere it must not.
//! And no type has a field that the description does not have.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde_json::{Map, Value, json};

use super::*;
use crate::model::boundary::{Check, Grant, Live, Settings};
use crate::model::event::{Event, Facts};
use crate::protocol::alerting::{
    AlertChannel, ChannelProblem, MessageReport, NotifyCountReply, NotifyIdsCall, NotifyQueueReply, NotifyTestCall,
    NotifyTestReply, Silence, SilenceCall, SilenceReply, SilencesReply, TestResult, UnsilenceCall,
};
use crate::protocol::varlink::SERVICE_DESCRIPTION;

type Fields = Vec<(String, String)>;

/// A description, taken apart.
#[derive(Default)]
struct Description {
    types: BTreeMap<String, Fields>,
    methods: BTreeMap<String, (Fields, Fields)>,
    errors: BTreeMap<String, Fields>,
}

impl Description {
    fn of(text: &str) -> Self {
        let mut found = Self::default();
        let code: String = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ");
        let mut rest = code.as_str();
        while let Some(at) = ["type ", "method ", "error "].iter().filter_map(|word| rest.find(word)).min() {
            let (keyword, after) = rest[at..].split_once(' ').expect("a keyword");
            let (name, after) = after.split_once('(').expect("a name");
            let (fields, after) = after.split_once(')').expect("an end");
            let (name, fields) = (name.trim().to_owned(), fields_of(fields));
            rest = after;
            match keyword {
                "type" => drop(found.types.insert(name, fields)),
                "error" => drop(found.errors.insert(name, fields)),
                _ => {
                    let (arrow, after) = rest.split_once('(').expect("a reply");
                    assert_eq!(arrow.trim(), "->", "{name}");
                    let (reply, after) = after.split_once(')').expect("an end");
                    rest = after;
                    found.methods.insert(name, (fields, fields_of(reply)));
                }
            }
        }
        found
    }

    /// An object with these fields; null where that may be, unless `full`.
    fn object(&self, fields: &Fields, full: bool) -> Value {
        Value::Object(fields.iter().map(|(name, kind)| (name.clone(), self.value(name, kind, full))).collect())
    }

    fn value(&self, name: &str, kind: &str, full: bool) -> Value {
        if let Some(kind) = kind.strip_prefix('?') {
            return if full { self.value(name, kind, full) } else { Value::Null };
        }
        if let Some(kind) = kind.strip_prefix("[]") {
            return json!([self.value(name, kind, full)]);
        }
        if let Some(kind) = kind.strip_prefix("[string]") {
            return json!({ "nofile": self.value(name, kind, full) });
        }
        match kind {
            "bool" => json!(true),
            "int" => json!(7),
            "float" => json!(1.5),
            "string" => json!(word(name)),
            "object" => json!({ "any": "thing" }),
            name => self.object(self.types.get(name).unwrap_or_else(|| panic!("a type {name}")), full),
        }
    }
}

fn fields_of(text: &str) -> Fields {
    let fields = text.split(',').map(str::trim).filter(|field| !field.is_empty());
    let pair = |field: &str| field.split_once(':').map(|(name, kind)| (name.trim().to_owned(), kind.trim().to_owned()));
    fields.map(|field| pair(field).expect("a name and a type")).collect()
}

/// A text that is one of those that can stand in this field.
fn word(field: &str) -> &'static str {
    match field {
        "at" | "time" | "until" | "last_success" => "2026-11-20T08:12:03.123Z",
        "state" | "from" | "to" => "RUNNING",
        "wanted" => "up",
        "signal" => "TERM",
        "severity" => "err",
        "kind" => "process.crashed",
        "stage" => "exec",
        "level" => "SAFE",
        "seccomp" => "filter",
        "umask" => "022",
        "keyring" => "private",
        "kill_mode" => "tree",
        "role" => "log",
        "source" => "file",
        "on_disk" => "same",
        "outcome" => "started",
        "result" => "added",
        "thing" => "channel",
        "channel" | "outputs" => "stdout",
        "effective" | "permitted" | "inheritable" | "bounding" | "ambient" | "capabilities" | "capability_bounding" => {
            "CAP_KILL"
        }
        _ => "text",
    }
}

/// Finds out which fields a type reads.
struct Spy<'s>(&'s mut Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Spy<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("this is no structure"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = Some(fields);
        Err(Error::custom("this is seen"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn names<T: DeserializeOwned>() -> BTreeSet<&'static str> {
    let mut fields = None;
    let _ = T::deserialize(Spy(&mut fields));
    fields.expect("a structure").iter().copied().collect()
}

fn through<T: DeserializeOwned + Serialize>(sample: &Value) -> Result<Value, String> {
    let understood: T = serde_json::from_value(sample.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(understood).map_err(|error| error.to_string())
}

fn agree<T: DeserializeOwned + Serialize>(description: &Description, what: &str, fields: &Fields) {
    let described: BTreeSet<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(described, names::<T>(), "the fields of {what}");
    agree_in_values::<T>(description, what, fields);
}

fn agree_in_values<T: DeserializeOwned + Serialize>(description: &Description, what: &str, fields: &Fields) {
    let full = description.object(fields, true);
    assert_eq!(through::<T>(&full).as_ref(), Ok(&full), "{what} as it is described");
    let mut least = description.object(fields, false);
    if what.starts_with("the call") {
        // As the server reads it: what is null is not there.
        least.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    }
    through::<T>(&least).unwrap_or_else(|error| panic!("{what} without what may be missing: {error}"));
    for (name, kind) in fields {
        let mut nulled = full.clone();
        nulled[name] = Value::Null;
        if !kind.starts_with('?') {
            assert!(through::<T>(&nulled).is_err(), "{what}: `{name}` can be null and is described as if it could not");
        }
    }
}

fn method<C: DeserializeOwned + Serialize, R: DeserializeOwned + Serialize>(
    description: &Description,
    (call, reply): &(Fields, Fields),
    name: &str,
) {
    agree::<C>(description, &format!("the call of {name}"), call);
    agree::<R>(description, &format!("the reply of {name}"), reply);
}

#[test]
fn every_method_is_described_as_its_types_are() {
    let description = &Description::of(DESCRIPTION);
    let known: BTreeSet<&str> = Method::ALL.iter().map(|method| method.name()).collect();
    assert_eq!(description.methods.keys().map(String::as_str).collect::<BTreeSet<_>>(), known);
    for each in Method::ALL {
        let (name, fields) = (each.name(), &description.methods[each.name()]);
        match each {
            Method::Status => method::<StatusCall, StatusReply>(description, fields, name),
            Method::Details => method::<DetailsCall, DetailsReply>(description, fields, name),
            Method::Config => method::<ConfigCall, ConfigReply>(description, fields, name),
            Method::Security => method::<SecurityCall, SecurityReply>(description, fields, name),
            Method::Start | Method::Stop | Method::Restart => {
                method::<ChangeCall, ChangeReply>(description, fields, name);
            }
            Method::Signal => method::<SignalCall, ChangeReply>(description, fields, name),
            Method::Reload => method::<ReloadCall, ReloadReply>(description, fields, name),
            Method::Add | Method::Remove => method::<ProgramsCall, ProgramsReply>(description, fields, name),
            Method::Tail => method::<TailCall, TailReply>(description, fields, name),
            Method::Attach => method::<AttachCall, AttachReply>(description, fields, name),
            Method::Clear => method::<ClearCall, ChangeReply>(description, fields, name),
            Method::Events => method::<EventsCall, EventsReply>(description, fields, name),
            Method::NotifyQueue => method::<NoParameters, NotifyQueueReply>(description, fields, name),
            Method::NotifyTest => method::<NotifyTestCall, NotifyTestReply>(description, fields, name),
            Method::NotifyRetry | Method::NotifyDrop => {
                method::<NotifyIdsCall, NotifyCountReply>(description, fields, name);
            }
            Method::Silence => method::<SilenceCall, SilenceReply>(description, fields, name),
            Method::Unsilence => method::<UnsilenceCall, NotifyCountReply>(description, fields, name),
            Method::Silences => method::<NoParameters, SilencesReply>(description, fields, name),
            Method::Version => method::<NoParameters, VersionReply>(description, fields, name),
            Method::Reopen | Method::Shutdown => method::<NoParameters, NoParameters>(description, fields, name),
        }
    }
}

#[test]
fn every_type_is_described_as_it_is() {
    let description = &Description::of(DESCRIPTION);
    let mut seen = BTreeSet::new();
    macro_rules! agree {
        ($($name:literal $type:ty),* $(,)?) => {
            $(agree::<$type>(description, $name, &description.types[$name]); seen.insert($name);)*
        };
    }
    agree! {
        "Process" Process, "LastExit" LastExit, "Ids" crate::model::boundary::Ids,
        "CapabilitySets" crate::model::boundary::CapabilitySets, "Kernel" Live,
        "FileFact" crate::model::boundary::FileFact, "Grant" Grant, "Settings" Settings, "Check" Check,
        "ProcessSecurity" ProcessSecurity, "ProgramSecurity" ProgramSecurity, "ChangeResult" ChangeResult,
        "Plan" Plan, "ChannelProblem" ChannelProblem, "AlertChannel" AlertChannel, "AlertMessage" MessageReport,
        "TestResult" TestResult, "Silenced" Silence, "ProcessDetails" ProcessDetails, "ProgramChange" ProgramChange,
        "Setting" Setting, "Section" Section, "ProgramResult" ProgramResult,
    }
    // These are read in another way: a limit is written as two numbers, an event is flat.
    for (name, agree) in [
        ("Limit", agree_in_values::<crate::model::program::Limit> as fn(&Description, &str, &Fields)),
        ("Event", agree_in_values::<Event>),
    ] {
        agree(description, name, &description.types[name]);
        seen.insert(name);
    }
    let mut event = names::<Facts>();
    event.extend(["seq", "time", "severity", "kind", "host"]);
    let described = description.types["Event"].iter().map(|(name, _)| name.as_str());
    assert_eq!(described.collect::<BTreeSet<_>>(), event);
    assert_eq!(description.types.keys().map(String::as_str).collect::<BTreeSet<_>>(), seen, "every type is compared");
}

#[test]
fn every_error_is_described_as_it_is() {
    let unknown = through::<Refusal>(&json!({ "error": "none", "parameters": {} })).expect_err("none of them");
    // serde lists every name in backquotes, behind the one that it does not know.
    let known: BTreeSet<&str> = unknown.split('`').skip(3).step_by(2).collect();
    let mut described = BTreeSet::new();
    for (interface, text) in [(INTERFACE, DESCRIPTION), ("org.varlink.service", SERVICE_DESCRIPTION)] {
        let description = &Description::of(text);
        for (name, fields) in &description.errors {
            let error = format!("{interface}.{name}");
            let with = |parameters: Value| json!({ "error": error, "parameters": parameters });
            let full = with(description.object(fields, true));
            assert_eq!(through::<Refusal>(&full).as_ref(), Ok(&full), "{error}");
            assert!(through::<Refusal>(&with(description.object(fields, false))).is_ok(), "{error}");
            if !fields.is_empty() {
                assert!(through::<Refusal>(&with(Value::Object(Map::new()))).is_err(), "{error} without parameters");
            }
            described.insert(error);
        }
    }
    assert_eq!(described.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
}
