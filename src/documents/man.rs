//! Writes man pages (man(7)): a page is put together from sections, paragraphs and lists whose texts are
//! Markdown with backquotes only.

/// A page as it grows.
pub struct Page(String);

impl Page {
    pub fn new(name: &str, section: u8, what: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let title = name.to_uppercase();
        let mut page = Self(format!(".TH \"{title}\" {section} \"\" \"Taskmaster {version}\" \"Taskmaster\"\n"));
        page.section("NAME");
        page.0 += &format!("{} \\- {}\n", escaped(name), escaped(what));
        page
    }

    pub fn section(&mut self, title: &str) {
        self.0 += &format!(".SH \"{}\"\n", escaped(title).replace('"', "\\(dq"));
    }

    pub fn subsection(&mut self, title: &str) {
        self.0 += &format!(".SS \"{}\"\n", escaped(title).replace('"', "\\(dq"));
    }

    pub fn paragraph(&mut self, text: &str) {
        self.0 += &format!(".PP\n{}\n", inline(text));
    }

    /// An entry of a list: what it is about stands before it.
    pub fn item(&mut self, tag: &str, text: &str) {
        self.0 += &format!(".TP\n{}\n{}\n", inline(tag), inline(text));
    }

    /// Lines as they are.
    pub fn lines(&mut self, text: &str) {
        let lines: Vec<String> = text.lines().map(|line| sentence(&escaped(line))).collect();
        self.0 += &format!(".PP\n.nf\n{}\n.fi\n", lines.join("\n"));
    }

    pub fn finish(self) -> String {
        self.0
    }
}

/// Text in which nothing is a request or a special character.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out += "\\e",
            '-' => out += "\\-",
            '…' => out += "...",
            '\'' => out += "\\(aq",
            '^' => out += "\\(ha",
            '~' => out += "\\(ti",
            '`' => out += "\\(ga",
            c if c.is_ascii() => out.push(c),
            c => out += &format!("\\[u{:04X}]", u32::from(c)),
        }
    }
    out
}

/// A line that begins with a dot is no request.
fn sentence(line: &str) -> String {
    if line.starts_with('.') { format!("\\&{line}") } else { line.to_owned() }
}

/// What is in backquotes is bold.
fn inline(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(at, part)| match (at % 2, part) {
        (0, plain) => escaped(plain),
        (_, code) => format!("\\fB{}\\fR", escaped(code)),
    });
    sentence(&parts.collect::<String>())
}

#[test]
fn no_text_is_a_request_or_an_escape() {
    assert_eq!(inline("`a-b` is '\\n' …"), "\\fBa\\-b\\fR is \\(aq\\en\\(aq ...");
    assert_eq!(inline(".de is no request"), "\\&.de is no request");
}
