//! `${…}` in configuration values.
//!
//! What is known when the configuration is read (`${program}`, `${host}`, `${env:NAME}`) is filled in
//! then; the rest stays as pieces: the process's name and number until it is started, the user's name
//! and home until the start looks the account up, so that a changed account is seen.
#![forbid(unsafe_code)]

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// The names that can be expanded, for messages.
pub const NAMES: &str = "program, process, instance, host, user, home, env:NAME";

/// A value with what is still open in it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(Vec<Piece>);

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Piece {
    Text(String),
    Process,
    /// Zero-padded to this many digits.
    Instance(u8),
    User,
    Home,
}

/// What is known when the configuration is read.
pub trait Known {
    fn program(&self) -> Option<&str>;
    fn host(&self) -> &str;
    /// A variable of the supervisor's own environment.
    fn env(&self, name: &str) -> Option<String>;
}

/// Why a text is no template: the place in it (bytes) and what is wrong there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TemplateFault {
    pub start: usize,
    pub end: usize,
    pub message: String,
}

impl Template {
    /// A value without anything to expand.
    pub fn literal(text: impl Into<String>) -> Self {
        let mut template = Self::default();
        template.push_text(&text.into());
        template
    }

    /// Reads `${…}` and `$$`; any other `$` is itself.
    ///
    /// # Errors
    /// An unclosed `${`, an unknown name, or `${env:NAME}` of a variable that is not set.
    pub fn parse(text: &str, known: &dyn Known) -> Result<Self, TemplateFault> {
        let mut template = Self::default();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            template.push_text(&rest[..dollar]);
            let start = text.len() - rest.len() + dollar;
            let after = &rest[dollar + 1..];
            if let Some(tail) = after.strip_prefix('$') {
                template.push_text("$");
                rest = tail;
            } else if let Some(body) = after.strip_prefix('{') {
                let Some(close) = body.find('}') else {
                    return Err(TemplateFault { start, end: text.len(), message: "`${` without its `}`".to_owned() });
                };
                let end = start + 2 + close + 1;
                template.push_name(&body[..close], known).map_err(|message| TemplateFault { start, end, message })?;
                rest = &body[close + 1..];
            } else {
                template.push_text("$");
                rest = after;
            }
        }
        template.push_text(rest);
        Ok(template)
    }

    fn push_name(&mut self, name: &str, known: &dyn Known) -> Result<(), String> {
        let no_program = || format!("${{{name}}} has a meaning only inside a program");
        match name {
            "program" => self.push_text(known.program().ok_or_else(no_program)?),
            "process" | "user" | "home" | "instance" if known.program().is_none() => return Err(no_program()),
            "process" => self.0.push(Piece::Process),
            "user" => self.0.push(Piece::User),
            "home" => self.0.push(Piece::Home),
            "host" => self.push_text(known.host()),
            "instance" => self.0.push(Piece::Instance(0)),
            _ => {
                if let Some(variable) = name.strip_prefix("env:") {
                    let value = known
                        .env(variable)
                        .ok_or_else(|| format!("the supervisor's environment has no variable {variable:?}"))?;
                    self.push_text(&value);
                } else if let Some(width) = name.strip_prefix("instance:") {
                    let width = width.parse::<u8>().ok().filter(|w| *w <= 9).ok_or_else(|| {
                        format!("${{{name}}}: the width is a number from 0 to 9, as in ${{instance:02}}")
                    })?;
                    self.0.push(Piece::Instance(width));
                } else {
                    return Err(format!("unknown ${{{name}}}; there are {NAMES}; `$$` is a dollar"));
                }
            }
        }
        Ok(())
    }

    fn push_text(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.0.push(Piece::Text(text.to_owned())),
        }
    }

    /// Fills in the process's name and number; user and home stay open.
    #[must_use]
    pub fn for_process(&self, process: &str, instance: u32) -> Self {
        let mut filled = Self::default();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_text(text),
                Piece::Process => filled.push_text(process),
                Piece::Instance(width) => {
                    filled.push_text(&format!("{instance:0width$}", width = usize::from(*width)));
                }
                open @ (Piece::User | Piece::Home) => filled.0.push(open.clone()),
            }
        }
        filled
    }

    /// The value, once everything is known. Pieces that [`Template::for_process`] has not filled are left out.
    pub fn render(&self, user: &str, home: &str) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::User => out.push_str(user),
                Piece::Home => out.push_str(home),
                Piece::Process | Piece::Instance(_) => {}
            }
        }
        out
    }

    /// Whether it differs between the processes of one program.
    pub fn varies_by_process(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Process | Piece::Instance(_)))
    }

    /// The value as it was written, as near as it can be told: for display.
    pub fn shown(&self) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Process => out.push_str("${process}"),
                Piece::Instance(0) => out.push_str("${instance}"),
                Piece::Instance(width) => {
                    let _ = write!(out, "${{instance:0{width}}}");
                }
                Piece::User => out.push_str("${user}"),
                Piece::Home => out.push_str("${home}"),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Known for Fixed {
        fn program(&self) -> Option<&str> {
            Some("web")
        }
        fn host(&self) -> &str {
            "h1"
        }
        fn env(&self, name: &str) -> Option<String> {
            (name == "SET").then(|| "a${b}".to_owned())
        }
    }

    fn value(text: &str) -> String {
        Template::parse(text, &Fixed).expect(text).for_process("web:7", 7).render("alice", "/home/alice")
    }

    #[test]
    fn every_name_is_filled_in_once_and_only_once() {
        assert_eq!(value("${program}-${process}@${host}"), "web-web:7@h1");
        assert_eq!(value("${instance} ${instance:02} ${instance:0}"), "7 07 7");
        assert_eq!(value("${home}/x ${user}"), "/home/alice/x alice");
        assert_eq!(value("$HOME $$x $${user} $"), "$HOME $x ${user} $");
        assert_eq!(value("${env:SET}"), "a${b}");
    }

    #[test]
    fn faults_name_their_place() {
        let fault = Template::parse("ab${nope}c", &Fixed).expect_err("unknown");
        assert_eq!((fault.start, fault.end), (2, 9));
        assert!(Template::parse("x ${user", &Fixed).is_err());
        assert!(Template::parse("${env:UNSET}", &Fixed).expect_err("unset").message.contains("UNSET"));
        assert!(Template::parse("${instance:x}", &Fixed).is_err());
    }

    #[test]
    fn what_is_shown_is_what_was_written() {
        let text = "/x/${process}.${instance:03}.${user}${home}";
        assert_eq!(Template::parse(text, &Fixed).expect("parses").shown(), text);
    }
}
